//! Numbers of users, the same at every boot: files on persist belong to numbers, not to names.

use std::collections::BTreeMap;
use std::path::Path;

use crate::failure::{Failure, Result, read_if_there};
use crate::replace::replace;

/// Numbers that are given to users. Below are those of the system, and of users that images bring.
const FIRST: u32 = 2000;
const LAST: u32 = 59_999;

/// Numbers by name, of users of the past too: what belonged to one of them must not belong to a new one.
#[derive(Debug, Default)]
pub(super) struct Uids {
    by_name: BTreeMap<String, u32>,
}

impl Uids {
    /// Those kept at `path`, lines of `NAME:NUMBER`.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let text = read_if_there(path)?.unwrap_or_default();
        let mut by_name = BTreeMap::new();
        for (index, line) in String::from_utf8_lossy(&text).lines().enumerate() {
            let entry = line.split_once(':').and_then(|(name, number)| Some((name, number.parse().ok()?)));
            let (name, number) = entry.ok_or_else(|| {
                Failure::new(format!(
                    "`{}`: line {} is no `NAME:NUMBER`: `{line}`",
                    path.display(),
                    index + 1
                ))
                .hint("correct the line; the numbers are the owners of files in `/home` of containers")
            })?;
            by_name.insert(name.to_string(), number);
        }
        Ok(Self { by_name })
    }

    /// The number of a user; a new one is none of `taken`.
    pub(super) fn of(&mut self, name: &str, taken: &dyn Fn(u32) -> bool) -> Result<u32> {
        if let Some(number) = self.by_name.get(name) {
            return Ok(*number);
        }
        let free = |number: &u32| !taken(*number) && self.by_name.values().all(|known| known != number);
        let number = (FIRST..=LAST).find(free).ok_or_else(|| {
            Failure::new(format!("no number from {FIRST} to {LAST} is free for user `{name}`"))
        })?;
        self.by_name.insert(name.into(), number);
        Ok(number)
    }

    /// Keeps them at `path`.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory)
            .map_err(|error| Failure::file("make the directory", directory, error))?;
        let lines: String = self.by_name.iter().map(|(name, number)| format!("{name}:{number}\n")).collect();
        replace(path, lines.as_bytes(), 0o644).map(drop)
    }
}
