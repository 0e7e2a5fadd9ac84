//! Programs that are measured: each is a few lines of shell, run as a process of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{command, succeed};

/// One way of doing the work.
#[derive(Clone, Debug)]
pub struct Program {
    /// Name for the table.
    pub name: String,
    /// POSIX shell, one command on each line, which finds its paths in variables.
    pub script: String,
}

/// Values of the variables of scripts.
pub type Variables = BTreeMap<&'static str, PathBuf>;

/// What one run took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Seconds on the clock.
    pub wall: f64,
    /// Seconds of all processors, in user and in kernel mode.
    pub cpu: f64,
    /// Largest resident set of any of the processes, in MB.
    pub rss_mb: f64,
    /// Size of the output in MB.
    pub size_mb: f64,
}

impl Program {
    /// The same in fewer words.
    pub fn new(name: &str, script: impl Into<String>) -> Program {
        Program { name: name.into(), script: script.into() }
    }

    /// A program of the script that this machine lacks.
    pub fn missing(&self) -> Option<&str> {
        self.script.lines().filter_map(program_of).find(|program| !found(program))
    }

    /// Runs the script. The size is left at zero.
    pub fn run(&self, variables: &Variables) -> Cost {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut timed = without_settings(command("bash"));
        timed.args(["-c", TIMED, &self.script]).envs(variables).current_dir(directory.path());
        // What the run before has left in memory is not this one's to write to disk.
        let out = std::fs::File::open(variables["OUT"].parent().expect("an image is in a directory"));
        out.and_then(|out| Ok(rustix::fs::syncfs(out)?)).expect("the filesystem of the images can be synced");
        let start = Instant::now();
        succeed(&mut timed);
        let wall = start.elapsed().as_secs_f64();
        let numbers = |name: &str| -> Vec<f64> {
            let text = std::fs::read_to_string(directory.path().join(name)).expect("a report of the run");
            text.split_whitespace().map(|word| word.parse().expect("a number")).collect()
        };
        let (cpu, peak_kb) = (numbers("cpu").iter().sum(), numbers("rss")[0]);
        Cost { wall, cpu, rss_mb: peak_kb * 1024.0 / 1e6, size_mb: 0.0 }
    }
}

/// Runs the script that is its name. bash tells the processor time to the millisecond, GNU time the largest
/// resident set; a process inherits that of the one that started it, which is small this way.
const TIMED: &str = r#"
TIMEFORMAT='%3U %3S'
{ time env time --quiet --format %M --output rss sh -euc "$0" 2>&3; } 3>&2 2>cpu
"#;

/// Without what the caller has set for builds of his own: where blocks are kept, whether images are verified.
fn without_settings(mut command: Command) -> Command {
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| name.as_encoded_bytes().starts_with(b"SKIFF_")) {
        command.env_remove(name);
    }
    command.env_remove("CI").env_remove("SOURCE_DATE_EPOCH");
    command
}

/// The program that a line of a script runs, unless a variable names it.
fn program_of(line: &str) -> Option<&str> {
    let word = line.split_whitespace().find(|word| !word.contains('='))?;
    (!word.starts_with('"')).then_some(word)
}

fn found(program: &str) -> bool {
    let asked = command("sh").args(["-c", "command -v \"$0\"", program]).output();
    asked.is_ok_and(|output| output.status.success())
}

/// The median of each quantity.
pub fn median_cost(costs: &[Cost]) -> Cost {
    let of = |field: fn(&Cost) -> f64| median(costs.iter().map(field).collect());
    Cost { wall: of(|c| c.wall), cpu: of(|c| c.cpu), rss_mb: of(|c| c.rss_mb), size_mb: of(|c| c.size_mb) }
}

/// The middle of some numbers, or the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}

/// One line about the machine and the programs on it.
pub fn machine() -> String {
    let text = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    let cpuinfo = text("/proc/cpuinfo");
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = text("/proc/sys/kernel/osrelease");
    format!("{} threads of {}, Linux {}", cores, model.trim_start_matches(['\t', ' ', ':']), kernel.trim())
}

/// What programs say of their version, those of them that are there.
pub fn versions() -> String {
    let asked = [
        ("mksquashfs", "-version"),
        ("gensquashfs", "--version"),
        ("mkfs.erofs", "--version"),
        ("mkfs.vfat", "--help"),
        ("mcopy", "--version"),
        ("mke2fs", "-V"),
        ("genimage", "--version"),
    ];
    let version = |(program, flag): (&str, &str)| {
        let output = command(program).arg(flag).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let number = text.split_whitespace().map(|word| word.trim_matches(['(', ')', ',', 'v']));
        let number = number.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        Some(format!("{program} {number}"))
    };
    asked.into_iter().filter_map(version).collect::<Vec<_>>().join(", ")
}
