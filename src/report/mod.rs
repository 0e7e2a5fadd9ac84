//! The only code that prints: documents on stdout, notes, progress and errors on stderr.

pub mod events;
mod pace;
mod progress;
mod steps;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use indicatif::MultiProgress;
use serde::Serialize;

use events::Emitted;
pub use events::{Events, EventsError};
use progress::Look;
pub use progress::Progress;
pub use steps::Steps;

use crate::error::{Error, ErrorKind};

/// Printer of results for the user.
pub struct Report {
    json: bool,
    quiet: bool,
    /// All that are on the terminal.
    bars: MultiProgress,
    events: Option<Arc<Events>>,
}

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
            exit_code: error.exit_code(),
        }
    }
}

impl Report {
    /// Text, or JSON documents; `quiet` leaves out everything but results and errors.
    pub fn new(json: bool, quiet: bool) -> Report {
        Report { json, quiet, bars: MultiProgress::new(), events: None }
    }

    /// The same, with events for programs; those on stdout take the place of documents.
    pub fn with_events(&self, events: Option<Events>) -> Report {
        let Report { json, quiet, .. } = *self;
        Report { json, quiet, bars: self.bars.clone(), events: events.map(Arc::new) }
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
            print_line(&mut io::stdout().lock(), &text.to_string());
        }
    }

    /// Prints a remark on stderr.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            self.print(&text.to_string());
        }
    }

    /// Prints something the user should change, on stderr, even if quiet.
    pub fn warn(&self, text: impl Display) {
        self.print(&format!("warning: {text}"));
        if let Some(events) = &self.events {
            events.emit(None, &Emitted::Warning { text: text.to_string() });
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

    /// Prints a wrong command line as JSON on stderr.
    pub fn usage(&self, error: &clap::Error) {
        let text = error.render().to_string();
        let said =
            text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
        let document = ErrorDocument {
            error: said.trim_start_matches("error: ").into(),
            code: None,
            causes: Vec::new(),
            hint: Some("`--help` tells what can be given".into()),
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
        print_line(&mut io::stdout().lock(), &to_json(document));
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

/// A reader that went away (`| head`) is no error of ours.
fn print_line(out: &mut impl Write, line: &str) {
    let _ = writeln!(out, "{line}");
}
