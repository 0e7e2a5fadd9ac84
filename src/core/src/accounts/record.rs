//! What was done to accounts, so that it can be taken back. It stands beside `passwd` and lives as long as that does.

use std::collections::BTreeMap;
use std::path::Path;

use crate::failure::{Failure, Result, read_if_there};
use crate::replace::replace;

const NAME: &str = "skiff-core.accounts";

/// Accounts that this program made or changed.
#[derive(Debug, Default)]
pub(super) struct Record {
    accounts: BTreeMap<String, Before>,
}

/// What was there before.
#[derive(Clone, Debug, Default)]
struct Before {
    passwd: Option<Vec<String>>,
    shadow: Option<Vec<String>>,
    group_made: bool,
}

impl Record {
    /// The record in the directory of `passwd`.
    pub(super) fn load(etc: &Path) -> Result<Self> {
        let path = etc.join(NAME);
        let text = read_if_there(&path)?.unwrap_or_default();
        let mut record = Self::default();
        for (index, line) in String::from_utf8_lossy(&text).lines().enumerate() {
            let wrong = || {
                Failure::new(format!("`{}`: line {} is not understood: `{line}`", path.display(), index + 1))
                    .hint("remove the file; accounts of earlier configurations then stay")
            };
            let (word, rest) = line.split_once(' ').ok_or_else(wrong)?;
            let entry: Vec<String> = rest.split(':').map(Into::into).collect();
            let account = record.accounts.entry(entry[0].clone()).or_default();
            match word {
                "made" => {}
                "group" => account.group_made = true,
                "passwd" if entry.len() >= 7 => account.passwd = Some(entry),
                "shadow" => account.shadow = Some(entry),
                _ => return Err(wrong()),
            }
        }
        Ok(record)
    }

    pub(super) fn save(&self, etc: &Path) -> Result<()> {
        let mut text = String::new();
        for (name, before) in &self.accounts {
            text.push_str(&format!("made {name}\n"));
            if before.group_made {
                text.push_str(&format!("group {name}\n"));
            }
            for (word, entry) in [("passwd", &before.passwd), ("shadow", &before.shadow)] {
                entry.iter().for_each(|entry| text.push_str(&format!("{word} {}\n", entry.join(":"))));
            }
        }
        replace(&etc.join(NAME), text.as_bytes(), 0o600).map(drop)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.accounts.keys().cloned()
    }

    /// Whether the account is there because of this program.
    pub(super) fn made(&self, name: &str) -> bool {
        self.accounts.get(name).is_some_and(|before| before.passwd.is_none())
    }

    pub(super) fn made_group(&self, name: &str) -> bool {
        self.accounts.get(name).is_some_and(|before| before.group_made)
    }

    pub(super) fn make(&mut self, name: &str) {
        self.accounts.entry(name.into()).or_default();
    }

    pub(super) fn make_group(&mut self, name: &str) {
        self.accounts.entry(name.into()).or_default().group_made = true;
    }

    /// Keeps what an account was, unless it is kept already.
    pub(super) fn adopt(&mut self, name: &str, passwd: &[String], shadow: Option<Vec<String>>) {
        let before = Before { passwd: Some(passwd.to_vec()), shadow, group_made: false };
        self.accounts.entry(name.into()).or_insert(before);
    }

    /// Entries that the account had.
    pub(super) fn before(&self, name: &str) -> (Option<Vec<String>>, Option<Vec<String>>) {
        let before = self.accounts.get(name).cloned().unwrap_or_default();
        (before.passwd, before.shadow)
    }

    /// Forgets accounts that are gone, or as they were.
    pub(super) fn forget(&mut self, names: &[String]) {
        self.accounts.retain(|name, _| !names.contains(name));
    }
}
