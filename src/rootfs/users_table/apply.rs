//! A users table applied to a tree: account files, then homes.

use super::parse::{Id, LAST_SYSTEM, User, UsersTable};
use super::{UsersOptions, UsersTableError};
use crate::rootfs::TableLine;
use crate::rootfs::accounts::{Accounts, AccountsError};
use crate::tree::provenance::{Change, Origin, OriginId, Provenance};
use crate::tree::{LastLink, Stat, Tree, join};

/// Mode of directories made on the way to a home, and of the home.
const HOME_MODE: u32 = 0o755;

impl UsersTable {
    /// Adds groups and users to the account files of `tree`, makes their homes and gives those to them. On an error
    /// the tree is left half done. An empty table needs no account files.
    pub(in crate::rootfs) fn apply(
        &self,
        tree: &mut Tree,
        provenance: &mut Provenance,
        options: &UsersOptions,
    ) -> Result<(), UsersTableError> {
        if self.is_empty() {
            return Ok(());
        }
        let mut apply = Apply::new(self, tree, provenance, options)?;
        let numbered = |id: Id| id.number().is_some();
        for user in self.users.iter().filter(|user| numbered(user.gid)) {
            apply.add_group(user, &user.group, user.gid)?;
        }
        for user in self.users.iter().filter(|user| !numbered(user.gid)) {
            apply.add_group(user, &user.group, user.gid)?;
        }
        for user in &self.users {
            apply.add_extra_groups(user)?;
        }
        for user in self.users.iter().filter(|user| numbered(user.uid)) {
            apply.add_user(user)?;
        }
        for user in self.users.iter().filter(|user| !numbered(user.uid)) {
            apply.add_user(user)?;
        }
        apply.store();
        Ok(())
    }
}

struct Apply<'a> {
    table: &'a UsersTable,
    tree: &'a mut Tree,
    provenance: &'a mut Provenance,
    options: &'a UsersOptions<'a>,
    passwd: Accounts,
    shadow: Accounts,
    group: Accounts,
    /// Not part of every skeleton; kept in step if it is there.
    gshadow: Option<Accounts>,
}

impl<'a> Apply<'a> {
    fn new(
        table: &'a UsersTable,
        tree: &'a mut Tree,
        provenance: &'a mut Provenance,
        options: &'a UsersOptions,
    ) -> Result<Apply<'a>, UsersTableError> {
        let passwd = Accounts::load(tree, "/etc/passwd")?;
        let shadow = Accounts::load(tree, "/etc/shadow")?;
        let group = Accounts::load(tree, "/etc/group")?;
        let gshadow = match Accounts::load(tree, "/etc/gshadow") {
            Err(AccountsError::Missing { .. }) => None,
            other => Some(other?),
        };
        Ok(Apply { table, tree, provenance, options, passwd, shadow, group, gshadow })
    }

    fn store(self) {
        for accounts in [&self.passwd, &self.shadow, &self.group].into_iter().chain(&self.gshadow) {
            accounts.store(self.tree);
        }
    }

    fn at(&self, user: &User) -> TableLine {
        TableLine { file: self.table.file.clone(), line: user.line }
    }

    fn origin(&mut self, user: &User) -> OriginId {
        let file = self.table.file.to_path_buf();
        self.provenance.origin(Origin::UsersTable { file, line: user.line })
    }

    /// Writes the line of a group anew at the end of `group`, with the members it had.
    fn add_group(&mut self, user: &User, name: &str, id: Id) -> Result<(), UsersTableError> {
        let gid = match id {
            Id::Number(gid) => {
                self.reject_taken_gid(user, name, gid)?;
                gid
            }
            _ => match self.group.id_of(name) {
                Some(gid) => gid,
                None => self.free_id(user, "gid", name, id.range())?,
            },
        };
        let members = self.group.field(0, name, 3).unwrap_or("").to_owned();
        self.group.remove(name);
        self.group.push(format!("{name}:x:{gid}:{members}"));
        if let Some(gshadow) = &mut self.gshadow {
            gshadow.remove(name);
            gshadow.push(format!("{name}:*::"));
        }
        let origin = self.origin(user);
        let edited = [Some(&self.group), self.gshadow.as_ref()];
        for accounts in edited.into_iter().flatten() {
            self.provenance.record(&accounts.path, origin, Change::Edited);
        }
        Ok(())
    }

    fn reject_taken_gid(&self, user: &User, name: &str, gid: u32) -> Result<(), UsersTableError> {
        match self.group.name_of(gid).filter(|other| *other != name) {
            None => Ok(()),
            Some(other) => Err(UsersTableError::Taken {
                at: self.at(user),
                what: "gid",
                id: gid,
                name: name.into(),
                other: other.into(),
                file: "/etc/group",
            }),
        }
    }

    /// The lowest id of the range that nobody has.
    fn free_id(
        &self,
        user: &User,
        what: &'static str,
        name: &str,
        (first, last): (u32, u32),
    ) -> Result<u32, UsersTableError> {
        let accounts = if what == "uid" { &self.passwd } else { &self.group };
        let free = (first..=last).find(|id| accounts.name_of(*id).is_none());
        free.ok_or_else(|| {
            let (at, name) = (self.at(user), name.to_owned());
            UsersTableError::NoFreeId { at, what, first, last, name }
        })
    }

    /// Groups of the groups column; a new one gets an id of the same range as the user's.
    fn add_extra_groups(&mut self, user: &User) -> Result<(), UsersTableError> {
        let range = match user.uid {
            Id::Number(uid) if uid <= LAST_SYSTEM => Id::System,
            Id::Number(_) => Id::User,
            automatic => automatic,
        };
        user.groups.iter().try_for_each(|group| self.add_group(user, group, range))
    }

    fn add_user(&mut self, user: &User) -> Result<(), UsersTableError> {
        let Some(name) = &user.name else { return Ok(()) };
        self.reject_conflicts(user, name)?;
        let uid = match user.uid {
            Id::Number(uid) => uid,
            automatic => match self.passwd.id_of(name) {
                Some(uid) => uid,
                None => self.free_id(user, "uid", name, automatic.range())?,
            },
        };
        let gid = self.group.id_of(&user.group).expect("the main group was added before");
        self.write_lines(user, name, uid, gid);
        for group in &user.groups {
            self.group.add_member(group, name);
            self.gshadow.iter_mut().for_each(|gshadow| gshadow.add_member(group, name));
        }
        let origin = self.origin(user);
        for accounts in [&self.passwd, &self.shadow] {
            self.provenance.record(&accounts.path, origin, Change::Edited);
        }
        match &user.home {
            Some(home) => self.make_home(user, name, home, (uid, gid), origin),
            None => Ok(()),
        }
    }

    /// The checks of `check_user_validity` against the account files as they are now.
    fn reject_conflicts(&self, user: &User, name: &str) -> Result<(), UsersTableError> {
        let at = || self.at(user);
        if let Some(uid) = user.uid.number() {
            if let Some(other) = self.passwd.name_of(uid).filter(|other| *other != name) {
                let (at, what, name, other) = (at(), "uid", name.into(), other.into());
                return Err(UsersTableError::Taken { at, what, id: uid, name, other, file: "/etc/passwd" });
            }
            self.reject_other(user, name, "uid", self.passwd.field(0, name, 2), &uid.to_string())?;
        }
        let gid = self.passwd.field(0, name, 3);
        if let Some(wanted) = user.gid.number() {
            self.reject_other(user, name, "gid", gid, &wanted.to_string())?;
        }
        let group = gid.and_then(|gid| self.group.field(2, gid, 0));
        self.reject_other(user, name, "group", group, &user.group)
    }

    fn reject_other(
        &self,
        user: &User,
        name: &str,
        what: &'static str,
        found: Option<&str>,
        wanted: &str,
    ) -> Result<(), UsersTableError> {
        match found.filter(|found| *found != wanted) {
            None => Ok(()),
            Some(found) => {
                let (at, name) = (self.at(user), name.to_owned());
                let (found, wanted) = (format!("`{found}`"), format!("`{wanted}`"));
                Err(UsersTableError::Exists { at, name, what, found, wanted })
            }
        }
    }

    fn write_lines(&mut self, user: &User, name: &str, uid: u32, gid: u32) {
        let hash = |text: &str| self.options.method.hash(text, name, self.options.seed);
        let password = match user.password.as_str() {
            "-" => String::new(),
            text => match (text.strip_prefix("!="), text.strip_prefix('=')) {
                (Some(clear), _) => format!("!{}", hash(clear)),
                (None, Some(clear)) => hash(clear),
                (None, None) => text.into(),
            },
        };
        self.passwd.remove(name);
        self.shadow.remove(name);
        let home = user.home.as_deref().unwrap_or("/");
        self.passwd.push(format!("{name}:x:{uid}:{gid}:{}:{home}:{}", user.comment, user.shell));
        self.shadow.push(format!("{name}:{password}:::::::"));
    }

    /// `mkdir -p` and then `chown -h -R`: a home that is a link gives only the link away.
    fn make_home(
        &mut self,
        user: &User,
        name: &str,
        home: &str,
        (uid, gid): (u32, u32),
        origin: OriginId,
    ) -> Result<(), UsersTableError> {
        let at = self.at(user);
        let error = |source| UsersTableError::Home { at, home: home.into(), user: name.into(), source };
        let stat = Stat { mode: HOME_MODE, uid: 0, gid: 0, mtime: self.options.mtime };
        let (_, created) = self.tree.create_dirs(home, stat).map_err(error)?;
        for path in &created {
            self.provenance.record(path, origin, Change::Created { node: "directory" });
        }
        let found = self.tree.resolve(home, LastLink::Keep).expect("the home was just made");
        let mut stack = vec![(found.path, found.id)];
        while let Some((path, id)) = stack.pop() {
            let entries = self.tree.node(id).entries().into_iter().flatten();
            stack.extend(entries.map(|(name, child)| (join(&path, name), *child)));
            let stat = &mut self.tree.node_mut(id).stat;
            let old = std::mem::replace(stat, Stat { uid, gid, ..*stat });
            let new = *stat;
            self.provenance.record_stat(&path, origin, old, new);
        }
        Ok(())
    }
}
