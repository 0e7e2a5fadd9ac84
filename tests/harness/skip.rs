//! Tests that cannot run here.

use std::io::Write;

/// Reports that `test` is skipped, and why. Where nothing may be skipped, in CI, it fails.
pub fn skip(test: &str, reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "{test}: {reason}");
    report(test, reason);
}

/// The same for what is left out unless somebody asks for it, in CI too: trees of sources that a variable names.
pub fn leave_out(test: &str, reason: &str) {
    report(test, reason);
}

/// Past the capture of the test harness, which hides what tests print that pass. `tests/run` counts these lines.
fn report(test: &str, reason: &str) {
    let line = format!("skipped: {test}: {}\n", reason.trim_end());
    std::io::stderr().write_all(line.as_bytes()).expect("stderr can be written");
}
