//! What people and programs see of a flash: lines, events, the summary.

use std::fs;
use std::io::Write;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::harness::loopdev::LoopDevice;
use crate::harness::tools::{command, oracle};
use crate::harness::tools::{run, skiff_image, temporary};
use serde_json::{Value, json};
use skiff_image::event::{Event, Listener, Phase, Silent};
use skiff_image::flash::summary::{Operation, Spent};
use skiff_image::flash::{Commit, FlashOptions, Meter};
use skiff_image::report::{Events, Report};
use skiff_image::storage::{Memory, Target, Verb};
use skiff_image::table::TableBytes;

const MIB: u64 = 1 << 20;
/// Of the image: a table, and no byte of zeros.
const LEN: u64 = 8 * MIB;

/// An image in a directory.
fn image(directory: &Path) -> PathBuf {
    let mut bytes = vec![7; LEN as usize];
    bytes[..512].fill(0);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    let path = directory.join("disk.img");
    fs::write(&path, bytes).expect("an image");
    path
}

/// A flash of the image onto a medium that is not there.
fn flash(options: &[&str], medium: &str, directory: &Path) -> Command {
    let mut command = skiff_image();
    command.args(["flash", "--simulate", medium, "--image"]).arg(image(directory)).args(options);
    command
}

/// The events of a text; what depends on time is looked at, and then left out.
fn events(text: &str) -> Vec<Value> {
    let mut last = 0.0;
    let event = |line: &str| {
        let mut event: Value = serde_json::from_str(line).expect("a line is a document");
        let fields = event.as_object_mut().expect("an object");
        assert_eq!(fields.remove("schema").expect("a schema"), "skiff-image.events/1");
        let seconds = fields.remove("seconds").and_then(|seconds| seconds.as_f64()).expect("seconds");
        assert!(seconds >= last, "{text}");
        last = seconds;
        if fields["event"] == "progress" {
            for name in ["rate", "mean"] {
                assert!(fields.remove(name).expect("a rate").is_u64(), "{line}");
            }
            let left = fields.remove("left");
            assert!(left.is_none_or(|left| left.is_u64()), "{line}");
        }
        event
    };
    text.lines().map(event).collect()
}

/// Begin and end of a phase that has told no progress in between.
fn phase(phase: &str, total: u64) -> [Value; 2] {
    [
        json!({"event": "phase", "device": "memory", "phase": phase, "total": total}),
        json!({"event": "progress", "device": "memory", "phase": phase, "bytes": total, "total": total}),
    ]
}

#[test]
fn programs_are_told_what_happens_and_the_last_line_is_the_result() {
    let directory = temporary();
    let text = run(&mut flash(&["--quiet", "--events", "-"], "memory,size=64MiB", directory.path()));
    let mut events = events(&text);
    let Some(Value::Object(result)) = events.pop() else { panic!("{text}") };
    assert_eq!((&result["event"], result.get("device")), (&json!("result"), None));
    let document = &result["document"];
    assert_eq!((&document["device"], &document["written"]), (&json!("memory"), &json!(LEN)));
    // What is written more than a MiB from both ends, and then what is bootable.
    let first = [
        json!({"event": "phase", "device": "memory", "phase": "wipe"}),
        json!({"event": "progress", "device": "memory", "phase": "wipe", "bytes": 0}),
    ];
    assert_eq!(events[..2], first, "{text}");
    let kept = events.iter().filter(|event| event["bytes"] == event["total"] || event["event"] == "phase");
    let kept: Vec<Value> = kept.cloned().collect();
    for expected in [phase("read-back", 512), phase("commit", 512)] {
        assert!(kept.windows(2).any(|pair| pair == expected), "{expected:?} is not in\n{text}");
    }
    assert!(events.iter().all(|event| event["device"] == "memory"), "{text}");
}

#[test]
fn what_is_written_again_and_what_fails_are_events() {
    let directory = temporary();
    let path = directory.path().join("events");
    let file = path.to_str().expect("text");
    let medium = "faulty:flip,at=5000000,times=1,size=64MiB";
    let text = run(&mut flash(&["--quiet", "--json", "--events", file], medium, directory.path()));
    let document: Value = serde_json::from_str(&text).expect("the document is on stdout too");
    assert_eq!(document["summary"]["retries"], 1, "{text}");
    let told = events(&fs::read_to_string(&path).expect("events"));
    let again = told.iter().find(|event| event["event"] == "retry").expect("a retry");
    let bytes = again["bytes"].as_u64().expect("a number");
    assert!(bytes > 0 && bytes <= 4 * MIB);
    let expected =
        json!({"event": "retry", "device": "memory", "attempt": 1, "of": 3, "extents": 1, "bytes": bytes});
    assert_eq!(*again, expected);
    assert_eq!(told.last(), Some(&json!({"event": "result", "document": document})));

    let medium = "faulty:stuck,at=5000000,size=64MiB";
    let Output { status, stderr, stdout } =
        flash(&["--json", "--quiet", "--retries", "1", "--events", file], medium, directory.path())
            .output()
            .expect("skiff-image runs");
    assert_eq!((status.code(), stdout.as_slice()), (Some(3), b"".as_slice()));
    let mut error: Value = serde_json::from_slice(&stderr).expect("the error is on stderr too");
    error["event"] = json!("error");
    let told = events(&fs::read_to_string(&path).expect("events"));
    assert_eq!(told.last(), Some(&error));
    let mut fields: Vec<&String> = error.as_object().expect("an object").keys().collect();
    fields.sort();
    assert_eq!(fields, ["causes", "code", "error", "event", "exit_code", "hint"]);
}

#[test]
fn stalls_and_warnings_are_events() {
    let directory = temporary();
    let path = directory.path().join("events");
    let report = Report::new(true, true).with_events(Some(Events::create(&path).expect("a stream")));
    let progress = report.progress_of("/dev/sdz");
    progress.event(Event::Stall { verb: Verb::Write, offset: 4096, len: 512, seconds: 10 });
    report.warn("the card is old");
    report.for_medium("/dev/sdy").warn("the card is slow");
    let expected = [
        json!({"event": "stall", "device": "/dev/sdz", "verb": "write", "offset": 4096, "len": 512, "waited": 10}),
        json!({"event": "warning", "text": "the card is old"}),
        json!({"event": "warning", "device": "/dev/sdy", "text": "the card is slow"}),
    ];
    assert_eq!(events(&fs::read_to_string(&path).expect("events")), expected);
}

#[test]
fn events_that_cannot_be_written_are_told_and_the_medium_is_written() {
    let directory = temporary();
    let medium = "memory,size=64MiB";
    let output =
        flash(&["--quiet", "--events", "/dev/full"], medium, directory.path()).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = "warning: the events are incomplete: cannot write `/dev/full`: No space left on device (os error 28)\n";
    assert!(output.status.success() && said == expected, "{said}");
    let nowhere = directory.path().join("nowhere/events");
    let path = nowhere.to_str().expect("text");
    let output = flash(&["--quiet", "--events", path], medium, directory.path()).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = format!("error: cannot write `{path}`: No such file or directory");
    assert!(output.status.code() == Some(1) && said.starts_with(&expected), "{said}");
}

#[test]
fn events_are_not_written_to_a_device() {
    let test = "events_are_not_written_to_a_device";
    let Some(device) = LoopDevice::new(test, MIB, &[]) else { return };
    let (directory, path) = (temporary(), device.path.to_str().expect("text"));
    let output = flash(&["--events", path], "memory,size=64MiB", directory.path()).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = format!(
        "refused: `{path}` is a device, and events are not written to one\nhint: give a file, or `-` for standard \
         output\n"
    );
    assert!(output.status.code() == Some(4) && said == expected, "{said}");
    assert!(fs::read(device.file.path()).expect("reads").iter().all(|byte| *byte == 0));
}

#[test]
fn lines_have_the_name_of_their_medium_and_quiet_has_none() {
    let directory = temporary();
    let medium = "memory,size=64MiB";
    let output = flash(&[], medium, directory.path()).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("memory: wipe the old partition table\nmemory: check the capacity: "), "{said}");
    // What the last writes could have harmed is read once more.
    assert!(
        said.ends_with("memory: sync\nmemory: read back: 512 bytes\nmemory: read back: 2 MiB\n"),
        "{said}"
    );
    let output = flash(&["--quiet"], medium, directory.path()).output().expect("runs");
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn a_terminal_has_bars_and_nothing_of_them_is_left() {
    if !oracle("a_terminal_has_bars_and_nothing_of_them_is_left", "script") {
        return;
    }
    let directory = temporary();
    let flash = flash(&[], "faulty:slow,size=64MiB", directory.path());
    let words = std::iter::once(flash.get_program()).chain(flash.get_args());
    let line: Vec<&str> = words.map(|word| word.to_str().expect("text")).collect();
    let seen = run(command("script").env("TERM", "xterm").args(["-qec", &line.join(" "), "/dev/null"]));
    assert!(seen.contains("memory: write [") && seen.contains("/8.00 MiB"), "{seen}");
    // The last thing is the result, behind a line that was cleared.
    let (_, result) = seen.rsplit_once("\u{1b}[2K").expect("lines are cleared");
    assert!(result.contains("memory: 8 MiB written, read back from the medium and right"), "{seen}");
    assert!(!result.contains('['), "{seen}");
}

/// A command as a line of a shell; no word of it needs quotes.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_str().expect("text")).collect::<Vec<_>>().join(" ")
}

/// The screen of a terminal of 50 lines after a command.
fn screen(line: &str) -> String {
    let line = format!("stty rows 50 cols 160; {line}");
    let script = command("script").env("TERM", "xterm").args(["-qc", &line, "/dev/null"]).output();
    let stdout = script.expect("script runs").stdout;
    let [rows, columns] = [50, 160].map(|size| NonZero::new(size).expect("more than none"));
    let mut terminal = vt100::Parser::new(rows, columns, 0);
    terminal.process(&stdout);
    terminal.screen().contents()
}

#[test]
fn bars_leave_no_line_behind() {
    if !oracle("bars_leave_no_line_behind", "script") {
        return;
    }
    let directory = temporary();
    let seen = screen(&line(&flash(&[], "faulty:slow,size=64MiB", directory.path())));
    assert!(seen.starts_with("memory: 8 MiB written, read back from the medium and right\n"), "{seen}");
    let failed = flash(&["--retries", "0"], "faulty:stuck,at=5000000,size=64MiB", directory.path());
    let seen = screen(&line(&failed));
    assert!(seen.starts_with("error: "), "a run that fails leaves no bar either: {seen}");
}

#[test]
fn bars_of_several_media_leave_no_line_behind() {
    let test = "bars_of_several_media_leave_no_line_behind";
    if !oracle(test, "script") {
        return;
    }
    let (Some(first), Some(second)) =
        (LoopDevice::new(test, 2 * LEN, &[]), LoopDevice::new(test, 2 * LEN, &[]))
    else {
        return;
    };
    let directory = temporary();
    let mut flash = skiff_image();
    flash.args(["flash", "--yes", "--image"]).arg(image(directory.path())).args([&first.path, &second.path]);
    let seen = screen(&line(&flash));
    let right = |device: &LoopDevice| {
        format!("{}: 8 MiB written, read back from the medium and right", device.name())
    };
    assert!([&first, &second].into_iter().all(|device| seen.contains(&right(device))), "{seen}");
    let bars: Vec<&str> = seen.lines().filter(|line| line.contains("B/") && !line.contains("/s")).collect();
    assert!(bars.is_empty(), "{bars:?} in\n{seen}");
}

#[test]
fn a_wrong_answer_is_told_what_to_type() {
    let test = "a_wrong_answer_is_told_what_to_type";
    if !oracle(test, "script") {
        return;
    }
    let Some(device) = LoopDevice::new(test, 2 * LEN, &[]) else { return };
    let directory = temporary();
    let mut flash = skiff_image();
    flash.args(["flash", "--image"]).arg(image(directory.path())).arg(&device.path);
    let mut script = command("script");
    script.args(["-qec", &line(&flash), "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = script.spawn().expect("script runs");
    let mut input = script.stdin.take().expect("a pipe");
    input.write_all(b"loop\n").expect("it reads");
    let output = script.wait_with_output().expect("it ends");
    let (said, name) = (String::from_utf8_lossy(&output.stdout), device.name().trim_start_matches("/dev/"));
    let expected = format!("hint: run it again and type `{name}`, as the question has it");
    assert!(said.contains(&expected) && output.status.code() == Some(4), "{said}");
}

/// What was right before is done as well as what is written.
#[test]
fn progress_reaches_all_of_an_image_of_which_nothing_has_changed() {
    let directory = temporary();
    let path = directory.path().join("zeros.img");
    let mut bytes = vec![0; LEN as usize];
    bytes[446 + 4] = 0x83;
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(&path, bytes).expect("an image");
    for option in [&[][..], &["--only-changed"]] {
        let mut flash = skiff_image();
        flash.args([
            "--quiet",
            "flash",
            "--simulate",
            "memory,size=64MiB",
            "--events",
            "-",
            "--no-grow",
            "--image",
        ]);
        let told = events(&run(flash.arg(&path).args(option)));
        let written = told.iter().rfind(|event| event["event"] == "progress" && event["phase"] == "write");
        let written = written.expect("a phase of writing");
        assert_eq!(written["bytes"], written["total"], "{option:?}: {told:#?}");
    }
}

/// Only a reader that has seen enough is no failure.
#[test]
fn results_that_cannot_be_written_are_errors() {
    let full = || fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let expected = "error: cannot write to standard output: No space left on device (os error 28)\n\
                    hint: what was asked for was done; the result was to go to standard output\n";
    let directory = temporary();
    let verbs: [&[&str]; 6] = [
        &["boards", "list"],
        &["boards", "show", "pi/4"],
        &["boards", "schema"],
        &["--help"],
        &["--version"],
        &["status"],
    ];
    for verb in verbs {
        let mut command = skiff_image();
        let output = command.args(verb).current_dir(directory.path()).stdout(full()).output().expect("runs");
        assert_eq!(
            (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
            (Some(1), expected),
            "{verb:?}"
        );
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = skiff_image();
        let output = command.args(verb).current_dir(directory.path()).stdout(writer).output().expect("runs");
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()), "{verb:?}");
    }
    let mut events = flash(&["--quiet", "--events", "-"], "memory,size=64MiB", directory.path());
    let output = events.stdout(full()).output().expect("runs");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(1), expected));
}

#[test]
fn the_summary_has_bytes_phases_and_what_took_longest() {
    let memory = Memory::new(8 * MIB);
    let meter = Meter::new(&memory, &Silent);
    let source = |target: &dyn Target| -> skiff_image::Result<Vec<TableBytes>> {
        target.write_at(&vec![1; MIB as usize], 2 * MIB)?;
        target.zero(4 * MIB, MIB)?;
        Ok(Vec::new())
    };
    let options = FlashOptions::default();
    Commit { target: &meter, used: false, regions: &[], listener: &meter, options }
        .run(&source)
        .expect("is written");
    let summary = meter.finish();
    assert_eq!((summary.written, summary.zeroed, summary.verified), (MIB, MIB, 2 * MIB));
    assert_eq!((summary.discarded, summary.retries), (0, 0));
    let bytes = |phase| summary.phases.iter().find(|spent| spent.phase == phase).map(|spent| spent.bytes);
    assert_eq!((bytes(Phase::Write), bytes(Phase::ReadBack)), (Some(2 * MIB), Some(2 * MIB)));
    assert!(!summary.slowest.is_empty() && summary.slowest.len() <= 5);
    assert!(summary.slowest.is_sorted_by(|first, second| first.time >= second.time));
}

#[test]
fn the_summary_is_read_by_people_and_programs() {
    let spent = Spent { phase: Phase::Write, bytes: 30 * MIB, time: Duration::from_millis(1500) };
    assert_eq!(spent.to_string(), "write: 30 MiB in 1.5 s, 20.0 MiB/s");
    assert_eq!(
        serde_json::to_value(&spent).expect("JSON"),
        json!({"phase": "write", "bytes": 30 * MIB, "seconds": 1.5})
    );
    let slow = Operation { verb: Verb::Write, offset: 4096, len: MIB, time: Duration::from_millis(2500) };
    assert_eq!(slow.to_string(), "write of 1 MiB at byte 4096: 2.5 s");
    let expected = json!({"verb": "write", "offset": 4096, "len": MIB, "seconds": 2.5});
    assert_eq!(serde_json::to_value(&slow).expect("JSON"), expected);
    let sync = Operation { verb: Verb::Sync, offset: 0, len: 0, ..slow };
    assert_eq!(sync.to_string(), "sync: 2.5 s");
    let directory = temporary();
    let told = run(&mut flash(&["--quiet"], "memory,size=64MiB", directory.path()));
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "memory: 8 MiB written, read back from the medium and right");
    assert!(lines[1].starts_with("  check the capacity: "), "{told}");
    assert!(lines[2].starts_with("  write: "), "{told}");
    assert!(lines.last().expect("lines").starts_with("  slowest: "), "{told}");
}

#[test]
fn a_record_is_kept_of_a_medium_when_asked_for() {
    let test = "a_record_is_kept_of_a_medium_when_asked_for";
    let Some(device) = LoopDevice::new(test, 2 * LEN, &[]) else { return };
    let directory = temporary();
    let state = directory.path().join("state");
    let flash = |options: &[&str]| {
        let mut command = skiff_image();
        command.env("XDG_STATE_HOME", &state).args(["--quiet", "flash", "--yes", "--image"]);
        command.arg(image(directory.path())).arg(&device.path).args(options);
        command
    };
    run(&mut flash(&[]));
    let health = state.join("skiff-image/health");
    assert!(!health.exists(), "nobody asked for one");
    run(&mut flash(&["--health"]));
    run(&mut flash(&["--health", "--only-changed"]));
    let files: Vec<PathBuf> =
        fs::read_dir(&health).expect("a directory").map(|f| f.expect("a file").path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let text = fs::read_to_string(file).expect("a record");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    for line in &lines {
        assert_eq!(
            (&line["health"], &line["right"], &line["medium"]["len"]),
            (&json!(1), &json!(true), &json!(2 * LEN))
        );
        assert_eq!(line["summary"]["retries"], 0);
    }
    assert!(lines[0]["summary"]["written"].as_u64() > lines[1]["summary"]["written"].as_u64(), "{text}");
}
