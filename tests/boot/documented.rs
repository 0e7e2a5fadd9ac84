//! What the documentation has people type: each command is run here, or by a test that is named; every command and flag
//! that documentation and hints name exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::harness::board::synthetic::Synthetic;
use crate::harness::project::Project;
use clap::CommandFactory;
use clap::error::ErrorKind;
use skiff_image::board::Registry;
use skiff_image::cli::Cli;
use skiff_image::value::Arch;

/// Files that people read.
const DOCUMENTS: [&str; 6] = [
    "README.md",
    "CONTRIBUTING.md",
    "benches/README.md",
    "boards/README.md",
    "buildroot/README.md",
    "configs/README.md",
];

/// Who runs a command.
enum By {
    /// A test, by its file below `tests/` and its name.
    Test(&'static str, &'static str),
    /// `.ci/run`, which has this line.
    Ci(&'static str),
}

/// Commands of the documentation that other tests run, with other names of files and devices.
const ELSEWHERE: [(&str, By); 18] = [
    (
        "cargo run --release -- demo",
        By::Test("cli/verbs.rs", "the_demo_names_the_region_and_the_nested_file"),
    ),
    (
        "fixtures/try --boot",
        By::Test("boot/qemu/arm.rs", "orangepi_zero_boots_through_its_spl_and_not_with_the_spl_moved"),
    ),
    (
        "fixtures/debian-output armhf target/fixtures/armhf",
        By::Test("boot/boards.rs", "orangepi_zero_is_what_its_boot_rom_and_skiffos_look_for"),
    ),
    ("skiff-image fetch", By::Test("layers/buildroot_source.rs", "a_release_is_unpacked_and_found")),
    (
        "skiff-image configure --config virt/qemu,util/rootlogin",
        By::Test("layers/configure.rs", "what_layers_ask_for_is_configured_once"),
    ),
    ("skiff-image compile", By::Test("layers/compile.rs", "an_interrupted_build_goes_on")),
    ("skiff-image assemble", By::Test("layers/hand_off.rs", "after_compile_assemble_needs_no_flag")),
    ("skiff-image devices", By::Test("media/devices.rs", "the_disks_of_this_machine_are_those_of_lsblk")),
    (
        "skiff-image flash --image disk.img.zst /dev/sdz",
        By::Test("media/flash_cli.rs", "a_ready_image_is_copied_with_and_without_its_block_map"),
    ),
    (
        "skiff-image flash --board odroid/xu --config odroid/xu /dev/sdy /dev/sdz",
        By::Test("media/flash_cli.rs", "a_used_device_is_composed_onto_and_verified_and_damage_is_named"),
    ),
    (
        "skiff-image flash --image disk.img --simulate faulty:wrap",
        By::Test("media/flash_cli.rs", "a_medium_that_fails_is_left_without_a_table"),
    ),
    (
        "RUSTFLAGS=\"-Ctarget-feature=+crt-static -Crelocation-model=static\" cargo build --profile init --package \
         skiff-init --features pure --target x86_64-unknown-linux-gnu",
        By::Test("boot/qemu/skiff_init.rs", "a_root_on_ext4_starts_grows_and_keeps_what_is_written"),
    ),
    (
        "skiff-image configure --config pi/4,skiff/core",
        By::Test("layers/layers.rs", "every_setting_of_applications_survives_on_boards"),
    ),
    (
        "skiff-image flash --ssh-key ~/.ssh/id_ed25519.pub /dev/sdz",
        By::Test("media/flash_cli.rs", "a_used_device_is_composed_onto_and_verified_and_damage_is_named"),
    ),
    (
        "skiff-image flash --persist-dir files --container-image box.tar --ssh-key ~/.ssh/id_ed25519.pub /dev/sdz",
        By::Test("boot/qemu/core.rs", "a_login_is_in_the_container_of_the_medium_and_its_home_stays"),
    ),
    (
        "podman save --format oci-archive -o box.tar docker.io/library/alpine:3.22",
        By::Test("cli/containers.rs", "an_archive_of_other_programs_is_taken"),
    ),
    (
        "ssh core@device",
        By::Test("boot/qemu/core.rs", "a_login_is_in_the_container_of_the_medium_and_its_home_stays"),
    ),
    ("tests/run", By::Ci("exec tests/run")),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Commands in blocks of a document: behind `$ `, without remarks, and with lines that go on joined.
fn blocks(document: &str) -> Vec<String> {
    let text = read(document).replace("\\\n", " ");
    let commands = text.lines().filter_map(|line| line.strip_prefix("$ "));
    let plain = |line: &str| {
        line.split(" # ").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    commands.map(plain).collect()
}

/// Texts between back-ticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|text| !text.contains('\n'))
}

/// Sources of the program, in which hints stand.
fn sources() -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in
            fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path())
        {
            match entry.is_dir() {
                true => walk(&entry, found),
                false => found.extend(entry.extension().is_some_and(|end| end == "rs").then_some(entry)),
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("src"), &mut found);
    // The programs of the device have commands and flags of their own.
    let device = ["core", "init", "update"].map(|package| root().join("src").join(package));
    found.retain(|path| !device.iter().any(|package| path.starts_with(package)));
    found
}

/// Lines of the sources that a user can see: literals, and what help is made of.
fn shown_lines() -> Vec<String> {
    let mut lines = Vec::new();
    for path in sources() {
        let text = read(&path);
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
        let joined = joined_lines(&text);
        lines.extend(joined.lines().filter(|line| !line.trim_start().starts_with("//!")).map(String::from));
    }
    lines
}

/// A literal that goes on behind a backslash, as one line.
fn joined_lines(text: &str) -> String {
    let mut joined = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\\n") {
        joined += before;
        rest = after.trim_start();
    }
    joined + rest
}

#[test]
fn every_command_of_the_documentation_is_run_by_a_test() {
    let here = [README_IMAGE.as_slice(), OWN_BOARD.as_slice(), &[RULE]].concat();
    let mut known: BTreeSet<String> = here.into_iter().map(String::from).collect();
    for (command, by) in &ELSEWHERE {
        let (file, line) = match by {
            By::Test(file, test) => (format!("tests/{file}"), format!("fn {test}()")),
            By::Ci(line) => (".ci/run".into(), (*line).into()),
        };
        assert!(read(&file).contains(&line), "`{command}`: `{file}` has no `{line}`");
        known.insert((*command).into());
    }
    let documented: BTreeSet<String> = DOCUMENTS.iter().flat_map(|document| blocks(document)).collect();
    let unknown: Vec<&String> = documented.difference(&known).collect();
    assert!(unknown.is_empty(), "no test runs {unknown:#?}");
}

/// Runs a command of the documentation as it stands, with other names for what is not there.
fn run_in(directory: &Path, command: &str, names: &[(&str, &str)]) -> Output {
    let command =
        names.iter().fold(command.to_owned(), |command, (name, other)| command.replace(name, other));
    let mut words = command.split(' ');
    assert_eq!(words.next(), Some("skiff-image"));
    let mut program = crate::harness::tools::skiff_image();
    program.args(words).current_dir(directory).env("SKIFF_EXTRA_CONFIGS_PATH", root().join("configs"));
    program.output().expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const README_IMAGE: [&str; 3] = [
    "skiff-image assemble --board orangepi/zero --config orangepi/zero --source target/fixtures/armhf --size 1GiB --out card.img",
    "skiff-image verify card.img",
    "skiff-image inspect card.img",
];

#[test]
fn the_image_of_the_readme_is_assembled_verified_and_inspected() {
    let board = Registry::built_in().board("orangepi/zero").expect("a board");
    let synthetic = Synthetic::new(board, Arch::Arm);
    for command in README_IMAGE {
        let output = run_in(&synthetic.path(""), command, &[("target/fixtures/armhf", "output")]);
        assert!(output.status.success(), "{command}: {}", said(&output));
    }
}

const OWN_BOARD: [&str; 3] = [
    "skiff-image boards new acme/widget --like orangepi/zero --boards boards",
    "skiff-image boards check acme/widget --boards boards",
    "skiff-image boards check boards/acme/widget.toml",
];

#[test]
fn a_board_is_begun_and_checked_as_the_documentation_has_it() {
    let project = Project::bare();
    for command in OWN_BOARD {
        let output = run_in(&project.root(), command, &[]);
        assert!(output.status.success(), "{command}: {}", said(&output));
    }
}

const RULE: &str = "skiff-image boards check boards/my/board.toml";

/// What stands below the command is what is printed.
#[test]
fn a_broken_rule_is_reported_as_the_readme_shows() {
    let text = read("README.md");
    let (_, shown) = text.split_once(&format!("$ {RULE}\n")).expect("the command");
    let (shown, _) = shown.split_once("```").expect("its end");
    let project = Project::bare();
    let board = read("boards/README.md");
    let (_, board) = board.split_once("```toml\n").expect("an example");
    let (board, _) = board.split_once("```").expect("its end");
    project.write(
        "boards/my/board.toml",
        board.replacen("offset = \"8 KiB\"", "offset = \"128 KiB\"\n", 1).replacen("1016 KiB", "896 KiB", 1),
    );
    let output = run_in(&project.root(), RULE, &[]);
    assert_eq!((said(&output).as_str(), output.status.code()), (shown, Some(1)));
}

/// Words that stand for something in documentation and hints.
fn filled(command: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut rest = command.to_owned();
    while let (Some(start), Some(end)) = (rest.find("\"$("), rest.find(")\"")) {
        rest.replace_range(start..end + 2, "0c51a5e5-0f1e-4b0d-9d6a-3f2b8a7c6d5e");
    }
    for word in rest.split_whitespace() {
        words.push(word.trim_matches(['"', '\'']).replace("{}", "x").replace(['{', '}'], ""));
    }
    words
}

#[test]
fn commands_that_documentation_and_hints_name_are_commands() {
    let mut wrong = BTreeSet::new();
    let documents = DOCUMENTS.iter().map(read);
    let lines: Vec<String> = documents
        .flat_map(|text| text.lines().map(String::from).collect::<Vec<_>>())
        .chain(shown_lines())
        .collect();
    let blocks = DOCUMENTS.iter().flat_map(|document| blocks(document));
    let commands = lines.iter().flat_map(|line| quoted(line)).map(String::from).chain(blocks);
    let mut count = 0;
    for command in commands.filter(|command| command.starts_with("skiff-image ")) {
        count += 1;
        let error = Cli::command().try_get_matches_from(filled(&command)).err();
        // A command may be named without what it is about.
        let named =
            [ErrorKind::MissingRequiredArgument, ErrorKind::MissingSubcommand, ErrorKind::DisplayHelp];
        let named = [&named[..], &[ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand]].concat();
        if let Some(error) = error.filter(|error| !named.contains(&error.kind())) {
            wrong.insert(format!("{command}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 40, "only {count} commands were found");
}

/// A flag of another program that is named without it.
const FOREIGN: &str = "--no-default-features";

#[test]
fn flags_that_documentation_and_hints_name_exist() {
    fn longs(command: &clap::Command, found: &mut BTreeSet<String>) {
        found.extend(
            command
                .get_arguments()
                .filter_map(|argument| argument.get_long())
                .map(|name| format!("--{name}")),
        );
        command.get_subcommands().for_each(|command| longs(command, found));
    }
    let program = Cli::command();
    let mut known: BTreeSet<String> = [FOREIGN, "--help", "--version"].map(String::from).into();
    longs(&program, &mut known);
    let verbs: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
    let is_ours = |text: &&str| match text.split(' ').next() {
        Some("skiff-image") => true,
        Some(first) => first.starts_with("--") && first != "--" || verbs.contains(&first),
        None => false,
    };
    let texts = ["README.md", "boards/README.md"].map(read);
    let lines =
        texts.iter().flat_map(|text| text.lines().map(String::from).collect::<Vec<_>>()).chain(shown_lines());
    let mut unknown = BTreeSet::new();
    for line in lines {
        let words = quoted(&line).filter(is_ours).flat_map(str::split_whitespace);
        for word in words.filter(|word| word.starts_with("--")) {
            let name: String = word.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            if name.len() > 2 && !known.contains(&name) {
                unknown.insert(format!("{name} in {}", line.trim()));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}
