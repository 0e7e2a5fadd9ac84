//! The broker's socket, where nothing else listens for it, as systemd does.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::socket;
use crate::failure::{Failure, Result};
use crate::places::Places;

/// Sessions at the same time.
const MOST: usize = 512;

/// Listens, and starts `broker` for each session. Does not return but with an error.
///
/// # Errors
///
/// The socket cannot be made.
pub fn listen(places: &Places, mut broker: impl FnMut() -> Command) -> Result<std::convert::Infallible> {
    fs::create_dir_all(&places.run)
        .map_err(|error| Failure::file("make the directory", &places.run, error))?;
    let path = socket(places);
    let fail = |error: rustix::io::Errno| Failure::file("listen at", &path, error);
    let address = SocketAddrUnix::new(&path).map_err(fail)?;
    let listener =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let listener = listener.map_err(fail)?;
    let _ = fs::remove_file(&path);
    rustix::net::bind(&listener, &address).map_err(fail)?;
    // Everybody may ask; the answer depends on who does.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))
        .map_err(|error| Failure::file("open to users", &path, error))?;
    rustix::net::listen(&listener, 128).map_err(fail)?;
    let mut sessions: Vec<Child> = Vec::new();
    loop {
        let connection: OwnedFd = match rustix::net::accept_with(listener.as_fd(), SocketFlags::CLOEXEC) {
            Ok(connection) => connection,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => continue,
            Err(error) => return Err(fail(error)),
        };
        sessions.retain_mut(|session| !matches!(session.try_wait(), Ok(Some(_))));
        if sessions.len() >= MOST {
            continue;
        }
        match broker().stdin(Stdio::from(connection)).spawn() {
            Ok(session) => sessions.push(session),
            Err(error) => eprintln!("skiff-core: cannot start a broker: {error}"),
        }
    }
}
