//! Frames: 4 bytes length, big-endian, of all that follows; 1 byte kind; the rest.

use std::io::{self, Read, Write};

/// Most bytes behind the length.
pub const FRAME_MAX: usize = (1 << 20) + 1;

/// What a frame is; numbers below 128 are those of a host, the others those of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Asks for the status.
    Status,
    /// Asks for the head of the system in a slot: `a` or `b`.
    Head,
    /// Begins an update; its bytes follow in [`Kind::Data`], up to [`Kind::End`].
    Apply,
    /// Bytes.
    Data,
    /// End of the bytes.
    End,
    /// Asks for a confirmation.
    Confirm,
    /// Asks for a rollback.
    Rollback,
    /// Asks for a check of a slot: `a` or `b`.
    Verify,
    /// First frame of a device: name and version of the agent, and of the library that it compresses with.
    Hello,
    /// Bytes of the system that are done: 8 bytes, big-endian.
    Progress,
    /// The wish was fulfilled: text for people.
    Done,
    /// It was not: a word for programs, the reason and a hint, a line each.
    Refused,
}

const KINDS: [(u8, Kind); 12] = [
    (1, Kind::Status),
    (2, Kind::Head),
    (3, Kind::Apply),
    (4, Kind::Data),
    (5, Kind::End),
    (6, Kind::Confirm),
    (7, Kind::Rollback),
    (8, Kind::Verify),
    (128, Kind::Hello),
    (129, Kind::Progress),
    (130, Kind::Done),
    (131, Kind::Refused),
];

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub body: Vec<u8>,
}

impl Frame {
    /// Reads a frame; none at the end of the stream. Fails for one that is impossibly long, of no known kind, or cut
    /// off.
    pub fn read(stream: &mut dyn Read) -> io::Result<Option<Frame>> {
        let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        let mut len = [0; 4];
        if !read_first(stream, &mut len)? {
            return Ok(None);
        }
        let len = u32::from_be_bytes(len) as usize;
        if len == 0 || len > FRAME_MAX {
            return Err(wrong(format!("a frame has {len} bytes, 1 to {FRAME_MAX} are possible")));
        }
        let mut body = vec![0; len];
        stream.read_exact(&mut body)?;
        let number = body.remove(0);
        let kind = KINDS.iter().find(|(known, _)| *known == number).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| wrong(format!("{number} is no kind of frame")))?;
        Ok(Some(Frame { kind, body }))
    }

    /// Writes a frame, and lets it out.
    pub fn write(stream: &mut dyn Write, kind: Kind, body: &[u8]) -> io::Result<()> {
        if body.len() + 1 > FRAME_MAX {
            let text = format!("a frame of {} bytes, {FRAME_MAX} are the most", body.len() + 1);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let number = KINDS.iter().find(|(_, known)| *known == kind).map_or(0, |(number, _)| *number);
        stream.write_all(&(body.len() as u32 + 1).to_be_bytes())?;
        stream.write_all(&[number])?;
        stream.write_all(body)?;
        stream.flush()
    }
}

/// Fills `buf`; returns false if the stream has ended before its first byte.
fn read_first(stream: &mut dyn Read, buf: &mut [u8]) -> io::Result<bool> {
    let mut have = 0;
    while have < buf.len() {
        match stream.read(&mut buf[have..]) {
            Ok(0) if have == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
