//! Accounts of the host for the users of a configuration.
//!
//! They need no engine and no network: seconds after the start one can log in, and sees what the containers do. On most
//! boards `/etc` and `/home` begin anew at every boot; only the numbers of users are kept, on persist.

mod keys;
mod password;
mod record;
mod table;
mod uids;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use crate::config::{Config, Login, Password, User};
use crate::failure::{Failure, Result, read_if_there};
use crate::replace::replace;
use record::Record;
use table::Table;
use uids::Uids;

/// What the accounts of this program have in the field for a full name.
const GECOS: &str = "Skiff Core";
/// Numbers below this belong to services of the system.
const FIRST_PERSON: u32 = 1000;
/// How long another program may change the accounts; `lckpwdf` of C libraries waits as long.
const LOCK: Duration = Duration::from_secs(15);

/// Files that accounts are in.
#[derive(Clone, Debug)]
pub struct Places {
    /// Directory of `passwd`, `shadow`, `group`, `shells`.
    pub etc: PathBuf,
    /// Directory of homes, as accounts name it.
    pub home: PathBuf,
    /// Numbers of users, on persist.
    pub uids: PathBuf,
    /// Keys of root.
    pub root_keys: PathBuf,
    /// Directory of `*.pub` in the image.
    pub image_keys: PathBuf,
    /// Directory of `*.pub` on persist.
    pub persist_keys: PathBuf,
    /// Program that is the shell of users of containers, as accounts name it.
    pub shell: PathBuf,
    /// Where all this is.
    pub root: PathBuf,
}

impl Places {
    /// Those of SkiffOS in a system whose root is at `root`.
    pub fn below(root: &Path) -> Self {
        Self {
            etc: root.join("etc"),
            home: "/home".into(),
            uids: root.join("mnt/persist/skiff/core/uids"),
            root_keys: root.join("root/.ssh/authorized_keys"),
            image_keys: root.join("etc/skiff/authorized_keys"),
            persist_keys: root.join("mnt/persist/skiff/keys"),
            shell: "/usr/bin/skiff-shell".into(),
            root: root.to_path_buf(),
        }
    }

    /// A path of the accounts' system.
    fn real(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// What was done.
#[derive(Debug, Default)]
pub struct Report {
    /// Users whose account or keys are other ones than before.
    pub changed: Vec<String>,
    /// Users who have no account any more, or their old one.
    pub removed: Vec<String>,
    /// Users who can log in by nothing: no key, no password.
    pub unreachable: Vec<String>,
    /// Users without an account, and why; the others have theirs.
    pub failures: Vec<Failure>,
    /// Numbers of the users that have an account.
    pub uids: Vec<(String, u32)>,
}

/// Makes the accounts of the configuration, and removes those that an earlier one made.
///
/// # Errors
///
/// The files of accounts cannot be read or written. What is wrong with one user is in the report.
pub fn apply(config: &Config, places: &Places) -> Result<Report> {
    let _lock = lock(&places.etc)?;
    let mut files = Files::load(places)?;
    let (mut report, made) = files.arrange(config, places);
    if let Err(failure) = files.uids.save(&places.uids) {
        let hint = "without it users may have other numbers after the next start";
        report.failures.push(failure.hint(hint));
    }
    let entered = files.changed();
    files.save(places)?;
    for (user, account) in made {
        let name = user.name.value.clone();
        match account.furnish(user, places) {
            Ok(keys) if keys || entered.contains(&name) => report.changed.push(name),
            Ok(_) => {}
            Err(failure) => report.failures.push(failure.context(format_args!("user `{name}`"))),
        }
    }
    Ok(report)
}

/// Reports what [`apply`] would do.
///
/// # Errors
///
/// The files of accounts cannot be read.
pub fn plan(config: &Config, places: &Places) -> Result<Report> {
    let mut files = Files::load(places)?;
    let (mut report, made) = files.arrange(config, places);
    let entered = files.changed();
    for (user, account) in made {
        let keys = account.keys(user, places);
        let same = keys::are(&places.real(&account.home), &keys, account.uid);
        if !same || entered.contains(&user.name.value) {
            report.changed.push(user.name.value.clone());
        }
    }
    Ok(report)
}

/// Keeps other programs from changing accounts until it is dropped.
fn lock(etc: &Path) -> Result<File> {
    let path = etc.join(".pwd.lock");
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(|error| Failure::file("open", &path, error))?;
    let end = Instant::now() + LOCK;
    loop {
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(error) if Instant::now() > end => {
                let failure = Failure::file("lock", &path, error);
                return Err(failure.hint("another program changes accounts: try again when it has ended"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// An account that a user has.
struct Account {
    uid: u32,
    gid: u32,
    home: PathBuf,
}

/// The files of accounts, in memory.
struct Files {
    passwd: Table,
    shadow: Table,
    group: Table,
    shells: Table,
    /// Before the changes.
    old: [Table; 2],
    record: Record,
    /// Names that nothing wants any more.
    left: Vec<String>,
    uids: Uids,
}

impl Files {
    fn load(places: &Places) -> Result<Self> {
        let table = |name: &str| -> Result<Table> {
            Ok(Table::parse(&read_if_there(&places.etc.join(name))?.unwrap_or_default()))
        };
        let (passwd, shadow) = (table("passwd")?, table("shadow")?);
        Ok(Self {
            old: [passwd.clone(), shadow.clone()],
            group: table("group")?,
            shells: table("shells")?,
            record: Record::load(&places.etc)?,
            left: Vec::new(),
            uids: Uids::load(&places.uids)?,
            passwd,
            shadow,
        })
    }

    /// Writes all accounts into the tables, and takes out those that nothing wants.
    fn arrange<'config>(
        &mut self,
        config: &'config Config,
        places: &Places,
    ) -> (Report, Vec<(&'config User, Account)>) {
        let (mut report, mut made) = (Report::default(), Vec::new());
        for user in &config.users {
            let name = &user.name.value;
            match self.enter(user, places) {
                Ok(account) => {
                    report.uids.push((name.clone(), account.uid));
                    if user.auth.password == Password::None && account.keys(user, places).is_empty() {
                        report.unreachable.push(name.clone());
                    }
                    made.push((user, account));
                }
                Err(failure) => report.failures.push(failure.context(format_args!("user `{name}`"))),
            }
        }
        // An account that could not be made keeps what it had.
        let wanted = |name: &str| config.users.iter().any(|user| user.name.value == name);
        report.removed = self.leave(&wanted);
        (report, made)
    }

    /// Writes the account of a user into the tables.
    fn enter(&mut self, user: &User, places: &Places) -> Result<Account> {
        let name = &user.name.value;
        let existing = self.passwd.get(name).filter(|entry| entry.len() >= 7);
        let foreign = existing.as_ref().filter(|_| !self.record.made(name));
        if let Some(entry) = foreign {
            let uid: u32 = entry[2].parse().map_err(|_| {
                Failure::new(format!(
                    "its number in `{}` is `{}`",
                    places.etc.join("passwd").display(),
                    entry[2]
                ))
            })?;
            if uid != 0 && uid < FIRST_PERSON {
                let failure =
                    Failure::new(format!("there is an account of the system with this name (number {uid})"));
                return Err(failure.hint("give the user another name"));
            }
            self.record.adopt(name, entry, self.shadow.get(name));
        } else {
            self.record.make(name);
        }
        let mut entry = match existing {
            Some(entry) => entry,
            None => self.fresh(name, places)?,
        };
        entry[6] = self.shell(user, &entry[6], places);
        let before = self.shadow.get(name);
        let field =
            password::field(&user.auth.password, before.as_ref().and_then(|line| line.get(1)).map(|x| &**x))?;
        // A clear password in passwd would count before that in shadow.
        entry[1] = "x".into();
        let mut line = before
            .unwrap_or_else(|| [name, "", "", "0", "99999", "7", "", "", ""].map(str::to_string).into());
        line.resize(9.max(line.len()), String::new());
        line[1] = field;
        self.shadow.set(&line);
        self.passwd.set(&entry);
        let number =
            |text: &str| text.parse().map_err(|_| Failure::new(format!("`{text}` is no number of a user")));
        Ok(Account { uid: number(&entry[2])?, gid: number(&entry[3])?, home: PathBuf::from(&entry[5]) })
    }

    /// The entry of a user who has none.
    fn fresh(&mut self, name: &str, places: &Places) -> Result<Vec<String>> {
        let third = |table: &Table| {
            table.entries().filter_map(|entry| entry.get(2)?.parse().ok()).collect::<Vec<u32>>()
        };
        let (users, groups) = (third(&self.passwd), third(&self.group));
        let uid = self.uids.of(name, &|number| users.contains(&number) || groups.contains(&number))?;
        if let Some(other) =
            self.passwd.entries().find(|entry| entry.get(2).is_some_and(|text| *text == uid.to_string()))
        {
            let failure = Failure::new(format!("its number {uid} belongs to `{}`", other[0]));
            return Err(failure.hint(format!("change one of them in `{}`", places.uids.display())));
        }
        let gid = match self.group.get(name).and_then(|entry| entry.get(2)?.parse::<u32>().ok()) {
            Some(gid) => gid,
            None => {
                self.group.set(&[name.into(), "x".into(), uid.to_string(), String::new()]);
                self.record.make_group(name);
                uid
            }
        };
        let home = places.home.join(name).display().to_string();
        Ok([name, "x", &uid.to_string(), &gid.to_string(), GECOS, &home, ""].map(str::to_string).into())
    }

    /// The shell that a user gets.
    fn shell(&mut self, user: &User, before: &str, places: &Places) -> String {
        let ours = places.shell.display().to_string();
        match user.to {
            Login::Container { .. } => {
                // Programs refuse to switch to users whose shell is not in this file.
                self.shells.add_line(&ours);
                ours
            }
            Login::Host if !before.is_empty() && before != ours => before.into(),
            Login::Host => match places.real(Path::new("/bin/bash")).exists() {
                true => "/bin/bash".into(),
                false => "/bin/sh".into(),
            },
        }
    }

    /// Takes out the accounts that nothing wants any more; names of them.
    fn leave(&mut self, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
        let unwanted: Vec<String> = self.record.names().filter(|name| !wanted(name)).collect();
        for name in &unwanted {
            let (passwd, shadow) = self.record.before(name);
            for (table, entry) in [(&mut self.passwd, passwd), (&mut self.shadow, shadow)] {
                match entry {
                    Some(entry) => table.set(&entry),
                    None => table.remove(name),
                }
            }
            if self.record.made_group(name) {
                self.group.remove(name);
            }
        }
        self.left.clone_from(&unwanted);
        unwanted
    }

    /// Names whose entries are others than before.
    fn changed(&self) -> Vec<String> {
        let [passwd, shadow] = &self.old;
        let same = |name: &str| {
            passwd.get(name) == self.passwd.get(name) && shadow.get(name) == self.shadow.get(name)
        };
        self.record.names().filter(|name| !same(name)).collect()
    }

    /// Writes all files: first the record, so that a next run knows what is ours; last `passwd`, which makes an account
    /// one.
    fn save(&mut self, places: &Places) -> Result<()> {
        self.record.save(&places.etc)?;
        let write = |name: &str, table: &Table, mode| replace(&places.etc.join(name), &table.bytes(), mode);
        write("shadow", &self.shadow, 0o600)?;
        write("group", &self.group, 0o644)?;
        if places.etc.join("shells").exists() {
            write("shells", &self.shells, 0o644)?;
        }
        write("passwd", &self.passwd, 0o644)?;
        self.record.forget(&self.left);
        self.record.save(&places.etc)
    }
}

impl Account {
    /// Keys that open it.
    fn keys(&self, user: &User, places: &Places) -> Vec<String> {
        let mut auth = user.auth.clone();
        // Root would lose the keys that the image gave it.
        auth.copy_root_keys |= self.uid == 0;
        keys::lines(&auth, places)
    }

    /// Makes home and keys. Reports whether keys changed.
    fn furnish(&self, user: &User, places: &Places) -> Result<bool> {
        let keys = self.keys(user, places);
        let home = places.real(&self.home);
        let fail = |error| Failure::file("make the directory", &home, error);
        match fs::symlink_metadata(&home) {
            Ok(found) if found.is_dir() && found.uid() == self.uid => {}
            Ok(found) if found.is_dir() && found.uid() == 0 && self.home.starts_with(&places.home) => {
                chown(&home, Some(self.uid), Some(self.gid)).map_err(fail)?;
            }
            Ok(_) => {
                let path = home.display();
                let failure = Failure::new(format!("`{path}` is there, and no directory of this user"));
                return Err(failure.hint("move it away"));
            }
            Err(_) => self.make_home(&home).map_err(fail)?,
        }
        keys::write(&home, &keys, self.uid, self.gid)
    }

    fn make_home(&self, home: &Path) -> std::io::Result<()> {
        if let Some(parent) = home.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::create_dir(home)?;
        fs::set_permissions(home, fs::Permissions::from_mode(0o700))?;
        chown(home, Some(self.uid), Some(self.gid))
    }
}
