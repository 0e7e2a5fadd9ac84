//! Stores on loopback: a real one, and ones that misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use skiff_image::cache::Key;

/// An S3 server with one bucket, whose objects are files.
pub struct Store {
    pub endpoint: String,
    root: tempfile::TempDir,
    /// Serves until it is dropped.
    _runtime: tokio::runtime::Runtime,
}

impl Store {
    pub fn start(bucket: &str, key_id: &str, secret: &str) -> Store {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join(bucket)).expect("a bucket");
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).expect("a store"));
        service.set_auth(SimpleAuth::from_single(key_id, secret));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("threads");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        runtime.spawn(serve(listener, service.build()));
        Store { endpoint, root, _runtime: runtime }
    }

    /// The file of the object of a block.
    pub fn object(&self, bucket: &str, prefix: &str, key: &Key) -> PathBuf {
        let name = key.id().to_string();
        self.root.path().join(bucket).join(prefix).join(&name[..2]).join(name)
    }
}

async fn serve(listener: tokio::net::TcpListener, service: S3Service) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone()));
    }
}

/// Nothing listens there.
pub fn dead() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

/// The host is there, but packets to the port are lost: more connections wait to be accepted than can.
pub struct Unreachable {
    pub endpoint: String,
    _runtime: tokio::runtime::Runtime,
    _listener: tokio::net::TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Unreachable {
    pub fn start() -> Unreachable {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let within = runtime.enter();
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let listener = socket.listen(1).expect("listens");
        drop(within);
        let address = listener.local_addr().expect("an address");
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200));
        let waiting: Vec<_> = std::iter::from_fn(|| connect().ok()).collect();
        let endpoint = format!("http://{address}");
        Unreachable { endpoint, _runtime: runtime, _listener: listener, _waiting: waiting }
    }
}

/// Accepts connections and never says a word.
pub fn silent() -> String {
    Scripted::start(|_| Reply::Nothing).endpoint
}

/// Speaks first, and not TLS, which its address promises.
pub fn greeting() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("https://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            // Read to the end: a connection closed before is reset, which is another failure.
            std::thread::spawn(move || {
                socket.write_all(b"220 mail.example ESMTP\r\n")?;
                std::io::copy(&mut socket, &mut std::io::sink())
            });
        }
    });
    endpoint
}

/// A server that answers every request as a function of its method says.
pub struct Scripted {
    pub endpoint: String,
}

pub enum Reply {
    /// Status 200 and a body.
    Ok(Vec<u8>),
    /// Another status, and an error body of S3.
    Error(u16, &'static str),
    /// These bytes, and the end.
    Raw(&'static [u8]),
    /// A byte of a body every 50 ms.
    Drip,
    Nothing,
}

impl Reply {
    pub fn error(status: u16, code: &'static str) -> Reply {
        Reply::Error(status, code)
    }
}

impl Scripted {
    pub fn start(respond: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let respond = Arc::new(respond);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let respond = Arc::clone(&respond);
                // What goes wrong there, the client sees.
                std::thread::spawn(move || drop(converse(socket, &*respond)));
            }
        });
        Scripted { endpoint }
    }
}

fn converse(socket: TcpStream, respond: &dyn Fn(&str) -> Reply) -> std::io::Result<()> {
    let mut output = socket.try_clone()?;
    let mut input = BufReader::new(socket);
    while let Some(method) = request(&mut input)? {
        match respond(&method) {
            Reply::Ok(body) => write_answer(&mut output, "200 OK", &body)?,
            Reply::Error(status, code) => {
                let secret = "<StringToSign>what nobody may see</StringToSign>";
                let body = format!("<Error><Code>{code}</Code><Message>No</Message>{secret}</Error>");
                write_answer(&mut output, &format!("{status} Error"), body.as_bytes())?;
            }
            Reply::Raw(bytes) => return output.write_all(bytes),
            Reply::Drip => return drip(&mut output),
            Reply::Nothing => std::thread::sleep(Duration::from_secs(60)),
        }
    }
    Ok(())
}

/// Reads a request with its body; its method.
fn request(input: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let (mut head, mut len) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        len = line.strip_prefix("content-length: ").and_then(|len| len.parse().ok()).unwrap_or(len);
        head.push(line);
    }
    std::io::copy(&mut input.take(len), &mut std::io::sink())?;
    let method = head.first().and_then(|line| line.split(' ').next());
    Ok(method.map(str::to_ascii_uppercase))
}

fn write_answer(output: &mut TcpStream, status: &str, body: &[u8]) -> std::io::Result<()> {
    let dates = "Last-Modified: Tue, 01 Jan 1980 00:00:00 GMT\r\nETag: \"0\"";
    let head = format!("HTTP/1.1 {status}\r\n{dates}\r\nContent-Length: {}\r\n\r\n", body.len());
    output.write_all(&[head.as_bytes(), body].concat())
}

fn drip(output: &mut TcpStream) -> std::io::Result<()> {
    let dates = "Last-Modified: Tue, 01 Jan 1980 00:00:00 GMT\r\nETag: \"0\"";
    write!(output, "HTTP/1.1 200 OK\r\n{dates}\r\nContent-Length: 100\r\n\r\n")?;
    for _ in 0..100 {
        output.write_all(b"x")?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
