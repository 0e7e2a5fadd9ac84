//! Inputs of what is composed: board, layers and Buildroot output, from what the user gives and what the workspace
//! remembers.

use std::path::PathBuf;

use super::LayerSelection;
use crate::board::{Board, Registry, TableKind};
use crate::error::Result;
use crate::fs::squashfs::Resources;
use crate::layer::{Chain, Layer};
use crate::persist::PreSeed;
use crate::plan::KnownIds;
use crate::rootfs::{Output, RootInputs, RootTree, root_tree};
use crate::stage::{Inputs, SlotInputs, TemplateVariables};
use crate::tree::scan::HostXattrs;
use crate::value::{Arch, Seed, Timestamp};

/// Time of all timestamps when none is given: 1980-01-01, the earliest that FAT can hold.
const DEFAULT_TIMESTAMP: Timestamp = 315_532_800;

/// Choices of the user for a composition; each field that is none has a default.
#[derive(Clone, Debug)]
pub struct InputSelection {
    /// Layers and workspace.
    pub layers: LayerSelection,
    /// Board; else the last layer of the chain that names one.
    pub board: Option<String>,
    /// Architecture; else the one in the `.config` of the source.
    pub arch: Option<Arch>,
    /// Buildroot output directory or archive; else that of the workspace.
    pub source: Option<PathBuf>,
    /// Directory with kernel and boot loaders; else `images/` of the source.
    pub images: Option<PathBuf>,
    /// Text that ids are derived from; else board and chain.
    pub seed: Option<String>,
    /// Id of the existing partition that the image goes to.
    pub partuuid: Option<String>,
    /// Seconds since 1970 of every timestamp; else the time of the last configure.
    pub timestamp: Option<Timestamp>,
    /// Extended attributes that are taken from `target/`.
    pub host_xattrs: HostXattrs,
    /// Two slots on the medium; else one system.
    pub slots: Option<SlotSelection>,
    /// Threads that compress.
    pub threads: usize,
}

/// Choices for a medium with two slots.
#[derive(Clone, Debug, Default)]
pub struct SlotSelection {
    /// File with the keys that may sign updates; else the one that layers bring.
    pub root: Option<PathBuf>,
}

/// Inputs, and what the user should know about them.
pub struct PreparedInputs {
    /// Inputs of the composition.
    pub inputs: Inputs,
    /// Origin of the timestamp.
    pub timestamp: TimestampFrom,
    /// Board that the chain is for, if another is composed for.
    pub chain_for: Option<String>,
}

/// What a workspace is for.
#[derive(Clone, Debug)]
pub struct BuiltSystem {
    /// Name of the board.
    pub board: String,
    /// Architecture.
    pub arch: Arch,
    /// Directory of kernels and other images.
    pub images: PathBuf,
}

/// Origin of the timestamp of all files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampFrom {
    /// The user gives it.
    Given,
    /// The workspace was configured with it.
    Remembered(Timestamp),
    /// Nobody says one, so it is 1980-01-01.
    Default,
}

/// Something that is missing or contradicts itself.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Input)]
enum InputError {
    /// Neither the user nor the chain says which board.
    #[error("no board: none is given, and no layer of the chain `{chain}` names one")]
    #[diagnostic(hint = "`skiff-image boards list` shows all boards", code = "no-board")]
    UnnamedBoard { chain: String },
    /// The board makes a table with ids of its own.
    #[error("board `{board}` makes a partition table, so the ids of its partitions follow from the seed")]
    #[diagnostic(code = "own-partuuids")]
    OwnPartuuids { board: String },
    /// Nothing says which board.
    #[error("no board: neither a board nor a chain of layers is given")]
    #[diagnostic(
        hint = "set SKIFF_CONFIG, or name a board: `skiff-image boards list` shows all boards",
        code = "no-board"
    )]
    NoBoard,
    /// The source was built for another architecture.
    #[error("`{}` was built for {built}, not for {given}", path.display())]
    #[diagnostic(
        hint = "build the system for {given}, or take the architecture of the source",
        code = "other-arch"
    )]
    OtherArch { path: PathBuf, built: Arch, given: Arch },
    /// Neither the user nor the workspace gives a source.
    #[error("no source: `{}` does not exist and no other is given", path.display())]
    #[diagnostic(
        hint = "set SKIFF_WORKSPACE, or give the output directory of Buildroot (O=...)",
        code = "no-source"
    )]
    MissingSource { path: PathBuf },
}

impl InputSelection {
    /// Reads everything that says what is composed; contents stay where they are. `chain` is that of
    /// [`LayerSelection::resolved`].
    pub fn load(&self, boards: &Registry, chain: Chain, preseed: PreSeed) -> Result<PreparedInputs> {
        self.load_onto(boards, chain, preseed, |board| Ok((board, KnownIds::default())))
    }

    /// Like [`InputSelection::load`], for a medium that is there already: `fit` makes the board that of the medium, and
    /// gives the ids that it has.
    pub fn load_onto(
        &self,
        boards: &Registry,
        chain: Chain,
        preseed: PreSeed,
        fit: impl FnOnce(Board) -> Result<(Board, KnownIds)>,
    ) -> Result<PreparedInputs> {
        let layers = chain.into_layers();
        let name = self.board_name(boards, &layers)?;
        // A chain can name several boards, where one takes another over.
        let of_chain: Vec<&Layer> = layers.iter().filter(|layer| boards.contains(&layer.name)).collect();
        let chain_for = of_chain.last().filter(|_| of_chain.iter().all(|layer| layer.name != name));
        let chain_for = chain_for.map(|layer| layer.name.clone());
        let mut board = boards.board(&name)?;
        board.choose(&layers)?;
        if self.partuuid.is_some() && board.table != TableKind::None {
            return Err(InputError::OwnPartuuids { board: board.name }.into());
        }
        let output = Output::open(&self.source_path()?)?;
        let (board, known) = fit(board)?;
        let arch = self.arch_for(&board, &output)?;
        let (board, slots) = self.with_slots(board, arch)?;
        let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        let seed = self.seed.clone().unwrap_or_else(|| format!("{} {}", board.name, names.join(",")));
        let (timestamp, from) = self.timestamp()?;
        let seed = Seed(seed.trim().to_owned());
        let images = self.images.clone().unwrap_or_else(|| output.images());
        let variables =
            TemplateVariables::keeping(&known, &board, arch, &seed, &images, self.partuuid.as_deref())?;
        let inputs = Inputs {
            arch,
            layers,
            images,
            output,
            seed,
            partuuid: self.partuuid.clone(),
            timestamp,
            host_xattrs: self.host_xattrs,
            preseed,
            resources: Resources { threads: self.threads, ..Default::default() },
            board: variables.fill(board)?,
            slots,
            variables,
        };
        Ok(PreparedInputs { inputs, timestamp: from, chain_for })
    }

    /// The architecture that is given, or else that of the source, which must not be another one.
    fn arch_for(&self, board: &Board, output: &Output) -> Result<Arch> {
        let arch = board.pick_arch(self.arch.or(output.arch))?;
        match output.arch {
            Some(built) if built != arch => {
                Err(InputError::OtherArch { path: self.source_path()?, built, given: arch }.into())
            }
            _ => Ok(arch),
        }
    }

    /// The board with slots, if they are wanted, and what the device will know of them.
    fn with_slots(&self, board: Board, arch: Arch) -> Result<(Board, Option<SlotInputs>)> {
        let Some(selection) = &self.slots else { return Ok((board, None)) };
        let (board, slots) = board.with_slots(arch)?;
        let root = selection.root.as_deref().map(SlotInputs::read_root).transpose()?;
        Ok((board, Some(SlotInputs { slots, root })))
    }

    /// Reads the root filesystem alone, for which no board is needed.
    pub fn root(&self) -> Result<RootTree> {
        let layers = self.layers.resolve()?;
        let output = Output::open(&self.source_path()?)?;
        root_tree(&RootInputs {
            output: &output,
            layers: &layers,
            seed: &Seed(self.seed.clone().unwrap_or_default()),
            epoch: self.timestamp()?.0,
            host_xattrs: self.host_xattrs,
        })
    }

    /// Returns what a workspace is for: board and architecture, and where its images are.
    pub fn system(&self, boards: &Registry) -> Result<BuiltSystem> {
        let name = self.board_name(boards, &self.layers.resolve()?)?;
        let output = Output::open(&self.source_path()?)?;
        let board = boards.board(&name)?;
        let arch = self.arch_for(&board, &output)?;
        let images = self.images.clone().unwrap_or_else(|| output.images());
        Ok(BuiltSystem { board: name, arch, images })
    }

    /// Returns the board that is given or that the chain names, if one is.
    pub fn named_board(&self, boards: &Registry) -> Result<Option<Board>> {
        match self.board_name(boards, &self.layers.resolve()?) {
            Ok(name) if boards.refusal(&name)?.is_some() => Ok(None),
            Ok(name) => Ok(Some(boards.board(&name)?)),
            Err(InputError::NoBoard | InputError::UnnamedBoard { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the time that is given, else the one that the workspace was configured with.
    fn timestamp(&self) -> Result<(Timestamp, TimestampFrom)> {
        if let Some(given) = self.timestamp {
            return Ok((given, TimestampFrom::Given));
        }
        let remembered = self.layers.remembered()?;
        let remembered =
            remembered.and_then(|known| known.asked.source_date_epoch.or(known.used.source_date_epoch));
        Ok(match remembered {
            Some(epoch) => (epoch, TimestampFrom::Remembered(epoch)),
            None => (DEFAULT_TIMESTAMP, TimestampFrom::Default),
        })
    }

    fn board_name(&self, boards: &Registry, layers: &[Layer]) -> Result<String, InputError> {
        if let Some(name) = &self.board {
            return Ok(name.clone());
        }
        match (boards.layer_with_board(layers.iter()), layers) {
            (Some(layer), _) => Ok(layer.name.clone()),
            (None, []) => Err(InputError::NoBoard),
            (None, _) => {
                let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
                Err(InputError::UnnamedBoard { chain: names.join(",") })
            }
        }
    }

    fn source_path(&self) -> Result<PathBuf, InputError> {
        if let Some(path) = &self.source {
            return Ok(path.clone());
        }
        let path = self.layers.below("workspaces").join(self.layers.workspace());
        if path.is_dir() { Ok(path) } else { Err(InputError::MissingSource { path }) }
    }
}
