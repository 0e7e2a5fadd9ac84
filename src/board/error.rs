//! Reason why a board cannot be used.

use super::DescriptorSource;
use crate::error::Diagnostic;
use crate::value::Arch;

/// Reason why a board cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(
    kind = Input,
    hint = "boards/README.md documents every key, and `skiff-image boards schema` prints them"
)]
pub enum BoardError {
    /// The TOML does not parse or has a key or value that does not exist.
    #[error("`{file}:{line}:{column}`: {message}")]
    #[diagnostic(suggestion = suggestion)]
    Toml {
        /// Descriptor.
        file: String,
        /// Line from 1.
        line: usize,
        /// Column from 1.
        column: usize,
        /// Message of the parser.
        message: String,
        /// The key that was probably meant.
        suggestion: Option<String>,
    },
    /// The operating system or the bytes of the file are in the way.
    #[error("cannot read `{file}`: {problem}")]
    #[diagnostic(hint = "a descriptor is a file of UTF-8 text that the user who runs this can read")]
    Unreadable {
        /// Descriptor.
        file: String,
        /// Obstacle.
        problem: String,
    },
    /// The parts contradict each other.
    #[error("`{file}`: {place}: {problem}")]
    Invalid {
        /// Descriptor.
        file: String,
        /// Table of the file.
        place: String,
        /// Fault.
        problem: String,
    },
    /// No descriptor of that name.
    #[error("unknown board `{name}`")]
    #[diagnostic(suggestion = suggestion, hint = "`skiff-image boards list` shows all boards")]
    Unknown {
        /// As asked for.
        name: String,
        /// The nearest that exists.
        suggestion: Option<String>,
    },
    /// The board does not exist for the architecture of the source.
    #[error("board `{board}` has no architecture `{arch}`; it has {}", list(available))]
    #[diagnostic(hint = "check the layer chain the source was built with", code = "no-such-arch")]
    NoSuchArch {
        /// Board.
        board: String,
        /// Architecture of the source, or the given one.
        arch: Arch,
        /// Architectures of the descriptor.
        available: Vec<Arch>,
    },
    /// The descriptor says that there is no medium for the board.
    #[error("board `{board}` cannot be composed for: {reason}")]
    #[diagnostic(kind = Unsupported, hint = instead.clone())]
    Refused {
        /// Board.
        board: String,
        /// Reason in the descriptor.
        reason: String,
        /// Advice in the descriptor.
        instead: String,
    },
}

fn list(names: &[Arch]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl BoardError {
    /// Error for the parser's message about a text.
    pub(crate) fn toml(source: DescriptorSource<'_>, error: &toml::de::Error) -> BoardError {
        toml_error(source.file, source.text, error)
    }
}

pub(super) fn toml_error(file: &str, text: &str, error: &toml::de::Error) -> BoardError {
    let start = error.span().map_or(0, |span| span.start);
    toml_error_at(DescriptorSource { file, text }, start, error.message(), suggestion(error.message()))
}

/// Error for a fault at byte `start` of a descriptor.
pub(super) fn toml_error_at(
    source: DescriptorSource<'_>,
    start: usize,
    message: &str,
    suggestion: Option<String>,
) -> BoardError {
    let before = &source.text[..start.min(source.text.len())];
    BoardError::Toml {
        file: source.file.into(),
        line: before.matches('\n').count() + 1,
        column: before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1,
        message: message.into(),
        suggestion,
    }
}

/// The known word nearest to an unknown one. The parser's message begins with the unknown word in back-ticks and
/// goes on with the known ones.
pub(super) fn suggestion(message: &str) -> Option<String> {
    let mut words = message.strip_prefix("unknown ")?.split('`').skip(1).step_by(2);
    let unknown = words.next()?;
    crate::value::nearest(unknown, words).map(str::to_owned)
}
