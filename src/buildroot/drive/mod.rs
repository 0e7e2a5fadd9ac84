//! Runs Buildroot in a workspace: make with all it prints in a log, steps reported when they begin, and a failure with
//! its reason first.
//!
//! Buildroot remembers what is built by stamps, so that a build that was interrupted or has failed goes on where it
//! was.

mod cause;
mod failure;
mod log;
mod message;
mod packages;
mod times;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use failure::Failure;
pub use message::{Message, plain};
pub use packages::Packages;

use super::make::Make;
use crate::error::{Diagnostic, Io};
use crate::interrupt::Interrupt;
use crate::process::{ProcessError, Program};
use crate::value::Digest;
use failure::Trace;
use log::Log;

/// Keeps which packages a configuration has, in the output directory: to ask takes Buildroot seconds.
const NAMES: &str = ".packages";

/// The step in which they are asked for.
const LISTING: &str = "Listing packages";

/// A build that is wanted.
#[derive(Clone, Debug)]
pub struct Build<'a> {
    /// Way to call Buildroot.
    pub make: &'a Make,
    /// Goals, variables and flags of make.
    pub goals: Vec<OsString>,
    /// File for all that is printed.
    pub log: PathBuf,
    /// Output directories that may know how long packages take.
    pub others: Vec<PathBuf>,
}

/// A step that begins.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Package, version and text of the step.
    pub message: &'a Message,
    /// Number of packages that are done.
    pub done: usize,
    /// Number of packages; zero if that is not known.
    pub total: usize,
    /// Time that the other packages will take, estimated from earlier builds.
    pub left: Option<Duration>,
}

/// Hears how a build goes on.
pub trait Listener {
    /// A step begins.
    fn step(&self, step: &Step<'_>);
    /// Something was printed.
    fn line(&self, line: &str);
}

/// A build that has succeeded.
#[derive(Clone, Debug)]
pub struct Built {
    /// Duration of the build.
    pub time: Duration,
    /// Packages of which something was built, with their times, the slowest first.
    pub packages: Vec<(String, Duration)>,
}

/// Reason why a build did not succeed.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Io)]
pub enum DriveError {
    /// The operating system failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] Io),
    /// Make could not be run.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Process(ProcessError),
    /// The user ended it.
    #[error("the build was interrupted{}", at.as_ref().map(|at| format!(" at `{at}`")).unwrap_or_default())]
    #[diagnostic(
        kind = Interrupted,
        hint = "run it again: what is built stays, and nothing is lost",
        code = "interrupted"
    )]
    Interrupted {
        /// The step that ran.
        at: Option<Message>,
    },
    /// Make says that something failed.
    #[error("{0}")]
    #[diagnostic(hint = _0.hint.clone(), code = "build-failed")]
    Failed(Box<Failure>),
}

impl Build<'_> {
    /// Runs it to its end.
    pub fn run(&self, interrupt: &Interrupt, listener: &dyn Listener) -> Result<Built, DriveError> {
        let output = &self.make.output;
        let packages = Packages::new(self.names(interrupt, listener)?, output, &self.others);
        let before = packages::times_len(output);
        let mut log = Log::begin(&self.log)?;
        let mut trace = Trace::default();
        let mut logged = Ok(());
        let ended = self.make.goals(&self.goals).run(interrupt, None, &mut |line| {
            listener.line(line);
            let message = trace.add(line);
            if logged.is_ok() {
                logged = log.add(line, message.is_some());
            }
            if let Some(message) = message {
                report(message, &packages, listener);
            }
        });
        let logged = logged.and_then(|()| log.end());
        match ended.map_err(|error| not_ended(error, &trace))? {
            ended if !ended.succeeded() => Err(DriveError::Failed(Box::new(trace.failure(&self.log)))),
            ended => {
                logged?;
                Ok(Built { time: ended.time, packages: packages::times_since(output, before).slowest() })
            }
        }
    }

    /// Names of the packages; none if make cannot list them, which the build itself will say better.
    fn names(&self, interrupt: &Interrupt, listener: &dyn Listener) -> Result<BTreeSet<String>, DriveError> {
        let output = &self.make.output;
        let digest = match configuration(output) {
            Some(digest) => digest,
            None => return Ok(BTreeSet::new()),
        };
        let kept = output.join(NAMES);
        let text = fs::read_to_string(&kept).unwrap_or_default();
        if let Some((_, names)) = text.split_once('\n').filter(|(first, _)| *first == digest) {
            return Ok(names.lines().map(str::to_owned).collect());
        }
        let message = Message { text: LISTING.into(), ..Message::default() };
        listener.step(&Step { message: &message, done: 0, total: 0, left: None });
        let names = ask(&self.make.goals(["-s", "show-build-order"]), interrupt)?;
        if !names.is_empty() {
            let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
            fs::write(&kept, format!("{digest}\n{lines}")).map_err(Io::on("write", &kept))?;
        }
        Ok(names)
    }
}

/// Digest of what decides which packages there are; none if nothing is configured.
fn configuration(output: &Path) -> Option<String> {
    let mut text = fs::read(output.join(".config")).ok()?;
    text.extend(fs::read(output.join(".br2-external.mk")).unwrap_or_default());
    Some(Digest::of(&text).to_string())
}

/// Names of packages, each alone in its line.
fn ask(program: &Program, interrupt: &Interrupt) -> Result<BTreeSet<String>, DriveError> {
    let mut names = BTreeSet::new();
    let ended = program.run(interrupt, None, &mut |line| {
        names.extend(Some(line).filter(|line| is_name(line)).map(str::to_owned));
    });
    match ended.map_err(|error| not_ended(error, &Trace::default()))?.succeeded() {
        true => Ok(names),
        false => Ok(BTreeSet::new()),
    }
}

fn is_name(line: &str) -> bool {
    !line.is_empty() && line.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c))
}

fn report(message: &Message, packages: &Packages, listener: &dyn Listener) {
    let done = packages.done();
    let left = packages.left(&done);
    listener.step(&Step { message, done: done.len(), total: packages.total(), left });
}

fn not_ended(error: ProcessError, trace: &Trace) -> DriveError {
    match error {
        ProcessError::Interrupted { .. } => DriveError::Interrupted { at: trace.last().cloned() },
        error => DriveError::Process(error),
    }
}
