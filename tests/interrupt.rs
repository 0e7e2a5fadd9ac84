//! Ctrl-C, SIGTERM and SIGKILL at any moment: an image is the old one, the new one or not there, and nothing else is
//! left; a medium is recognisably unfinished.

#[path = "harness/mod.rs"]
mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use crate::harness::loopdev::LoopDevice;
use crate::harness::project;
use crate::harness::project::{NAMES, Project, succeed};
use rustix::process::{Pid, Signal, kill_process};
use skiff_image::error::ErrorKind;
use skiff_image::event::{Event, Phase};
use skiff_image::flash::{Commit, FlashOptions};
use skiff_image::interrupt::Interrupt;
use skiff_image::storage::{Memory, Target};
use skiff_image::table;
use skiff_image::table::TableBytes;

const MIB: u64 = 1 << 20;
/// Moments of a run at which it is stopped, for each signal.
const MOMENTS: u32 = 4;

/// Writes four megabytes and a table, with an interruption when the `nth` megabyte was written or read back.
fn flash(memory: &Memory, nth: u64, in_phase: Phase) -> Result<(), skiff_image::Error> {
    let (interrupt, phase, advanced) =
        (Interrupt::default(), std::sync::Mutex::default(), Default::default());
    let advanced: &std::sync::Mutex<u64> = &advanced;
    let listener = |event: Event| match event {
        Event::Phase { phase: begun, .. } => *phase.lock().expect("no panic") = Some(begun),
        Event::Advance { bytes } if *phase.lock().expect("no panic") == Some(in_phase) => {
            *advanced.lock().expect("no panic") += bytes;
            if *advanced.lock().expect("no panic") >= nth * MIB {
                interrupt.raise();
            }
        }
        _ => {}
    };
    let source = |target: &dyn Target| -> skiff_image::Result<Vec<TableBytes>> {
        (2..6).try_for_each(|index| target.write_at(&vec![index as u8; MIB as usize], index * MIB))?;
        Ok(table::mbr::encode(7, &[], target.geometry())?)
    };
    let options = FlashOptions { interrupt: Some(&interrupt), ..FlashOptions::default() };
    Commit { target: memory, used: true, regions: &[], listener: &listener, options }.run(&source).map(drop)
}

/// A medium with a table.
fn used_medium() -> Memory {
    let memory = Memory::new(8 * MIB);
    for piece in table::mbr::encode(5, &[], memory.geometry()).expect("encodes") {
        memory.write_at(&piece.bytes, piece.offset).expect("inside");
    }
    memory
}

#[test]
fn an_interrupted_medium_is_unfinished_and_says_so() {
    for (nth, phase) in [(1, Phase::Write), (3, Phase::Write), (4, Phase::Write), (1, Phase::ReadBack)] {
        let memory = used_medium();
        assert!(table::read(&memory).expect("reads").is_some());
        let error = flash(&memory, nth, phase).expect_err("interrupted");
        assert_eq!(
            error.to_string(),
            "writing `memory` was interrupted; it was left without a partition table, so that nothing boots from it"
        );
        assert_eq!(error.hint().as_deref(), Some("run the same command again"));
        assert_eq!((error.kind(), error.code()), (ErrorKind::Interrupted, Some("interrupted")));
        assert_eq!(table::read(&memory).expect("reads"), None);
    }
}

#[test]
fn what_is_nearly_complete_is_completed() {
    let memory = used_medium();
    flash(&memory, 0, Phase::Commit).expect("it is complete in a moment");
    assert!(table::read(&memory).expect("reads").is_some());
}

/// Stops a program after a while, unless it ends before.
fn stop(command: &mut Command, after: Duration, signal: Signal) -> Output {
    let mut child: Child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    std::thread::sleep(after);
    if child.try_wait().expect("it can be waited for").is_none() {
        kill_process(Pid::from_child(&child), signal).expect("it can be stopped");
    }
    child.wait_with_output().expect("it ends")
}

/// Each signal at moments that are spread over a run of that duration.
fn moments(duration: Duration) -> impl Iterator<Item = (Signal, Duration)> {
    let signals = [Signal::INT, Signal::TERM, Signal::KILL];
    let at = move |number| duration * number / MOMENTS;
    signals.into_iter().flat_map(move |signal| (0..=MOMENTS).map(move |number| (signal, at(number))))
}

type Files = BTreeMap<String, Vec<u8>>;

/// The files in `out`, hidden ones too.
fn files(project: &Project) -> Files {
    let entries = fs::read_dir(project.path("out")).expect("lists").map(|entry| entry.expect("lists"));
    entries
        .map(|entry| (entry.file_name().into_string().expect("text"), fs::read(entry.path()).expect("reads")))
        .collect()
}

fn replace(project: &Project, with: &Files) {
    fs::remove_dir_all(project.path("out")).expect("removes");
    fs::create_dir(project.path("out")).expect("creates");
    with.iter().for_each(|(name, bytes)| fs::write(project.path("out").join(name), bytes).expect("writes"));
}

/// Fails unless there is an image with nothing but what belongs to it, or no image at all.
fn expect_whole(found: &Files, systems: &[&Files], what: &str) {
    let Some(image) = found.get(NAMES[0]) else {
        // The image gets its name before what belongs to it.
        assert!(found.is_empty(), "{what}: {:?}", found.keys());
        return;
    };
    let system = systems.iter().find(|system| system[NAMES[0]] == *image);
    let system = system.unwrap_or_else(|| panic!("{what}: an image that nobody made"));
    // A file that replaces another has a hidden name for a moment, once all of it is there; the next run takes that away.
    let hidden =
        |name: &str| name.strip_prefix('.').and_then(|name| name.strip_suffix(".part")).map(str::to_owned);
    for (name, bytes) in found {
        if let Some(name) = hidden(name) {
            let whole = systems.iter().any(|system| system.get(&name) == Some(bytes));
            assert!(whole, "{what}: a part of `{name}` is left behind");
            continue;
        }
        let expected = system.get(name).unwrap_or_else(|| panic!("{what}: `{name}` is left behind"));
        assert!(expected == bytes, "{what}: `{name}` belongs to another image");
    }
}

#[test]
fn assemble_leaves_an_old_image_or_a_new_one_or_none_and_nothing_else() {
    let project = Project::new();
    let assemble = || {
        let mut command = project.assemble(&["--quiet"]);
        command.env("SOURCE_DATE_EPOCH", "1700000001");
        command
    };
    succeed(&mut project.assemble(&["--quiet"]));
    let old = files(&project);
    let begun = Instant::now();
    succeed(&mut assemble());
    let (duration, new) = (begun.elapsed(), files(&project));
    assert!(old.len() == 3 && new.len() == 3 && old[NAMES[0]] != new[NAMES[0]]);

    let (mut stopped, nothing) = (0, Files::new());
    for before in [&nothing, &old] {
        for (signal, after) in moments(duration) {
            replace(&project, before);
            let ended = stop(&mut assemble(), after, signal);
            stopped += usize::from(!ended.status.success());
            expect_whole(&files(&project), &[&old, &new], &format!("{signal:?} after {after:?}"));
        }
    }
    _ = writeln!(std::io::stderr(), "assemble: {stopped} of {} runs were stopped", 6 * (MOMENTS + 1));
    assert!(stopped > 5, "{stopped}");
}

/// Stops a program when it tells that a phase begins; gives its end and all that it told.
fn stop_in(command: &mut Command, phase: &str, signal: Signal) -> (ExitStatus, String) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut told = String::new();
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe"));
    while lines.read_line(&mut told).expect("reads") > 0 {
        if told.lines().last().is_some_and(|line| line.contains(&format!(": {phase}: "))) {
            kill_process(Pid::from_child(&child), signal).expect("it can be stopped");
            break;
        }
    }
    lines.read_to_string(&mut told).expect("reads");
    (child.wait().expect("it ends"), told)
}

#[test]
fn flash_ends_with_an_error_and_a_medium_without_a_table() {
    let test = "flash_ends_with_an_error_and_a_medium_without_a_table";
    const LEN: u64 = 96 << 20;
    let Some(device) = LoopDevice::new(test, LEN, &[]) else { return };
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let image = directory.path().join("disk.img");
    let noise = |at: u64| (at as u32).wrapping_mul(2_654_435_761).to_le_bytes();
    let mut bytes: Vec<u8> = (0..LEN / 4).flat_map(noise).collect();
    bytes[..512].fill(0);
    bytes[440] = 9;
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(&image, &bytes).expect("writes");
    let flash = || {
        let mut command = Command::new(project::PROGRAM);
        command.args(["flash", "--yes", "--image"]).arg(&image).arg(&device.path);
        command
    };
    let sector_0 = || {
        let mut sector = [0; 512];
        device.backing().read_exact_at(&mut sector, 0).expect("reads");
        sector
    };
    for signal in [Signal::INT, Signal::TERM] {
        succeed(&mut flash());
        assert_eq!(sector_0()[..], bytes[..512]);
        let (status, told) = stop_in(&mut flash(), "write", signal);
        assert_eq!(status.code(), Some(128 + signal.as_raw()), "{told}");
        let expected = format!(
            "error: writing `{}` was interrupted; it was left without a partition table, so that nothing boots from it\n\
             hint: run the same command again; `flash --resume` goes on where it stopped\n",
            device.path.display()
        );
        assert!(told.ends_with(&expected), "{told}");
        assert_ne!(sector_0()[510..], [0x55, 0xaa]);
    }
    let (status, told) = stop_in(&mut flash(), "write", Signal::KILL);
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{told}");
    assert_ne!(sector_0()[510..], [0x55, 0xaa]);
    succeed(&mut flash());
}
