//! What `skiff-shell` and the broker say to each other, each in one packet of a socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// Bytes of a packet: a command of the most that the kernel passes to a program, and an environment.
const LARGEST: usize = 192 << 10;
/// Descriptors of a packet.
const MOST: usize = 4;

/// What a session begins with; its descriptors 0, 1 and 2 are beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Rows and columns, if all three descriptors are a terminal.
    pub(super) terminal: Option<(u16, u16)>,
    /// What the shell is to run; a login without.
    pub(super) command: Option<Vec<u8>>,
    /// Variables, as `NAME=VALUE`.
    pub(super) environment: Vec<Vec<u8>>,
}

/// What the broker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Something for the user to read.
    Note(String),
    /// The process runs; with a terminal its other end is beside this.
    Started,
    /// The process has ended with this status.
    Exited(u8),
    /// The process was ended by this signal.
    Signaled(i32),
    /// There is no process; `skiff-shell` ends with the status.
    Failed(u8, String),
}

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (rows, columns) = self.terminal.unwrap_or_default();
        let kind = if self.terminal.is_some() { 'T' } else { 'P' };
        let mut bytes = format!("{kind}{rows} {columns}").into_bytes();
        bytes.push(0);
        match &self.command {
            None => bytes.push(b'L'),
            Some(command) => {
                bytes.push(b'C');
                bytes.extend_from_slice(command);
            }
        }
        for variable in &self.environment {
            bytes.push(0);
            bytes.extend_from_slice(variable);
        }
        bytes
    }

    /// What a client sent; nothing if it is no request.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = bytes.split(|byte| *byte == 0);
        let first = std::str::from_utf8(fields.next()?).ok()?;
        let (kind, size) = first.split_at_checked(1)?;
        let (rows, columns) = size.split_once(' ')?;
        let size = (rows.parse().ok()?, columns.parse().ok()?);
        let terminal = match kind {
            "T" => Some(size),
            "P" => None,
            _ => return None,
        };
        let command = match fields.next()?.split_first()? {
            (b'L', []) => None,
            (b'C', command) => Some(command.to_vec()),
            _ => return None,
        };
        Some(Self { terminal, command, environment: fields.map(<[u8]>::to_vec).collect() })
    }
}

impl Reply {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Reply::Note(text) => format!("N{text}"),
            Reply::Started => "S".into(),
            Reply::Exited(status) => format!("E{status}"),
            Reply::Signaled(signal) => format!("K{signal}"),
            Reply::Failed(status, text) => format!("F{status} {text}"),
        }
        .into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (kind, rest) = text.split_at_checked(1)?;
        Some(match kind {
            "N" => Reply::Note(rest.into()),
            "S" => Reply::Started,
            "E" => Reply::Exited(rest.parse().ok()?),
            "K" => Reply::Signaled(rest.parse().ok()?),
            "F" => {
                let (status, text) = rest.split_once(' ')?;
                Reply::Failed(status.parse().ok()?, text.into())
            }
            _ => return None,
        })
    }
}

/// Sends a packet, with descriptors.
pub(super) fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    loop {
        match rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            Err(Errno::MSGSIZE) => {
                let message =
                    format!("the command and the environment have {} bytes, which is too many", bytes.len());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            done => return done.map(drop).map_err(Into::into),
        }
    }
}

/// Receives a packet and its descriptors; nothing when the other side is gone. The descriptors are closed in programs that are
/// started.
pub(super) fn receive(socket: impl AsFd) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; LARGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut pieces = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(&socket, &mut pieces, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(None),
            done => break done?,
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet is too large"));
    }
    if received.bytes == 0 && descriptors.is_empty() {
        return Ok(None);
    }
    bytes.truncate(received.bytes);
    Ok(Some((bytes, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies_arrive_as_they_were_sent() {
        for (terminal, command) in
            [(Some((31, 91)), None), (None, Some(b"echo '\xff'".to_vec())), (None, Some(vec![]))]
        {
            let request = Request { terminal, command, environment: vec![b"A=b c".to_vec(), b"L=".to_vec()] };
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        let replies = [
            Reply::Note("a: b".into()),
            Reply::Started,
            Reply::Exited(255),
            Reply::Signaled(9),
            Reply::Failed(127, "no such thing".into()),
        ];
        for reply in replies {
            assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        }
    }

    #[test]
    fn what_is_no_request_is_none() {
        for bytes in [
            &b""[..],
            b"\0",
            b"T",
            b"T1 2",
            b"T1 2\0",
            b"T1 2\0X",
            b"T1\0L",
            b"X1 2\0L",
            b"T99999 1\0L",
            b"P0 0\0Lmore",
            b"\xff1 2\0L",
        ] {
            assert_eq!(Request::decode(bytes), None, "{bytes:?}");
        }
    }
}
