//! Flags that several verbs share: what is composed, and where compressed blocks are kept.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use super::preseed_args::PreSeedArgs;
use super::shell_word::quoted;
use crate::board::{Board, Registry, TableKind};
use crate::error::Result;
use crate::fs::squashfs::Resources;
use crate::layer::{self, Chain, Environment, Layer, Order, Roots};
use crate::persist::PreSeed;
use crate::plan::KnownIds;
use crate::report::Report;
use crate::rootfs::{Output, RootInputs, RootTree, root_tree};
use crate::stage::{Inputs, TemplateVariables};
use crate::value::{Arch, Seed, Timestamp};
use crate::workspace::{Selection, Workspace};

/// Time of all timestamps when `SOURCE_DATE_EPOCH` is not set: 1980-01-01, the earliest that FAT can hold.
const DEFAULT_TIMESTAMP: Timestamp = 315_532_800;

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

    /// Threads that compress, hash and read back, in all; without it one for each core. One more for each
    /// filesystem waits for the disk. The bytes do not depend on it.
    #[arg(long, value_name = "N", value_parser = thread_count())]
    threads: Option<u16>,
}

/// Directories of boards.
#[derive(Debug, Args)]
pub struct BoardArgs {
    /// Directory with more board descriptors (namespace/name.toml), which win over the built-in ones.
    #[arg(long = "boards", value_name = "DIR", env = "SKIFF_BOARDS_PATH")]
    // Text, because a set but empty variable is no path for the parser, and means none.
    directory: Option<OsString>,
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

    /// Directory with configs/, overrides/ and workspaces/, which relative paths in SKIFF_EXTRA_CONFIGS_PATH and
    /// SKIFF_CONFIG_PATH_* are relative to.
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,

    /// Use nothing that the workspace remembers of its last configure.
    #[arg(long)]
    forget: bool,
}

impl BoardArgs {
    /// The built-in boards and those of the directory.
    pub fn registry(&self) -> Result<Registry> {
        let mut registry = Registry::built_in();
        if let Some(directory) = self.directory.as_ref().filter(|directory| !directory.is_empty()) {
            registry.add_directory(Path::new(directory))?;
        }
        Ok(registry)
    }
}

impl LayerArgs {
    /// All layers there are.
    pub fn registry(&self) -> Result<layer::Registry> {
        let asked = self.remembered()?.map(|selection| selection.asked).unwrap_or_default();
        let extra = asked.extra.into_iter().map(|extra| (layer::EXTRA_VARIABLE.to_owned(), extra));
        let remembered = asked.variables.into_iter().chain(extra);
        let remembered = remembered.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        // What is set goes before.
        let set = std::env::vars_os().filter(|(_, value)| !value.is_empty());
        let variables = remembered.chain(set).chain([("SKIFF_WORKSPACE".into(), self.workspace().into())]);
        let roots = Roots::for_project(self.below(""));
        Ok(layer::discover(&variables.collect::<Environment>(), &roots)?)
    }

    /// The workspace, named as SkiffOS does.
    pub fn workspace(&self) -> String {
        Environment::from_iter([("SKIFF_WORKSPACE", &self.workspace)]).workspace()
    }

    /// The project root, from that of the filesystem on and without links.
    pub fn absolute_root(&self) -> Result<PathBuf> {
        Ok(self.root.canonicalize().map_err(crate::error::Io::on("find", &self.root))?)
    }

    /// A path of the project, short if that is the current directory.
    pub fn below(&self, path: impl AsRef<Path>) -> PathBuf {
        if self.root == Path::new(".") { path.as_ref().into() } else { self.root.join(path) }
    }

    /// The chain as the user gave it, and where: flag, environment, or what the workspace remembers.
    pub fn chain(&self) -> Result<Option<(String, String)>> {
        if let Some(chain) = self.chain.as_ref().filter(|chain| !chain.trim().is_empty()) {
            let of_environment = std::env::var(layer::CONFIG_VARIABLE).is_ok_and(|value| value == *chain);
            let asked_by = if of_environment { layer::CONFIG_VARIABLE } else { "--config" };
            return Ok(Some((chain.clone(), asked_by.into())));
        }
        let remembered = self.remembered()?.map(|selection| selection.asked.chain);
        Ok(remembered.map(|chain| (chain, Selection::file_in(&self.configuration()).display().to_string())))
    }

    /// Those of the flags that another verb has to be given too, as a shell reads them, with a space in front.
    pub fn repeated(&self) -> Result<String> {
        let is_set = |name: &str, value: &str| std::env::var(name).is_ok_and(|set| set == value);
        let chain = self.chain()?.filter(|(_, asked_by)| asked_by == "--config").map(|(chain, _)| chain);
        let workspace =
            Some(&self.workspace).filter(|name| *name != "default" && !is_set("SKIFF_WORKSPACE", name));
        let root = Some(&self.root).filter(|root| *root != Path::new("."));
        let order = self.skiffos_order && !is_set(layer::ORDER_VARIABLE, "skiffos");
        let mut flags = String::new();
        for (flag, value) in [
            ("config", chain.map(OsString::from)),
            ("workspace", workspace.map(OsString::from)),
            ("root", root.map(OsString::from)),
        ] {
            flags.extend(value.map(|value| format!(" --{flag} {}", quoted(&value))));
        }
        Ok(flags + if order { " --skiffos-order" } else { "" })
    }

    /// Returns what the workspace remembers of its last configure, if that is to be used.
    pub fn remembered(&self) -> Result<Option<Selection>> {
        if self.forget { Ok(None) } else { Ok(Selection::read_in(&self.configuration())?) }
    }

    /// Returns whether a flag or a variable gives a chain.
    pub fn is_given(&self) -> bool {
        self.chain.as_ref().is_some_and(|chain| !chain.trim().is_empty())
    }

    /// Returns the workspace; the project root must exist.
    pub fn place(&self) -> Result<Workspace> {
        Ok(Workspace::for_name(&self.root, &self.workspace())?)
    }

    fn configuration(&self) -> PathBuf {
        self.below(format!("workspaces/.config_{}", self.workspace()))
    }

    /// Returns the order of layers: the one asked for, else that of the last configure.
    pub fn order(&self) -> Result<Order> {
        if self.skiffos_order {
            return Ok(Order::Skiffos);
        }
        let remembered = self.remembered()?.map(|selection| selection.asked.order);
        Ok(remembered.filter(|_| !self.is_order_given()).unwrap_or_default())
    }

    /// Returns whether a flag or a variable gives an order.
    pub fn is_order_given(&self) -> bool {
        self.skiffos_order || std::env::var_os("SKIFF_ORDER").is_some_and(|order| !order.is_empty())
    }

    /// The resolved chain with all its layers in order.
    pub fn resolve(&self) -> Result<Vec<Layer>> {
        Ok(self.resolved()?.into_layers())
    }

    /// Returns the resolved chain, and reports what the user should know about it.
    pub fn resolve_and_report(&self, report: &Report) -> Result<Chain> {
        let chain = self.resolved()?;
        report_chain(&chain, report);
        Ok(chain)
    }

    /// The resolved chain with the base and the overrides.
    pub fn resolved(&self) -> Result<Chain> {
        let chain = self.chain()?;
        // A board can be composed for without any layer, from a directory that has none.
        if chain.is_none() && !self.below("configs").is_dir() {
            return Ok(Chain::default());
        }
        let (chain, asked_by) = chain.unwrap_or_default();
        Ok(self.registry()?.chain(&chain, &asked_by, self.order()?)?)
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

/// Something missing on the command line.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Input)]
enum ArgsError {
    /// Neither a flag nor the chain says which board.
    #[error("no board: neither `--board` nor a layer of the chain `{chain}` names one")]
    #[diagnostic(hint = "`skiff-image boards list` shows all boards")]
    UnnamedBoard { chain: String },
    /// The board makes a table with ids of its own.
    #[error("board `{board}` makes a partition table, so the ids of its partitions follow from the seed")]
    #[diagnostic(hint = "leave `--partuuid` out")]
    OwnPartuuids { board: String },
    /// Nothing says which board.
    #[error("no board: neither `--board` nor a chain of layers is given")]
    #[diagnostic(hint = "give `--board` or set SKIFF_CONFIG; `skiff-image boards list` shows all boards")]
    NoBoard,
    /// Neither a flag nor the workspace gives a source.
    #[error("no source: `{}` does not exist and `--source` is not given", path.display())]
    #[diagnostic(hint = "give the output directory of Buildroot (O=...), or set SKIFF_WORKSPACE")]
    MissingSource { path: PathBuf },
}

impl InputArgs {
    /// Reads everything that says what is composed; contents stay where they are.
    pub fn load(&self, first_boot: &PreSeedArgs, report: &Report) -> Result<Inputs> {
        self.load_onto(report, first_boot.load()?, |board| Ok((board, KnownIds::default())))
    }

    /// Like [`InputArgs::load`], for a medium that is there already: `fit` makes the board that of the medium, and
    /// gives the ids that it has.
    pub fn load_onto(
        &self,
        report: &Report,
        preseed: PreSeed,
        fit: impl FnOnce(Board) -> Result<(Board, KnownIds)>,
    ) -> Result<Inputs> {
        let boards = self.boards.registry()?;
        let layers = self.layers.resolve_and_report(report)?.into_layers();
        let mut board = boards.board(&self.board_name(&boards, &layers)?)?;
        board.choose(&layers)?;
        if self.partuuid.is_some() && board.table != TableKind::None {
            return Err(ArgsError::OwnPartuuids { board: board.name }.into());
        }
        let output = Output::open(&self.source_path()?)?;
        let (board, known) = fit(board)?;
        let arch = board.pick_arch(self.arch.or(output.arch))?;
        let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        let seed = self.seed.clone().unwrap_or_else(|| format!("{} {}", board.name, names.join(",")));
        let timestamp = self.timestamp()?;
        match timestamp {
            None => report.note("SOURCE_DATE_EPOCH is not set: all timestamps are 1980-01-01"),
            Some(remembered) if self.given_timestamp().is_none() => {
                report.note(format!("as at the last configure: SOURCE_DATE_EPOCH={remembered}"));
            }
            Some(_) => {}
        }
        let seed = Seed(seed.trim().to_owned());
        let images = self.images.clone().unwrap_or_else(|| output.images());
        let variables =
            TemplateVariables::keeping(&known, &board, arch, &seed, &images, self.partuuid.as_deref())?;
        Ok(Inputs {
            arch,
            layers,
            images,
            output,
            seed,
            partuuid: self.partuuid.clone(),
            timestamp: timestamp.unwrap_or(DEFAULT_TIMESTAMP),
            preseed,
            resources: Resources { threads: threads(self.threads), ..Default::default() },
            board: variables.fill(board)?,
            variables,
        })
    }

    /// The root filesystem alone, for which no board is needed.
    pub fn root(&self) -> Result<RootTree> {
        let layers = self.layers.resolve()?;
        let output = Output::open(&self.source_path()?)?;
        root_tree(&RootInputs {
            output: &output,
            layers: &layers,
            seed: &Seed(self.seed.clone().unwrap_or_default()),
            epoch: self.timestamp()?.unwrap_or(DEFAULT_TIMESTAMP),
        })
    }

    fn given_timestamp(&self) -> Option<Timestamp> {
        self.timestamp.and_then(|MaybeTimestamp(timestamp)| timestamp)
    }

    /// Returns the time that is given, else the one that the workspace was configured with.
    fn timestamp(&self) -> Result<Option<Timestamp>> {
        let remembered = || {
            let of = |Selection { asked, used, .. }| asked.source_date_epoch.or(used.source_date_epoch);
            self.layers.remembered().map(|known| known.and_then(of))
        };
        self.given_timestamp().map_or_else(remembered, |given| Ok(Some(given)))
    }

    fn board_name(&self, boards: &Registry, layers: &[Layer]) -> Result<String> {
        if let Some(name) = self.board.as_ref().filter(|name| !name.is_empty()) {
            return Ok(name.clone());
        }
        let named = layers.iter().rev().find(|layer| boards.contains(&layer.name));
        let chain = || layers.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>().join(",");
        let missing = || match layers {
            [] => ArgsError::NoBoard,
            _ => ArgsError::UnnamedBoard { chain: chain() },
        };
        Ok(named.map(|layer| layer.name.clone()).ok_or_else(missing)?)
    }

    fn source_path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.source {
            return Ok(path.clone());
        }
        let path = self.layers.below("workspaces").join(self.layers.workspace());
        if path.is_dir() { Ok(path) } else { Err(ArgsError::MissingSource { path }.into()) }
    }
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
