//! From the TOML to a [`Board`]: everything that can be wrong with a descriptor is found here.

mod artifact;
mod blob;
mod partition;
mod place;
mod slots;
mod whole;

use super::family::{self, DescriptorSource, Families};
use super::raw::{RawBoard, RawEnvironment, RawSupplied, RawVar};
use super::{ALWAYS, Board, BoardError, Environment, RuleSet, Supplied, Var};
use crate::value::{Arch, ByteSize};

impl Board {
    /// Parses a descriptor and the family it extends.
    pub fn parse(
        name: &str,
        source: DescriptorSource<'_>,
        families: &dyn Families,
    ) -> Result<Board, BoardError> {
        let mut raw = family::read(source, families)?;
        let checker = Checker { file: source.file };
        let rules = checker.rules(std::mem::take(&mut raw.rules), families)?;
        Ok(Board { rules, ..checker.board(name, raw)? })
    }

    /// The architecture to compose for: the wanted one if the board has it, else the board's first.
    pub fn pick_arch(&self, wanted: Option<Arch>) -> Result<Arch, BoardError> {
        let arch = wanted.unwrap_or(self.arch[0]);
        if self.arch.contains(&arch) {
            return Ok(arch);
        }
        Err(BoardError::NoSuchArch { board: self.name.clone(), arch, available: self.arch.clone() })
    }
}

/// Builds the checked board; knows the file for messages.
pub(super) struct Checker<'a> {
    pub(super) file: &'a str,
}

impl Checker<'_> {
    fn invalid(&self, place: impl Into<String>, problem: impl Into<String>) -> BoardError {
        BoardError::Invalid { file: self.file.into(), place: place.into(), problem: problem.into() }
    }

    /// The sets of rules with the names of `wanted`, behind those of every board.
    fn rules(&self, wanted: Vec<String>, families: &dyn Families) -> Result<Vec<RuleSet>, BoardError> {
        let set = |name: &String| {
            families.rule_set(name)?.ok_or_else(|| {
                let nearest = families.nearest_rule_set(name);
                let nearest = nearest.map(|name| format!("; the nearest is `{name}`")).unwrap_or_default();
                self.invalid("rules", format!("there is no set of rules `{name}`{nearest}"))
            })
        };
        std::iter::once(&ALWAYS.to_owned()).chain(&wanted).map(set).collect()
    }

    fn board(&self, name: &str, raw: RawBoard) -> Result<Board, BoardError> {
        let kind = raw.table.kind;
        let mut board = Board {
            name: name.into(),
            extends: raw.extends,
            description: raw.description,
            status: raw.status,
            proof: raw.proof,
            soc: raw.soc,
            root: raw.root,
            slots: Vec::new(),
            persist: raw.persist,
            table: kind,
            gpt_entries: raw.table.entries.unwrap_or(128),
            hybrid_mbr: raw.table.hybrid_mbr,
            sector_size: raw.table.sector_size.unwrap_or(512),
            align: raw.table.align.unwrap_or(ByteSize(1 << 20)),
            minimum_medium: raw.minimum_medium.unwrap_or_default(),
            vars: self.vars(raw.vars, &raw.arch)?,
            arch: raw.arch,
            artifacts: raw.artifact.into_iter().map(|a| self.artifact(a)).collect::<Result<_, _>>()?,
            blobs: raw.blob.into_iter().map(|b| self.blob(b)).collect::<Result<_, _>>()?,
            environments: raw.environment.into_iter().map(environment).collect(),
            supplied: raw.supplied.into_iter().map(supplied).collect(),
            rules: Vec::new(),
            partitions: Vec::new(),
        };
        for (index, partition) in raw.partition.into_iter().enumerate() {
            let number = partition.number.unwrap_or(index as u32 + 1);
            board.partitions.push(self.partition(kind, number, partition)?);
        }
        board.persist = self.persist(&board)?;
        board.slots = self.slots(&board, raw.slots)?;
        board.leave_out_slots();
        self.ensure_sane(&board)?;
        for slots in &board.slots {
            let (artifacts, partitions) = (slots.artifacts.clone(), slots.partitions.clone());
            self.ensure_sane(&Board { artifacts, partitions, slots: Vec::new(), ..board.clone() })?;
        }
        Ok(board)
    }

    fn vars(
        &self,
        raw: std::collections::BTreeMap<String, RawVar>,
        arch: &[Arch],
    ) -> Result<Vec<Var>, BoardError> {
        let mut vars = Vec::new();
        for (name, var) in raw {
            match var {
                RawVar::Text(value) => vars.push(Var { arch: None, name, value }),
                RawVar::PerArch(words) => {
                    let wanted = name.parse::<Arch>().ok().filter(|wanted| arch.contains(wanted));
                    let Some(wanted) = wanted else {
                        let problem = format!("`vars.{name}` is not an architecture of this board");
                        return Err(self.invalid("vars", problem));
                    };
                    let of_arch = |(name, value)| Var { arch: Some(wanted), name, value };
                    vars.extend(words.into_iter().map(of_arch));
                }
            }
        }
        Ok(vars)
    }
}

fn supplied(RawSupplied { name, files, hint }: RawSupplied) -> Supplied {
    Supplied { name, files, hint }
}

fn environment(raw: RawEnvironment) -> Environment {
    Environment { name: raw.name, offset: raw.offset, size: raw.size }
}
