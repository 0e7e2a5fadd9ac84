//! Configuration files: what they mean, what is wrong with them, and those that SkiffOS ships.

mod broken;
mod meaning;
mod shipped;

use std::path::Path;

use skiff_core::config::{Config, Remark};

/// A file that is right, and the notes about it as lines.
fn loaded(text: &str) -> (Config, Vec<String>) {
    let (config, notes) =
        Config::parse(text, Path::new("config.yaml")).unwrap_or_else(|broken| panic!("{broken}"));
    (config, notes.iter().map(Remark::to_string).collect())
}
