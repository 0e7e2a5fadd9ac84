//! Flags that several verbs share: what is composed, and where compressed blocks are kept.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::preseed_args::PreSeedArgs;
use super::shell_word::quoted;
use crate::board::{Board, Registry};
use crate::error::Result;
use crate::layer::{self, Chain, Order};
use crate::persist::PreSeed;
use crate::plan::KnownIds;
use crate::project::{
    GivenChain, InputSelection, LayerSelection, PreparedInputs, TimestampFrom, nearest_root,
};
use crate::report::Report;
use crate::rootfs::RootTree;
use crate::stage::Inputs;
use crate::tree::scan::HostXattrs;
use crate::value::{Arch, Timestamp};

/// Variable with the directory of more boards.
pub const BOARDS_VARIABLE: &str = "SKIFF_BOARDS_PATH";
/// Flag that has the chain.
const CONFIG_FLAG: &str = "--config";

/// Inputs of what is composed. Without flags: the layer chain of the environment or of the workspace, its board, and the
/// Buildroot output of the workspace.
#[derive(Debug, Args)]
pub struct InputArgs {
    /// Board, as `boards list` shows; without it the last layer of the chain that names one.
    #[arg(long, value_name = "NAME", env = "SKIFF_BOARD")]
    board: Option<String>,

    /// Architecture; without it the one in the .config of the source.
    #[arg(long)]
    arch: Option<Arch>,

    /// Buildroot output directory (O=), or a rootfs.tar; without it workspaces/NAME.
    #[arg(long, value_name = "DIR|TAR")]
    source: Option<PathBuf>,

    /// Directory with kernel, device trees and boot loaders; without it images/ of the source.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    #[command(flatten)]
    layers: LayerArgs,

    #[command(flatten)]
    boards: BoardArgs,

    /// Text that every id (disk signature, GUIDs, serials, UUIDs) is derived from; without it board and chain.
    #[arg(long, value_name = "TEXT")]
    seed: Option<String>,

    /// Id of the existing partition that the image goes to, as `blkid -s PARTUUID -o value /dev/sdXN` prints it; for
    /// boards without a partition table.
    #[arg(long, value_name = "UUID", value_parser = partuuid)]
    partuuid: Option<String>,

    /// Time of every timestamp, in seconds since 1970; without it the one that the workspace was configured with, else
    /// 1980-01-01.
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", value_parser = timestamp)]
    timestamp: Option<MaybeTimestamp>,

    /// Labels and measurements of the build host on the files of target/, such as security.selinux and security.ima, and
    /// other attributes: `keep` takes all into the image; `drop` leaves those of the host out without a word. Without this
    /// none is taken, with a warning for each kind, and an error with --strict. A rootfs.tar has those of its system.
    #[arg(long, value_name = "HOW")]
    host_xattrs: Option<HostXattrsArg>,

    /// Threads that compress, hash and read back, in all; without it one for each core. One more for each
    /// filesystem waits for the disk. The bytes do not depend on it.
    #[arg(long, value_name = "N", value_parser = thread_count())]
    threads: Option<u16>,
}

/// Treatment of what a build host attaches to files.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum HostXattrsArg {
    /// In the image.
    Keep,
    /// Not in the image, and nobody asks for it.
    Drop,
}

/// Directories of boards.
#[derive(Debug, Args)]
pub struct BoardArgs {
    /// Directory with more board descriptors (namespace/name.toml), which win over the built-in ones.
    #[arg(long = "boards", value_name = "DIR", env = BOARDS_VARIABLE)]
    // Text, because a set but empty variable is no path for the parser, and means none.
    directory: Option<OsString>,
}

/// Root of the project.
#[derive(Debug, Args)]
pub struct RootArgs {
    /// Directory with configs/, overrides/ and workspaces/, which relative paths in SKIFF_EXTRA_CONFIGS_PATH and
    /// SKIFF_CONFIG_PATH_* are relative to; without it the nearest one, from the current directory upwards.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

impl RootArgs {
    /// The directory that is given, else the nearest.
    pub fn directory(&self) -> PathBuf {
        self.root.clone().unwrap_or_else(nearest_root)
    }
}

/// Directories of layers, and the chosen ones.
#[derive(Debug, Args)]
pub struct LayerArgs {
    /// Chain of configuration layers, separated by commas or spaces.
    #[arg(long = "config", value_name = "CHAIN", env = "SKIFF_CONFIG")]
    chain: Option<String>,

    /// Workspace whose chain and output are used.
    #[arg(long, value_name = "NAME", env = "SKIFF_WORKSPACE", default_value = "default")]
    workspace: String,

    /// Order layers as SkiffOS does, which leaves a dependency that is in the list already behind its dependents;
    /// SKIFF_ORDER=skiffos asks for it too.
    #[arg(long, env = layer::ORDER_VARIABLE, hide_env = true, value_parser = is_skiffos_order)]
    skiffos_order: bool,

    #[command(flatten)]
    root: RootArgs,

    /// Use nothing that the workspace remembers of its last configure.
    #[arg(long)]
    forget: bool,
}

impl BoardArgs {
    /// The built-in boards and those of the directory.
    pub fn registry(&self) -> Result<Registry> {
        let mut registry = Registry::built_in();
        if let Some(directory) = self.directory() {
            registry.add_directory(&directory)?;
        }
        Ok(registry)
    }

    /// The same where the directory may be still to be made.
    pub fn registry_if_there(&self) -> Result<Registry> {
        match self.directory() {
            Some(directory) if !directory.exists() => Ok(Registry::built_in()),
            _ => self.registry(),
        }
    }

    /// The directory that is given.
    pub fn directory(&self) -> Option<PathBuf> {
        self.directory.as_ref().filter(|directory| !directory.is_empty()).map(PathBuf::from)
    }
}

impl LayerArgs {
    /// Returns the flags and variables for the library.
    pub fn selection(&self) -> LayerSelection {
        LayerSelection {
            chain: self.given_chain(),
            workspace: self.workspace.clone(),
            order: self.given_order(),
            root: self.root.directory(),
            forget: self.forget,
            environment: std::env::vars_os().filter(|(_, value)| !value.is_empty()).collect(),
        }
    }

    fn given_chain(&self) -> Option<GivenChain> {
        let text = self.chain.clone().filter(|chain| !chain.trim().is_empty())?;
        let in_environment = std::env::var(layer::CONFIG_VARIABLE).is_ok_and(|value| value == text);
        let asked_by = if in_environment { layer::CONFIG_VARIABLE } else { CONFIG_FLAG };
        Some(GivenChain { text, asked_by: asked_by.into() })
    }

    fn given_order(&self) -> Option<Order> {
        let is_in_environment =
            || std::env::var_os(layer::ORDER_VARIABLE).is_some_and(|order| !order.is_empty());
        match self.skiffos_order {
            true => Some(Order::Skiffos),
            false => is_in_environment().then(Order::default),
        }
    }

    /// Those of the flags that another verb has to be given too, as a shell reads them, with a space in front.
    pub fn repeated(&self) -> String {
        let is_set = |name: &str, value: &str| std::env::var(name).is_ok_and(|set| set == value);
        let chain = self.given_chain().filter(|chain| chain.asked_by == CONFIG_FLAG).map(|chain| chain.text);
        let workspace =
            Some(&self.workspace).filter(|name| *name != "default" && !is_set("SKIFF_WORKSPACE", name));
        let root = self.root.root.as_ref().filter(|root| *root != Path::new("."));
        let order = self.skiffos_order && !is_set(layer::ORDER_VARIABLE, "skiffos");
        let mut flags = String::new();
        for (flag, value) in [
            (CONFIG_FLAG, chain.map(OsString::from)),
            ("--workspace", workspace.map(OsString::from)),
            ("--root", root.map(OsString::from)),
        ] {
            flags.extend(value.map(|value| format!(" {flag} {}", quoted(&value))));
        }
        flags + if order { " --skiffos-order" } else { "" }
    }

    /// Returns the resolved chain, which must be given or remembered, and reports what the user should know about it.
    pub fn require_and_report(&self, report: &Report) -> Result<Chain> {
        let (_, chain) = self.selection().required()?;
        report_chain(&chain, report);
        Ok(chain)
    }

    /// Returns the resolved chain, and reports what the user should know about it.
    pub fn resolve_and_report(&self, report: &Report) -> Result<Chain> {
        let chain = self.selection().resolved()?;
        report_chain(&chain, report);
        Ok(chain)
    }
}

/// Reports what the user should know about a chain.
pub fn report_chain(chain: &Chain, report: &Report) {
    chain.notes.iter().for_each(|note| report.note(note));
    chain.warnings.iter().for_each(|warning| report.warn(warning));
}

/// Parses SKIFF_ORDER. The flag itself comes here as `true`, and its absence as `false`.
fn is_skiffos_order(text: &str) -> std::result::Result<bool, String> {
    match text {
        "true" | "skiffos" => Ok(true),
        "false" | "" | "dependencies" => Ok(false),
        _ => Err(format!("{} is `skiffos` or `dependencies`", layer::ORDER_VARIABLE)),
    }
}

impl InputArgs {
    /// Reads everything that says what is composed; contents stay where they are.
    pub fn load(&self, first_boot: &PreSeedArgs, report: &Report) -> Result<Inputs> {
        let preseed = first_boot.load()?;
        let boards = self.boards.registry()?;
        let chain = self.layers.resolve_and_report(report)?;
        let selection = InputSelection { slots: first_boot.slots(), ..self.selection() };
        let prepared = selection.load(&boards, chain, preseed)?;
        Ok(report_inputs(prepared, report))
    }

    /// Like [`InputArgs::load`], for a medium that is there already: `fit` makes the board that of the medium, and
    /// gives the ids that it has.
    pub fn load_onto(
        &self,
        report: &Report,
        fit: impl FnOnce(Board) -> Result<(Board, KnownIds)>,
    ) -> Result<Inputs> {
        let boards = self.boards.registry()?;
        let chain = self.layers.resolve_and_report(report)?;
        let prepared = self.selection().load_onto(&boards, chain, PreSeed::default(), fit)?;
        Ok(report_inputs(prepared, report))
    }

    /// Reads the root filesystem alone, for which no board is needed; with the board if one is named.
    pub fn root(&self) -> Result<(RootTree, Option<Board>)> {
        let selection = self.selection();
        Ok((selection.root()?, selection.named_board(&self.boards.registry()?)?))
    }

    fn selection(&self) -> InputSelection {
        InputSelection {
            layers: self.layers.selection(),
            board: self.board.clone().filter(|name| !name.is_empty()),
            arch: self.arch,
            source: self.source.clone(),
            images: self.images.clone(),
            seed: self.seed.clone(),
            partuuid: self.partuuid.clone(),
            timestamp: self.timestamp.and_then(|MaybeTimestamp(timestamp)| timestamp),
            host_xattrs: match self.host_xattrs {
                Some(HostXattrsArg::Keep) => HostXattrs::KeepHost,
                Some(HostXattrsArg::Drop) => HostXattrs::OmitPortable,
                None => HostXattrs::Omit,
            },
            slots: None,
            threads: threads(self.threads),
        }
    }
}

fn report_inputs(prepared: PreparedInputs, report: &Report) -> Inputs {
    if let Some(other) = &prepared.chain_for {
        let board = &prepared.inputs.board.name;
        report.warn(format!(
            "the board is `{board}` but the chain of layers is for `{other}`: kernel, boot loader and device trees of \
             another board do not start this one"
        ));
    }
    match prepared.timestamp {
        TimestampFrom::Default => report.note("SOURCE_DATE_EPOCH is not set: all timestamps are 1980-01-01"),
        TimestampFrom::Remembered(epoch) => {
            report.note(format!("as at the last configure: SOURCE_DATE_EPOCH={epoch}"));
        }
        TimestampFrom::Given => {}
    }
    prepared.inputs
}

/// Parses `--partuuid`: a GUID, or the signature of an MBR and a number.
fn partuuid(text: &str) -> std::result::Result<String, String> {
    let hex = |part: &str, len| part.len() == len && part.chars().all(|c| c.is_ascii_hexdigit());
    let of_mbr = text.split_once('-').is_some_and(|(disk, number)| hex(disk, 8) && hex(number, 2));
    let of_gpt = text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && uuid::Uuid::parse_str(text).is_ok();
    match of_mbr || of_gpt {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("give it as `blkid -s PARTUUID -o value /dev/sdXN` prints it".into()),
    }
}

/// A timestamp, or none: build systems export the variable empty where they have none.
#[derive(Clone, Copy, Debug)]
pub struct MaybeTimestamp(pub Option<Timestamp>);

/// Parses `SOURCE_DATE_EPOCH` or `--timestamp`.
pub fn timestamp(text: &str) -> std::result::Result<MaybeTimestamp, String> {
    if text.is_empty() {
        return Ok(MaybeTimestamp(None));
    }
    let number = text.parse().map_err(|_| "give whole seconds since 1970, as `date +%s` prints them")?;
    Ok(MaybeTimestamp(Some(number)))
}

/// Numbers of threads that can be asked for: more than any machine has cores only costs memory.
pub fn thread_count() -> impl clap::builder::TypedValueParser<Value = u16> {
    clap::value_parser!(u16).range(1..=512)
}

/// The wanted number of threads, or one for each core. Whatever works in parallel without a number of its own
/// is held to it, too.
pub fn threads(wanted: Option<u16>) -> usize {
    let threads =
        wanted.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    // The first call of a run decides; later ones ask for the same.
    _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    threads
}

/// `name.img` with `suffix` put behind it.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
