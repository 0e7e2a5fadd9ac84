//! `kill -9` in the middle of a real flash: the medium is then the old system, the new one, or recognisably
//! unfinished, and the next run finishes.
//!
//! The medium itself kills the program, in an operation that a seed chose, so that every phase is met on machines
//! of any speed.

#[path = "harness/mod.rs"]
mod harness;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use crate::harness::disk::oracles;
use crate::harness::fuse;
use crate::harness::fuse::killer::{Killer, Seen};
use crate::harness::fuse::{BlockDevice, CARD};
use crate::harness::skip::skip;
use crate::harness::tools::command;
use crate::harness::tools::{run, skiff_image, temporary};
use skiff_image::storage::Target;

const SIZE: u64 = 8 << 20;
const KILLS: usize = 200;
const SEED: u64 = 5;
/// Devices that are flashed at once.
const DEVICES: usize = 2;

/// Numbers that look random (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Bytes that look like nothing, others for each `key`.
fn noise(key: u8) -> Vec<u8> {
    let mut bytes = vec![0; SIZE as usize];
    blake3::Hasher::new_keyed(&[key; 32]).finalize_xof().fill(&mut bytes);
    bytes
}

/// An image without a hole, with a GPT that `sfdisk` made, so that both ends matter.
fn image(path: &Path, key: u8) -> Vec<u8> {
    std::fs::write(path, noise(key)).expect("an image");
    let mut sfdisk = command("sfdisk")
        .args(["--quiet", "--wipe", "never", "--label", "gpt"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sfdisk runs");
    sfdisk.stdin.take().expect("a pipe").write_all(b"start=2048\n").expect("sfdisk listens");
    assert!(sfdisk.wait().expect("sfdisk ends").success());
    std::fs::read(path).expect("an image")
}

/// What is on a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Old,
    New,
    Unfinished,
}

/// A device with an old system, and the image of a new one.
struct Bench {
    medium: Arc<Killer>,
    device: BlockDevice,
    image: PathBuf,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Bench {
    fn new(directory: &Path, key: u8) -> Bench {
        let path = |name: &str| directory.join(format!("{name}{key}.img"));
        let (old, new) = (image(&path("old"), key), image(&path("new"), key + 100));
        let medium = Arc::new(Killer::new(SIZE));
        let device = BlockDevice::new(medium.clone(), CARD);
        Bench { medium, device, image: path("new"), old, new }
    }

    /// Journals of one device are apart from those of others.
    fn flash(&self, resume: bool) -> Command {
        let mut command = skiff_image();
        command
            .env("XDG_STATE_HOME", self.image.with_extension("state"))
            .args(["--quiet", "flash", "--yes", "--no-grow", "--image"])
            .args([&self.image, &self.device.path])
            .args(resume.then_some("--resume"));
        command
    }

    /// Puts the old system back, and forgets what is cached of the device.
    fn restore(&self) {
        self.medium.medium.write_at(&self.old, 0).expect("memory can be written");
        self.forget();
    }

    fn forget(&self) {
        run(command("blockdev").arg("--flushbufs").arg(&self.device.path));
    }

    /// Flashes until operation `at`; how it ended, and what the medium did until then.
    fn flash_until(&self, at: Option<u64>, resume: bool) -> (End, Vec<Seen>) {
        self.medium.arm(at);
        let child = self.flash(resume).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.expect("skiff-image runs");
        self.medium.aim(child.id());
        let Output { status, stderr, .. } = child.wait_with_output().expect("it ends");
        let operations = self.medium.disarm();
        self.forget();
        let said = String::from_utf8_lossy(&stderr);
        let end = match () {
            () if status.signal() == Some(9) => End::Killed,
            () if status.success() => End::Finished,
            // It was killed before it had begun, or when it was about to end.
            () if resume && NOTHING_TO_RESUME.iter().any(|text| said.contains(text)) => End::Refused,
            () => panic!("{status}: {said}"),
        };
        (end, operations)
    }

    /// Flashes to the end; what the medium did.
    fn finish(&self) -> Vec<Seen> {
        let (end, operations) = self.flash_until(None, false);
        assert!(end == End::Finished && self.state() == State::New);
        operations
    }

    /// Goes on with the run that was killed, or begins again where there is nothing to go on with; says which.
    fn resume(&self) -> bool {
        let before = self.state();
        match self.flash_until(None, true).0 {
            End::Finished => assert_eq!(self.state(), State::New),
            _ => {
                assert_eq!(self.state(), before, "a refusal leaves the medium as it was");
                self.finish();
                return false;
            }
        }
        true
    }

    /// Fails if the medium looks whole and is not.
    fn state(&self) -> State {
        let bytes = self.medium.medium.to_vec();
        if bytes == self.old {
            return State::Old;
        }
        if bytes == self.new {
            return State::New;
        }
        assert!(bytes[510..512] != [0x55, 0xaa], "sector 0 looks bootable");
        let sfdisk = command("sfdisk").arg("--dump").arg(&self.device.path).output().expect("sfdisk runs");
        let said = String::from_utf8_lossy(&sfdisk.stderr);
        assert!(!sfdisk.status.success(), "{}", String::from_utf8_lossy(&sfdisk.stdout));
        assert!(said.contains("does not contain a recognized partition table"), "{said}");
        State::Unfinished
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    Finished,
    Refused,
}

/// What a run says that was to go on with nothing.
const NOTHING_TO_RESUME: [&str; 3] = [
    "no unfinished run on this medium is known",
    "does not say that it is unfinished",
    "this is not a journal of a run",
];

/// How many were killed in which phase, what the medium was then, and whether the run was resumed to its end.
type Tally = BTreeMap<(Seen, State, Option<bool>), usize>;

/// Phases that a run is killed in.
const PHASES: [Seen; 5] = [Seen::Untouched, Seen::Ends, Seen::Body, Seen::ReadBack, Seen::Table];

/// An operation of a run: of each phase as often as of any other, however many it has.
fn choose(numbers: &mut Numbers, run: &[Seen]) -> u64 {
    let phase = PHASES[numbers.below(PHASES.len() as u64) as usize];
    let of_phase: Vec<usize> = (0..run.len()).filter(|at| run[*at] == phase).collect();
    match of_phase.len() as u64 {
        0 => numbers.below(run.len() as u64),
        len => of_phase[numbers.below(len) as usize] as u64,
    }
}

/// Kills `kills` runs. What goes on after a kill is killed too, half of the times.
fn kill_many(bench: &Bench, kills: usize, seed: u64) -> Tally {
    let (mut numbers, mut tally) = (Numbers(seed), Tally::new());
    bench.restore();
    let whole = bench.finish();
    let mut done = 0;
    while done < kills {
        bench.restore();
        loop {
            let resume = numbers.below(2) == 0;
            let (end, operations) = bench.flash_until(Some(choose(&mut numbers, &whole)), resume);
            let state = bench.state();
            match end {
                End::Killed => done += 1,
                End::Refused => continue,
                End::Finished => {
                    assert_eq!(state, State::New);
                    break;
                }
            }
            let seen = operations.last().copied().unwrap_or_default();
            let last = numbers.below(2) == 0;
            let resumed = last.then(|| bench.resume());
            *tally.entry((seen, state, resumed)).or_default() += 1;
            if last {
                break;
            }
        }
    }
    tally
}

#[test]
fn a_killed_flash_leaves_no_half_system_and_the_next_one_finishes() {
    let test = "a_killed_flash_leaves_no_half_system_and_the_next_one_finishes";
    if let Some(obstacle) = fuse::obstacle() {
        return skip(test, obstacle);
    }
    if !oracles(test, &["losetup", "sfdisk", "umount", "blockdev"]) {
        return;
    }
    let directory = temporary();
    let all = std::thread::scope(|scope| {
        let one = |index: usize| {
            let directory = directory.path();
            scope.spawn(move || {
                let bench = Bench::new(directory, index as u8);
                kill_many(&bench, KILLS / DEVICES, SEED + index as u64)
            })
        };
        let threads: Vec<_> = (0..DEVICES).map(one).collect();
        let tallies = threads.into_iter().map(|thread| thread.join().expect("no run leaves half a system"));
        tallies.fold(Tally::new(), |mut all, tally| {
            tally.into_iter().for_each(|(key, count)| *all.entry(key).or_default() += count);
            all
        })
    });
    for ((seen, state, resumed), count) in &all {
        let then = match resumed {
            Some(true) => "and the run was resumed",
            Some(false) => "and the run began again",
            None => "and the next one was killed too",
        };
        println!("killed in phase {seen:?}, the medium was {state:?}, {then}: {count} times");
    }
    assert!(all.keys().any(|(seen, _, resumed)| *seen == Seen::Body && *resumed == Some(true)));
    println!("{} runs were killed; failures: 0", all.values().sum::<usize>());
    // A phase that was not met was not tried.
    for phase in PHASES {
        assert!(all.keys().any(|(seen, ..)| *seen == phase), "no run was killed in {phase:?}");
    }
}
