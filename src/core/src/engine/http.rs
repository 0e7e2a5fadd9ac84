//! HTTP/1.1 to a server behind a socket of this machine: one request, one answer, one connection.
//!
//! [RFC 9112](https://www.rfc-editor.org/rfc/rfc9112): bodies with a length, in chunks, or until the end of the connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Bytes of a line of the head, and lines of it, after which the other side is not a server of HTTP.
const LONGEST_LINE: u64 = 64 << 10;
const MOST_LINES: usize = 200;
/// Without a byte for so long the engine hangs. A pull reports its progress more often.
const SILENCE: Duration = Duration::from_secs(600);

/// What is sent with a request.
pub(super) enum Body<'a> {
    Nothing,
    Json(String),
    /// A stream of another type, written by a function.
    Stream(&'static str, &'a mut dyn FnMut(&mut dyn Write) -> io::Result<()>),
}

/// An answer whose body is still to be read.
pub(super) struct Answer {
    pub(super) status: u16,
    body: Framed,
}

enum Framed {
    Length(io::Take<BufReader<UnixStream>>),
    Chunks { stream: BufReader<UnixStream>, left: u64, done: bool },
}

/// Sends a request and reads the head of the answer.
pub(super) fn request(socket: &Path, method: &str, target: &str, body: Body<'_>) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let head = format!("{method} {target} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n");
    match body {
        Body::Nothing => write!(stream, "{head}Content-Length: 0\r\n\r\n")?,
        Body::Json(text) => write!(
            stream,
            "{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )?,
        Body::Stream(kind, write) => {
            write!(stream, "{head}Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let mut chunks = io::BufWriter::with_capacity(64 << 10, Chunks(&stream));
            let sent = write(&mut chunks).and_then(|()| chunks.flush());
            // A server that has seen enough answers and closes; its answer says why.
            match sent {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                Err(_) => {}
                Ok(()) => (&stream).write_all(b"0\r\n\r\n")?,
            }
        }
    }
    answer(BufReader::new(stream), method == "HEAD")
}

/// Writes each piece as a chunk.
struct Chunks<'a>(&'a UnixStream);

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            write!(self.0, "{:x}\r\n", bytes.len())?;
            self.0.write_all(bytes)?;
            self.0.write_all(b"\r\n")?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn answer(mut stream: BufReader<UnixStream>, no_body: bool) -> io::Result<Answer> {
    loop {
        let first = line(&mut stream)?;
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status: u16 = status.ok_or_else(|| invalid(format!("`{first}` is no answer of HTTP")))?;
        let (mut length, mut chunked) = (None, false);
        for count in 0.. {
            let header = line(&mut stream)?;
            if header.is_empty() {
                break;
            }
            if count == MOST_LINES {
                return Err(invalid("the head of the answer does not end".into()));
            }
            let (name, value) = header.split_once(':').unwrap_or((&header, ""));
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse::<u64>().ok();
            }
            chunked |=
                name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked");
        }
        // Answers before the answer.
        if (100..200).contains(&status) {
            continue;
        }
        let body = match chunked {
            true => Framed::Chunks { stream, left: 0, done: false },
            false if no_body || status == 204 || status == 304 => Framed::Length(stream.take(0)),
            false => Framed::Length(stream.take(length.unwrap_or(u64::MAX))),
        };
        return Ok(Answer { status, body });
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    stream.take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
    match bytes.strip_suffix(b"\n") {
        Some(line) => Ok(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the engine closed the connection")),
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.body {
            Framed::Length(stream) => stream.read(buffer),
            Framed::Chunks { done: true, .. } => Ok(0),
            Framed::Chunks { stream, left, done } => {
                if *left == 0 {
                    let size = line(stream)?;
                    let size = size.split(';').next().unwrap_or_default().trim();
                    *left = u64::from_str_radix(size, 16)
                        .map_err(|_| invalid(format!("`{size}` is no length")))?;
                    if *left == 0 {
                        while !line(stream)?.is_empty() {}
                        *done = true;
                        return Ok(0);
                    }
                }
                let count = stream.by_ref().take(*left).read(buffer)?;
                *left -= count as u64;
                match (count, *left) {
                    (0, _) if !buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
                    (_, 0) => line(stream).map(|_| count),
                    _ => Ok(count),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What a server's `answer` is read as, and what the server got.
    fn exchange(answer: &'static [u8], body: Body<'_>) -> (io::Result<(u16, String)>, String) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let socket = directory.path().join("socket");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
            let mut got = Vec::new();
            let mut byte = [0];
            // Both kinds of requests end so, with or without a body.
            while !got.ends_with(b"0\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
                got.push(byte[0]);
            }
            stream.write_all(answer).expect("the client reads");
            String::from_utf8(got).expect("text")
        });
        let answered = request(&socket, "POST", "/x", body).and_then(|mut answer| {
            let mut text = String::new();
            answer.read_to_string(&mut text)?;
            Ok((answer.status, text))
        });
        (answered, server.join().expect("the server ends"))
    }

    #[test]
    fn bodies_have_a_length_or_chunks() {
        let (answer, got) = exchange(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokmore", Body::Nothing);
        assert_eq!(answer.expect("it is right"), (200, "ok".into()));
        assert_eq!(got, "POST /x HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let mut write = |out: &mut dyn Write| out.write_all(b"hello");
        let (answer, got) = exchange(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\n",
            Body::Stream("text/plain", &mut write),
        );
        assert_eq!(answer.expect("it is right"), (404, "abcd".into()));
        assert!(got.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{got}");
    }

    #[test]
    fn a_cut_off_answer_is_an_error() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"SSH-2.0-OpenSSH\r\n",
        ] {
            let (found, _) = exchange(answer, Body::Nothing);
            assert!(found.is_err(), "{}", String::from_utf8_lossy(answer));
        }
    }
}
