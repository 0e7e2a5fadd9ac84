//! The side of a session that runs as root.

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::time::Timespec;

use super::message::{Reply, Request, receive, send};
use super::routes::{self, Route};
use super::runtime::{Running, Runtime, Streams};
use super::target;
use crate::engine::Engine;
use crate::failure::{Failure, Result};
use crate::places::Places;
use crate::status::{Lock, State, Status};

/// How long a client may take to say what it wants.
const REQUEST: Duration = Duration::from_secs(10);
/// How long one step of `apply` may take, with a user waiting.
const STEP: Duration = Duration::from_secs(600);
/// How long `apply` may take until it begins, at the start of the system.
const BEGIN: Duration = Duration::from_secs(120);
/// How long a process may take to end after it was hung up.
const GRACE: Duration = Duration::from_secs(3);
/// Status when there is no session, as `ssh` has it; above those of programs.
const NO_SESSION: u8 = 255;
/// Status of a program that cannot be found, as shells have it.
const NOT_FOUND: u8 = 127;
/// Status of a program that is there and cannot be run, as shells have it.
const NOT_RUN: u8 = 126;

/// Serves one session, on the socket `connection`.
///
/// # Errors
///
/// The client is gone or broke the rules; there is nobody to tell.
pub fn serve(connection: OwnedFd, places: &Places, runtime: &Runtime) -> Result<()> {
    let gone = |error: &dyn std::fmt::Display| Failure::new(format!("the session's client: {error}"));
    // Who asks is what the kernel says; nothing in the request names a user or a container.
    let uid = rustix::net::sockopt::socket_peercred(&connection).map_err(|error| gone(&error))?.uid.as_raw();
    if !readable(&connection, Some(REQUEST)) {
        return Err(gone(&"it asks for nothing"));
    }
    let (bytes, descriptors) =
        receive(&connection).map_err(|error| gone(&error))?.ok_or_else(|| gone(&"it is gone"))?;
    let request = Request::decode(&bytes).ok_or_else(|| gone(&"it does not speak our language"))?;
    let streams: Streams = descriptors.try_into().map_err(|_| gone(&"it did not send three descriptors"))?;
    let session = Session { connection, places, runtime };
    let reply = session.run(uid, &request, streams).unwrap_or_else(|failure| {
        let failure = failure.to_string();
        Reply::Failed(NO_SESSION, failure)
    });
    session.say(&reply)
}

struct Session<'a> {
    connection: OwnedFd,
    places: &'a Places,
    runtime: &'a Runtime,
}

impl Session<'_> {
    fn say(&self, reply: &Reply) -> Result<()> {
        self.say_with(reply, &[])
    }

    fn say_with(&self, reply: &Reply, descriptors: &[OwnedFd]) -> Result<()> {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        send(&self.connection, &reply.encode(), &descriptors)
            .map_err(|error| Failure::new(format!("the session's client: {error}")))
    }

    /// From the request to the end of the process.
    fn run(&self, uid: u32, request: &Request, streams: Streams) -> Result<Reply> {
        let route = routes::find(uid, self.places)?.ok_or_else(|| {
            Failure::new(format!("user number {uid} has no container"))
                .hint("the configuration names users and containers; `skiff-core check` reads it")
        })?;
        let id = self.wait_until_ready(&route)?;
        let running = self.wait_until_running(&route, &id)?;
        let (process, note) = target::process(&route, request, &running)
            .map_err(|failure| failure.context(format_args!("container `{}`", route.container)))?;
        if let Some(note) = note {
            self.say(&Reply::Note(note))?;
        }
        let directory = Directory::make(self.places)?;
        let console = request.terminal.map(|_| Console::listen(&directory.path)).transpose()?;
        let pid = match self.runtime.start(&id, &process, streams, &directory.path) {
            Ok(pid) => pid,
            Err(failure) => return Ok(not_started(&route, &failure)),
        };
        let process = Process::of(pid)?;
        let terminal: Vec<OwnedFd> =
            console.map(|console| console.terminal(request)).transpose()?.into_iter().collect();
        self.say_with(&Reply::Started, &terminal)?;
        // The other end is with the client alone, so that the kernel hangs it up when the client is gone.
        drop(terminal);
        self.watch(&process)
    }

    /// Waits for `apply`, and says what it does; the id of the container.
    fn wait_until_ready(&self, route: &Route) -> Result<String> {
        let name = &route.container;
        let (mut told, mut since) = (String::new(), Instant::now());
        loop {
            // First whether it runs: what it wrote last is then read.
            let applying = Lock::is_held(self.places);
            let state = Status::read(self.places)?.of(name).cloned();
            let (step, limit) = match state {
                Some(State::Ready { id }) => return Ok(id),
                Some(State::Failed { reason }) if !applying => return Err(unready(name, &reason)),
                Some(State::Failed { reason }) => {
                    (format!("failed, others are still worked on: {reason}"), STEP)
                }
                Some(State::Working { step }) if applying => (step, STEP),
                Some(State::Working { step }) => {
                    let reason = format!("`skiff-core apply` was ended while it was at: {step}");
                    return Err(unready(name, &reason));
                }
                None => ("`skiff-core apply` has not begun yet".into(), BEGIN),
            };
            if step != told {
                self.say(&Reply::Note(format!("container `{name}`: {step}")))?;
                (told, since) = (step, Instant::now());
            }
            if since.elapsed() > limit {
                let seconds = limit.as_secs();
                return Err(unready(name, &format!("nothing new for {seconds} s; the last was: {told}")));
            }
            if readable(&self.connection, Some(Duration::from_millis(200))) && self.next_signal()?.is_none() {
                return Err(Failure::new("the session's client is gone"));
            }
        }
    }

    /// The container, which is started if it does not run.
    fn wait_until_running(&self, route: &Route, id: &str) -> Result<Running> {
        if let Some(running) = self.runtime.running(id)? {
            return Ok(running);
        }
        let name = &route.container;
        self.say(&Reply::Note(format!("container `{name}` does not run; starting it")))?;
        let started = Engine::connect(&self.places.engine).and_then(|engine| engine.start(id));
        let running = started.and_then(|()| self.runtime.running(id));
        let hint = format!("as root: `skiff-core apply`, and `podman logs {name}` for what it wrote");
        match running {
            Ok(Some(running)) => Ok(running),
            Ok(None) => {
                Err(Failure::new(format!("container `{name}` ends as soon as it is started")).hint(hint))
            }
            Err(failure) => Err(failure.hint(hint)),
        }
    }

    /// A signal that the client passes on; nothing if it is gone or asks for anything else.
    fn next_signal(&self) -> Result<Option<Signal>> {
        let received = receive(&self.connection).ok().flatten();
        let number = received.and_then(|(bytes, _)| std::str::from_utf8(&bytes).ok()?.parse().ok());
        Ok(number.and_then(Signal::from_named_raw))
    }

    /// Passes signals on, until the process has ended or the client is gone.
    fn watch(&self, process: &Process) -> Result<Reply> {
        loop {
            let mut polled =
                [PollFd::new(&self.connection, PollFlags::IN), PollFd::new(&process.pidfd, PollFlags::IN)];
            match poll(&mut polled, None) {
                Err(rustix::io::Errno::INTR) => continue,
                done => {
                    done.map_err(|error| Failure::new(format!("cannot wait for the session: {error}")))?
                }
            };
            let [client, ended] = polled.map(|polled| !polled.revents().is_empty());
            if ended {
                return process.status();
            }
            if client {
                match self.next_signal()? {
                    Some(signal) => process.signal(signal),
                    None => return process.hang_up(),
                }
            }
        }
    }
}

fn unready(name: &str, reason: &str) -> Failure {
    Failure::new(format!("container `{name}` is not ready: {reason}"))
        .hint("as root: `skiff-core apply` tries again, and `skiff-core check` reads the configuration")
}

/// What a shell says of a program that does not run.
fn not_started(route: &Route, failure: &Failure) -> Reply {
    let missing = ["not found", "No such file"].iter().any(|text| failure.message.contains(text));
    let text = format!("container `{}`: {failure}", route.container);
    Reply::Failed(if missing { NOT_FOUND } else { NOT_RUN }, text)
}

/// Whether there is something to read, or the other side is gone.
fn readable(socket: &OwnedFd, timeout: Option<Duration>) -> bool {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let mut polled = [PollFd::new(socket, PollFlags::IN)];
    poll(&mut polled, timeout.as_ref()).is_ok_and(|count| count > 0)
}

/// A process of a session. It ends with it: whatever goes wrong once it runs, it is not left behind.
struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    ended: Cell<bool>,
}

impl Process {
    fn of(pid: Pid) -> Result<Self> {
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|error| {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            Failure::new(format!("cannot watch the process of the session: {error}"))
        })?;
        Ok(Self { pid, pidfd, ended: Cell::new(false) })
    }

    /// The runtime makes the process the first of a session, and so of a group.
    fn signal(&self, signal: Signal) {
        if rustix::process::kill_process_group(self.pid, signal).is_err() {
            let _ = rustix::process::kill_process(self.pid, signal);
        }
    }

    /// Ends the process of a session that is gone: what does not heed that is killed.
    fn hang_up(&self) -> Result<Reply> {
        self.signal(Signal::HUP);
        self.signal(Signal::CONT);
        if !readable(&self.pidfd, Some(GRACE)) {
            self.signal(Signal::KILL);
        }
        self.status()
    }

    fn status(&self) -> Result<Reply> {
        loop {
            match rustix::process::waitpid(Some(self.pid), WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) | Ok(None) => {}
                Err(error) => {
                    return Err(Failure::new(format!("the status of the session is lost: {error}")));
                }
                Ok(Some((_, status))) => {
                    self.ended.set(true);
                    return Ok(match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => Reply::Exited(u8::try_from(code).unwrap_or(NO_SESSION)),
                        (_, Some(signal)) => Reply::Signaled(signal),
                        _ => continue,
                    });
                }
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended.get() {
            let _ = self.hang_up();
        }
    }
}

/// Directory of a session, for files that the runtime wants. Gone with the session.
struct Directory {
    path: PathBuf,
}

impl Directory {
    fn make(places: &Places) -> Result<Self> {
        let all = places.run.join("sessions");
        let fail = |error: io::Error| Failure::file("make a directory in", &all, error);
        fs::create_dir_all(&all).map_err(fail)?;
        fs::set_permissions(&all, fs::Permissions::from_mode(0o700)).map_err(fail)?;
        remove_left_over(&all);
        let path = all.join(std::process::id().to_string());
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).map_err(fail)?;
        Ok(Self { path })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes directories of brokers that were killed.
fn remove_left_over(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_gone = !Path::new("/proc").join(&name).exists();
        if is_gone && name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Where the runtime hands over the other end of a terminal.
struct Console {
    listener: OwnedFd,
}

impl Console {
    fn listen(directory: &Path) -> Result<Self> {
        let path = directory.join("console");
        let fail = |error: rustix::io::Errno| Failure::file("listen at", &path, error);
        let address = SocketAddrUnix::new(&path).map_err(fail)?;
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(fail)?;
        rustix::net::bind(&listener, &address).map_err(fail)?;
        rustix::net::listen(&listener, 1).map_err(fail)?;
        Ok(Self { listener })
    }

    /// The other end of the terminal, with the size of the client's.
    fn terminal(self, request: &Request) -> Result<OwnedFd> {
        let lost = || Failure::new("the runtime made no terminal");
        if !readable(&self.listener, Some(REQUEST)) {
            return Err(lost());
        }
        let connection =
            rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC).map_err(|_| lost())?;
        let (_, descriptors) = receive(&connection).ok().flatten().ok_or_else(lost)?;
        let terminal = descriptors.into_iter().next().ok_or_else(lost)?;
        let (ws_row, ws_col) = request.terminal.unwrap_or_default();
        // The runtime sets it too, right after it has started the process: one that looks at once may see no size, and is told
        // by a signal when there is one.
        let size = rustix::termios::Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        // A terminal without a size works.
        let _ = rustix::termios::tcsetwinsize(&terminal, size);
        Ok(terminal)
    }
}
