//! Between the terminal of a session and the one in the container.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::message::{Reply, send};
use super::shell::{Ended, HUNG_UP, ended, reply};
use super::signals::Signals;
use crate::failure::{Failure, Result};

/// Bytes at a time.
const PIECE: usize = 16 << 10;
/// Bytes that are still shown after the process has ended: what a terminal can hold. Programs in the background may write on.
const REST: usize = 256 << 10;

/// The two terminals.
pub(super) struct Relay {
    inner: Arc<OwnedFd>,
    /// The outer terminal as it was. It is raw while this lives: all keys are for the inner one.
    before: Option<Termios>,
}

impl Relay {
    pub(super) fn new(inner: OwnedFd) -> Result<Self> {
        let fail = |error: Errno| Failure::new(format!("cannot use the terminal: {error}"));
        rustix::fs::fcntl_setfl(&inner, rustix::fs::OFlags::NONBLOCK).map_err(fail)?;
        let before = tcgetattr(rustix::stdio::stdin()).map_err(fail)?;
        let relay = Self { inner: Arc::new(inner), before: Some(before.clone()) };
        let mut raw = before;
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw).map_err(fail)?;
        relay.resize();
        Ok(relay)
    }

    /// Relays until the process in the container has ended, or the outer terminal is gone.
    pub(super) fn run(self, broker: &OwnedFd, signals: &mut Signals) -> Result<Ended> {
        let output = Output::start(Arc::clone(&self.inner))?;
        let mut pending: Vec<u8> = Vec::new();
        loop {
            let input = rustix::stdio::stdin();
            let nothing = PollFlags::empty();
            let mut polled = [
                PollFd::new(broker, PollFlags::IN),
                PollFd::new(&signals.wake, PollFlags::IN),
                PollFd::new(&input, if pending.is_empty() { PollFlags::IN } else { nothing }),
                PollFd::new(&*self.inner, if pending.is_empty() { nothing } else { PollFlags::OUT }),
            ];
            match poll(&mut polled, None) {
                Err(Errno::INTR) => continue,
                done => done.map_err(|error| Failure::new(format!("cannot wait: {error}")))?,
            };
            let [_, signaled, input, writable] = polled.map(|polled| polled.revents());
            if !signaled.is_empty() && !self.pass(signals, broker) {
                return Ok(HUNG_UP);
            }
            if let Some((end, _)) = reply(broker)? {
                if let Reply::Note(text) = end {
                    eprint!("{text}\r\n");
                    continue;
                }
                output.finish();
                drop(self);
                return ended(&end);
            }
            if !input.is_empty() && pending.is_empty() && !read_input(&mut pending) {
                // The outer terminal is gone. The broker ends the process when this ends.
                return Ok(HUNG_UP);
            }
            if !writable.is_empty() || !pending.is_empty() {
                self.write(&mut pending);
            }
        }
    }

    /// Passes signals on; false after a hang-up.
    fn pass(&self, signals: &mut Signals, broker: &OwnedFd) -> bool {
        let come = signals.come();
        for signal in &come {
            if *signal == signal_hook::consts::SIGWINCH {
                self.resize();
            } else {
                let _ = send(broker, signal.to_string().as_bytes(), &[]);
            }
        }
        !come.contains(&signal_hook::consts::SIGHUP)
    }

    /// Gives the inner terminal the size of the outer one.
    fn resize(&self) {
        if let Ok(size) = tcgetwinsize(rustix::stdio::stdin()) {
            let _ = tcsetwinsize(&*self.inner, size);
        }
    }

    /// Writes what the inner terminal takes. What is left is written when it takes more, so that a program that does not
    /// read cannot stop signals and output.
    fn write(&self, pending: &mut Vec<u8>) {
        match rustix::io::write(&*self.inner, pending) {
            Ok(count) => drop(pending.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody reads it any more; the status comes.
            Err(_) => pending.clear(),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before);
        }
    }
}

/// Reads keys; false when there will be no more.
fn read_input(pending: &mut Vec<u8>) -> bool {
    let mut buffer = [0; PIECE];
    match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
        Ok(0) => false,
        Ok(count) => {
            pending.extend_from_slice(&buffer[..count]);
            true
        }
        Err(Errno::AGAIN | Errno::INTR) => true,
        Err(_) => false,
    }
}

/// Writes to the outer terminal, in a thread: it may take its time, and cannot be asked whether it does.
struct Output {
    thread: JoinHandle<()>,
    /// Says by its end that the process has ended.
    ended: UnixStream,
}

impl Output {
    fn start(inner: Arc<OwnedFd>) -> Result<Self> {
        let fail = |error: io::Error| Failure::new(format!("cannot use the terminal: {error}"));
        let (ended, wake) = UnixStream::pair().map_err(fail)?;
        let thread = std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(move || copy(&inner, &wake))
            .map_err(fail)?;
        Ok(Self { thread, ended })
    }

    /// Waits until all is written that the process wrote.
    fn finish(self) {
        drop(self.ended);
        let _ = self.thread.join();
    }
}

fn copy(inner: &OwnedFd, ended: &UnixStream) {
    let mut buffer = vec![0; PIECE];
    let mut rest = REST;
    loop {
        let mut polled = [PollFd::new(inner, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
        match poll(&mut polled, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        let is_ended = !polled[1].revents().is_empty();
        match rustix::io::read(inner.as_fd(), &mut buffer) {
            Ok(0) => return wait_for_end(ended),
            Ok(count) => {
                let mut out = io::stdout().lock();
                if out.write_all(&buffer[..count]).and_then(|()| out.flush()).is_err() {
                    return;
                }
                if is_ended {
                    rest = rest.saturating_sub(count);
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if is_ended => return,
            Err(Errno::AGAIN) => {}
            // Nothing has the inner terminal open any more, or not yet.
            Err(_) if is_ended => return,
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
        if is_ended && rest == 0 {
            return;
        }
    }
}

fn wait_for_end(ended: &UnixStream) {
    let mut polled = [PollFd::new(ended, PollFlags::IN)];
    while poll(&mut polled, None) == Err(Errno::INTR) {}
}
