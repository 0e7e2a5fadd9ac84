//! A download that is read like a file, and taken up where it broke.

use std::error::Error as StdError;
use std::io::{self, Read};
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use tokio::runtime::Runtime;

use super::FetchError;

/// Times that a download is resumed without a new byte in between.
const TRIES: u32 = 4;
/// Servers that send elsewhere more often go in circles.
const REDIRECTS: usize = 10;

/// Time limits.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connect: Duration,
    /// Until the next bytes come.
    silence: Duration,
    /// Before a download is taken up; longer each time.
    pause: Duration,
}

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(30),
    silence: Duration::from_secs(60),
    pause: Duration::from_secs(1),
};

/// An address of an image.
pub(crate) struct Download {
    url: Url,
    name: String,
    limits: Limits,
}

impl Download {
    /// `hash` says whether the user gave one.
    pub(crate) fn new(text: &str, hash: bool) -> Result<Download, FetchError> {
        let parsed =
            Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        let url = parsed.ok_or_else(|| FetchError::Url { url: text.into() })?;
        let name = without_secrets(&url);
        if !is_private(&url) {
            return Err(FetchError::PlainHttp { url: name });
        }
        if !hash {
            return Err(FetchError::NoHash { url: name });
        }
        Ok(Download { url, name, limits: LIMITS })
    }

    /// The address, as messages show it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn client(&self) -> Result<Client, FetchError> {
        // Someone else may have chosen before, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = Client::builder()
            .connect_timeout(self.limits.connect)
            .read_timeout(self.limits.silence)
            .redirect(redirects());
        let builder = if is_loopback(&self.url) { builder.no_proxy() } else { builder };
        builder.build().map_err(|error| self.explain(&error, 0))
    }

    /// Returns the error for what went wrong before or while bytes came.
    fn explain(&self, error: &reqwest::Error, at: u64) -> FetchError {
        let (url, reason) = (self.name.clone(), root_cause(error));
        if error.is_redirect() {
            return FetchError::Redirect { url, reason };
        }
        match error.is_timeout() && !error.is_connect() {
            true => FetchError::Silent { url, at, limit: self.limits.silence },
            false => FetchError::Connect { url, reason },
        }
    }
}

impl Download {
    /// A reader from the first byte on.
    pub(crate) fn open(&self) -> Result<Box<dyn Read + Send>, FetchError> {
        let cannot =
            |error: io::Error| FetchError::Connect { url: self.name.clone(), reason: error.to_string() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let client = self.client()?;
        let download = Download { url: self.url.clone(), name: self.name.clone(), limits: self.limits };
        let answer = runtime.block_on(async { client.get(self.url.clone()).send().await });
        let response = answer.map_err(|error| self.explain(&error, 0))?;
        if response.status() != StatusCode::OK {
            return Err(download.refused(response.status()));
        }
        let version = version(&response);
        let body = Body {
            download,
            runtime,
            client,
            response,
            version,
            chunk: Vec::new(),
            rest: Vec::new(),
            taken: 0,
            at: 0,
            tries: 0,
        };
        Ok(Box::new(body))
    }

    fn refused(&self, status: StatusCode) -> FetchError {
        FetchError::Status { url: self.name.clone(), status: status.to_string() }
    }
}

/// Body of a response.
struct Body {
    download: Download,
    runtime: Runtime,
    client: Client,
    response: Response,
    /// Version of the image, for `If-Range`.
    version: Option<HeaderValue>,
    chunk: Vec<u8>,
    /// Bytes of the chunk that were taken.
    taken: usize,
    /// Rest of a chunk whose start was there before.
    rest: Vec<u8>,
    /// Bytes that came, but for those.
    at: u64,
    /// Number of times that the download was resumed since bytes came.
    tries: u32,
}

impl Body {
    /// The next bytes; empty at the end.
    fn next(&mut self) -> Result<Vec<u8>, FetchError> {
        while self.rest.is_empty() {
            match self.runtime.block_on(self.response.chunk()) {
                Ok(None) => break,
                Ok(Some(bytes)) => self.rest = bytes.into(),
                Err(error) => self.take_up(&error)?,
            }
        }
        self.at += self.rest.len() as u64;
        self.tries = 0;
        Ok(std::mem::take(&mut self.rest))
    }

    /// Asks for the rest. That it is the rest of the same, the hash of all shows at the end.
    fn take_up(&mut self, broken: &reqwest::Error) -> Result<(), FetchError> {
        let mut error = self.download.explain(broken, self.at);
        let mut reason = root_cause(broken);
        while self.tries < TRIES {
            self.tries += 1;
            match self.ask_for_rest() {
                Ok(()) => return Ok(()),
                Err(Again::No(refused)) => return Err(refused),
                Err(Again::Perhaps(next)) => {
                    reason = root_cause(&next);
                    error = self.download.explain(&next, self.at);
                }
            }
        }
        match error {
            silent @ FetchError::Silent { .. } => Err(silent),
            _ => {
                let (url, at, tries) = (self.download.name.clone(), self.at, self.tries);
                Err(FetchError::Broken { url, at, tries, reason })
            }
        }
    }

    fn ask_for_rest(&mut self) -> Result<(), Again> {
        let pause = self.download.limits.pause * (1 << (self.tries - 1));
        let mut request =
            self.client.get(self.download.url.clone()).header(RANGE, format!("bytes={}-", self.at));
        if let Some(version) = &self.version {
            request = request.header(IF_RANGE, version);
        }
        let response = self.runtime.block_on(async {
            tokio::time::sleep(pause).await;
            request.send().await
        });
        let response = response.map_err(Again::Perhaps)?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if begins_at(&response, self.at) => self.response = response,
            // The server knows no ranges, or has another version now.
            StatusCode::OK => {
                self.response = response;
                self.pass(self.at)?;
            }
            status => return Err(Again::No(self.download.refused(status))),
        }
        Ok(())
    }

    /// Goes over what was there before.
    fn pass(&mut self, len: u64) -> Result<(), Again> {
        let mut left = len;
        while left > 0 {
            let chunk = self.runtime.block_on(self.response.chunk()).map_err(Again::Perhaps)?;
            let Some(bytes) = chunk else { return Ok(()) };
            let gone = left.min(bytes.len() as u64);
            left -= gone;
            self.rest = bytes[gone as usize..].to_vec();
        }
        Ok(())
    }
}

/// Answer to the question whether another try is of use.
enum Again {
    Perhaps(reqwest::Error),
    No(FetchError),
}

impl Read for Body {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.chunk.len() {
            self.chunk = self.next().map_err(io::Error::other)?;
            self.taken = 0;
        }
        let len = buf.len().min(self.chunk.len() - self.taken);
        buf[..len].copy_from_slice(&self.chunk[self.taken..self.taken + len]);
        self.taken += len;
        Ok(len)
    }
}

/// Follows to what is encrypted, or on this machine.
fn redirects() -> Policy {
    Policy::custom(|attempt| {
        if attempt.previous().len() > REDIRECTS {
            return attempt.error("too often");
        }
        match is_private(attempt.url()) {
            true => attempt.follow(),
            false => {
                let to = without_secrets(attempt.url());
                attempt.error(format!("`{to}` is not encrypted"))
            }
        }
    })
}

fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || is_loopback(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    // They fail for addresses without a host, which have none of them.
    _ = url.set_username("");
    _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// Returns the validator for `If-Range` (RFC 9110, section 13.1.5): a strong tag, else a date.
fn version(response: &Response) -> Option<HeaderValue> {
    let tag = response.headers().get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    tag.or_else(|| response.headers().get(LAST_MODIFIED)).cloned()
}

/// Returns whether a part begins there.
fn begins_at(response: &Response, at: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {at}-")))
}

fn root_cause(error: &dyn StdError) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
#[path = "../../tests/harness/server.rs"]
mod server;

#[cfg(test)]
mod tests {
    use super::server::{Server, answer};
    use super::*;

    const SHORT: Limits = Limits {
        connect: Duration::from_secs(30),
        silence: Duration::from_millis(200),
        pause: Duration::from_millis(1),
    };

    fn failure(server: &Server) -> String {
        let mut download = Download::new(&format!("{}/disk.img", server.address), true).expect("an address");
        download.limits = SHORT;
        let read = download.open().map_err(|error| error.to_string());
        let read =
            read.and_then(|mut body| io::copy(&mut body, &mut io::sink()).map_err(|error| error.to_string()));
        read.expect_err("it fails").replace(&server.address, "SERVER")
    }

    #[test]
    fn a_download_that_breaks_for_ever_is_given_up() {
        let server = Server::start(|number, _| match number {
            0 => answer("200 OK", "", &[7; 1000], 100),
            _ => answer("206 Partial Content", "Content-Range: bytes 100-999/1000\r\n", &[7; 900], 0),
        });
        let message = failure(&server);
        let start =
            "the download of `SERVER/disk.img` broke at byte 100, and again 4 times when it was taken up: ";
        assert!(message.starts_with(start), "{message}");
        assert_eq!(server.requests().len(), 5);
    }

    #[test]
    fn what_is_gone_when_it_is_taken_up_is_told() {
        let server = Server::start(|number, _| match number {
            0 => answer("200 OK", "", &[7; 1000], 100),
            _ => answer("410 Gone", "", b"", 0),
        });
        assert_eq!(failure(&server), "the server answered 410 Gone for `SERVER/disk.img`");
    }

    #[test]
    fn silence_is_told() {
        let server = Server::start(|_, _| Vec::new());
        assert_eq!(failure(&server), "`SERVER/disk.img` sent nothing for 0.2 seconds at byte 0");
        let server = Server::start(|number, _| match number {
            0 => answer("200 OK", "", b"...and more", 3),
            _ => Vec::new(),
        });
        assert_eq!(failure(&server), "`SERVER/disk.img` sent nothing for 0.2 seconds at byte 3");
    }
}
