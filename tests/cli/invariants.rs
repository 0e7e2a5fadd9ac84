//! The promises of the crate's documentation that are absences: looked for in the source text.

use std::fs;
use std::path::{Path, PathBuf};

use skiff_image::board::Registry;

fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("src/ can be read") {
            let path = entry.expect("src/ can be read").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are text");
                // Unit tests stand at the end of a file.
                let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
                found.push((path, code));
            }
        }
    }
    assert!(found.len() > 1, "there are sources in {directory}");
    found
}

/// Lines of code with one of `words`, without comments.
fn lines_with(directory: &str, words: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, code) in sources(directory) {
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim().starts_with("//")) {
            if words.iter().any(|word| line.contains(word)) {
                lines.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    lines
}

#[test]
fn no_board_is_named_in_code() {
    let registry = Registry::built_in();
    let names: Vec<String> = registry.all_names().map(|name| format!("\"{name}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(lines_with("src", &names), Vec::<String>::new());
}

#[test]
fn nothing_but_the_report_prints() {
    let mut lines = lines_with("src", &["println!(", "print!(", "dbg!(", "io::stdout()", "io::stderr()"]);
    // The program of the device has nobody else to do it.
    lines.retain(|line| !line.contains("/src/report/") && !line.contains("/src/init/src/"));
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn the_plan_opens_no_file() {
    assert_eq!(lines_with("src/plan", &["std::fs", "File::", "Command::"]), Vec::<String>::new());
}

#[test]
fn programs_are_started_in_one_place_and_no_clock_or_chance_is_asked() {
    let words = ["process::Command", "SystemTime", "Instant::now", "Uuid::new_v4", "rand::"];
    let mut lines = lines_with("src", &words);
    // What runs on the device starts its init, and waits.
    lines.retain(|line| !line.contains("/src/init/src/"));
    // Everything that is started is started here.
    lines.retain(|line| !line.contains("/src/process/"));
    // When a run ended, for the record of a medium.
    lines.retain(|line| !line.contains("/src/flash/health.rs"));
    // How long a medium is waited for, and how long things took; what is written does not depend on it.
    let waits = [
        "/src/flash/broadcast.rs",
        "/src/flash/summary.rs",
        "/src/report/events.rs",
        "/src/report/progress.rs",
        "/src/report/steps.rs",
        "/src/disk/src/storage/watched.rs",
    ];
    lines.retain(|line| !waits.iter().any(|file| line.contains(file)) || !line.contains("Instant::now"));
    assert_eq!(lines, Vec::<String>::new());
}
