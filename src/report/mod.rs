//! The only code that prints: documents on stdout, notes, progress and errors on stderr.

mod progress;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

pub use progress::Progress;

use crate::error::{Error, Family};

/// How results reach the user.
#[derive(Debug)]
pub struct Report {
    json: bool,
    quiet: bool,
}

#[derive(Serialize)]
struct ErrorDocument {
    error: String,
    causes: Vec<String>,
    hint: Option<String>,
    exit_code: u8,
}

impl Report {
    /// Text, or JSON documents; `quiet` leaves out everything but results and errors.
    pub fn new(json: bool, quiet: bool) -> Report {
        Report { json, quiet }
    }

    /// Prints a result on stdout: as text, or as JSON.
    pub fn document(&self, document: &impl Serialize, text: impl Display) {
        if self.json {
            self.json_document(document);
        } else {
            print_line(&mut io::stdout().lock(), &text.to_string());
        }
    }

    /// Prints a remark on stderr.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            print_line(&mut io::stderr().lock(), &text.to_string());
        }
    }

    /// Prints something the user should change, on stderr, even if quiet.
    pub fn warn(&self, text: impl Display) {
        print_line(&mut io::stderr().lock(), &format!("warning: {text}"));
    }

    /// Prints an error with its causes and hint on stderr.
    pub fn error(&self, error: &Error) {
        let document = ErrorDocument {
            error: error.to_string(),
            causes: causes(error),
            hint: error.hint(),
            exit_code: error.family().exit_code(),
        };
        let mut stderr = io::stderr().lock();
        if self.json {
            print_line(&mut stderr, &to_json(&document));
            return;
        }
        let word = if error.family() == Family::Refused { "refused" } else { "error" };
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
        Progress::new(!self.quiet, io::stderr().is_terminal() && !self.json)
    }

    fn json_document(&self, document: &impl Serialize) {
        print_line(&mut io::stdout().lock(), &to_json(document));
    }
}

/// What the user said.
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
    let mut next = std::error::Error::source(error.report());
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
