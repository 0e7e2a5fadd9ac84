//! A web server on loopback that answers as a test wants it to, and remembers what it was asked.
#![allow(dead_code)] // unit tests include it, too

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request: its path and the headers that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    /// First byte that is wanted.
    pub from: Option<usize>,
    pub if_range: Option<String>,
}

/// Answers each request with bytes, and closes the connection.
pub struct Server {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `respond` is told the number of the request, from 0 on, and gives all that is sent; nothing means silence.
    pub fn start(respond: impl Fn(usize, &Request) -> Vec<u8> + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&requests);
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for socket in listener.incoming().flatten() {
                let Some(request) = read(&socket) else { continue };
                let number = noted.lock().expect("no panic").len();
                noted.lock().expect("no panic").push(request.clone());
                let answer = respond(number, &request);
                // What goes wrong there, the client sees.
                drop((&socket).write_all(&answer));
                if answer.is_empty() || answer.ends_with(b"...") {
                    silent.push(socket);
                }
            }
        });
        Server { address, requests }
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

fn read(socket: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(socket).lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut request = Request { path: first.split(' ').nth(1)?.into(), from: None, if_range: None };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "range" => request.from = value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok(),
            "if-range" => request.if_range = Some(value.into()),
            _ => {}
        }
    }
    Some(request)
}

/// Headers and a body, of which only `sent` bytes are sent.
pub fn answer(status: &str, headers: &str, body: &[u8], sent: usize) -> Vec<u8> {
    let len = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {len}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), &body[..sent]].concat()
}

/// The whole body.
pub fn whole(body: &[u8]) -> Vec<u8> {
    answer("200 OK", "ETag: \"one\"\r\n", body, body.len())
}

/// The body from a byte on.
pub fn part(body: &[u8], from: usize) -> Vec<u8> {
    let (last, all) = (body.len() - 1, body.len());
    let rest = &body[from..];
    answer("206 Partial Content", &format!("Content-Range: bytes {from}-{last}/{all}\r\n"), rest, rest.len())
}
