//! The login shell: the side of a session that runs as the user, without any privilege.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::termios::isatty;

use super::message::{Reply, Request, receive, send};
use super::relay::Relay;
use super::signals::Signals;
use super::{environment, socket};
use crate::failure::{Failure, Result};
use crate::places::Places;

/// How long the broker's socket may take to be there, at the start of the system.
const START: Duration = Duration::from_secs(30);
/// Signals that are passed on. The terminal's own come to the container through its terminal.
const PASSED: [i32; 8] = [
    signal_hook::consts::SIGHUP,
    signal_hook::consts::SIGINT,
    signal_hook::consts::SIGQUIT,
    signal_hook::consts::SIGTERM,
    signal_hook::consts::SIGUSR1,
    signal_hook::consts::SIGUSR2,
    signal_hook::consts::SIGALRM,
    signal_hook::consts::SIGWINCH,
];
/// Status of a shell that was called wrongly.
const USAGE: u8 = 2;
/// Status when there is no session, as `ssh` has it.
const NO_SESSION: u8 = 255;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With a status.
    Status(u8),
    /// By a signal.
    Signal(i32),
}

impl Ended {
    /// Ends this process in the same way.
    pub fn end(self) -> std::process::ExitCode {
        match self {
            Ended::Status(status) => std::process::ExitCode::from(status),
            Ended::Signal(signal) => {
                // The memory of this process is not what somebody looks for.
                let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
                let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
                if signal == signal_hook::consts::SIGKILL {
                    let _ = rustix::process::kill_process(
                        rustix::process::getpid(),
                        rustix::process::Signal::KILL,
                    );
                }
                let _ = signal_hook::low_level::emulate_default_handler(signal);
                // A signal that ends no process, or one that the system does not let us send ourselves.
                std::process::ExitCode::from(u8::try_from(128 + signal).unwrap_or(NO_SESSION))
            }
        }
    }
}

/// Is the shell of a session: `arguments` are those that `sshd`, `login` or `su` gave it, with its name.
pub fn shell(arguments: &[OsString], places: &Places) -> Ended {
    let command = match command(arguments.get(1..).unwrap_or_default()) {
        Ok(command) => command,
        Err(failure) => {
            eprintln!("skiff-shell: {failure}");
            return Ended::Status(USAGE);
        }
    };
    session(command, places).unwrap_or_else(|failure| {
        eprintln!("skiff-shell: {failure}");
        Ended::Status(NO_SESSION)
    })
}

/// What is to be run: `-c COMMAND`, or nothing for a login.
fn command(arguments: &[OsString]) -> Result<Option<Vec<u8>>> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_bytes() {
            // A session of a login is one anyway.
            b"-l" | b"--login" | b"-i" => {}
            b"-c" | b"-lc" | b"-ic" => {
                let command = arguments.next().ok_or_else(|| Failure::new("`-c` needs a command"))?;
                return Ok(Some(command.clone().into_vec()));
            }
            _ => {
                let message = format!("`{}` is not understood", argument.to_string_lossy());
                return Err(Failure::new(message).hint("it takes `-c COMMAND`, or nothing for a login"));
            }
        }
    }
    Ok(None)
}

fn session(command: Option<Vec<u8>>, places: &Places) -> Result<Ended> {
    let mut signals = Signals::take(&PASSED)?;
    if !end_with_parent() {
        return Ok(HUNG_UP);
    }
    let broker = connect(places)?;
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    // Where only some are a terminal, as in `su user -c command | less`, all stay what they are.
    let terminal = streams.iter().all(isatty).then(|| {
        let size = rustix::termios::tcgetwinsize(streams[0]);
        size.map_or((0, 0), |size| (size.ws_row, size.ws_col))
    });
    let environment =
        std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let environment = environment.filter(|variable| environment::passes(variable)).collect();
    let request = Request { terminal, command, environment };
    send(&broker, &request.encode(), &streams)
        .map_err(|error| Failure::new(format!("cannot ask for a session: {error}")))?;
    loop {
        wait(&[broker.as_fd(), signals.wake.as_fd()])?;
        if !pass(&mut signals, &broker) {
            return Ok(HUNG_UP);
        }
        match reply(&broker)? {
            None => {}
            Some((Reply::Note(text), _)) => eprintln!("{text}"),
            Some((Reply::Started, descriptors)) => {
                return match descriptors.into_iter().next() {
                    Some(terminal) => Relay::new(terminal)?.run(&broker, &mut signals),
                    None => without_terminal(&broker, &mut signals),
                };
            }
            Some((end, _)) => return ended(&end),
        }
    }
}

fn connect(places: &Places) -> Result<OwnedFd> {
    let path = socket(places);
    let fail = |error: rustix::io::Errno| {
        Failure::file("reach the broker of sessions at", &path, error)
            .hint("as root: `systemctl status skiff-broker.socket`")
    };
    let address = SocketAddrUnix::new(&path).map_err(fail)?;
    let (start, mut told) = (Instant::now(), false);
    loop {
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(fail)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) if start.elapsed() < START => {}
            Err(error) => return Err(fail(error)),
        }
        if !told {
            eprintln!("the system is starting; waiting for the containers, at most {} s", START.as_secs());
            told = true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until one of the descriptors can be read.
fn wait(descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    let mut polled: Vec<_> =
        descriptors.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    match poll(&mut polled, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(Failure::new(format!("cannot wait: {error}"))),
    }
}

/// Passes signals on that have come; the size of the terminal is the relay's. False after a hang-up: when this process ends, the
/// broker ends the one in the container, even if that heeds no signal.
fn pass(signals: &mut Signals, broker: &OwnedFd) -> bool {
    let come = signals.come();
    for signal in come.iter().filter(|signal| **signal != signal_hook::consts::SIGWINCH) {
        // If the broker is gone the next look at it says so.
        let _ = send(broker, signal.to_string().as_bytes(), &[]);
    }
    !come.contains(&signal_hook::consts::SIGHUP)
}

/// How a session ends whose other side is gone.
pub(super) const HUNG_UP: Ended = Ended::Signal(signal_hook::consts::SIGHUP);

/// Takes the end of the parent, which is `sshd`, `login` or `su`, for a hang-up. Without a terminal nothing else shows it.
/// False if the parent had ended before: who has the first process as parent and writes to nobody is an orphan, while
/// one that the first process itself has started can be heard.
fn end_with_parent() -> bool {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::HUP));
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    let outputs = [rustix::stdio::stdout(), rustix::stdio::stderr()];
    let mut polled = outputs.map(|output| PollFd::from_borrowed_fd(output, PollFlags::empty()));
    let lost = PollFlags::ERR | PollFlags::HUP;
    let is_unheard = poll(&mut polled, Some(&now)).is_ok()
        && polled.iter().any(|output| output.revents().intersects(lost));
    !(is_unheard && rustix::process::getppid() == Some(rustix::process::Pid::INIT))
}

/// What the broker says, if it says something.
pub(super) fn reply(broker: &OwnedFd) -> Result<Option<(Reply, Vec<OwnedFd>)>> {
    let mut polled = [PollFd::new(broker, PollFlags::IN)];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    if !poll(&mut polled, Some(&now)).is_ok_and(|count| count > 0) {
        return Ok(None);
    }
    let lost =
        || Failure::new("the broker of sessions has ended").hint("as root: `journalctl -u 'skiff-broker@*'`");
    let (bytes, descriptors) = receive(broker).ok().flatten().ok_or_else(lost)?;
    let reply =
        Reply::decode(&bytes).ok_or_else(|| Failure::new("the broker of sessions is of another version"))?;
    Ok(Some((reply, descriptors)))
}

/// The end that the broker reports.
pub(super) fn ended(reply: &Reply) -> Result<Ended> {
    match reply {
        Reply::Exited(status) => Ok(Ended::Status(*status)),
        Reply::Signaled(signal) => Ok(Ended::Signal(*signal)),
        Reply::Failed(status, text) => {
            eprintln!("skiff-shell: {text}");
            Ok(Ended::Status(*status))
        }
        Reply::Note(_) | Reply::Started => Err(Failure::new("the broker of sessions is of another version")),
    }
}

/// A process that has our own descriptors: nothing is left but to wait.
fn without_terminal(broker: &OwnedFd, signals: &mut Signals) -> Result<Ended> {
    // The process alone holds them now, so that the other sides see when it closes one.
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty());
    if let Ok(null) = null {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    loop {
        wait(&[broker.as_fd(), signals.wake.as_fd()])?;
        if !pass(signals, broker) {
            return Ok(HUNG_UP);
        }
        match reply(broker)? {
            None => {}
            Some((end, _)) => return ended(&end),
        }
    }
}
