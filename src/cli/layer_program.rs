//! Programs of layers: what they find in their environment, and how they end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::args::LayerArgs;
use crate::error::{Family, Io, Report, Result};
use crate::layer::environment::{Surroundings, Variables};
use crate::layer::{Chain, Registry, Version};
use crate::process::Program;

/// What programs of layers are told, as the flags have it.
pub struct Given {
    root: PathBuf,
    directory: PathBuf,
    workspace: String,
    buildroot: Option<PathBuf>,
    pub registry: Registry,
    chain: Chain,
    version: Option<Version>,
    path: Option<OsString>,
}

impl Given {
    pub fn load(layers: &LayerArgs, report: &crate::report::Report) -> Result<Given> {
        let root = layers.absolute_root()?;
        // A project has an external tree of this name; that of a SkiffOS checkout is Buildroot itself.
        let buildroot = root.join("buildroot");
        Ok(Given {
            directory: std::env::current_dir().map_err(Io::on("find", "."))?,
            workspace: layers.workspace(),
            buildroot: buildroot.join("Makefile").is_file().then_some(buildroot),
            registry: layers.registry()?,
            chain: layers.told(report)?,
            version: Version::of(&root)?,
            path: std::env::var_os("PATH"),
            root,
        })
    }

    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            root: &self.root,
            directory: &self.directory,
            workspace: &self.workspace,
            buildroot: self.buildroot.as_deref(),
            registry: &self.registry,
            chain: &self.chain,
            version: self.version.as_ref(),
            path: self.path.as_deref(),
        }
    }

    pub fn variables(&self) -> Variables {
        self.surroundings().variables()
    }

    /// A path of a layer from the root of the filesystem on.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    /// The workspace, which must be there.
    pub fn workspace(&self) -> Result<PathBuf> {
        let path = self.surroundings().workspace_directory();
        match path.is_dir() {
            true => Ok(path),
            false => Err(ProgramError::NoWorkspace { name: self.workspace.clone(), path }.into()),
        }
    }
}

/// Why a program of a layer did not do what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It says so.
    #[error("`{name}` ended with exit code {code}")]
    Failed { name: String, code: u8 },
    /// It did not end by itself.
    #[error("`{name}` was ended by a signal: {status}")]
    Killed { name: String, status: ExitStatus },
    /// It would run in a directory that is not there.
    #[error("workspace `{name}` has nothing in it yet: there is no `{}`", path.display())]
    NoWorkspace { name: String, path: PathBuf },
}

impl Report for ProgramError {
    fn family(&self) -> Family {
        Family::Input
    }

    fn exit_code(&self) -> u8 {
        match self {
            ProgramError::Failed { code, .. } => *code,
            _ => self.family().exit_code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ProgramError::NoWorkspace { .. } => Some("`skiff-image configure` makes it".into()),
            _ => None,
        }
    }
}

/// Runs a program on the terminal and passes its exit code on; messages call it `name`.
pub fn run(program: &Program, name: String) -> Result<()> {
    let ended = program.on_terminal()?;
    match ended.status.code().map(u8::try_from) {
        Some(Ok(0)) => Ok(()),
        Some(Ok(code)) => Err(ProgramError::Failed { name, code }.into()),
        _ => Err(ProgramError::Killed { name, status: ended.status }.into()),
    }
}
