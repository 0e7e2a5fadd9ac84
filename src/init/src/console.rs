//! Talking to people: the kernel's log, which every console shows, or the console itself where the log is silenced.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::Write;

use super::failure::Failure;

const KMSG: &str = "/dev/kmsg";
const CONSOLE: &str = "/dev/console";
const RATE_LIMIT: &str = "/proc/sys/kernel/printk_devkmsg";
const LEVELS: &str = "/proc/sys/kernel/printk";

/// Importance of a message, as `syslog(3)` numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Error = 3,
    Warning = 4,
    Info = 6,
}

/// Progress; `quiet` on the kernel's command line hides it.
pub fn info(message: impl Display) {
    log(Level::Info, &message.to_string());
}

/// Something that is not as it should be, and does not keep the system from starting.
pub fn warn(message: impl Display) {
    log(Level::Warning, &message.to_string());
}

/// A step that failed, with its hint.
pub fn failure(failure: &Failure) {
    log(Level::Error, &failure.to_string());
    log(Level::Error, &format!("hint: {}", failure.hint()));
}

/// Writes a line where a person at the device sees it, whatever the log shows.
pub fn say(message: impl Display) {
    if let Ok(mut console) = OpenOptions::new().write(true).open(CONSOLE) {
        // There is nowhere left to report that it failed.
        let _ = console.write_all(format!("skiff-init: {message}\n").as_bytes());
    }
}

fn log(level: Level, message: &str) {
    let line = format!("<{}>skiff-init: {message}\n", level as u8);
    let logged =
        OpenOptions::new().write(true).open(KMSG).and_then(|mut kmsg| kmsg.write_all(line.as_bytes()));
    if logged.is_err() || level <= Level::Warning && !shown(level) {
        say(message);
    }
}

/// Returns whether the kernel shows messages of this level on its consoles.
fn shown(level: Level) -> bool {
    let levels = fs::read_to_string(LEVELS).unwrap_or_default();
    let threshold = levels.split_whitespace().next().and_then(|word| word.parse::<u8>().ok());
    threshold.is_none_or(|threshold| (level as u8) < threshold)
}

/// The console, to be read from.
pub fn input() -> Option<File> {
    File::open(CONSOLE).ok()
}

/// Keeps the kernel from dropping messages after the tenth within five seconds; gives what was set before.
pub fn lift_rate_limit() -> Option<String> {
    let before = fs::read_to_string(RATE_LIMIT).ok()?;
    // Refused when the kernel's command line has the last word on it.
    fs::write(RATE_LIMIT, "on").ok()?;
    Some(before)
}

/// Gives the started system the limit it expects.
pub fn restore_rate_limit(before: Option<&str>) {
    if let Some(before) = before {
        let _ = fs::write(RATE_LIMIT, before.trim());
    }
}
