//! Readers of foreign bytes, as functions that take any bytes, and inputs to begin with.
//!
//! `cargo fuzz run NAME` runs one of [`parsers::PARSERS`] on inputs that are made up by what they cover; see
//! `CONTRIBUTING.md`. The tests of formats run all of them on the seeds, on changed seeds and on `found/`.

pub mod parsers;
pub mod seeds;

/// Runs the reader of this name.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, parser) =
        parsers::PARSERS.iter().find(|(known, _)| *known == name).expect("a reader of this name");
    parser(bytes);
}
