//! Public keys of users: `~/.ssh/authorized_keys`.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::Places;
use crate::config::Auth;
use crate::failure::{Failure, Result};

/// Name of the new file, until it is whole.
const NEW: &str = ".authorized_keys.skiff-core";

/// Lines of keys that open an account, each once: of root if it is wanted, then of the configuration.
pub(super) fn lines(auth: &Auth, places: &Places) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut add = |line: &str| {
        let line = line.trim();
        let new = !line.is_empty() && !line.starts_with('#') && lines.iter().all(|known| known != line);
        new.then(|| lines.push(line.to_string()));
    };
    if auth.copy_root_keys {
        // Root's file is made of the other two at boot, perhaps later than this runs, and users add to it.
        let mut files = vec![places.root_keys.clone()];
        for directory in [&places.image_keys, &places.persist_keys] {
            let found = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
            let mut found: Vec<_> =
                found.filter(|path| path.extension().is_some_and(|end| end == "pub")).collect();
            found.sort();
            files.extend(found);
        }
        for file in files {
            String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).lines().for_each(&mut add);
        }
    }
    auth.ssh_keys.iter().for_each(|line| add(line));
    lines
}

/// Writes the keys below a home, whose owner may have made links there: none is followed. Reports whether they changed.
pub(super) fn write(home: &Path, keys: &[String], uid: u32, gid: u32) -> Result<bool> {
    let text: String = keys.iter().map(|key| format!("{key}\n")).collect();
    let path = home.join(".ssh/authorized_keys");
    let fail = |error: Errno| {
        let failure = Failure::file("write", &path, error);
        match error {
            Errno::LOOP | Errno::NOTDIR => failure.hint("a link is in the place of a directory: remove it"),
            _ => failure,
        }
    };
    let home = directory(rustix::fs::CWD, home, None).map_err(fail)?;
    let ssh = directory(&home, Path::new(".ssh"), Some((uid, gid))).map_err(fail)?;
    if is_same(&ssh, &text, uid) {
        return Ok(false);
    }
    let _ = rustix::fs::unlinkat(&ssh, NEW, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&ssh, NEW, flags, Mode::RUSR | Mode::WUSR).map_err(fail)?;
    rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(fail)?;
    rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR).map_err(fail)?;
    let mut file = fs::File::from(file);
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| Failure::file("write", &path, error))?;
    rustix::fs::renameat(&ssh, NEW, &ssh, "authorized_keys").map_err(fail)?;
    Ok(true)
}

/// Whether these keys are below a home already.
pub(super) fn are(home: &Path, keys: &[String], uid: u32) -> bool {
    let text: String = keys.iter().map(|key| format!("{key}\n")).collect();
    let home = directory(rustix::fs::CWD, home, None);
    let ssh = home.and_then(|home| directory(&home, Path::new(".ssh"), None));
    ssh.is_ok_and(|ssh| is_same(&ssh, &text, uid))
}

/// A directory that is no link; made with mode 0700 for an owner if one is given.
fn directory(
    at: impl std::os::fd::AsFd,
    path: &Path,
    owner: Option<(u32, u32)>,
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Some((uid, gid)) = owner else { return rustix::fs::openat(at, path, flags, Mode::empty()) };
    match rustix::fs::mkdirat(&at, path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let directory = rustix::fs::openat(at, path, flags, Mode::empty())?;
    rustix::fs::fchown(&directory, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    // sshd refuses keys in a directory that others can write to.
    rustix::fs::fchmod(&directory, Mode::RWXU)?;
    Ok(directory)
}

/// Whether the file is there with these lines, its owner and its mode.
fn is_same(ssh: &OwnedFd, text: &str, uid: u32) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(ssh, "authorized_keys", flags, Mode::empty()) else { return false };
    let Ok(stat) = rustix::fs::fstat(&file) else { return false };
    let right = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile
        && stat.st_mode & 0o7777 == 0o600
        && stat.st_uid == uid
        && stat.st_size == text.len() as i64;
    right && std::io::read_to_string(fs::File::from(file)).is_ok_and(|before| before == text)
}
