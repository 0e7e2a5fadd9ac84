//! The container engine: podman, through the part of Docker's API that both speak, over a socket of this machine.
//!
//! Source: [Docker Engine API](https://docs.docker.com/reference/api/engine/). The engine is asked for its version, so that no
//! version is ever too old or too new for it.

mod http;
pub mod settings;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::failure::{Failure, Result};
use http::{Answer, Body};

/// How long an engine may take until it listens.
const START: Duration = Duration::from_secs(30);
/// What engines put into each container.
const ENGINE_FILES: [&str; 8] = [
    "/dev/pts",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/proc/sys",
    "/run/.containerenv",
    "/sys/fs",
];
/// Bytes of an answer that is not a stream.
const LARGEST: u64 = 64 << 20;

/// An engine that answers.
#[derive(Clone, Debug)]
pub struct Engine {
    socket: PathBuf,
    /// Start of all targets: the version.
    prefix: String,
    podman: bool,
}

/// A container, as the engine has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Id of its image.
    pub image: String,
    /// Whether its first process runs.
    pub running: bool,
    /// Status that its first process ended with.
    pub exit_code: i64,
    /// Starts by the engine after it ended.
    pub restarts: i64,
    /// Result of its test: `starting`, `healthy`, `unhealthy`; empty if there is none.
    pub health: String,
    /// What [`settings`] made of the configuration it was made from; `Null` if something else made it.
    pub settings: Value,
}

/// What a step of a long work reports.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

impl Engine {
    /// The engine behind a socket. It is waited for while the socket is not there or nothing listens.
    ///
    /// # Errors
    ///
    /// Nothing listens within 30 s, or it is no container engine.
    pub fn connect(socket: &Path) -> Result<Self> {
        let end = Instant::now() + START;
        let answer = loop {
            match http::request(socket, "GET", "/version", Body::Nothing) {
                Ok(answer) => break answer,
                Err(error) if waits(&error) && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(100))
                }
                Err(error) => {
                    let message = format!("no container engine answers at `{}`: {error}", socket.display());
                    return Err(Failure::new(message).hint("start it: `systemctl start podman.socket`"));
                }
            }
        };
        let version = value(answer, "ask for the version")?;
        let api = version["ApiVersion"].as_str().unwrap_or_default();
        if api.is_empty() || !api.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(Failure::new(format!(
                "what listens at `{}` is no container engine",
                socket.display()
            )));
        }
        let mut parts = version["Components"].as_array().into_iter().flatten();
        let podman = parts.any(|part| part["Name"].as_str().is_some_and(|name| name.starts_with("Podman")));
        Ok(Self { socket: socket.to_path_buf(), prefix: format!("/v{api}"), podman })
    }

    /// The container of this name or id.
    pub fn container(&self, name: &str) -> Result<Option<Container>> {
        let target = format!("/containers/{}/json", escape(name));
        let Some(found) = self.found(&target, &format!("look for container `{name}`"))? else {
            return Ok(None);
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let label = found["Config"]["Labels"][settings::LABEL].as_str().unwrap_or_default();
        Ok(Some(Container {
            id: text(&found["Id"]),
            image: text(&found["Image"]).trim_start_matches("sha256:").into(),
            running: found["State"]["Running"].as_bool().unwrap_or_default(),
            exit_code: found["State"]["ExitCode"].as_i64().unwrap_or_default(),
            restarts: found["RestartCount"].as_i64().unwrap_or_default(),
            health: text(&found["State"]["Health"]["Status"]),
            settings: serde_json::from_str(label).unwrap_or_default(),
        }))
    }

    /// Makes a container of [`settings`]; its id.
    pub fn create(&self, name: &str, settings: &Value) -> Result<String> {
        let mut body = settings.clone();
        body["Labels"][settings::LABEL] = Value::String(settings.to_string());
        let target = format!("/containers/create?name={}", escape(name));
        let created =
            self.send("POST", &target, Body::Json(body.to_string()), &format!("make container `{name}`"))?;
        created["Id"]
            .as_str()
            .map(Into::into)
            .ok_or_else(|| Failure::new("the engine made a container without an id"))
    }

    /// Starts a container; one that runs stays as it is.
    pub fn start(&self, name: &str) -> Result<()> {
        let target = format!("/containers/{}/start", escape(name));
        self.send("POST", &target, Body::Nothing, &format!("start container `{name}`")).map(drop)
    }

    /// Stops a container; after `grace` its processes are killed.
    pub fn stop(&self, name: &str, grace: Duration) -> Result<()> {
        let target = format!("/containers/{}/stop?t={}", escape(name), grace.as_secs());
        self.send("POST", &target, Body::Nothing, &format!("stop container `{name}`")).map(drop)
    }

    /// Gives a container another name.
    pub fn rename(&self, name: &str, to: &str) -> Result<()> {
        let target = format!("/containers/{}/rename?name={}", escape(name), escape(to));
        self.send("POST", &target, Body::Nothing, &format!("rename container `{name}` to `{to}`")).map(drop)
    }

    /// Removes a container with what was written in it; one that is not there is as good.
    pub fn remove(&self, name: &str) -> Result<()> {
        let target = format!("/containers/{}?force=true", escape(name));
        let what = format!("remove container `{name}`");
        let answer = self.call("DELETE", &target, Body::Nothing, &what)?;
        match answer.status {
            404 => Ok(()),
            _ => value(answer, &what).map(drop),
        }
    }

    /// Paths that were written in a container beside its mounts. Directories in which only something else changed, or that the
    /// engine writes to itself, are left out.
    pub fn changes(&self, name: &str) -> Result<Vec<String>> {
        let target = format!("/containers/{}/changes", escape(name));
        let found =
            self.send("GET", &target, Body::Nothing, &format!("list the changes in container `{name}`"))?;
        let changes = found.as_array().into_iter().flatten();
        let mut paths: Vec<String> =
            changes.filter_map(|change| Some(change["Path"].as_str()?.to_string())).collect();
        paths.sort();
        let mut above = self.mount_points(name)?;
        above.extend(paths.iter().cloned());
        let below =
            |path: &str, other: &String| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let points = above.len() - paths.len();
        paths.retain(|path| !above[..points].contains(path) && !above.iter().any(|other| below(path, other)));
        Ok(paths)
    }

    /// Where something is mounted in a container: what is at these places is not in it.
    fn mount_points(&self, name: &str) -> Result<Vec<String>> {
        let target = format!("/containers/{}/json", escape(name));
        let found = self.send("GET", &target, Body::Nothing, &format!("look for container `{name}`"))?;
        let mounts = found["Mounts"].as_array().into_iter().flatten();
        let mounts = mounts.filter_map(|mount| mount["Destination"].as_str());
        let tmpfs =
            found["HostConfig"]["Tmpfs"].as_object().into_iter().flatten().map(|(path, _)| path.as_str());
        Ok(ENGINE_FILES.into_iter().chain(mounts).chain(tmpfs).map(Into::into).collect())
    }

    /// The last lines that a container wrote.
    pub fn last_lines(&self, name: &str) -> Result<Vec<String>> {
        let target = format!("/containers/{}/logs?stdout=true&stderr=true&tail=5", escape(name));
        let what = format!("read what container `{name}` wrote");
        let answer = self.call("GET", &target, Body::Nothing, &what)?;
        let mut bytes = Vec::new();
        answer
            .take(LARGEST)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::new(format!("cannot {what}: {error}")))?;
        let text = String::from_utf8_lossy(&unframed(&bytes)).replace('\r', "\n");
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(lines.map(|line| line.chars().take(200).collect()).collect())
    }

    /// Result of the test of a container: `starting`, `healthy` or `unhealthy`.
    pub fn health(&self, name: &str) -> Result<String> {
        // Podman leaves the tests to timers of systemd; asked for one it makes it at once.
        if self.podman {
            let target = format!("/libpod/containers/{}/healthcheck", escape(name));
            let tested = self.send("GET", &target, Body::Nothing, &format!("test container `{name}`"))?;
            return Ok(tested["Status"].as_str().unwrap_or_default().into());
        }
        Ok(self.container(name)?.map(|container| container.health).unwrap_or_default())
    }

    /// Unpacks what a container has at and below `path` to the same place below `to`, with owners, modes and times. It may have
    /// nothing there. The engine gives the whole container: what it gives of a part has lost its owners.
    pub fn copy(&self, name: &str, path: &str, to: &Path) -> Result<()> {
        let what = format!("copy `{path}` of container `{name}`");
        let answer =
            self.call("GET", &format!("/containers/{}/export", escape(name)), Body::Nothing, &what)?;
        if answer.status >= 400 {
            return value(answer, &what).map(drop);
        }
        unpack(answer, path, to).map_err(|error| Failure::new(format!("cannot {what}: {error}")))
    }

    /// Id of the image of this reference.
    pub fn image(&self, reference: &str) -> Result<Option<String>> {
        let target = format!("/images/{}/json", escape(reference));
        let found = self.found(&target, &format!("look for image `{reference}`"))?;
        Ok(found.and_then(|found| Some(found["Id"].as_str()?.trim_start_matches("sha256:").to_string())))
    }

    /// Gives an image another reference.
    pub fn tag(&self, image: &str, reference: &str) -> Result<()> {
        let (repository, tag) = split(reference);
        let target = format!("/images/{}/tag?repo={}&tag={}", escape(image), escape(repository), escape(tag));
        self.send("POST", &target, Body::Nothing, &format!("call image `{image}` `{reference}`")).map(drop)
    }

    /// Asks a registry for an image.
    pub fn pull(&self, reference: &str, progress: Progress<'_>) -> Result<()> {
        let target = format!("/images/create?fromImage={}", escape(reference));
        let what = format!("pull image `{reference}`");
        self.stream(&target, Body::Nothing, &what, progress).map(drop)
    }

    /// Loads an archive of an image; the name it has, if it has one.
    pub fn load(&self, archive: &Path, progress: Progress<'_>) -> Result<Option<String>> {
        let what = format!("load `{}`", archive.display());
        let mut write = |out: &mut dyn Write| send_file(archive, out);
        let body = Body::Stream("application/x-tar", &mut write);
        let texts = self.stream("/images/load", body, &what, progress)?;
        let names = texts.iter().filter_map(|text| text.trim().strip_prefix("Loaded image: "));
        Ok(names.flat_map(|names| names.split(',')).next().map(Into::into))
    }

    /// Makes an image of a tar archive with a root filesystem.
    pub fn import(&self, archive: &Path, reference: &str, progress: Progress<'_>) -> Result<()> {
        let what = format!("import `{}`", archive.display());
        let mut write = |out: &mut dyn Write| send_file(archive, out);
        let body = Body::Stream("application/x-tar", &mut write);
        let texts = self.stream("/images/create?fromSrc=-", body, &what, progress)?;
        // The id comes last. Podman takes no notice of a tag in the call.
        let id = texts
            .last()
            .ok_or_else(|| Failure::new(format!("cannot {what}: the engine does not say its id")))?;
        self.tag(id.trim_start_matches("sha256:"), reference)
    }

    /// Builds an image.
    pub fn build(&self, reference: &str, build: &crate::config::Build, progress: Progress<'_>) -> Result<()> {
        let arguments: serde_json::Map<_, _> =
            build.arguments.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
        let mut target = format!(
            // In the network of the host, which is there before there are bridges and rules of a firewall.
            "/build?t={}&dockerfile={}&buildargs={}&rm=true&forcerm={}&networkmode=host",
            escape(reference),
            escape(&build.dockerfile),
            escape(&Value::Object(arguments).to_string()),
            !build.preserve_intermediate
        );
        if build.squash {
            target.push_str("&squash=true");
        }
        let what = format!("build image `{reference}`");
        let source = Path::new(&build.source);
        if !source.is_absolute() {
            let target = format!("{target}&remote={}", escape(&build.source));
            return self.stream(&target, Body::Nothing, &what, progress).map(drop);
        }
        if !source.exists() {
            let message = format!("cannot {what}: `{}` is not there", source.display());
            return Err(
                Failure::new(message).hint("the image of the system must have it, or `source` is wrong")
            );
        }
        let mut write = |out: &mut dyn Write| match source.is_dir() {
            false => send_file(source, out),
            true => {
                let mut archive = tar::Builder::new(out);
                archive.follow_symlinks(false);
                archive.append_dir_all(".", source)?;
                archive.finish()
            }
        };
        self.stream(&target, Body::Stream("application/x-tar", &mut write), &what, progress).map(drop)
    }

    /// A request whose answer is a stream of reports, of which one may be an error. Returns the texts.
    fn stream(
        &self,
        target: &str,
        body: Body<'_>,
        what: &str,
        progress: Progress<'_>,
    ) -> Result<Vec<String>> {
        let answer = self.call("POST", target, body, what)?;
        if answer.status >= 400 {
            value(answer, what)?;
            return Ok(Vec::new());
        }
        let failed = |error: &dyn std::fmt::Display| Failure::new(format!("cannot {what}: {error}"));
        let mut texts = Vec::new();
        for line in BufReader::new(answer).lines() {
            let line = line.map_err(|error| failed(&error))?;
            let Ok(report) = serde_json::from_str::<Value>(line.trim()) else { continue };
            if let Some(error) = report["errorDetail"]["message"].as_str().or(report["error"].as_str()) {
                return Err(failed(&error.trim()));
            }
            let text = report["stream"].as_str().or(report["status"].as_str()).unwrap_or_default().trim();
            if !text.is_empty() {
                progress(text);
                texts.push(text.to_string());
            }
        }
        Ok(texts)
    }

    fn call(&self, method: &str, target: &str, body: Body<'_>, what: &str) -> Result<Answer> {
        http::request(&self.socket, method, &format!("{}{target}", self.prefix), body)
            .map_err(|error| Failure::new(format!("cannot {what}: the engine: {error}")))
    }

    fn send(&self, method: &str, target: &str, body: Body<'_>, what: &str) -> Result<Value> {
        value(self.call(method, target, body, what)?, what)
    }

    /// What is there; nothing if the engine has no such thing.
    fn found(&self, target: &str, what: &str) -> Result<Option<Value>> {
        let answer = self.call("GET", target, Body::Nothing, what)?;
        match answer.status {
            404 => Ok(None),
            _ => value(answer, what).map(Some),
        }
    }
}

/// Whether an engine that is starting fails like this.
fn waits(error: &io::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&error.kind())
}

/// The JSON of an answer; the engine's words if it is an error.
fn value(answer: Answer, what: &str) -> Result<Value> {
    let status = answer.status;
    let mut text = Vec::new();
    let read = answer.take(LARGEST).read_to_end(&mut text);
    read.map_err(|error| Failure::new(format!("cannot {what}: the engine: {error}")))?;
    let value: Value = serde_json::from_slice(&text).unwrap_or_default();
    if status < 400 {
        return Ok(value);
    }
    let words = value["message"].as_str().or(value["cause"].as_str()).map(str::to_string);
    let words = words.unwrap_or_else(|| String::from_utf8_lossy(&text).into_owned());
    Err(Failure::new(format!("cannot {what}: {} (status {status} of the engine)", words.trim())))
}

/// What a container wrote, without the eight bytes before each piece that say where and how long, which it has without a
/// terminal.
fn unframed(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [0..=2, 0, 0, 0, a, b, c, d, after @ ..] = rest {
        let length = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).min(after.len());
        text.extend_from_slice(&after[..length]);
        rest = &after[length..];
    }
    text.extend_from_slice(rest);
    text
}

/// Unpacks what is at and below `path` of an archive. Nothing gets out of `to`, whatever the archive says.
fn unpack(archive: impl Read, path: &str, to: &Path) -> io::Result<()> {
    let wanted = path.trim_matches('/');
    let mut archive = tar::Archive::new(archive);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    archive.set_unpack_xattrs(true);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let inside = entry.path()?.strip_prefix("./").unwrap_or(&*entry.path()?).starts_with(wanted);
        if inside {
            entry.unpack_in(to)?;
        }
    }
    Ok(())
}

fn send_file(path: &Path, out: &mut dyn Write) -> io::Result<()> {
    io::copy(&mut File::open(path)?, out).map(drop)
}

/// Repository and tag of a reference; `latest` if it has none.
fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference, "latest"),
    }
}

/// A text as a part of an address.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => {
                escaped.push(byte.into())
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
