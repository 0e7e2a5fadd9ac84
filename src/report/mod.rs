//! The only code that prints: documents on stdout, notes, progress and errors on stderr.

pub mod events;
mod pace;
mod progress;
mod steps;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};

use indicatif::MultiProgress;
use serde::Serialize;

use events::Emitted;
pub use events::{Events, EventsError};
use progress::Look;
pub use progress::Progress;
pub use steps::Steps;

use crate::error::{Diagnostic, Error, ErrorKind, Result};
use crate::interrupt::exit_code;

/// Printer of results for the user.
#[derive(Clone)]
pub struct Report {
    json: bool,
    quiet: bool,
    /// All that are on the terminal.
    bars: MultiProgress,
    events: Option<Arc<Events>>,
    /// Medium that remarks are about, where there are several.
    medium: Option<String>,
    /// Error of standard output: what was asked for is not all there.
    lost: Arc<OnceLock<io::Error>>,
}

/// Reason why the result is not where the user wanted it.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Io, hint = "what was asked for was done; the result was to go to standard output")]
#[error("cannot write to standard output: {0}")]
struct LostOutput(String);

#[derive(Serialize)]
struct ErrorDocument {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    causes: Vec<String>,
    hint: Option<String>,
    exit_code: u8,
}

impl ErrorDocument {
    fn from_error(error: &Error) -> ErrorDocument {
        ErrorDocument {
            error: error.to_string(),
            code: error.code(),
            causes: causes(error),
            hint: error.hint(),
            exit_code: exit_code(error),
        }
    }
}

impl Report {
    /// Text, or JSON documents; `quiet` leaves out everything but results and errors.
    pub fn new(json: bool, quiet: bool) -> Report {
        let lost = Arc::default();
        Report { json, quiet, bars: MultiProgress::new(), events: None, medium: None, lost }
    }

    /// The same, with events for programs; those on stdout take the place of documents.
    pub fn with_events(&self, events: Option<Events>) -> Report {
        Report {
            events: events.map(|events| Arc::new(events.losing(Arc::clone(&self.lost)))),
            ..self.clone()
        }
    }

    /// The same for remarks on one of several media, which stands before each.
    pub fn for_medium(&self, medium: &str) -> Report {
        Report { medium: Some(medium.into()), ..self.clone() }
    }

    /// Fails if something that was printed on standard output did not get there. That nobody reads it any more, as with
    /// `| head`, is no failure.
    pub fn ensure_printed(&self) -> Result<()> {
        match self.lost.get() {
            Some(error) => Err(LostOutput(error.to_string()).into()),
            None => Ok(()),
        }
    }

    /// Prints a result on stdout: as text, or as JSON.
    pub fn document(&self, document: &impl Serialize, text: impl Display) {
        if let Some(events) = &self.events {
            let document =
                serde_json::to_value(document).expect("documents have string keys and no raw paths");
            events.emit(None, &Emitted::Result { document });
            if events.is_stdout() {
                return;
            }
        }
        if self.json {
            self.json_document(document);
        } else {
            self.print_result(&text.to_string());
        }
    }

    fn print_result(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        if let Err(error) = writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
            lose(&self.lost, error);
        }
    }

    /// Prints a remark on stderr.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            self.print(&self.about(text));
        }
    }

    /// Prints something the user should change, on stderr, even if quiet.
    pub fn warn(&self, text: impl Display) {
        self.print(&format!("warning: {}", self.about(&text)));
        if let Some(events) = &self.events {
            events.emit(self.medium.as_deref(), &Emitted::Warning { text: text.to_string() });
        }
    }

    /// With the medium that it is about.
    fn about(&self, text: impl Display) -> String {
        match &self.medium {
            Some(medium) => format!("{medium}: {text}"),
            None => text.to_string(),
        }
    }

    /// Ends the stream of events with the error that ends the run, which is printed elsewhere.
    pub fn failed(&self, error: &Error) {
        if let Some(events) = &self.events {
            events.emit(None, &Emitted::Error(ErrorDocument::from_error(error)));
        }
    }

    /// Prints on stderr, above the bars.
    fn print(&self, line: &str) {
        self.bars.suspend(|| print_line(&mut io::stderr().lock(), line));
    }

    /// Prints an error with its causes and hint on stderr.
    pub fn error(&self, error: &Error) {
        let document = ErrorDocument::from_error(error);
        let mut stderr = io::stderr().lock();
        if self.json {
            print_line(&mut stderr, &to_json(&document));
            return;
        }
        let word = if error.kind() == ErrorKind::Refused { "refused" } else { "error" };
        print_line(&mut stderr, &format!("{word}: {}", document.error));
        for cause in &document.causes {
            print_line(&mut stderr, &format!("  because: {cause}"));
        }
        if let Some(hint) = &document.hint {
            print_line(&mut stderr, &format!("hint: {hint}"));
        }
    }

    /// Prints help or the version on stdout.
    pub fn help(&self, text: &clap::Error) -> Result<()> {
        if let Err(error) = text.print() {
            lose(&self.lost, error);
        }
        self.ensure_printed()
    }

    /// Prints a wrong command line as JSON on stderr.
    pub fn usage(&self, error: &clap::Error) {
        let text = error.render().to_string();
        let said =
            text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
        let document = ErrorDocument {
            error: said.trim_start_matches("error: ").into(),
            code: None,
            causes: Vec::new(),
            hint: Some("`--help` lists what can be given".into()),
            exit_code: 2,
        };
        print_line(&mut io::stderr().lock(), &to_json(&document));
    }

    /// Asks on the terminal; without one, or with an answer that is not `expected`, the answer is no.
    pub fn confirm(&self, question: impl Display, expected: &str) -> Answer {
        if !io::stdin().is_terminal() {
            return Answer::NoTerminal;
        }
        let mut stderr = io::stderr().lock();
        // A closed stderr means that nobody reads the question, and the answer below will be no.
        let _ = write!(stderr, "{question} ").and_then(|()| stderr.flush());
        let mut line = String::new();
        match io::stdin().read_line(&mut line) {
            Ok(_) if line.trim() == expected => Answer::Yes,
            _ => Answer::No,
        }
    }

    /// Progress of a long operation: a bar on a terminal, plain lines otherwise, nothing if quiet.
    pub fn progress(&self) -> Progress {
        Progress::new(None, self.look(), self.events.clone())
    }

    /// The same for one of several media, whose name stands before each line.
    pub fn progress_of(&self, medium: &str) -> Progress {
        Progress::new(Some(medium), self.look(), self.events.clone())
    }

    /// Progress of a build, or with `verbose` all it prints.
    pub fn steps(&self, verbose: bool) -> Steps {
        let look = if verbose && !self.quiet { Look::Lines } else { self.look() };
        Steps::new(look, verbose, self.events.clone())
    }

    fn look(&self) -> Look {
        match io::stderr().is_terminal() && !self.json {
            _ if self.quiet => Look::Hidden,
            true => Look::Bars(self.bars.clone()),
            false => Look::Lines,
        }
    }

    fn json_document(&self, document: &impl Serialize) {
        self.print_result(&to_json(document));
    }
}

/// Answer of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The expected word.
    Yes,
    /// Something else.
    No,
    /// There is nobody to ask.
    NoTerminal,
}

fn causes(error: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = std::error::Error::source(error.diagnostic());
    let mut last = error.to_string();
    while let Some(cause) = next {
        let text = cause.to_string();
        // An error that ends with its cause has already said it.
        if !last.contains(&text) {
            causes.push(text.clone());
        }
        last = text;
        next = cause.source();
    }
    causes
}

fn to_json(document: &impl Serialize) -> String {
    serde_json::to_string_pretty(document).expect("documents have string keys and no raw paths")
}

/// Notes the first error of standard output. A reader that went away (`| head`) has what it wanted.
fn lose(lost: &OnceLock<io::Error>, error: io::Error) {
    if error.kind() != io::ErrorKind::BrokenPipe {
        _ = lost.set(error);
    }
}

/// There is nowhere else to say that stderr cannot be written.
fn print_line(out: &mut impl Write, line: &str) {
    let _ = writeln!(out, "{line}");
}
