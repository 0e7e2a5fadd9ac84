//! Scripts of layers that run in a build: `hooks/pre.sh` when the root filesystem is complete (Buildroot's post-build
//! script), `hooks/post.sh` when the images are there (its post-image script). The names are SkiffOS', and so is how
//! they run: one layer after the other in layer order, in the workspace, without arguments; the first that fails ends
//! the build. One that hangs is ended.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::board::Board;
use crate::error::{Diagnostic, Io};
use crate::interrupt::Interrupt;
use crate::layer::Layer;
use crate::process::{ProcessError, Program};

/// Time that a hook has to end after it was asked to: less than this program itself is given.
const GRACE: Duration = Duration::from_secs(2);

/// Moment at which a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Phase {
    /// The root filesystem is complete.
    Pre,
    /// The images are there.
    Post,
}

impl Phase {
    /// The script of a layer.
    pub fn script(self) -> &'static str {
        match self {
            Phase::Pre => "hooks/pre.sh",
            Phase::Post => "hooks/post.sh",
        }
    }
}

/// Hooks that are to run.
pub struct Hooks<'a> {
    /// All layers, in order.
    pub layers: &'a [Layer],
    /// Phase of the hooks.
    pub phase: Phase,
    /// The project root, from which on paths are shown.
    pub root: &'a Path,
    /// Directory in which they run: the workspace.
    pub directory: &'a Path,
    /// Variables that are added to our own environment for the hook of a layer.
    pub environment: &'a dyn Fn(&Layer) -> Vec<(OsString, OsString)>,
    /// Longest time that one may take.
    pub limit: Duration,
}

/// A hook and whose it is, as messages show them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The script.
    pub path: PathBuf,
    /// Name of its layer.
    pub layer: String,
}

impl std::fmt::Display for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "hook `{}` of layer `{}`", self.path.display(), self.layer)
    }
}

/// A hook that does not run, because an artifact of the board is made of the files that it would take away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Name of its layer.
    pub layer: String,
    artifact: String,
    board: String,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let LeftOut { layer, artifact, board } = self;
        let script = Phase::Pre.script();
        write!(
            f,
            "`{script}` of layer `{layer}` is left out: `{artifact}` of board `{board}` is composed of the same files"
        )
    }
}

/// The hooks of `layers` that two owners of one artifact would come of.
pub fn left_out(board: &Board, layers: &[Layer]) -> Vec<LeftOut> {
    let has_hook = |name: &str| {
        layers.iter().any(|layer| layer.name == name && layer.file(Phase::Pre.script()).is_some())
    };
    let replaced = board.instead_of().filter(|(_, layer)| has_hook(layer));
    let left_out = replaced.map(|(artifact, layer)| LeftOut {
        layer: layer.into(),
        artifact: artifact.name.clone(),
        board: board.name.clone(),
    });
    left_out.collect()
}

/// Reason why hooks did not do what they are for.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Io)]
pub enum HookError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// It is not executable.
    #[error("{0} is not executable")]
    #[diagnostic(kind = Input, hint("chmod +x `{}`", _0.path.display()))]
    NotExecutable(Hook),
    /// It cannot be started.
    #[error("{hook} cannot be started: {source}")]
    #[diagnostic(kind = Input, hint = "its first line must name its interpreter, as in `#!/bin/sh`")]
    NotStarted {
        /// The hook.
        hook: Hook,
        /// Error of the system.
        source: std::io::Error,
    },
    /// It says that it failed, or was ended.
    #[error("{hook} {}", ending(*status))]
    #[diagnostic(hint = "correct the hook, and compile again")]
    Failed {
        /// The hook.
        hook: Hook,
        /// Exit status.
        status: ExitStatus,
    },
    /// It hangs.
    #[error("{hook} has not ended after {} seconds, and was ended", limit.as_secs())]
    #[diagnostic(hint = "give it more time", code = "hook-timed-out")]
    TimedOut {
        /// The hook.
        hook: Hook,
        /// Time that it was waited for.
        limit: Duration,
    },
    /// The user ended it.
    #[error("{0} was interrupted")]
    #[diagnostic(kind = Interrupted)]
    Interrupted(Hook),
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

impl Hooks<'_> {
    /// Runs them; `line` is given what they print, with the name of the layer. Says how many there were.
    pub fn run(&self, interrupt: &Interrupt, line: &mut dyn FnMut(&str, &str)) -> Result<usize, HookError> {
        let scripts = self.layers.iter().filter_map(|layer| Some((layer, layer.file(self.phase.script())?)));
        let mut count = 0;
        for (layer, path) in scripts {
            let shown = path.strip_prefix(self.root).unwrap_or(&path).to_path_buf();
            let hook = Hook { path: shown, layer: layer.name.clone() };
            self.run_one(layer, &path, hook, interrupt, &mut |text| line(&layer.name, text))?;
            count += 1;
        }
        Ok(count)
    }

    fn run_one(
        &self,
        layer: &Layer,
        path: &Path,
        hook: Hook,
        interrupt: &Interrupt,
        line: &mut dyn FnMut(&str),
    ) -> Result<(), HookError> {
        let path = path.canonicalize().map_err(Io::on("read", path))?;
        let mode = path.metadata().map_err(Io::on("read", &path))?.permissions().mode();
        if mode & 0o111 == 0 {
            return Err(HookError::NotExecutable(hook));
        }
        let environment = (self.environment)(layer);
        let program = Program::new(path).directory(self.directory).grace(GRACE);
        let program = environment.iter().fold(program, |program, (name, value)| program.env(name, value));
        match program.run(interrupt, Some(self.limit), line) {
            Ok(ended) if ended.succeeded() => Ok(()),
            Ok(ended) => Err(HookError::Failed { hook, status: ended.status }),
            Err(ProcessError::Interrupted { .. }) => Err(HookError::Interrupted(hook)),
            Err(ProcessError::TimedOut { limit, .. }) => Err(HookError::TimedOut { hook, limit }),
            Err(ProcessError::Io(Io { source, .. })) => Err(HookError::NotStarted { hook, source }),
            Err(ProcessError::Missing { .. }) => unreachable!("it is called by its path"),
        }
    }
}
