//! From the TOML to a [`Board`]: everything that can be wrong with a descriptor is found here.

use std::collections::BTreeSet;

use uuid::{Uuid, uuid};

use super::family::{self, Families, Source};
use super::raw::{
    OneOrMany, RawArtifact, RawBlob, RawBoard, RawEnvironment, RawFilesystem, RawFormat, RawKeep, RawMagic,
    RawPartition, RawPlace, RawType, RawVar,
};
use super::{
    Artifact, Blob, BlobSource, Board, Environment, Filesystem, From, Magic, Partition, Place, Recipe, Size,
    TableKind, Update, Var,
};
use crate::boot::grub::CORE_SECTOR;
use crate::error::{Family, Report};
use crate::fs::compress::Compression;
use crate::fs::squashfs::{BLOCK_SIZE_MAX, BLOCK_SIZE_MIN, Codec, DEFAULT_BLOCK_SIZE, DEFAULT_CODEC};
use crate::lint::{self, RuleSet};
use crate::value::{Arch, ByteSize};

/// GPT type GUIDs by the names descriptors use (UEFI specification 2.10, section 5.3.3, and the Discoverable
/// Partitions Specification).
const GPT_TYPES: [(&str, Uuid); 3] = [
    ("esp", uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")),
    ("linux", uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4")),
    ("basic-data", uuid!("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")),
];

/// Name of the partition that keeps files, if the descriptor does not say.
const PERSIST: &str = "persist";

/// Type bytes of an MBR entry for what a partition is formatted with, if the descriptor does not say.
const MBR_FAT32_LBA: u8 = 0x0c;
const MBR_FAT16_LBA: u8 = 0x0e;
const MBR_LINUX: u8 = 0x83;

/// Why a board cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// The TOML does not parse or has a key or value that does not exist.
    #[error("`{file}:{line}:{column}`: {message}")]
    Toml {
        /// Descriptor.
        file: String,
        /// Line from 1.
        line: usize,
        /// Column from 1.
        column: usize,
        /// What the parser says.
        message: String,
        /// The key that was probably meant.
        suggestion: Option<String>,
    },
    /// The parts contradict each other.
    #[error("`{file}`: {place}: {problem}")]
    Invalid {
        /// Descriptor.
        file: String,
        /// Which table of it.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// No descriptor of that name.
    #[error("unknown board `{name}`")]
    Unknown {
        /// As asked for.
        name: String,
        /// The nearest that exists.
        suggestion: Option<String>,
    },
    /// The board does not exist for the architecture of the source.
    #[error("board `{board}` has no architecture `{arch}`; it has {}", list(available))]
    NoSuchArch {
        /// Board.
        board: String,
        /// Architecture of the source or `--arch`.
        arch: Arch,
        /// What the descriptor covers.
        available: Vec<Arch>,
    },
    /// The descriptor says that there is no medium for the board.
    #[error("board `{board}` cannot be composed for: {reason}")]
    Refused {
        /// Board.
        board: String,
        /// What the descriptor says.
        reason: String,
        /// What it says to do instead.
        instead: String,
    },
}

impl Report for BoardError {
    fn family(&self) -> Family {
        match self {
            BoardError::Refused { .. } => Family::Unsupported,
            _ => Family::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            BoardError::Unknown { suggestion: Some(name), .. } => Some(format!("did you mean `{name}`?")),
            BoardError::Unknown { .. } => Some("`skiff-image boards list` shows all boards".into()),
            BoardError::NoSuchArch { .. } => {
                Some("check the layer chain the source was built with, or give `--arch`".into())
            }
            BoardError::Refused { instead, .. } => Some(instead.clone()),
            BoardError::Toml { suggestion: Some(key), .. } => Some(format!("did you mean `{key}`?")),
            BoardError::Toml { .. } | BoardError::Invalid { .. } => {
                Some("correct it; `skiff-image boards check` tells whether it is right".into())
            }
        }
    }
}

fn list(names: &[Arch]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Board {
    /// Parses a descriptor and the family it extends.
    pub fn parse(name: &str, source: Source<'_>, families: &dyn Families) -> Result<Board, BoardError> {
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

impl BoardError {
    /// What the parser says of a text.
    pub(crate) fn toml(source: Source<'_>, error: &toml::de::Error) -> BoardError {
        toml_error(source.file, source.text, error)
    }
}

pub(super) fn toml_error(file: &str, text: &str, error: &toml::de::Error) -> BoardError {
    let start = error.span().map_or(0, |span| span.start);
    toml_error_at(Source { file, text }, start, error.message(), suggestion(error.message()))
}

/// What is wrong at byte `start` of a descriptor.
pub(super) fn toml_error_at(
    source: Source<'_>,
    start: usize,
    message: &str,
    suggestion: Option<String>,
) -> BoardError {
    let before = &source.text[..start.min(source.text.len())];
    BoardError::Toml {
        file: source.file.into(),
        line: before.matches('\n').count() + 1,
        column: before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1,
        message: message.into(),
        suggestion,
    }
}

/// The known word nearest to an unknown one. The parser's message begins with the unknown word in back-ticks and
/// goes on with the known ones.
pub(super) fn suggestion(message: &str) -> Option<String> {
    let mut words = message.strip_prefix("unknown ")?.split('`').skip(1).step_by(2);
    let unknown = words.next()?;
    crate::value::nearest(unknown, words).map(str::to_owned)
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
        std::iter::once(&lint::ALWAYS.to_owned()).chain(&wanted).map(set).collect()
    }

    fn board(&self, name: &str, raw: RawBoard) -> Result<Board, BoardError> {
        let kind = raw.table.kind;
        let mut board = Board {
            name: name.into(),
            extends: raw.extends,
            description: raw.description,
            status: raw.status,
            proof: raw.proof,
            root: raw.root,
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
            rules: Vec::new(),
            partitions: Vec::new(),
        };
        for (index, partition) in raw.partition.into_iter().enumerate() {
            let number = partition.number.unwrap_or(index as u32 + 1);
            board.partitions.push(self.partition(kind, number, partition)?);
        }
        self.ensure_sane(&board)?;
        board.persist = self.persist(&board)?;
        Ok(board)
    }

    fn ensure_sane(&self, board: &Board) -> Result<(), BoardError> {
        if board.arch.is_empty() {
            return Err(self.invalid("arch", "at least one architecture is needed"));
        }
        if !matches!(board.sector_size, 512 | 4096) {
            let problem = format!("sector-size is {} but must be 512 or 4096", board.sector_size);
            return Err(self.invalid("table", problem));
        }
        if board.align.0 == 0 || !board.align.0.is_multiple_of(u64::from(board.sector_size)) {
            let problem = format!("align is {} but must be a multiple of the sector size", board.align);
            return Err(self.invalid("table", problem));
        }
        for &arch in &board.arch {
            let made = board.artifacts.iter().filter(|artifact| artifact.arch.covers(arch));
            self.ensure_unique("artifact", made.map(|artifact| artifact.name.as_str()))?;
        }
        self.ensure_unique("blob", board.blobs.iter().map(|blob| blob.name.as_str()))?;
        self.ensure_unique(
            "environment",
            board.environments.iter().map(|environment| environment.name.as_str()),
        )?;
        self.ensure_unique("partition", board.partitions.iter().map(|partition| partition.name.as_str()))?;
        self.ensure_unique_labels(board)?;
        self.ensure_numbers(board)?;
        self.ensure_references_exist(board)?;
        self.ensure_whole_output(board)?;
        self.ensure_grub_finds_itself(board)?;
        let rest = board.partitions.iter().position(|p| matches!(p.size, Size::Rest { .. }));
        match rest {
            Some(index) if index + 1 != board.partitions.len() => {
                let place = format!("partition `{}`", board.partitions[index].name);
                Err(self.invalid(place, "size \"rest\" is only possible for the last partition"))
            }
            _ => Ok(()),
        }
    }

    fn ensure_unique<'n>(&self, what: &str, names: impl Iterator<Item = &'n str>) -> Result<(), BoardError> {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                return Err(self.invalid(format!("{what} `{name}`"), "the name is used twice"));
            }
        }
        Ok(())
    }

    /// The partition that keeps files: the named one, or an ext4 of the usual name.
    fn persist(&self, board: &Board) -> Result<Option<String>, BoardError> {
        let wanted = board.persist.as_deref().unwrap_or(PERSIST);
        let found = board.partitions.iter().find(|partition| partition.name == wanted);
        match found {
            Some(partition) if matches!(partition.filesystem, Filesystem::Ext4 { .. }) => {
                Ok(Some(wanted.into()))
            }
            _ if board.persist.is_none() => Ok(None),
            Some(_) => {
                let problem = format!("partition `{wanted}` is no ext4, which owners and modes need");
                Err(self.invalid("persist", problem))
            }
            None => Err(self.invalid("persist", format!("there is no partition `{wanted}`"))),
        }
    }

    /// The running system finds its filesystems by label.
    fn ensure_unique_labels(&self, board: &Board) -> Result<(), BoardError> {
        let mut seen: std::collections::BTreeMap<&str, &str> = std::collections::BTreeMap::new();
        for partition in &board.partitions {
            let Some(label) = partition.filesystem.label() else { continue };
            if let Some(first) = seen.insert(label, &partition.name) {
                let problem = format!("the label `{label}` is already that of partition `{first}`");
                return Err(self.invalid(format!("partition `{}`", partition.name), problem));
            }
        }
        Ok(())
    }

    /// Numbers are the table's own: from 1, each once, and what a hybrid MBR lists is there.
    fn ensure_numbers(&self, board: &Board) -> Result<(), BoardError> {
        let mut seen = std::collections::BTreeMap::new();
        for partition in &board.partitions {
            let place = || format!("partition `{}`", partition.name);
            if partition.number == 0 {
                return Err(self.invalid(place(), "partitions are numbered from 1, not from 0"));
            }
            if let Some(first) = seen.insert(partition.number, &partition.name) {
                let problem = format!("the number {} is `{first}`'s already", partition.number);
                return Err(self.invalid(place(), problem));
            }
        }
        match board.hybrid_mbr.iter().find(|number| !seen.contains_key(number)) {
            Some(number) => {
                let problem = format!("hybrid-mbr lists partition {number}, which does not exist");
                Err(self.invalid("table", problem))
            }
            None => Ok(()),
        }
    }

    /// Without a table there is one filesystem and nothing else; an archive is always all there is.
    fn ensure_whole_output(&self, board: &Board) -> Result<(), BoardError> {
        if board.table == TableKind::None {
            return self.ensure_one_filesystem(board);
        }
        let archive = |partition: &&Partition| partition.filesystem.is_archive();
        match board.partitions.iter().find(archive) {
            Some(partition) => {
                let problem = "an archive is no partition; it needs a table of kind \"none\"";
                Err(self.invalid(format!("partition `{}`", partition.name), problem))
            }
            None => Ok(()),
        }
    }

    fn ensure_one_filesystem(&self, board: &Board) -> Result<(), BoardError> {
        let (partitions, blobs) = (board.partitions.len(), board.blobs.len());
        if partitions != 1 || blobs != 0 {
            let problem = format!(
                "kind \"none\" wants one partition and no blob, not {partitions} partitions and {blobs} blobs"
            );
            return Err(self.invalid("table", problem));
        }
        let partition = &board.partitions[0];
        let place = format!("partition `{}`", partition.name);
        if partition.start.is_some() || partition.number != 1 || !board.hybrid_mbr.is_empty() {
            let problem = "`start`, `number` and `hybrid-mbr` mean nothing without a table";
            return Err(self.invalid(place, problem));
        }
        if partition.filesystem.is_archive() && partition.size != (Size::Fit { slack: ByteSize(0) }) {
            return Err(self.invalid(place, "an archive is as long as it is: its size is \"fit\""));
        }
        Ok(())
    }

    fn ensure_references_exist(&self, board: &Board) -> Result<(), BoardError> {
        let mut known = BTreeSet::new();
        for artifact in &board.artifacts {
            self.ensure_placed_exist(
                &format!("artifact `{}`", artifact.name),
                artifact.recipe.files(),
                &known,
            )?;
            let from = match &artifact.recipe {
                Recipe::UbootRamdisk { from, .. } | Recipe::UbootScript { from, .. } => Some(from),
                _ => None,
            };
            if let Some(from) = from.filter(|from| !known.contains(from.as_str())) {
                let problem = format!("`from` names `{from}`, which is not an artifact above it");
                return Err(self.invalid(format!("artifact `{}`", artifact.name), problem));
            }
            known.insert(artifact.name.as_str());
        }
        for blob in &board.blobs {
            if let BlobSource::Artifact(name) = &blob.source
                && !known.contains(name.as_str())
            {
                let problem = format!("it is made of the artifact `{name}`, which does not exist");
                return Err(self.invalid(format!("blob `{}`", blob.name), problem));
            }
        }
        board.partitions.iter().try_for_each(|partition| {
            self.ensure_placed_exist(&format!("partition `{}`", partition.name), &partition.files, &known)
        })
    }

    fn ensure_placed_exist(
        &self,
        what: &str,
        files: &[Place],
        known: &BTreeSet<&str>,
    ) -> Result<(), BoardError> {
        for place in files {
            if let From::Artifact(name) = &place.from
                && !known.contains(name.as_str())
            {
                let problem = format!("a file names the artifact `{name}`, which does not exist");
                return Err(self.invalid(what, problem));
            }
        }
        Ok(())
    }

    /// The sectors that GRUB loads are written into it.
    fn ensure_grub_finds_itself(&self, board: &Board) -> Result<(), BoardError> {
        for blob in &board.blobs {
            let BlobSource::Artifact(name) = &blob.source else { continue };
            let recipe = board.artifacts.iter().find(|artifact| artifact.name == *name);
            let expected = match recipe.map(|artifact| &artifact.recipe) {
                Some(Recipe::GrubBoot { .. }) => 0,
                Some(Recipe::GrubCore { .. }) => CORE_SECTOR * 512,
                _ => continue,
            };
            let place = format!("blob `{}`", blob.name);
            if blob.offset.0 != expected {
                let problem =
                    format!("`{name}` is for byte {expected} of the disk and not {}", blob.offset.0);
                return Err(self.invalid(place, problem));
            }
            if board.table != TableKind::Mbr || board.sector_size != 512 {
                let problem = format!("`{name}` is for a disk with an MBR and sectors of 512 bytes");
                return Err(self.invalid(place, problem));
            }
        }
        Ok(())
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

    fn artifact(&self, raw: RawArtifact) -> Result<Artifact, BoardError> {
        let place = format!("artifact `{}`", raw.name);
        self.reject_foreign_keys(&place, &raw)?;
        let missing = |key: &str| self.invalid(&place, format!("`{key}` is missing"));
        let recipe = match raw.format {
            RawFormat::Squashfs => Recipe::Squashfs {
                subtree: raw.subtree.ok_or_else(|| missing("subtree"))?,
                take: raw.take.unwrap_or(false),
                codec: self.codec(&place, raw.codec)?,
                block: self.block(&place, raw.block)?,
            },
            RawFormat::Cpio => Recipe::Cpio {
                compression: self
                    .compression(&place, Some(raw.compression.ok_or_else(|| missing("compression"))?))?,
                files: self.places(&place, raw.file.unwrap_or_default())?,
            },
            RawFormat::Ext4 => Recipe::Ext4 {
                label: raw.label.ok_or_else(|| missing("label"))?,
                size: raw.size.ok_or_else(|| missing("size"))?,
                files: self.places(&place, raw.file.unwrap_or_default())?,
            },
            RawFormat::Fat32 => Recipe::Fat32 {
                label: raw.label.ok_or_else(|| missing("label"))?,
                size: raw.size.ok_or_else(|| missing("size"))?,
                files: self.places(&place, raw.file.unwrap_or_default())?,
            },
            RawFormat::UbootRamdisk => Recipe::UbootRamdisk {
                from: raw.from.ok_or_else(|| missing("from"))?,
                title: self.title(&place, raw.title)?,
            },
            RawFormat::UbootScript => Recipe::UbootScript {
                from: raw.from.ok_or_else(|| missing("from"))?,
                title: self.title(&place, raw.title)?,
            },
            RawFormat::Text => Recipe::Text {
                rules: raw.rules.ok_or_else(|| missing("rules"))?,
                template: raw.template.ok_or_else(|| missing("template"))?,
                layer_files: raw.layer_files.unwrap_or_default(),
            },
            RawFormat::GrubBoot => {
                Recipe::GrubBoot { directory: raw.directory.ok_or_else(|| missing("directory"))? }
            }
            RawFormat::GrubCore => Recipe::GrubCore {
                directory: raw.directory.ok_or_else(|| missing("directory"))?,
                modules: raw.modules.ok_or_else(|| missing("modules"))?,
                prefix: raw.prefix.ok_or_else(|| missing("prefix"))?,
                config: raw.config,
            },
        };
        Ok(Artifact { name: raw.name, arch: raw.arch, recipe })
    }

    /// A key that the format does not know would be ignored in silence.
    fn reject_foreign_keys(&self, place: &str, raw: &RawArtifact) -> Result<(), BoardError> {
        use RawFormat::{Cpio, Ext4, Fat32, GrubBoot, GrubCore, Squashfs, Text, UbootRamdisk, UbootScript};
        let keys: [(&str, bool, &[RawFormat]); 17] = [
            ("subtree", raw.subtree.is_some(), &[Squashfs]),
            ("take", raw.take.is_some(), &[Squashfs]),
            ("codec", raw.codec.is_some(), &[Squashfs]),
            ("block", raw.block.is_some(), &[Squashfs]),
            ("compression", raw.compression.is_some(), &[Cpio]),
            ("label", raw.label.is_some(), &[Ext4, Fat32]),
            ("size", raw.size.is_some(), &[Ext4, Fat32]),
            ("file", raw.file.is_some(), &[Cpio, Ext4, Fat32]),
            ("from", raw.from.is_some(), &[UbootRamdisk, UbootScript]),
            ("title", raw.title.is_some(), &[UbootRamdisk, UbootScript]),
            ("rules", raw.rules.is_some(), &[Text]),
            ("template", raw.template.is_some(), &[Text]),
            ("layer-files", raw.layer_files.is_some(), &[Text]),
            ("directory", raw.directory.is_some(), &[GrubBoot, GrubCore]),
            ("modules", raw.modules.is_some(), &[GrubCore]),
            ("prefix", raw.prefix.is_some(), &[GrubCore]),
            ("config", raw.config.is_some(), &[GrubCore]),
        ];
        match keys.iter().find(|(_, given, formats)| *given && !formats.contains(&raw.format)) {
            Some((key, ..)) => Err(self.invalid(place, format!("`{key}` means nothing for this format"))),
            None => Ok(()),
        }
    }

    /// `ih_name` of a legacy image has 32 bytes (U-Boot `include/image.h`).
    fn title(&self, place: &str, title: Option<String>) -> Result<String, BoardError> {
        let title = title.unwrap_or_default();
        if title.len() > 32 {
            let problem = format!("title `{title}` has {} bytes but at most 32 fit", title.len());
            return Err(self.invalid(place, problem));
        }
        Ok(title)
    }

    fn compression(&self, place: &str, text: Option<String>) -> Result<Compression, BoardError> {
        let Some(text) = text else { return Ok(Compression::None) };
        text.parse().map_err(|error| self.invalid(place, format!("{error}")))
    }

    fn codec(&self, place: &str, codec: Option<String>) -> Result<Codec, BoardError> {
        let Some(codec) = codec else {
            return Ok(DEFAULT_CODEC);
        };
        codec.parse().map_err(|error| self.invalid(place, format!("{error}")))
    }

    /// The block size of a squashfs.
    pub(super) fn block(&self, place: &str, block: Option<ByteSize>) -> Result<ByteSize, BoardError> {
        let block = block.unwrap_or(ByteSize(DEFAULT_BLOCK_SIZE.into()));
        let (min, max) = (ByteSize(BLOCK_SIZE_MIN.into()), ByteSize(BLOCK_SIZE_MAX.into()));
        if !block.0.is_power_of_two() || block < min || block > max {
            let problem =
                format!("a block of {block} is not possible: it is a power of two from {min} to {max}");
            return Err(self.invalid(place, problem));
        }
        Ok(block)
    }

    fn blob(&self, raw: RawBlob) -> Result<Blob, BoardError> {
        let place = format!("blob `{}`", raw.name);
        let source = match (raw.files, raw.artifact) {
            (Some(files), None) if !files.is_empty() => BlobSource::Images(files),
            (Some(_), None) => return Err(self.invalid(place, "`files` is empty")),
            (None, Some(artifact)) => BlobSource::Artifact(artifact),
            _ => return Err(self.invalid(place, "a blob needs either `files` or `artifact`")),
        };
        if let Some((start, end)) = raw.skip.iter().find(|(start, end)| start >= end) {
            return Err(self.invalid(place, format!("skip range [{start}, {end}) is empty")));
        }
        let magic = raw.magic.map(|magic| self.magic(&place, magic)).transpose()?;
        Ok(Blob {
            name: raw.name,
            source,
            offset: raw.offset,
            from: raw.from.unwrap_or_default(),
            limit: raw.limit,
            length: raw.length,
            skip: raw.skip,
            magic,
            hint: raw.hint,
            optional: raw.optional,
            update: raw.update.unwrap_or(Update::Never),
        })
    }

    fn magic(&self, place: &str, raw: RawMagic) -> Result<Magic, BoardError> {
        let bytes = match (raw.text, raw.hex) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(hex)) => parse_hex(&hex)
                .ok_or_else(|| self.invalid(place, format!("magic `{hex}` is not hexadecimal")))?,
            _ => return Err(self.invalid(place, "magic needs either `text` or `hex`")),
        };
        Ok(Magic { at: raw.at, bytes })
    }

    fn partition(&self, table: TableKind, number: u32, raw: RawPartition) -> Result<Partition, BoardError> {
        let place = format!("partition `{}`", raw.name);
        let filesystem = self.filesystem(&place, &raw)?;
        let (mbr_type, type_guid) = self.partition_type(&place, table, &raw, &filesystem)?;
        let size = self.size(&place, &raw)?;
        if !raw.file.is_empty() && !filesystem.holds_files() {
            return Err(self.invalid(place, "files can only be put on fat16, fat32, ext4, tar and oci"));
        }
        let files = self.places(&place, raw.file)?;
        let always = files.iter().any(|file| !file.optional);
        let update = raw.update.unwrap_or(if always { Update::Files } else { Update::Never });
        Ok(Partition {
            number,
            update,
            start: raw.start,
            size,
            mbr_type,
            active: raw.active,
            type_guid,
            attributes: raw.attributes,
            filesystem,
            files,
            name: raw.name,
        })
    }

    fn filesystem(&self, place: &str, raw: &RawPartition) -> Result<Filesystem, BoardError> {
        let label = || {
            raw.label
                .clone()
                .ok_or_else(|| self.invalid(place, "`label` is missing: boards find it by label"))
        };
        let squashfs = raw.filesystem == RawFilesystem::Squashfs;
        if !squashfs && (raw.codec.is_some() || raw.block.is_some()) {
            return Err(self.invalid(place, "`codec` and `block` mean nothing but for squashfs"));
        }
        self.reject_foreign_to_filesystem(place, raw)?;
        Ok(match raw.filesystem {
            RawFilesystem::Fat16 => Filesystem::Fat16 { label: label()? },
            RawFilesystem::Fat32 => Filesystem::Fat32 { label: label()? },
            RawFilesystem::Ext4 => Filesystem::Ext4 { label: label()? },
            RawFilesystem::Squashfs => Filesystem::Squashfs {
                codec: self.codec(place, raw.codec.clone())?,
                block: self.block(place, raw.block)?,
            },
            RawFilesystem::Raw => self.raw(place, raw)?,
            RawFilesystem::Tar => {
                Filesystem::Tar { compression: self.compression(place, raw.compression.clone())? }
            }
            RawFilesystem::Oci => self.oci(place, raw)?,
            RawFilesystem::None => Filesystem::None,
        })
    }

    /// A key that the filesystem does not know would be ignored in silence.
    fn reject_foreign_to_filesystem(&self, place: &str, raw: &RawPartition) -> Result<(), BoardError> {
        use RawFilesystem::{Oci, Raw, Tar};
        let keys: [(&str, bool, &[RawFilesystem], &str); 4] = [
            ("image", raw.image.is_some(), &[Raw], "raw"),
            ("optional", raw.optional, &[Raw], "raw"),
            ("compression", raw.compression.is_some(), &[Tar, Oci], "tar and oci"),
            ("oci", raw.oci.is_some(), &[Oci], "oci"),
        ];
        match keys.iter().find(|(_, given, known, _)| *given && !known.contains(&raw.filesystem)) {
            Some((key, _, _, known)) => {
                Err(self.invalid(place, format!("`{key}` means nothing but for {known}")))
            }
            None => Ok(()),
        }
    }

    fn raw(&self, place: &str, raw: &RawPartition) -> Result<Filesystem, BoardError> {
        let images = match &raw.image {
            Some(OneOrMany::One(name)) => vec![name.clone()],
            Some(OneOrMany::Many(names)) if !names.is_empty() => names.clone(),
            _ => return Err(self.invalid(place, "`image` is missing: a raw partition holds a file")),
        };
        Ok(Filesystem::Raw { images, optional: raw.optional })
    }

    /// Readers of the OCI layout know layers as they are, with gzip and with zstd (image-spec 1.0, `layer.md`).
    fn oci(&self, place: &str, raw: &RawPartition) -> Result<Filesystem, BoardError> {
        let compression = self.compression(place, raw.compression.clone())?;
        if !matches!(compression, Compression::None | Compression::Gzip(_) | Compression::Zstd(_)) {
            let problem =
                format!("a layer is compressed with none, gzip or zstd, not {}", compression.name());
            return Err(self.invalid(place, problem));
        }
        let oci = raw.oci.clone().ok_or_else(|| self.invalid(place, "`oci` is missing"))?;
        Ok(Filesystem::Oci { compression, oci })
    }

    fn partition_type(
        &self,
        place: &str,
        table: TableKind,
        raw: &RawPartition,
        filesystem: &Filesystem,
    ) -> Result<(u8, Uuid), BoardError> {
        let mbr_default = match filesystem {
            Filesystem::Fat32 { .. } => MBR_FAT32_LBA,
            Filesystem::Fat16 { .. } => MBR_FAT16_LBA,
            _ => MBR_LINUX,
        };
        let linux = GPT_TYPES[1].1;
        match (table, &raw.kind) {
            (TableKind::Mbr, None) => Ok((mbr_default, linux)),
            (TableKind::Mbr, Some(RawType::Byte(byte))) => Ok((*byte, linux)),
            (TableKind::Mbr, Some(RawType::Name(name))) => {
                Err(self
                    .invalid(place, format!("type `{name}` is for GPT; an MBR wants a byte such as 0x0c")))
            }
            (TableKind::Gpt, None) => Ok((mbr_default, linux)),
            (TableKind::None, None) => Ok((mbr_default, linux)),
            (TableKind::None, Some(_)) => Err(self.invalid(place, "`type` means nothing without a table")),
            (TableKind::Gpt, Some(RawType::Byte(byte))) => {
                Err(self.invalid(place, format!("type {byte:#04x} is for an MBR; GPT wants a name or GUID")))
            }
            (TableKind::Gpt, Some(RawType::Name(name))) => {
                let named = GPT_TYPES.iter().find(|(known, _)| known == name).map(|(_, guid)| *guid);
                let guid = named.or_else(|| name.parse().ok());
                let guid = guid.ok_or_else(|| {
                    let problem = format!("type `{name}` is neither a GUID nor esp, linux or basic-data");
                    self.invalid(place, problem)
                })?;
                Ok((mbr_default, guid))
            }
        }
    }

    fn size(&self, place: &str, raw: &RawPartition) -> Result<Size, BoardError> {
        let size = match raw.size.as_str() {
            "fit" => Size::Fit { slack: raw.slack.unwrap_or_default() },
            "rest" => Size::Rest {
                minimum: raw.minimum.ok_or_else(|| self.invalid(place, "size \"rest\" needs `minimum`"))?,
            },
            text => Size::Exact(text.parse().map_err(|error| self.invalid(place, format!("{error}")))?),
        };
        if raw.slack.is_some() && !matches!(size, Size::Fit { .. }) {
            return Err(self.invalid(place, "`slack` means nothing but for size \"fit\""));
        }
        if raw.minimum.is_some() && !matches!(size, Size::Rest { .. }) {
            return Err(self.invalid(place, "`minimum` means nothing but for size \"rest\""));
        }
        Ok(size)
    }

    fn places(&self, place: &str, raw: Vec<RawPlace>) -> Result<Vec<Place>, BoardError> {
        raw.into_iter().map(|file| self.place(place, file)).collect()
    }

    /// The one source that a file names.
    fn source(&self, place: &str, raw: &RawPlace) -> Result<From, BoardError> {
        let exclude = || raw.exclude.clone().unwrap_or_default();
        let image = raw.image.as_ref().map(|image| match image {
            OneOrMany::One(name) => From::Images(vec![name.clone()]),
            OneOrMany::Many(names) => From::Images(names.clone()),
        });
        let sources = [
            image.filter(|image| *image != From::Images(Vec::new())),
            raw.tree.clone().map(|tree| From::ImagesTree { tree, exclude: exclude() }),
            raw.artifact.clone().map(From::Artifact),
            raw.directory.as_ref().map(|_| From::Directory),
            raw.root.clone().map(|path| From::Root { path, exclude: exclude() }),
            raw.text.clone().map(From::Text),
            raw.link.clone().map(From::Link),
        ];
        let mut given = sources.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(from), None) => Ok(from),
            _ => {
                let problem = "a file needs exactly one of `image`, `tree`, `artifact`, `directory`, `root`, \
                               `text` and `link`";
                Err(self.invalid(place, problem))
            }
        }
    }

    fn mode(&self, place: &str, from: &From, mode: Option<&str>) -> Result<Option<u32>, BoardError> {
        let Some(text) = mode else { return Ok(None) };
        if matches!(from, From::ImagesTree { .. } | From::Root { .. } | From::Link(_)) {
            return Err(self.invalid(place, "`mode` means nothing for `tree`, `root` and `link`"));
        }
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o7777 => Ok(Some(mode)),
            _ => Err(self.invalid(place, format!("mode `{text}` is not octal up to 7777"))),
        }
    }

    fn place(&self, place: &str, raw: RawPlace) -> Result<Place, BoardError> {
        let from = self.source(place, &raw)?;
        if raw.exclude.is_some() && !matches!(from, From::ImagesTree { .. } | From::Root { .. }) {
            return Err(self.invalid(place, "`exclude` means nothing but for `tree` and `root`"));
        }
        let mode = self.mode(place, &from, raw.mode.as_deref())?;
        let to = match (&from, raw.to, raw.directory) {
            (From::Directory, None, Some(path)) => path,
            (From::Directory, Some(_), _) => {
                return Err(self.invalid(place, "`to` means nothing beside `directory`"));
            }
            (From::Images(names), None, _) if names.len() > 1 => {
                return Err(self.invalid(place, "several candidates in `image` need `to`"));
            }
            (From::Images(names), None, _) if names[0].contains('*') => "/".into(),
            (From::Images(names), None, _) => format!("/{}", base_name(&names[0])),
            (From::Artifact(name), None, _) => format!("/{name}"),
            (From::ImagesTree { .. }, None, _) => "/".into(),
            (From::Root { path, .. }, None, _) => path.clone(),
            (From::Text(_) | From::Link(_), None, _) => {
                return Err(self.invalid(place, "`text` and `link` need `to`"));
            }
            (_, Some(to), _) => to,
            (From::Directory, None, None) => unreachable!("a directory place has a path"),
        };
        let keep = raw.update == Some(RawKeep::Keep);
        Ok(Place { arch: raw.arch, from, to, mode, optional: raw.optional, keep })
    }
}

fn environment(raw: RawEnvironment) -> Environment {
    Environment { name: raw.name, offset: raw.offset, size: raw.size }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(pair).collect()
}
