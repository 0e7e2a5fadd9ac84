//! Files with what is expected, in `tests/golden`. They are written anew where `UPDATE_GOLDEN` is set, to be looked at
//! before they are committed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Whether goldens are written instead of compared.
pub fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| !value.is_empty() && value != "0")
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Compares `text` with a golden file.
#[track_caller]
pub fn expect(name: &str, text: &str) {
    let path = path(name);
    if updating() {
        fs::create_dir_all(path.parent().expect("a golden is in a directory")).expect("a directory");
        fs::write(&path, text).expect("a golden can be written");
        return;
    }
    let again = "look at the difference, then run with UPDATE_GOLDEN=1";
    let expected =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("no golden `{name}` ({error}); {again}"));
    assert!(expected == text, "golden `{name}` differs; {again}\n{}", difference(&expected, text));
}

/// Fails if a directory of goldens has others than `names`.
#[track_caller]
pub fn expect_no_others(directory: &str, names: &BTreeSet<String>) {
    let entries = fs::read_dir(path(directory)).expect("a directory of goldens");
    let found =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"));
    let others: Vec<String> = found.filter(|name| !names.contains(name)).collect();
    if updating() {
        others
            .iter()
            .for_each(|name| fs::remove_file(path(directory).join(name)).expect("it can be removed"));
        return;
    }
    assert!(others.is_empty(), "stale goldens in tests/golden/{directory}: {others:?}");
}

/// The lines that are in one text only.
fn difference(expected: &str, found: &str) -> String {
    let only = |sign: char, text: &str, other: &str| {
        let others: BTreeSet<&str> = other.lines().collect();
        let lines = text.lines().filter(|line| !others.contains(line));
        lines.map(|line| format!("{sign}{line}\n")).collect::<String>()
    };
    only('-', expected, found) + &only('+', found, expected)
}
