//! What programs say of media that lie: `cargo bench --bench flash -- faults`.
//!
//! Every program writes the same image to the same medium, which has a fault at the same place; what the medium
//! gives back afterwards is compared with the image.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use skiff_image::storage::{Simulation, Target};

use crate::common::run::Variables;
use crate::common::table::Table;
use crate::common::{command, succeed};
use crate::fuse::{BlockDevice, CARD, Options};

/// Length of image and medium in MiB.
pub const SIZE_MIB: u64 = 64;
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a medium that hangs does so, in seconds.
const STALL: u64 = 30;

/// Media, and what is wrong with them.
const MEDIA: [(&str, &str); 19] = [
    ("memory", "nothing"),
    ("faulty:wrap,real=32MiB", "half of its size is real; the rest wraps around"),
    ("faulty:short,real=32MiB", "half of its size is real; the rest forgets and reads zeros"),
    ("faulty:flip,at=20MiB", "a bit is always wrong"),
    ("faulty:flip,at=20MiB,times=1", "a bit is wrong once"),
    ("faulty:flip,at=0", "a bit of sector 0 is always wrong"),
    ("faulty:drop,at=20MiB", "writes to a place are acknowledged and never done"),
    ("faulty:drop,at=20MiB,times=1", "one write is acknowledged and not done"),
    ("faulty:drop,at=0", "writes of sector 0 are acknowledged and never done"),
    ("faulty:torn,at=20MiB", "writes to a place are done in part"),
    ("faulty:misplace,at=20MiB", "writes to a place go elsewhere"),
    ("faulty:stuck,at=20MiB,with=170", "a place has the same byte everywhere"),
    ("faulty:unstable,at=20MiB", "a place reads differently each time"),
    ("faulty:eio-read,at=20MiB", "a place cannot be read"),
    ("faulty:eio-write,at=20MiB", "a place cannot be written"),
    ("faulty:eio-write,at=20MiB,times=1", "a write fails once"),
    ("faulty:stall,at=20MiB,times=1", "hangs for 30 s"),
    ("faulty:vanish,at=20MiB", "is gone after 20 MiB"),
    ("faulty:full,at=20MiB", "has no space left after 20 MiB"),
];

/// A program that writes an image: its name, what must be there, and POSIX shell.
const PROGRAMS: [[&str; 3]; 6] = [
    ["skiff-image", "sh", "\"$SKIFF\" --quiet flash --yes --image \"$IMAGE\" \"$DEVICE\""],
    // The kernel forgets what it has cached when the last program closes a device; often another one has it open.
    [
        "dd, cmp, kept open",
        "cmp",
        "exec 3<\"$DEVICE\"\ndd if=\"$IMAGE\" of=\"$DEVICE\" bs=4M conv=fsync status=none\n\
         cmp \"$IMAGE\" \"$DEVICE\"",
    ],
    [
        "dd direct, cmp",
        "cmp",
        "dd if=\"$IMAGE\" of=\"$DEVICE\" bs=4M oflag=direct conv=fsync status=none\n\
         blockdev --flushbufs \"$DEVICE\"\ncmp \"$IMAGE\" \"$DEVICE\"",
    ],
    ["bmaptool", "bmaptool", "bmaptool --quiet copy --bmap \"$BMAP\" \"$IMAGE\" \"$DEVICE\""],
    // It insists on udev, which has nothing to do here.
    [
        "coreos-installer",
        "coreos-installer",
        "unshare --mount sh -euc '\n\
         mkdir -p /run/udev\nmount -t tmpfs none /run/udev\ntouch /run/udev/control\n\
         coreos-installer install --offline --insecure --image-file \"$IMAGE\" \"$DEVICE\"'",
    ],
    // It ends with 0 in any case; what it says tells.
    [
        "caligula",
        "caligula",
        "caligula burn -f -z none -s skip --interactive never --root never -o \"$DEVICE\" \"$IMAGE\" |\n\
         grep --quiet '^Done!'",
    ],
];

/// How a run ended.
#[derive(Clone, Copy)]
enum Verdict {
    /// The program failed, as it should.
    Noticed,
    /// It was content, and the medium gives back the image.
    Right,
    /// It was content, and the medium does not.
    Wrong,
    /// It waited for longer than [`PATIENCE`].
    Hangs,
    /// It failed on a sound medium.
    Fails,
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Verdict::Noticed => "noticed",
            Verdict::Right => "right",
            Verdict::Wrong => "**success, wrong bytes**",
            Verdict::Hangs => "waits, silent",
            Verdict::Fails => "fails",
        }
    }
}

/// Image, block map and the program.
pub struct Bench<'a> {
    pub skiff: &'a Path,
    pub image: &'a Path,
    pub bmap: &'a Path,
}

impl Bench<'_> {
    /// Every program on every medium, as Markdown. Programs that this machine lacks are told and left out.
    pub fn table(&self) -> String {
        let bytes = std::fs::read(self.image).expect("the image");
        let programs: Vec<_> =
            PROGRAMS.into_iter().filter(|[name, program, _]| is_here(name, program)).collect();
        let headings: Vec<&str> =
            ["medium", "fault"].into_iter().chain(programs.iter().map(|[name, ..]| *name)).collect();
        let mut table = Table::new(&headings);
        for (simulation, fault) in MEDIA {
            let verdict = |[name, _, script]: &[&str; 3]| {
                let verdict = self.verdict(simulation, script, &bytes);
                eprintln!("{simulation}: {name}: {}", verdict.text());
                verdict.text().to_owned()
            };
            let medium = simulation.strip_prefix("faulty:").unwrap_or("sound").to_owned();
            table.row([medium, fault.to_owned()].into_iter().chain(programs.iter().map(verdict)));
        }
        let commands: String =
            programs.iter().map(|[name, _, script]| format!("# {name}\n{script}\n")).collect();
        format!("{table}\n<details><summary>Commands</summary>\n\n```sh\n{commands}```\n\n</details>\n")
    }

    fn verdict(&self, simulation: &str, script: &str, bytes: &[u8]) -> Verdict {
        let stall = if simulation.contains(":stall") { format!(",for={STALL}") } else { String::new() };
        let text = format!("{simulation},size={SIZE_MIB}MiB{stall}");
        let medium: Arc<dyn Target> =
            text.parse::<Simulation>().expect("a simulation").open().expect("a medium").into();
        let device = BlockDevice::new(medium.clone(), Options { partitions: true, ..CARD });
        let variables = Variables::from([
            ("SKIFF", self.skiff.into()),
            ("IMAGE", self.image.into()),
            ("BMAP", self.bmap.into()),
            ("DEVICE", device.path.clone()),
        ]);
        let ended = run(command("sh").args(["-euc", script]).envs(&variables));
        drop(device);
        let mut found = vec![0; bytes.len()];
        let mut right = || medium.read_back(&mut found, 0).is_ok() && found == bytes;
        match ended {
            None => Verdict::Hangs,
            Some(true) if right() => Verdict::Right,
            Some(true) => Verdict::Wrong,
            Some(false) if simulation == "memory" => Verdict::Fails,
            Some(false) => Verdict::Noticed,
        }
    }
}

/// Whether it succeeded; none if it took too long, and was killed.
fn run(command: &mut Command) -> Option<bool> {
    let log = tempfile::tempfile().expect("a file for what it says");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("sh runs");
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return Some(status.success());
        }
        if start.elapsed() > PATIENCE {
            let group = Pid::from_child(&child);
            kill_process_group(group, Signal::KILL).expect("a child and what it started");
            child.wait().expect("a child");
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_here(name: &str, program: &str) -> bool {
    let asked = command("sh").args(["-c", "command -v \"$0\"", program]).output();
    let here = asked.is_ok_and(|output| output.status.success());
    if !here {
        eprintln!("without {name}: `{program}` is missing");
    }
    here
}

/// An image without a hole, with a table that `sfdisk` made, and its block map.
pub fn make_image(image: &Path, bmap: &Path) {
    let mut bytes = vec![0; (SIZE_MIB << 20) as usize];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    std::fs::write(image, bytes).expect("an image");
    let table = image.with_extension("table");
    std::fs::write(&table, "label: gpt\nstart=2048\n").expect("a table");
    let input = Stdio::from(std::fs::File::open(&table).expect("a table"));
    succeed(command("sfdisk").args(["--quiet", "--wipe=never"]).arg(image).stdin(input));
    succeed(command("bmaptool").arg("create").arg("-o").arg(bmap).arg(image));
}
