//! The text of a users table.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::UsersTableError;
use crate::rootfs::TableLine;

/// Last uid of a system user (`LAST_SYSTEM_UID`), which decides the range of extra groups.
pub(super) const LAST_SYSTEM: u32 = 999;

/// A uid or gid column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    Number(u32),
    System,
    User,
}

impl Id {
    /// The range of automatic ids.
    pub(super) fn range(self) -> (u32, u32) {
        match self {
            Id::User => (1000, 1999),
            Id::System | Id::Number(_) => (100, LAST_SYSTEM),
        }
    }

    pub(super) fn number(self) -> Option<u32> {
        match self {
            Id::Number(number) => Some(number),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) line: usize,
    /// Nothing for a line that only makes a group.
    pub(super) name: Option<String>,
    pub(super) uid: Id,
    pub(super) group: String,
    pub(super) gid: Id,
    pub(super) password: String,
    pub(super) home: Option<String>,
    pub(super) shell: String,
    pub(super) groups: Vec<String>,
    pub(super) comment: String,
}

/// A parsed table.
#[derive(Clone, Debug)]
pub struct UsersTable {
    pub(super) file: Arc<Path>,
    pub(super) users: Vec<User>,
}

impl UsersTable {
    /// Parses the text of the table at `file` (named in messages only) and checks it for ids given twice.
    pub fn parse(file: &Path, text: &str) -> Result<UsersTable, UsersTableError> {
        let mut users = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if line.is_empty() {
                continue;
            }
            let at = TableLine { file: file.into(), line: index + 1 };
            users.push(
                parse_user(index + 1, line).map_err(|problem| UsersTableError::Syntax { at, problem })?,
            );
        }
        let table = UsersTable { file: file.into(), users };
        table.reject_ids_given_twice()?;
        Ok(table)
    }

    /// Returns whether the table has no lines.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Returns whether a password is clear text, which needs a method to hash it.
    pub(in crate::rootfs) fn has_clear_text(&self) -> bool {
        self.users.iter().any(|user| user.password.starts_with('=') || user.password.starts_with("!="))
    }

    fn reject_ids_given_twice(&self) -> Result<(), UsersTableError> {
        let (mut uids, mut gids) = (Given::new("uid"), Given::new("gid"));
        for user in &self.users {
            if let (Some(name), Some(uid)) = (&user.name, user.uid.number()) {
                uids.give(&self.file, user.line, name, uid)?;
            }
            if let Some(gid) = user.gid.number() {
                gids.give(&self.file, user.line, &user.group, gid)?;
            }
        }
        Ok(())
    }
}

/// Ids that earlier lines gave.
struct Given {
    what: &'static str,
    by_id: BTreeMap<u32, (usize, String)>,
    by_name: BTreeMap<String, (usize, u32)>,
}

impl Given {
    fn new(what: &'static str) -> Given {
        Given { what, by_id: BTreeMap::new(), by_name: BTreeMap::new() }
    }

    fn give(&mut self, file: &Path, line: usize, name: &str, id: u32) -> Result<(), UsersTableError> {
        let (at, what, name) = (TableLine { file: file.into(), line }, self.what, name.to_owned());
        if let Some((first, other)) = self.by_id.get(&id).filter(|(_, other)| *other != name) {
            let (first, other) = (*first, other.clone());
            return Err(UsersTableError::IdTwice { at, what, id, name, first, other });
        }
        if let Some((first, other)) = self.by_name.get(&name).filter(|(_, other)| *other != id) {
            let (first, other) = (*first, *other);
            return Err(UsersTableError::NameTwice { at, what, name, id, first, other });
        }
        self.by_id.entry(id).or_insert((line, name.clone()));
        self.by_name.entry(name).or_insert((line, id));
        Ok(())
    }
}

fn parse_user(number: usize, line: &str) -> Result<User, String> {
    let mut rest = line;
    let mut columns = Vec::new();
    while columns.len() < 8 && !rest.is_empty() {
        let (column, tail) = rest.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((rest, ""));
        columns.push(column);
        rest = tail.trim_start();
    }
    let missing = || {
        let wanted = "username, uid, group, gid, password and home are needed";
        format!("{} columns, but {wanted}", columns.len())
    };
    let column = |index: usize| columns.get(index).copied();
    let &[name, uid, group, gid, ..] = columns.as_slice() else { return Err(missing()) };
    if name == "root" {
        return Err("user `root` cannot be in a users table".into());
    }
    // A line that only makes groups needs nothing behind its gid, and often has `-` for its uid.
    let makes_user = name != "-";
    let (password, home) = match (column(4), column(5)) {
        (Some(password), Some(home)) => (password, home),
        _ if makes_user => return Err(missing()),
        _ => ("-", "-"),
    };
    // As mkusers has it, `-` is a shell that ends at once, and nothing is the one that passwd(5) stands for.
    let shell = column(6).map_or("", |shell| if shell == "-" { "/bin/false" } else { shell });
    for text in [name, group, home, shell, rest] {
        if text.contains(':') {
            return Err(format!("`{text}` contains a colon, which separates fields in the account files"));
        }
    }
    let clear = password.starts_with('=') || password.starts_with("!=");
    if !clear && password.contains(':') {
        return Err("the password contains a colon, which separates fields in the account files".into());
    }
    Ok(User {
        line: number,
        name: makes_user.then(|| name.to_owned()),
        uid: if makes_user { parse_id("uid", uid)? } else { parse_id("uid", uid).unwrap_or(Id::System) },
        group: group.into(),
        gid: parse_id("gid", gid)?,
        password: password.into(),
        home: if makes_user { parse_home(home)? } else { None },
        shell: shell.into(),
        groups: column(7).filter(|groups| *groups != "-").map_or_else(Vec::new, split_groups),
        comment: rest.into(),
    })
}

fn split_groups(groups: &str) -> Vec<String> {
    groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect()
}

fn parse_id(what: &str, text: &str) -> Result<Id, String> {
    match text {
        "-1" => Ok(Id::System),
        "-2" => Ok(Id::User),
        _ => match text.parse() {
            Ok(number) if number != 0 => Ok(Id::Number(number)),
            _ => Err(format!(
                "{what} `{text}` is not a number above 0, -1 (next free system id) or -2 (next free user id)"
            )),
        },
    }
}

fn parse_home(text: &str) -> Result<Option<String>, String> {
    match text {
        "-" => Ok(None),
        "/" => Err("home cannot be `/`: use `-` for a user without home".into()),
        _ if text.starts_with('/') => Ok(Some(text.into())),
        _ => Err(format!("home `{text}` is not an absolute path")),
    }
}
