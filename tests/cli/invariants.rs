//! The promises of the crate's documentation that are absences: looked for in the source text.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use skiff_image::board::Registry;
use skiff_image::cli::Cli;

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

/// Returns whether a line is of one of the programs that run on the device.
fn of_the_device(line: &str) -> bool {
    ["/src/core/", "/src/init/", "/src/update/"].iter().any(|package| line.contains(package))
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
    // The programs of the device have nobody else to do it.
    lines.retain(|line| !line.contains("/src/report/") && !of_the_device(line));
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn a_target_at_the_bottom_is_in_storage_and_the_others_are_layers() {
    let mut lines = lines_with("src", &["Target for "]);
    lines.retain(|line| !line.contains("/src/disk/src/storage/"));
    // All media of a broadcast as one, with none inside.
    lines.retain(|line| !line.contains("/src/flash/broadcast/hub.rs"));
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn nothing_but_storage_controls_a_device() {
    let mut lines = lines_with("src", &["ioctl"]);
    // What runs on the device has no storage, or more than a file: it freezes a filesystem.
    let device = ["/src/init/src/", "/src/update/src/apply/directory.rs"];
    let allowed = |line: &String| device.iter().any(|path| line.contains(path));
    lines.retain(|line| !line.contains("/src/disk/src/storage/") && !allowed(line));
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
    // What runs on the device starts its init or containers, and waits.
    lines.retain(|line| !of_the_device(line));
    // Everything that is started is started here.
    lines.retain(|line| !line.contains("/src/process/"));
    // When a run ended, for the record of a medium.
    lines.retain(|line| !line.contains("/src/flash/health.rs"));
    // How long a medium is waited for, and how long things took; what is written does not depend on it.
    let waits = [
        "/src/flash/broadcast/hub.rs",
        "/src/flash/summary.rs",
        "/src/report/events.rs",
        "/src/report/progress.rs",
        "/src/report/steps.rs",
        "/src/disk/src/storage/watchdog.rs",
    ];
    lines.retain(|line| !waits.iter().any(|file| line.contains(file)) || !line.contains("Instant::now"));
    assert_eq!(lines, Vec::<String>::new());
}

/// Long names of the flags of a command and of its subcommands.
fn flags(command: &clap::Command) -> BTreeSet<String> {
    let own =
        command.get_arguments().filter_map(|argument| argument.get_long()).map(|name| format!("--{name}"));
    own.chain(command.get_subcommands().flat_map(flags)).collect()
}

/// Words of a line that begin with two hyphens, as far as they could be flags.
fn hyphened(line: &str) -> impl Iterator<Item = &str> {
    let is_part = |character: char| character == '-' || character.is_ascii_alphanumeric();
    line.split(move |character| !is_part(character)).filter(|word| word.starts_with("--"))
}

#[test]
fn flags_are_named_in_the_command_line_alone() {
    let known = flags(&Cli::command());
    assert!(known.contains("--partuuid") && known.contains("--stall-timeout"), "{known:?}");
    let mut lines = lines_with("src", &["--"]);
    lines.retain(|line| hyphened(line).any(|word| known.contains(word)));
    // The program itself, the one of the device, and tests of packages.
    let programs = ["/src/cli/", "/src/report/", "/src/main.rs", "/src/init/", "/tests/"];
    lines.retain(|line| !programs.iter().any(|program| line.contains(program)));
    // A sentence on the medium, for whoever finds it, and a script of Buildroot's, which calls this program.
    let written = ["/src/device/marker.rs", "/src/buildroot/configure/files.rs"];
    lines.retain(|line| !written.iter().any(|file| line.contains(file)));
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn flags_are_found_in_messages() {
    let words = |line| hyphened(line).collect::<Vec<_>>();
    assert_eq!(words("hint = \"give `--arch`, or `fetch --from FILE`\""), ["--arch", "--from"]);
    assert_eq!(words("a -> b, 1 - -2"), Vec::<&str>::new());
}

#[test]
fn hints_with_flags_are_for_codes_that_errors_have() {
    let table = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/hints.rs"));
    let table = table.expect("the table can be read");
    let (table, _) =
        table.split_once("/// An error whose hint names flags.").expect("the tables stand first");
    // Of a pair the code is the first text: `("code", "words")`, perhaps on lines of its own.
    let pairs = table.split('(').filter_map(|pair| pair.trim_start().strip_prefix('"')?.split('"').next());
    let codes: BTreeSet<&str> = pairs.collect();
    assert!(codes.len() > 30 && codes.contains("foreign-files"), "{codes:?}");
    let texts: Vec<(PathBuf, String)> =
        sources("src").into_iter().filter(|(path, _)| !path.ends_with("cli/hints.rs")).collect();
    let is_unknown = |code: &&&str| {
        let quoted = format!("\"{code}\"");
        !texts.iter().any(|(_, text)| text.contains(&quoted))
    };
    assert_eq!(codes.iter().filter(is_unknown).collect::<Vec<_>>(), Vec::<&&str>::new());
}

/// The lines of modules in the documentation of a crate, from the top down.
fn levels(root: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root.join("lib.rs")).expect("a crate has a lib.rs");
    let (_, rest) = text.split_once("from the top down").expect("the documentation has the order");
    let picture = rest.split("```").nth(1).expect("the order is a block of text");
    let lines = picture.lines().skip(1).map(|line| line.trim_start_matches("//!"));
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// Modules that `code` uses: `crate::name` and `crate::{name, ..}`.
fn used_modules(code: &str) -> BTreeSet<String> {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join(" ");
    let names = code.split("crate::").skip(1).flat_map(|path| match path.strip_prefix('{') {
        Some(list) => heads(list),
        None => vec![path],
    });
    let is_other = |character: char| !character.is_ascii_alphanumeric() && character != '_';
    let names = names.map(|name| name.trim_start().split(is_other).next().unwrap_or_default().to_owned());
    names.filter(|name| name.starts_with(|first: char| first.is_ascii_lowercase())).collect()
}

/// The members of a list that ends with its `}`, without what they have in braces of their own.
fn heads(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut heads) = (0, 0, Vec::new());
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.push(&list[start..at]);
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

/// Uses of modules that are not below their user, and modules without a level.
fn arrows_that_run_up(directory: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let levels = levels(&root);
    let level = |name: &str| levels.iter().position(|line| line.iter().any(|module| module == name));
    let mut wrong = Vec::new();
    for (path, code) in sources(directory) {
        let inside = path.strip_prefix(&root).expect("sources are in their directory");
        let first = inside.iter().next().expect("a file has a name").to_str().expect("names are text");
        let user = first.trim_end_matches(".rs");
        let is_other_package = root.join(first).join("Cargo.toml").exists();
        if is_other_package || ["lib", "main"].contains(&user) {
            continue;
        }
        let Some(own) = level(user) else {
            wrong.push(format!("{user} has no level"));
            continue;
        };
        let is_up = |used: &String| used != user && level(used).is_none_or(|used| used <= own);
        let up = used_modules(&code).into_iter().filter(is_up);
        wrong.extend(up.map(|used| format!("{user} -> {used}: {}", inside.display())));
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

#[test]
fn modules_use_only_what_is_below_them() {
    assert_eq!(arrows_that_run_up("src"), Vec::<String>::new());
    assert_eq!(arrows_that_run_up("src/disk/src"), Vec::<String>::new());
}

#[test]
fn an_arrow_is_found_however_it_is_written() {
    let code = "use crate::flash::Commit;\nuse crate::{\n    board::{self, Board},\n    plan, Error,\n};\n// crate::cli\n\
                fn lint() -> crate::lint::Finding {}\n";
    let expected = ["board", "flash", "lint", "plan"].map(str::to_owned);
    assert_eq!(used_modules(code), BTreeSet::from(expected));
}

/// The test binaries: what has a process of its own stands apart, everything else is a module of one of the five.
const BINARIES: [&str; 8] = [
    "boot/main.rs",
    "cli/main.rs",
    "formats/main.rs",
    "interrupt.rs",
    "kill.rs",
    "layers/main.rs",
    "media/main.rs",
    "sparse.rs",
];

/// Directories below `tests/` without sources.
const DATA: [&str; 3] = ["golden", "golden/configs", "golden/plans"];

/// Files of the modules that a file declares.
fn modules(file: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let parent = file.parent().expect("a file has a directory");
    let is_root = |name: &str| name == "main.rs" || name == "mod.rs" || parent.ends_with("tests");
    let name = file.file_name().and_then(|name| name.to_str()).expect("names are text");
    let below = if is_root(name) { parent.to_owned() } else { file.with_extension("") };
    let (mut found, mut path) = (Vec::new(), None);
    for line in text.lines() {
        if let Some(named) = line.strip_prefix("#[path = \"") {
            path = named.strip_suffix("\"]").map(|named| parent.join(named));
        } else if let Some(name) = module_name(line) {
            let (flat, nested) = (below.join(format!("{name}.rs")), below.join(name).join("mod.rs"));
            found.push(path.take().unwrap_or(if flat.is_file() { flat } else { nested }));
        }
    }
    found
}

fn module_name(line: &str) -> Option<&str> {
    line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?.strip_suffix(';')
}

#[test]
fn no_file_of_tests_is_forgotten() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut reached = BTreeSet::new();
    let mut open: Vec<PathBuf> = BINARIES.iter().map(|name| root.join(name)).collect();
    while let Some(file) = open.pop() {
        let file = file.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if reached.insert(file.clone()) {
            open.extend(modules(&file));
        }
    }
    let (mut forgotten, mut open) = (Vec::new(), vec![root.clone()]);
    while let Some(directory) = open.pop() {
        let entries: Vec<PathBuf> = fs::read_dir(&directory)
            .expect("tests/ can be read")
            .map(|entry| entry.expect("it is there").path())
            .collect();
        let is_source = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
        forgotten.extend(entries.iter().filter(|path| is_source(path) && !reached.contains(*path)).cloned());
        let name = directory.strip_prefix(&root).expect("it is below");
        if !entries.iter().any(is_source) && !DATA.iter().any(|data| name == Path::new(data)) {
            forgotten.push(directory.clone());
        }
        open.extend(entries.into_iter().filter(|path| path.is_dir()));
    }
    assert_eq!(forgotten, Vec::<PathBuf>::new());
}

/// Cargo makes a test binary of each file in `tests/` and of each directory with a `main.rs`.
#[test]
fn there_are_no_other_test_binaries() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("tests/ can be read").path();
        let main = if path.is_dir() { path.join("main.rs") } else { path };
        let is_binary = main.is_file() && main.extension().is_some_and(|extension| extension == "rs");
        is_binary.then(|| main.strip_prefix(&root).expect("it is below").display().to_string())
    };
    let found: BTreeSet<String> = fs::read_dir(&root).expect("tests/ can be read").filter_map(name).collect();
    assert_eq!(found, BINARIES.map(String::from).into());
}
