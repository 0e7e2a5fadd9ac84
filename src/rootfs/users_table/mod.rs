//! The users table (`full_users_table.txt`), as Buildroot's mkusers applies it (`support/scripts/mkusers`,
//! `docs/manual/makeusers-syntax.adoc`).
//!
//! Columns: username, uid, group, gid, password, home, shell, groups, comment. Ids are numbers, `-1` for the lowest
//! free system id (100 to 999) or `-2` for the lowest free user id (1000 to 1999). Order, which decides automatic
//! ids: main groups with a number, other main groups, extra groups, users with a number, other users.
//!
//! Differences to mkusers, all deliberate: a table that gives one id twice, or one name two ids, is an error that
//! names both lines; a malformed line is an error; clear-text passwords are hashed with a salt derived from the
//! seed, so that two runs give the same bytes.

mod apply;
mod parse;
mod password;

pub use parse::UsersTable;
pub use password::PasswordMethod;

use super::TableLine;
use super::accounts::AccountsError;
use crate::error::Diagnostic;
use crate::tree::LookupError;
use crate::value::{Seed, Timestamp};

/// Reason why a users table cannot be read or applied.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum UsersTableError {
    /// A line is malformed.
    #[error("{at}: {problem}")]
    Syntax {
        /// The line.
        at: TableLine,
        /// Problem of the line.
        problem: String,
    },
    /// Two names have one id.
    #[error("{at}: {what} {id} is given to `{name}`, but line {first} gives it to `{other}`")]
    #[diagnostic(hint = "give one of them another id, or -1 for the next free one")]
    IdTwice {
        /// The later line.
        at: TableLine,
        /// `uid` or `gid`.
        what: &'static str,
        /// The number.
        id: u32,
        /// User or group that gets it in the later line.
        name: String,
        /// The earlier line.
        first: usize,
        /// User or group that gets it there.
        other: String,
    },
    /// One name has two ids.
    #[error("{at}: `{name}` gets {what} {id}, but line {first} gives it {other}")]
    #[diagnostic(hint = "use the same numbers in every place, or -1 to take what is there")]
    NameTwice {
        /// The later line.
        at: TableLine,
        /// `uid` or `gid`.
        what: &'static str,
        /// The user or group.
        name: String,
        /// The number in the later line.
        id: u32,
        /// The earlier line.
        first: usize,
        /// The number there.
        other: u32,
    },
    /// The id belongs to somebody in the tree's account files.
    #[error("{at}: {what} {id} is given to `{name}`, but `{other}` has it in `{file}` of the tree")]
    #[diagnostic(hint = "give one of them another id, or -1 for the next free one")]
    Taken {
        /// The line.
        at: TableLine,
        /// `uid` or `gid`.
        what: &'static str,
        /// The number.
        id: u32,
        /// User or group that should get it.
        name: String,
        /// User or group that has it.
        other: String,
        /// The account file.
        file: &'static str,
    },
    /// The user exists already, with something else.
    #[error("{at}: user `{name}` has {what} {found} in `/etc/passwd` of the tree, not {wanted}")]
    #[diagnostic(hint = "use the same numbers in every place, or -1 to take what is there")]
    Exists {
        /// The line.
        at: TableLine,
        /// The user.
        name: String,
        /// `uid`, `gid` or `group`.
        what: &'static str,
        /// Value that the tree has.
        found: String,
        /// Value that the table wants.
        wanted: String,
    },
    /// No id is free.
    #[error("{at}: no {what} from {first} to {last} is free for `{name}`")]
    NoFreeId {
        /// The line.
        at: TableLine,
        /// `uid` or `gid`.
        what: &'static str,
        /// Start of the range.
        first: u32,
        /// End of the range.
        last: u32,
        /// The user or group.
        name: String,
    },
    /// The home cannot be made.
    #[error("{at}: home `{home}` of `{user}`: {source}")]
    Home {
        /// The line.
        at: TableLine,
        /// The directory.
        home: String,
        /// User that it belongs to.
        user: String,
        /// End of the path.
        source: LookupError,
    },
    /// `BR2_TARGET_GENERIC_PASSWD_METHOD` is not supported.
    #[error("password method `{0}` is not supported: use sha-512 or sha-256")]
    #[diagnostic(
        kind = Unsupported,
        hint = "set BR2_TARGET_GENERIC_PASSWD_SHA512=y, or write the hash itself into the users table"
    )]
    Method(String),
    /// The account files cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Accounts(#[from] AccountsError),
}

/// Settings for applying a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct UsersOptions<'a> {
    /// `BR2_TARGET_GENERIC_PASSWD_METHOD`.
    pub method: PasswordMethod,
    /// Seed of the salts.
    pub seed: &'a Seed,
    /// Time of the homes that are made.
    pub mtime: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::tree::provenance::Provenance;
    use crate::tree::{Body, Content, Node, Stat, Tree};

    const STAT: Stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };

    fn skeleton() -> Tree {
        let mut tree = Tree::new(STAT);
        let (etc, _) = tree.create_dirs("etc", STAT).unwrap();
        let mut file = |name: &str, text: &str| {
            let content = Body::File(Content::bytes(text.as_bytes()));
            tree.insert(etc.id, name.as_bytes(), Node::new(Stat { mode: 0o644, ..STAT }, content));
        };
        file("passwd", "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www:/var/www:/bin/false\n");
        file("shadow", "root:*:::::::\nwww-data:*:::::::\n");
        file("group", "root:x:0:\nwww-data:x:33:\naudio:x:29:joe\nhundred:x:100:\n");
        tree
    }

    fn apply(text: &str) -> Result<(Tree, Provenance), UsersTableError> {
        let (mut tree, mut provenance) = (skeleton(), Provenance::new());
        let seed = Seed("test".into());
        let options = UsersOptions { method: PasswordMethod::Sha512, seed: &seed, mtime: 5 };
        let table = UsersTable::parse(Path::new("users.txt"), text)?;
        table.apply(&mut tree, &mut provenance, &options)?;
        Ok((tree, provenance))
    }

    fn text(tree: &Tree, path: &str) -> String {
        let Body::File(content) = &tree.node(tree.get(path).unwrap()).body else { panic!("a file") };
        String::from_utf8(content.read_all().unwrap()).unwrap()
    }

    #[test]
    fn groups_and_users_are_added_in_the_order_of_mkusers() {
        let table = "# packages\n\
            dbus -1 dbus -1 * /run/dbus - dbus D-Bus user # not a comment\n\
            joe  1000 joe 1000 - /home/joe /bin/sh audio,wheel Joe  User\n\
            -    -  input -1 * - - -\n\
            sys  500 sys 500 * - - -\n";
        let (tree, provenance) = apply(table).unwrap();
        assert_eq!(
            text(&tree, "etc/group"),
            "root:x:0:\nwww-data:x:33:\nhundred:x:100:\njoe:x:1000:\nsys:x:500:\ninput:x:102:\n\
             dbus:x:101:dbus\naudio:x:29:joe\nwheel:x:1001:joe\n"
        );
        assert!(text(&tree, "etc/passwd").ends_with(
            "www:/var/www:/bin/false\njoe:x:1000:1000:Joe  User:/home/joe:/bin/sh\nsys:x:500:500::/:/bin/false\n\
             dbus:x:100:101:D-Bus user:/run/dbus:/bin/false\n"
        ));
        assert!(text(&tree, "etc/shadow").ends_with("joe::::::::\nsys:*:::::::\ndbus:*:::::::\n"));
        let home = tree.node(tree.get("home/joe").unwrap()).stat;
        assert_eq!((home.uid, home.gid, home.mode), (1000, 1000, 0o755));
        let owner = provenance.explain(&tree, "home/joe").owner_from().unwrap().to_string();
        assert_eq!(owner, "users table `users.txt:3`");
    }

    #[test]
    fn clear_text_passwords_are_hashed_the_same_each_time() {
        let (first, _) = apply("a 1000 a 1000 =secret - - -\nb 1001 b 1001 !=secret - - -\n").unwrap();
        let (second, _) = apply("a 1000 a 1000 =secret - - -\nb 1001 b 1001 !=secret - - -\n").unwrap();
        let shadow = text(&first, "etc/shadow");
        assert_eq!(shadow, text(&second, "etc/shadow"));
        let hashes: Vec<&str> = shadow.lines().skip(2).map(|line| line.split(':').nth(1).unwrap()).collect();
        assert!(hashes[0].starts_with("$6$") && hashes[1].starts_with("!$6$"), "{hashes:?}");
        assert_ne!(&hashes[1][1..], hashes[0]);
    }

    fn message(table: &str) -> String {
        apply(table).unwrap_err().to_string()
    }

    #[test]
    fn one_id_given_twice_names_both_lines() {
        assert_eq!(
            message("a 1000 a 1000 * - - -\n\nb 1000 b 1001 * - - -\n"),
            "`users.txt:3`: uid 1000 is given to `b`, but line 1 gives it to `a`"
        );
        assert_eq!(
            message("a 1000 a 1000 * - - -\nb 1001 b 1000 * - - -\n"),
            "`users.txt:2`: gid 1000 is given to `b`, but line 1 gives it to `a`"
        );
        assert_eq!(
            message("a 1000 a 1000 * - - -\na 1001 a 1000 * - - -\n"),
            "`users.txt:2`: `a` gets uid 1001, but line 1 gives it 1000"
        );
        let hint = apply("a 1000 a 1000 * - - -\nb 1000 b 1001 * - - -\n").unwrap_err().hint().unwrap();
        assert_eq!(hint, "give one of them another id, or -1 for the next free one");
    }

    #[test]
    fn conflicts_with_the_account_files_are_reported() {
        assert_eq!(
            message("a 33 a 1000 * - - -"),
            "`users.txt:1`: uid 33 is given to `a`, but `www-data` has it in `/etc/passwd` of the tree"
        );
        assert_eq!(
            message("a 1000 a 33 * - - -"),
            "`users.txt:1`: gid 33 is given to `a`, but `www-data` has it in `/etc/group` of the tree"
        );
        assert_eq!(
            message("www-data 34 www-data 33 * - - -"),
            "`users.txt:1`: user `www-data` has uid `33` in `/etc/passwd` of the tree, not `34`"
        );
        assert_eq!(
            message("www-data -1 other -1 * - - -"),
            "`users.txt:1`: user `www-data` has group `www-data` in `/etc/passwd` of the tree, not `other`"
        );
    }

    #[test]
    fn columns_at_the_end_may_be_missing() {
        let (tree, _) = apply("a 1000 a 1000 * -\nb 1001 b 1001 * /b /bin/sh\n- - c 300\n").unwrap();
        let lines = |path: &str| text(&tree, path).lines().map(str::to_owned).collect::<Vec<_>>();
        let passwd = lines("etc/passwd");
        assert!(passwd.contains(&"a:x:1000:1000::/:".into()), "{passwd:?}");
        assert!(passwd.contains(&"b:x:1001:1001::/b:/bin/sh".into()), "{passwd:?}");
        assert!(lines("etc/group").contains(&"c:x:300:".into()));
        let told = message("a 1000 a 1000 *");
        assert_eq!(
            told,
            "`users.txt:1`: 5 columns, but username, uid, group, gid, password and home are needed"
        );
    }

    #[test]
    fn malformed_lines_are_reported() {
        assert_eq!(
            message("a 1000 a"),
            "`users.txt:1`: 3 columns, but username, uid, group, gid, password and home are needed"
        );
        assert_eq!(
            message("a 0 a 1 * - - -"),
            "`users.txt:1`: uid `0` is not a number above 0, -1 (next free system id) or -2 (next free user id)"
        );
        assert_eq!(message("root -1 a 1 * - - -"), "`users.txt:1`: user `root` cannot be in a users table");
        assert_eq!(
            message("a 1 a 1 * / - -"),
            "`users.txt:1`: home cannot be `/`: use `-` for a user without home"
        );
        assert_eq!(message("a 1 a 1 * home - -"), "`users.txt:1`: home `home` is not an absolute path");
        assert_eq!(
            message("a 1 a 1 * - - - A:B"),
            "`users.txt:1`: `A:B` contains a colon, which separates fields in the account files"
        );
        assert_eq!(
            message("a 1 a 1 x:y - - -"),
            "`users.txt:1`: the password contains a colon, which separates fields in the account files"
        );
        assert_eq!(
            message("a 1 a 1 * /etc/passwd/x - -"),
            "`users.txt:1`: home `/etc/passwd/x` of `a`: `/etc/passwd` is a file, not a directory"
        );
        assert_eq!(
            "md5".parse::<PasswordMethod>().unwrap_err().to_string(),
            "password method `md5` is not supported: use sha-512 or sha-256"
        );
    }

    #[test]
    fn a_tree_without_account_files_is_reported() {
        let table = UsersTable::parse(Path::new("users.txt"), "a 1000 a 1000 * - - -").unwrap();
        let seed = Seed("test".into());
        let options = UsersOptions { method: PasswordMethod::Sha256, seed: &seed, mtime: 5 };
        let error = table.apply(&mut Tree::new(STAT), &mut Provenance::new(), &options).unwrap_err();
        assert_eq!(error.to_string(), "the tree has no `/etc/passwd`: `/etc` does not exist in the tree");
        assert_eq!(error.hint().unwrap(), "build the root filesystem with Buildroot's default skeleton");
    }

    #[test]
    fn account_files_of_another_kind_are_reported() {
        let refusal = |body: Body| {
            let mut tree = skeleton();
            let id = tree.get("etc/passwd").unwrap();
            tree.node_mut(id).body = body;
            let table = UsersTable::parse(Path::new("users.txt"), "a 1000 a 1000 * - - -").unwrap();
            let seed = Seed("test".into());
            let options = UsersOptions { method: PasswordMethod::Sha256, seed: &seed, mtime: 5 };
            table.apply(&mut tree, &mut Provenance::new(), &options).unwrap_err().to_string()
        };
        assert_eq!(refusal(Body::Fifo), "`/etc/passwd` of the tree is a fifo, not a file");
        assert_eq!(
            refusal(Body::File(Content::bytes(b"root\xff".as_slice()))),
            "`/etc/passwd` of the tree is not text: byte 4 is not UTF-8"
        );
    }

    #[test]
    fn a_full_range_of_ids_is_reported() {
        let table: String = (100..1000).map(|id| format!("- - g{id} {id} * - - -\n")).collect();
        let table = table.replace(" g100 100 ", " hundred 100 ") + "- - more -1 * - - -\n";
        assert_eq!(message(&table), "`users.txt:901`: no gid from 100 to 999 is free for `more`");
    }
}
