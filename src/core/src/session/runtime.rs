//! The OCI runtime: crun, as podman calls it. Its commands are those of runc, from which all runtimes have them.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions};
use serde_json::Value;

use crate::failure::{Failure, Result};

/// How long killed processes get until they are looked for again.
const PAUSE: Duration = Duration::from_millis(5);

/// A container that runs.
#[derive(Debug)]
pub(super) struct Running {
    /// Number of its first process on the host.
    pub(super) pid: i32,
    /// `process` of its configuration: what its first process began with.
    pub(super) process: Value,
}

/// An OCI runtime.
#[derive(Clone, Debug)]
pub struct Runtime {
    program: PathBuf,
}

impl Default for Runtime {
    fn default() -> Self {
        Self { program: "crun".into() }
    }
}

/// Descriptors 0, 1 and 2 of a process.
pub(super) type Streams = [OwnedFd; 3];

impl Runtime {
    /// The container of this id; nothing if it does not run.
    pub(super) fn running(&self, id: &str) -> Result<Option<Running>> {
        let output = Command::new(&self.program).args(["state", id]).stdin(Stdio::null()).output();
        let output = output.map_err(|error| Failure::file("start", &self.program, error))?;
        let state: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
        let (Some(pid), Some("running"), Some(bundle)) =
            (pid, state["status"].as_str(), state["bundle"].as_str())
        else {
            return Ok(None);
        };
        let path = Path::new(bundle).join("config.json");
        let text = fs::read(&path).map_err(|error| Failure::file("read", &path, error))?;
        let config: Value =
            serde_json::from_slice(&text).map_err(|error| Failure::file("understand", &path, error))?;
        Ok(Some(Running { pid, process: config["process"].clone() }))
    }

    /// Starts a process in a container; it becomes a child of this one. `directory` is for files of the call.
    pub(super) fn start(&self, id: &str, process: &Value, streams: Streams, directory: &Path) -> Result<Pid> {
        self.exec(id, process, streams, directory).inspect_err(|_| end_children())
    }

    fn exec(&self, id: &str, process: &Value, streams: Streams, directory: &Path) -> Result<Pid> {
        let [input, output, error] = streams;
        let path = |name: &str| directory.join(name);
        let description = path("process.json");
        fs::write(&description, process.to_string())
            .map_err(|error| Failure::file("write", &description, error))?;
        let mut command = Command::new(&self.program);
        command.arg("--log").arg(path("log")).args(["exec", "--detach", "--process"]).arg(&description);
        command.arg("--pid-file").arg(path("pid"));
        if process["terminal"] == Value::Bool(true) {
            command.arg("--console-socket").arg(path("console"));
        }
        command.arg(id).stdin(input).stdout(output).stderr(error);
        // Orphans of the runtime, of which the process is one, become children of this process.
        let own = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(own))
            .map_err(|error| Failure::new(format!("cannot take in processes: {error}")))?;
        let status = command.status().map_err(|error| Failure::file("start", &self.program, error))?;
        drop(command);
        if !status.success() {
            let log = fs::read_to_string(path("log")).unwrap_or_default();
            let reason = log.lines().last().unwrap_or("it does not say why").trim();
            return Err(Failure::new(reason.trim_start_matches("crun: ").to_string()));
        }
        let pid =
            fs::read_to_string(path("pid")).map_err(|error| Failure::file("read", &path("pid"), error))?;
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
        pid.ok_or_else(|| Failure::new("the runtime does not say which process it started"))
    }

    /// Runs a program in a container to its end, without input; what it wrote on standard error if it failed.
    pub(super) fn run(&self, id: &str, arguments: &[&str]) -> Result<()> {
        let output =
            Command::new(&self.program).args(["exec", id]).args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|error| Failure::file("start", &self.program, error))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(Failure::new(String::from_utf8_lossy(&output.stderr).trim().to_string())),
        }
    }
}

/// Ends all children of this process. A call of the runtime that fails can have started its process all the same.
fn end_children() {
    loop {
        let children = children();
        if children.is_empty() {
            return;
        }
        for child in children {
            let _ = rustix::process::kill_process(child, Signal::KILL);
        }
        while matches!(rustix::process::wait(WaitOptions::NOHANG), Ok(Some(_)) | Err(rustix::io::Errno::INTR))
        {
        }
        std::thread::sleep(PAUSE);
    }
}

/// Processes whose parent is this one, by proc_pid_status(5).
fn children() -> Vec<Pid> {
    let own = format!("PPid:\t{}", std::process::id());
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/status"))
            .is_ok_and(|status| status.lines().any(|line| line == own))
    };
    pids.filter(is_child).filter_map(Pid::from_raw).collect()
}
