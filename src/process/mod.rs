//! Programs that are started: Buildroot's make, and hooks and commands of layers. Nothing else here starts one.
//!
//! A program is a process group of its own, so that what it starts ends with it: at Ctrl-C, when its time is over, and
//! when this process fails. One is asked to end, too, when this process is gone, however that came. What it prints is
//! read line by line, stdout and stderr in the order in which they were written. One that talks to the user
//! ([`Program::on_terminal`]) stays in our group, and has the terminal.

mod wait;

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::process::Signal;

use crate::error::{Diagnostic, Io};
use crate::interrupt::Interrupt;

/// Time that a program has to end after it was asked to, if nothing else is set.
const GRACE: Duration = Duration::from_secs(5);

/// A program with all it is given.
#[derive(Clone, Debug)]
pub struct Program {
    name: OsString,
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
    /// Changes of our own environment; none takes a variable away.
    environment: Vec<(OsString, Option<OsString>)>,
    umask: Option<u16>,
    grace: Duration,
}

/// End of a program that ended by itself.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Exit status.
    pub status: ExitStatus,
    /// Duration of the run.
    pub time: Duration,
}

/// Reason why a program did not end by itself.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Io)]
pub enum ProcessError {
    /// There is no such program.
    #[error("there is no program `{name}`")]
    #[diagnostic(kind = Input, hint = "install it, or add its directory to PATH")]
    Missing {
        /// Name that was looked for.
        name: String,
    },
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// The user ended it.
    #[error("`{name}` was interrupted")]
    #[diagnostic(kind = Interrupted)]
    Interrupted {
        /// Program that ran.
        name: String,
    },
    /// It took too long.
    #[error("`{name}` has not ended after {} seconds, and was ended", limit.as_secs())]
    TimedOut {
        /// Program that ran.
        name: String,
        /// Time that it was waited for.
        limit: Duration,
    },
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
            grace: GRACE,
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

    /// Gives it variables.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Program {
        variables.into_iter().fold(self, |program, (name, value)| program.env(name, value))
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

    /// Sets the time that it may take to end when it is asked to, before it is killed with all it started.
    pub fn grace(mut self, grace: Duration) -> Program {
        self.grace = grace;
        self
    }

    /// Name in messages.
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
        let status = self.command().status().map_err(|error| self.not_started(error))?;
        Ok(Ended { status, time: begun.elapsed() })
    }

    /// Runs it to its end with `input` as its stdin; it stays in our group and may ask on the terminal. Returns what it
    /// prints on stdout, of which more than `max` bytes are an error.
    pub fn filter(&self, input: &[u8], max: u64) -> Result<(Ended, Vec<u8>), ProcessError> {
        let begun = Instant::now();
        let failed = |error| ProcessError::from(Io::on("talk to", self.name())(error));
        let mut command = self.command();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| self.not_started(error))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let printed = std::thread::scope(|scope| {
            // A program that does not want all of it is none that failed.
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
            let mut printed = Vec::new();
            stdout.map(|stdout| stdout.take(max + 1).read_to_end(&mut printed)).transpose().map(|_| printed)
        });
        let status = child.wait().map_err(failed)?;
        let printed = printed.map_err(failed)?;
        if printed.len() as u64 > max {
            return Err(failed(std::io::Error::other(format!("it prints more than {max} bytes"))));
        }
        Ok((Ended { status, time: begun.elapsed() }, printed))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.name);
        command.args(&self.arguments);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.directory.as_ref().map(|directory| command.current_dir(directory));
        let umask = self.umask.map(|umask| Mode::from_raw_mode(umask.into()));
        let prepare = move || {
            umask.map(rustix::process::umask);
            Ok(rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?)
        };
        // SAFETY: between fork and exec two system calls are made; nothing is allocated, and no lock is taken.
        unsafe { command.pre_exec(prepare) };
        command
    }

    fn not_started(&self, source: std::io::Error) -> ProcessError {
        let by_name = !self.name.as_encoded_bytes().contains(&b'/');
        if by_name && source.kind() == std::io::ErrorKind::NotFound {
            return ProcessError::Missing { name: self.name() };
        }
        Io::on("start", Path::new(&self.name))(source).into()
    }
}

impl Ended {
    /// Returns whether its exit status is that of success.
    pub fn succeeded(&self) -> bool {
        self.status.success()
    }
}
