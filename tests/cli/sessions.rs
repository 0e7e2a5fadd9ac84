//! `install`, `verify` and `assemble` are sessions as `flash` is: the same events, the same summary, the same end on
//! Ctrl-C.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::project::{Project, json as document_of, succeed};

/// How long a program may take until it listens for signals.
const PATIENCE: Duration = Duration::from_secs(120);

/// The events of a text.
fn events(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).expect("a line is a document")).collect()
}

/// Phases in the order in which they begin.
fn phases(events: &[Value]) -> Vec<&str> {
    let begun = events.iter().filter(|event| event["event"] == "phase");
    begun.map(|event| event["phase"].as_str().expect("a name")).collect()
}

/// Runs a verb with events on stdout, which must end with its result; gives the events before it and the document.
fn with_events(command: &mut Command) -> (Vec<Value>, Value) {
    let (stdout, _) = succeed(command.args(["--quiet", "--events", "-"]));
    let mut events = events(&stdout);
    let last = events.pop().expect("a last line");
    assert_eq!(last["event"], "result", "{stdout}");
    assert!(events.iter().all(|event| event["schema"] == "skiff-image.events/1"), "{stdout}");
    (events, last["document"].clone())
}

/// Bytes that a phase of a summary has done.
fn bytes_of(document: &Value, phase: &str) -> u64 {
    let phases = document["summary"]["phases"].as_array().unwrap_or_else(|| panic!("{document:#}"));
    let spent = phases.iter().find(|spent| spent["phase"] == phase);
    spent.unwrap_or_else(|| panic!("no `{phase}` in {document:#}"))["bytes"].as_u64().expect("a number")
}

/// A system in `out/disk.img`, and inputs that have changed since.
fn changed_project() -> Project {
    let project = Project::new();
    succeed(&mut project.assemble(&["--quiet"]));
    project.write("output/images/Image", vec![9; 128 << 10]);
    project
}

fn install(project: &Project) -> Command {
    project.with_inputs(&["install"], &["--manifest", "out/installed.json", "out/disk.img"])
}

fn verify(project: &Project, manifest: &str) -> Command {
    project.command(&["verify", "out/disk.img", "--manifest", manifest])
}

#[test]
fn assemble_reports_phases_and_a_summary() {
    let project = Project::new();
    let (events, document) = with_events(&mut project.assemble(&[]));
    assert_eq!(phases(&events)[..3], ["write", "sync", "read-back"]);
    let written = document["written"].as_u64().expect("a number");
    assert!(written > 0 && bytes_of(&document, "read-back") > 0);
    assert_eq!(document["summary"]["retries"], 0);
}

#[test]
fn verify_reports_its_phase_and_a_summary() {
    let project = Project::new();
    succeed(&mut project.assemble(&["--quiet"]));
    let (events, document) = with_events(&mut verify(&project, "out/disk.img.manifest.json"));
    assert_eq!(phases(&events), ["verify"]);
    assert!(events.iter().all(|event| event["device"] == "out/disk.img"), "{events:#?}");
    assert_eq!(bytes_of(&document, "verify"), document["compared"].as_u64().expect("a number"));
    assert_eq!(document["summary"]["written"], json!(0));
    // What is read between what was written is more than what is compared.
    assert!(document["summary"]["verified"].as_u64() >= document["compared"].as_u64(), "{document}");
}

#[test]
fn install_reports_phases_and_a_summary() {
    let project = changed_project();
    let (events, document) = with_events(&mut install(&project));
    assert_eq!(phases(&events)[..3], ["write", "mark", "write"]);
    assert!(events.iter().all(|event| event["device"] == "out/disk.img"), "{events:#?}");
    assert!(bytes_of(&document, "read-back") > 0 && bytes_of(&document, "write") > 0);
    // What is there already is not written, and so there is nothing to sum up.
    let again = document_of(&mut install(&project));
    assert_eq!((&again["written"], again.get("summary")), (&json!(0), None));
}

/// A pipe that is full, so that a program stops at its first event until it is emptied.
struct FullPipe {
    pipe: File,
}

impl FullPipe {
    fn new(path: &Path) -> FullPipe {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a named pipe");
        let flags = OFlags::NONBLOCK.bits() as i32;
        let pipe = File::options().read(true).write(true).custom_flags(flags).open(path).expect("opens");
        while (&pipe).write(&[b'\n'; 4096]).is_ok() {}
        FullPipe { pipe }
    }

    /// Reads until the program has ended.
    fn drain(mut self, child: &mut Child) -> String {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let has_ended = child.try_wait().expect("it can be waited for").is_some();
            match self.pipe.read(&mut buffer) {
                Ok(read) => bytes.extend_from_slice(&buffer[..read]),
                Err(_) if has_ended => return String::from_utf8(bytes).expect("text"),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

/// Waits until a program has handlers for SIGINT and SIGTERM.
fn wait_for_handlers(child: &mut Child) {
    let begun = Instant::now();
    let handled = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("Linux");
        let mask = u64::from_str_radix(line.trim(), 16).expect("a mask");
        [Signal::INT, Signal::TERM].iter().all(|signal| mask >> (signal.as_raw() - 1) & 1 == 1)
    };
    while !handled(&fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs")) {
        assert!(begun.elapsed() < PATIENCE, "it does not listen");
        assert!(child.try_wait().expect("it can be waited for").is_none(), "it ended before");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a verb that is interrupted before its first event; it must end with the error, on stderr and as last event.
fn interrupt(project: &Project, command: &mut Command, error: &str, hint: &str) {
    let path = project.path("events");
    let pipe = FullPipe::new(&path);
    command.args(["--quiet", "--events", "events"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    wait_for_handlers(&mut child);
    kill_process(Pid::from_child(&child), Signal::INT).expect("it can be stopped");
    let events = events(&pipe.drain(&mut child));
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it has ended");
    assert_eq!((status.code(), stdout.as_slice()), (Some(130), b"".as_slice()));
    assert_eq!(String::from_utf8_lossy(&stderr), format!("error: {error}\nhint: {hint}\n"));
    let last = events.last().expect("an event");
    assert_eq!(
        [&last["event"], &last["error"], &last["code"], &last["hint"], &last["exit_code"]],
        [&json!("error"), &json!(error), &json!("interrupted"), &json!(hint), &json!(130)]
    );
    fs::remove_file(path).expect("removes");
}

#[test]
fn assemble_that_is_interrupted_leaves_no_file() {
    let project = Project::new();
    let error = "writing `out/disk.img` was interrupted";
    interrupt(&project, &mut project.assemble(&[]), error, "run the same command again");
    assert_eq!(project.listing("out"), BTreeMap::new());
}

#[test]
fn verify_that_is_interrupted_has_no_verdict() {
    let project = Project::new();
    succeed(&mut project.assemble(&["--quiet"]));
    let mut command = verify(&project, "out/disk.img.manifest.json");
    let error = "verifying `out/disk.img` was interrupted";
    interrupt(&project, &mut command, error, "run the same command again");
}

#[test]
fn install_that_is_interrupted_leaves_the_old_system() {
    let project = changed_project();
    let before = fs::read(project.path("out/disk.img")).expect("reads");
    let error = "writing `out/disk.img` was interrupted";
    interrupt(&project, &mut install(&project), error, "run the same command again");
    assert!(fs::read(project.path("out/disk.img")).expect("reads") == before, "the image is another");
    succeed(&mut verify(&project, "out/disk.img.manifest.json"));
    succeed(&mut install(&project));
    succeed(&mut verify(&project, "out/installed.json"));
}
