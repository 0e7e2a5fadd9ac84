//! Hints that name flags. The library knows no flags: its errors have codes, and this table has
//! the words that go on where the hint of the library ends.

use std::fmt;

use crate::error::{Diagnostic, Error, ErrorKind};

/// Code of an error, and the words for it.
type Words = (&'static str, &'static str);

/// Words that follow the hint of an error with this code.
const WORDS: &[Words] = &[
    ("archive-has-no-size", " without `--size`"),
    ("block-map", ", or give `--force block-map`"),
    ("blob-in-the-way", ", or leave `--boot-loader` out"),
    ("built-by-other-version", "; or give another workspace with `--workspace`"),
    ("cut-off", ", or write what is there with `--force cut-off`"),
    ("damaged-table", ", or write it as it is with `--force damaged-table`"),
    ("disk-too-small", ", or give a larger `--size`"),
    ("exists", ", or replace the file with `--force`"),
    (
        "foreign-files",
        " and go on with `--carry-over`: they are written again, but lost if the run is cut off",
    ),
    ("held", ", or give `--force held`"),
    ("hook-timed-out", " with `compile --hook-timeout SECONDS`"),
    ("internal", ", or give `--force internal`"),
    ("large", ", or give `--force large`"),
    ("layer-cycle", ", or take SkiffOS' order with `--skiffos-order`"),
    ("missing-image", " with `--images`"),
    ("mounted", ", or give `--force mounted`"),
    ("no-board", "; `--board` takes one"),
    ("no-buildroot", "; or give one that is there with `--buildroot`"),
    ("no-chain", ", or give `--config`"),
    ("no-commands", "; `skiff-image cmd --all` lists the commands of all layers"),
    ("no-manifest", "; name it with `--manifest`"),
    ("no-object-store", ", or leave `--cache-remote` out"),
    ("no-partuuid", "; give it with `--partuuid`"),
    ("no-project", ", or give its directory with `--root`"),
    ("no-sha256", " with `--sha256`"),
    ("no-source", " with `--source`"),
    ("no-such-arch", ", or give `--arch`"),
    ("not-fetched", ": `fetch --from FILE` takes a file, `configure --buildroot DIR` a tree"),
    ("not-raw", ", or write it as it is with `--force not-raw`"),
    ("not-resumable", " without `--resume`"),
    ("other-board", ", or go on with `--other-board`"),
    ("other-buildroot", "; `--any-buildroot` takes this one as it is"),
    ("other-partuuid", " with `--partuuid`"),
    ("sectors", ", or write it as it is with `--force sectors`"),
    ("stalled", "; `--stall-timeout` waits longer if the medium is only slow"),
    ("stray-bytes", "; one that was used since is compared with `--used`"),
    ("sum-of-other-file", " with `--sha256`"),
    ("swap", ", or give `--force swap`"),
    ("trailing-bytes", " with `--sha256`"),
    ("trusted-stat", ": leave `--trust-stat` out"),
    ("unpack-memory", ", or allow it so much memory with `--unpack-memory`"),
    ("workspace-in-use", ", or give another workspace with `--workspace`"),
];

/// Hints of errors with this code that have none of the library.
const HINTS: &[Words] = &[("own-partuuids", "leave `--partuuid` out")];

/// The same for a verb that can go on where it was interrupted.
const RESUMABLE: &[Words] = &[("interrupted", "; `flash --resume` goes on where it stopped")];

/// An error whose hint names flags.
#[derive(Debug)]
struct Worded {
    error: Error,
    words: &'static str,
}

/// Words that follow the hint of an error with this code, if there are some.
pub fn words(code: &str) -> Option<&'static str> {
    find(WORDS, code)
}

fn find(table: &[Words], code: &str) -> Option<&'static str> {
    table.iter().find(|(of, _)| *of == code).map(|(_, words)| *words)
}

/// Adds to the hint of an error what the command line has for it.
pub fn worded(error: Error) -> Error {
    with_words(error, WORDS)
}

/// Adds to the hint of an error what a verb with `--resume` has for it.
pub fn worded_resumable(error: Error) -> Error {
    with_words(error, RESUMABLE)
}

/// An error that has its words gets no more.
fn with_words(error: Error, table: &[Words]) -> Error {
    let error = match error.downcast::<Worded>() {
        Ok(worded) => return worded.into(),
        Err(error) => error,
    };
    // Words that go on are none without a beginning.
    let table = if error.hint().is_some() { table } else { HINTS };
    match error.code().and_then(|code| find(table, code)) {
        Some(words) => Worded { error, words }.into(),
        None => error,
    }
}

impl fmt::Display for Worded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Worded {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.error.diagnostic())
    }
}

impl Diagnostic for Worded {
    fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    fn exit_code(&self) -> u8 {
        self.error.exit_code()
    }

    fn hint(&self) -> Option<String> {
        Some(self.error.hint().unwrap_or_default() + self.words)
    }

    fn code(&self) -> Option<&'static str> {
        self.error.code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{TargetError, Verb};

    #[test]
    fn hints_go_on_with_flags() {
        let error = || {
            let (verb, target) = (Verb::Write, "card".into());
            Error::from(TargetError::TimedOut { verb, target, offset: 0, len: 512, seconds: 120 })
        };
        let worded = worded(super::worded(error()));
        assert_eq!(
            worded.hint().expect("a hint"),
            "try another reader, cable or port; `--stall-timeout` waits longer if the medium is only slow"
        );
        assert_eq!(worded.to_string(), error().to_string());
        assert_eq!((worded.code(), worded.kind()), (error().code(), error().kind()));
        assert_eq!(worded_resumable(error()).hint(), error().hint());
    }

    /// An error with a code and no hint.
    #[derive(Debug, thiserror::Error)]
    #[error("it stopped")]
    struct Unfinished(&'static str);

    impl Diagnostic for Unfinished {
        fn kind(&self) -> ErrorKind {
            ErrorKind::Io
        }

        fn code(&self) -> Option<&'static str> {
            Some(self.0)
        }
    }

    #[test]
    fn words_that_go_on_need_a_hint() {
        assert_eq!(worded(Unfinished("stalled").into()).hint(), None);
        let hint = worded(Unfinished("own-partuuids").into()).hint();
        assert_eq!(hint.as_deref(), Some("leave `--partuuid` out"));
    }
}
