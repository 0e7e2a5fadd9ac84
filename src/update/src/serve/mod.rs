//! The agent at the other end of a link: a host asks, the device answers, in [`Frame`]s.
//!
//! The device says [`Kind::Hello`] first. Each wish is answered by one [`Kind::Done`] or [`Kind::Refused`], before which
//! there may be [`Kind::Data`] or [`Kind::Progress`]. The reason of a refusal is sent before anything else happens, so
//! that it is never lost; bytes of an update that were already on their way are then read and dropped. Who may use the
//! link is the affair of the link, ssh for example; what an update may do is decided by its signatures alone.

mod frame;
#[cfg(test)]
mod tests;

pub use frame::{FRAME_MAX, Frame, Kind};

use std::io::{self, Read, Write};

use skiff_disk::error::Diagnostic;

use crate::Slot;
use crate::apply::{Applied, ApplyError, Store, Undone, Updater};
use crate::statement::AGENT;

/// Bytes between two reports of progress.
const PROGRESS: u64 = 1 << 20;

/// Answers the wishes of `input` on `output`, until it ends.
pub fn serve<S: Store>(agent: &Updater<S>, input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
    let zstd = zstd::zstd_safe::version_string();
    Frame::write(output, Kind::Hello, format!("skiff-update {AGENT}, zstd {zstd}").as_bytes())?;
    while let Some(frame) = Frame::read(input)? {
        let done = match frame.kind {
            Kind::Status => agent.status().map(|status| status.to_string()),
            Kind::Head => head(agent, &frame.body, output)?,
            Kind::Apply => {
                apply(agent, input, output)?;
                continue;
            }
            Kind::Confirm => agent.confirm().map(|system| format!("system {system} is confirmed")),
            Kind::Rollback => agent.rollback().map(|undone| undone.to_string()),
            Kind::Verify => verify(agent, &frame.body)?,
            other => return Err(out_of_turn(other)),
        };
        answer(done, output)?;
    }
    Ok(())
}

fn answer(done: Result<String, ApplyError>, output: &mut dyn Write) -> io::Result<()> {
    match done {
        Ok(text) => Frame::write(output, Kind::Done, text.as_bytes()),
        Err(error) => Frame::write(output, Kind::Refused, refusal(&error).as_bytes()),
    }
}

fn out_of_turn(kind: Kind) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a frame `{kind:?}` comes out of turn"))
}

/// A word for programs, the reason and the hint, a line each.
fn refusal(error: &ApplyError) -> String {
    let line = |text: String| text.replace('\n', " ");
    let code = error.code().unwrap_or("error");
    format!("{code}\n{}\n{}", line(error.to_string()), line(error.hint().unwrap_or_default()))
}

fn slot(body: &[u8]) -> io::Result<Slot> {
    let text = String::from_utf8_lossy(body);
    text.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn head<S: Store>(
    agent: &Updater<S>,
    body: &[u8],
    output: &mut dyn Write,
) -> io::Result<Result<String, ApplyError>> {
    let slot = slot(body)?;
    let head = match agent.head(slot).and_then(|head| head.ok_or(ApplyError::NoSystem { slot })) {
        Ok(head) => head,
        Err(error) => return Ok(Err(error)),
    };
    for part in head.to_stored().chunks(FRAME_MAX - 1) {
        Frame::write(output, Kind::Data, part)?;
    }
    Ok(Ok(format!("system {} in slot `{slot}`", head.system)))
}

fn verify<S: Store>(agent: &Updater<S>, body: &[u8]) -> io::Result<Result<String, ApplyError>> {
    let slot = slot(body)?;
    Ok(agent.verify(slot).and_then(|(whole, damages)| match damages.into_iter().next() {
        Some(damage) => Err(damage),
        None => Ok(format!("slot `{slot}`: {whole} bytes are as they were signed")),
    }))
}

fn apply<S: Store>(agent: &Updater<S>, input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
    let mut bytes = Incoming { input, frame: Vec::new(), at: 0, ended: false };
    let (mut told, mut failed) = (0, None);
    let mut progress = |done: u64| {
        if done - told >= PROGRESS && failed.is_none() {
            told = done;
            // A host that is gone does not end an update whose bytes are all here.
            failed = Frame::write(output, Kind::Progress, &done.to_be_bytes()).err();
        }
    };
    let applied = agent.apply(&mut bytes, &mut progress);
    // The answer goes out before the rest of the bytes is waited for, which may never come.
    answer(applied.map(|applied| applied.to_string()), output)?;
    bytes.drain()
}

/// The bytes of an update, out of their frames.
struct Incoming<'a> {
    input: &'a mut dyn Read,
    frame: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Incoming<'_> {
    fn drain(&mut self) -> io::Result<()> {
        while !self.ended {
            self.next_frame()?;
        }
        Ok(())
    }

    fn next_frame(&mut self) -> io::Result<()> {
        match Frame::read(self.input)? {
            Some(Frame { kind: Kind::Data, body }) => (self.frame, self.at) = (body, 0),
            Some(Frame { kind: Kind::End, .. }) => self.ended = true,
            Some(frame) => return Err(out_of_turn(frame.kind)),
            // The link was cut: the update ends where it is.
            None => self.ended = true,
        }
        Ok(())
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.frame.len() && !self.ended {
            self.next_frame()?;
        }
        let count = buf.len().min(self.frame.len() - self.at);
        buf[..count].copy_from_slice(&self.frame[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl std::fmt::Display for Applied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Applied::Running(system) => write!(f, "system {system} runs already; nothing was written"),
            Applied::Armed { slot, system, written, kept } => write!(
                f,
                "slot `{slot}` has system {system} ({written} bytes were written, {kept} were there) and is tried at \
                 the next start"
            ),
        }
    }
}

impl std::fmt::Display for Undone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Undone::Rejected { system, good } => {
                write!(f, "system {system} is rejected; slot `{good}` is started from now on")
            }
            Undone::Armed { slot, system } => {
                write!(f, "slot `{slot}` with system {system} is tried at the next start")
            }
        }
    }
}
