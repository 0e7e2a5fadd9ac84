//! User, shell and directory in a container, as its own files have them.
//!
//! The container decides what is in these files, and what kind of files they are. They are opened below its root, through no
//! link that leads out of it, without waiting, and read up to a limit.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use serde_json::{Value, json};

use super::environment;
use super::message::Request;
use super::routes::Route;
use super::runtime::{Running, Runtime};
use crate::config::{Config, Login};
use crate::failure::{Failure, Result};
use crate::status::{State, Status};

/// Bytes of a file of the container that are read.
const LARGEST: u64 = 4 << 20;

/// Tries places of programs for SFTP, which distributions have elsewhere.
const SFTP: &str = "for p in /usr/lib/openssh /usr/libexec/openssh /usr/libexec /usr/lib/ssh /usr/lib/misc /usr/lib64/misc /run/current-system/sw/libexec; do \
                    [ -x \"$p/sftp-server\" ] && exec \"$p/sftp-server\" \"$@\"; done; command -v sftp-server >/dev/null && \
                    exec sftp-server \"$@\"; echo 'there is no sftp-server in this container: install the one of OpenSSH' >&2; \
                    exit 127";

/// Root of a container.
struct Root(OwnedFd);

impl Root {
    fn of(pid: i32) -> Result<Self> {
        let path = format!("/proc/{pid}/root");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&path, flags, Mode::empty());
        root.map(Self).map_err(|error| Failure::file("open", path.as_ref(), error))
    }

    fn open(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// The text of a file; nothing if it is none that can be read at once.
    fn text(&self, path: &str) -> String {
        let Ok(file) = self.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) else {
            return String::new();
        };
        let regular = rustix::fs::fstat(&file)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        let mut bytes = Vec::new();
        if regular {
            // What was read before an error counts.
            let _ = File::from(file).take(LARGEST).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn has_directory(&self, path: &str) -> bool {
        self.open(path, OFlags::PATH | OFlags::DIRECTORY).is_ok()
    }
}

/// A user of a container.
#[derive(Debug, PartialEq, Eq)]
struct Person {
    name: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    home: String,
    shell: String,
}

impl Person {
    /// The user that `wanted` names (a name, a number, `USER:GROUP`), else the one of the container's first process.
    fn find(wanted: Option<&str>, root: &Root, process: &Value) -> Result<Self> {
        let (passwd, group) = (root.text("/etc/passwd"), root.text("/etc/group"));
        let number = |key: &str| process["user"][key].as_u64().and_then(|number| u32::try_from(number).ok());
        let own = (number("uid").unwrap_or_default(), number("gid"));
        let (user, wanted_group) = match wanted {
            None => (own.0.to_string(), None),
            Some(text) => match text.split_once(':') {
                Some((user, group)) => (user.to_string(), Some(group)),
                None => (text.to_string(), None),
            },
        };
        let mut found = entry(&passwd, &user);
        if let (None, None, Ok(uid)) = (&found, wanted, user.parse::<u32>()) {
            // A user without an entry, as in images without accounts.
            found = Some(vec!["".into(), String::new(), uid.to_string(), own.1.unwrap_or(0).to_string()]);
        }
        if let (None, Ok(uid)) = (&found, user.parse::<u32>()) {
            found = Some(vec!["".into(), String::new(), uid.to_string(), "0".into()]);
        }
        let found = found.ok_or_else(|| {
            Failure::new(format!("there is no user `{user}` in it"))
                .hint("make it there, or set `createContainerUser: true`")
        })?;
        let field = |index: usize| found.get(index).cloned().unwrap_or_default();
        let read = |text: String| {
            text.parse::<u32>().map_err(|_| Failure::new(format!("`{text}` is no number of a user or group")))
        };
        let (uid, mut gid) = (read(field(2))?, read(field(3))?);
        if let Some(wanted) = wanted_group {
            gid = match wanted.parse() {
                Ok(gid) => gid,
                Err(_) => match entry(&group, wanted).and_then(|entry| entry.get(2)?.parse().ok()) {
                    Some(gid) => gid,
                    None => return Err(Failure::new(format!("there is no group `{wanted}` in it"))),
                },
            };
        }
        let or = |text: String, other: &str| if text.is_empty() { other.to_string() } else { text };
        let name = field(0);
        let groups = if wanted_group.is_some() { vec![gid] } else { groups_of(&group, &name, gid) };
        Ok(Self {
            groups,
            home: or(field(5), "/"),
            shell: or(field(6), "/bin/sh"),
            name: or(name, &uid.to_string()),
            uid,
            gid,
        })
    }
}

/// Fields of the entry of a name, or else of a number.
fn entry(table: &str, wanted: &str) -> Option<Vec<String>> {
    let mut entries = table.lines().map(|line| line.split(':').map(Into::into).collect::<Vec<String>>());
    let by_name = entries.clone().find(|entry| entry[0] == wanted && entry.len() >= 3);
    by_name.or_else(|| {
        wanted.parse::<u32>().ok()?;
        entries.find(|entry| entry.get(2).is_some_and(|number| number == wanted))
    })
}

/// Groups of a user, its own first, as a login gives them.
fn groups_of(table: &str, name: &str, own: u32) -> Vec<u32> {
    let entries = table.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let groups = entries.filter(|entry| {
        !name.is_empty() && entry.get(3).is_some_and(|users| users.split(',').any(|user| user == name))
    });
    let others = groups.filter_map(|entry| entry[2].parse().ok()).filter(|gid| *gid != own);
    [own].into_iter().chain(others).collect()
}

/// The process of a session, as the runtime wants it, and what the user should know.
pub(super) fn process(
    route: &Route,
    request: &Request,
    running: &Running,
) -> Result<(Value, Option<String>)> {
    let root = Root::of(running.pid)?;
    let person = Person::find(route.user.as_deref(), &root, &running.process)?;
    let arguments = arguments(route, request, &person)?;
    let own = running.process["env"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let shell = route.shell.first().unwrap_or(&person.shell);
    let user =
        [("HOME", &*person.home), ("USER", &*person.name), ("LOGNAME", &*person.name), ("SHELL", shell)];
    // Rights, limits and labels are those of the first process.
    let mut process = running.process.clone();
    process["env"] = json!(environment::merge(own, &request.environment, &user));
    process["args"] = json!(arguments);
    let mut note = None;
    process["cwd"] = match root.has_directory(&person.home) {
        true => json!(person.home),
        false => {
            note = Some(format!("the home `{}` is not there; this begins in `/`", person.home));
            json!("/")
        }
    };
    process["user"] = json!({"uid": person.uid, "gid": person.gid, "additionalGids": person.groups});
    process["terminal"] = json!(request.terminal.is_some());
    if let Some((rows, columns)) = request.terminal {
        process["consoleSize"] = json!({"height": rows, "width": columns});
    }
    // The first process may be another user than this one. Root has what can be had at all; others have nothing until they
    // start a program that gives it to them, such as `sudo`.
    let most = process["capabilities"]["bounding"].clone();
    for set in ["effective", "permitted", "inheritable", "ambient"] {
        let root = person.uid == 0 && ["effective", "permitted"].contains(&set) && most.is_array();
        process["capabilities"][set] = if root { most.clone() } else { json!([]) };
    }
    Ok((process, note))
}

fn arguments(route: &Route, request: &Request, person: &Person) -> Result<Vec<String>> {
    let shell = match route.shell.as_slice() {
        [] => std::slice::from_ref(&person.shell),
        shell => shell,
    };
    let mut arguments = shell.to_vec();
    let Some(command) = &request.command else {
        // Whoever gave arguments said how the shell is to be started.
        if arguments.len() == 1 {
            arguments.push("-l".into());
        }
        return Ok(arguments);
    };
    let command = String::from_utf8(command.clone())
        .map_err(|_| Failure::new("the command is no UTF-8, and the runtime takes no other"))?;
    let mut words = command.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    if ["sftp-server", "internal-sftp"].contains(&first.rsplit('/').next().unwrap_or_default()) {
        let own = ["/bin/sh", "-c", SFTP, "sftp-server"].map(str::to_string);
        return Ok(own.into_iter().chain(words.map(Into::into)).collect());
    }
    arguments.extend(["-c".into(), command]);
    Ok(arguments)
}

/// Makes the users in containers that the configuration wants to be made there. What does not work is returned.
pub fn create_users(config: &Config, status: &Status, runtime: &Runtime) -> Vec<Failure> {
    let mut failures = Vec::new();
    for user in &config.users {
        let Login::Container { container, user: Some(wanted), create: true, .. } = &user.to else { continue };
        let Some(State::Ready { id }) = status.of(&container.value) else { continue };
        if let Err(failure) = create_user(wanted, id, runtime) {
            let what = format!("cannot make user `{wanted}` in container `{}`", container.value);
            failures.push(failure.context(what));
        }
    }
    failures
}

fn create_user(wanted: &str, id: &str, runtime: &Runtime) -> Result<()> {
    let Some(running) = runtime.running(id)? else { return Ok(()) };
    let root = Root::of(running.pid)?;
    if entry(&root.text("/etc/passwd"), wanted).is_some() {
        return Ok(());
    }
    // The first is that of most distributions, the second that of busybox.
    let script = "if command -v useradd >/dev/null; then exec useradd -m \"$1\"; fi; exec adduser -D \"$1\"";
    runtime.run(id, &["/bin/sh", "-c", script, "sh", wanted])
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str =
        "root:x:0:\ncore:x:1000:\naudio:x:29:core,other\nusers:x:100:other\nwheel:x:10:other,core\n";

    #[test]
    fn groups_are_those_that_list_the_user() {
        assert_eq!(groups_of(GROUP, "core", 1000), [1000, 29, 10]);
        assert_eq!(groups_of(GROUP, "core", 10), [10, 29]);
        assert_eq!(groups_of(GROUP, "", 0), [0]);
        assert_eq!(groups_of("short\nx:y:z:core\n", "core", 0), [0]);
    }

    #[test]
    fn entries_are_found_by_name_and_number() {
        let table = "root:x:0:0\n1000:x:7:7\ncore:x:1000:1000\n";
        assert_eq!(entry(table, "core").expect("it is there")[2], "1000");
        assert_eq!(entry(table, "1000").expect("it is there")[2], "7");
        assert_eq!(entry(table, "0").expect("it is there")[0], "root");
        assert_eq!(entry(table, "none"), None);
    }
}
