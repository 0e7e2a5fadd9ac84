//! Programs that are started: Buildroot's make, and hooks and commands of layers. Nothing else here starts one.
//!
//! A program is a process group of its own, so that what it starts ends with it: at Ctrl-C, when its time is over,
//! and when this process fails. What it prints is read line by line, stdout and stderr in the order in which they were
//! written. One that talks to the user ([`Program::on_terminal`]) stays in our group, and has the terminal.

mod wait;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Family, Io, Report};
use crate::interrupt::Interrupt;

/// A program with all it is given.
#[derive(Clone, Debug)]
pub struct Program {
    name: OsString,
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
    /// Changes of our own environment; none takes a variable away.
    environment: Vec<(OsString, Option<OsString>)>,
    umask: Option<u16>,
}

/// How a program ended by itself.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// What it said.
    pub status: ExitStatus,
    /// How long it took.
    pub time: Duration,
}

/// Why a program did not end by itself.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no such program.
    #[error("there is no program `{name}`")]
    Missing {
        /// What was looked for.
        name: String,
    },
    /// The operating system failed.
    #[error(transparent)]
    Io(#[from] Io),
    /// The user ended it.
    #[error("`{name}` was interrupted")]
    Interrupted {
        /// What ran.
        name: String,
    },
    /// It took too long.
    #[error("`{name}` has not ended after {} seconds, and was ended", limit.as_secs())]
    TimedOut {
        /// What ran.
        name: String,
        /// How long it was waited for.
        limit: Duration,
    },
}

impl Report for ProcessError {
    fn family(&self) -> Family {
        match self {
            ProcessError::Missing { .. } => Family::Input,
            ProcessError::Io(error) => error.family(),
            ProcessError::Interrupted { .. } | ProcessError::TimedOut { .. } => Family::Io,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ProcessError::Missing { .. } => Some("install it, or add its directory to PATH".into()),
            ProcessError::Io(error) => error.hint(),
            ProcessError::Interrupted { .. } | ProcessError::TimedOut { .. } => None,
        }
    }
}

impl Program {
    /// A program by its path, or by its name in PATH.
    pub fn new(name: impl AsRef<OsStr>) -> Program {
        Program {
            name: name.as_ref().into(),
            arguments: Vec::new(),
            directory: None,
            environment: Vec::new(),
            umask: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Program {
        self.arguments.push(argument.as_ref().into());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Program {
        arguments.into_iter().fold(self, Program::arg)
    }

    /// Has it run in a directory.
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Program {
        self.directory = Some(directory.as_ref().into());
        self
    }

    /// Gives it a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Program {
        self.environment.push((name.as_ref().into(), Some(value.as_ref().into())));
        self
    }

    /// Takes a variable from it that we have.
    pub fn without_env(mut self, name: impl AsRef<OsStr>) -> Program {
        self.environment.push((name.as_ref().into(), None));
        self
    }

    /// Gives it another umask than ours.
    pub fn umask(mut self, umask: u16) -> Program {
        self.umask = Some(umask);
        self
    }

    /// How messages call it.
    pub fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// Runs it to its end, without stdin; `line` is given what it prints. With a limit it is ended after that time.
    pub fn run(
        &self,
        interrupt: &Interrupt,
        limit: Option<Duration>,
        line: &mut dyn FnMut(&str),
    ) -> Result<Ended, ProcessError> {
        wait::run(self, interrupt, limit, line)
    }

    /// Runs it to its end with the terminal, or whatever stdin, stdout and stderr are, as its own.
    pub fn on_terminal(&self) -> Result<Ended, ProcessError> {
        let begun = Instant::now();
        let status = self.command()?.status().map_err(|error| self.not_started(error))?;
        Ok(Ended { status, time: begun.elapsed() })
    }

    fn command(&self) -> Result<Command, ProcessError> {
        let mut command = self.bare_command()?;
        command.args(&self.arguments);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.directory.as_ref().map(|directory| command.current_dir(directory));
        Ok(command)
    }

    /// The umask of a process is that of all its threads, so a shell sets it for the program that it becomes.
    fn bare_command(&self) -> Result<Command, ProcessError> {
        let Some(umask) = self.umask else { return Ok(Command::new(&self.name)) };
        if self.is_by_name() && !in_path(&self.name) {
            return Err(ProcessError::Missing { name: self.name() });
        }
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(format!("umask {umask:04o} && exec \"$0\" \"$@\"")).arg(&self.name);
        Ok(shell)
    }

    fn is_by_name(&self) -> bool {
        !self.name.as_encoded_bytes().contains(&b'/')
    }

    fn not_started(&self, source: std::io::Error) -> ProcessError {
        if self.is_by_name() && source.kind() == std::io::ErrorKind::NotFound {
            return ProcessError::Missing { name: self.name() };
        }
        Io::on("start", Path::new(&self.name))(source).into()
    }
}

impl Ended {
    /// Whether it said that all is well.
    pub fn succeeded(&self) -> bool {
        self.status.success()
    }
}

/// Whether one of the directories of PATH has it.
fn in_path(name: &OsStr) -> bool {
    let directories = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&directories).any(|directory| directory.join(name).is_file())
}
