//! Boards of a user: begun from another one, completed and checked by an editor, checked and listed by the program.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::harness::project;
use crate::harness::project::{Project, expect_failure, run, succeed};
use crate::harness::skip::skip;
use crate::harness::tools::{command, oracle};
use serde_json::{Value, json};
use skiff_image::board::{Registry, schema};

/// Around the reference of keys in `boards/README.md`.
const KEYS: [&str; 2] = ["<!-- keys of descriptors -->\n", "<!-- end of keys -->"];
/// In front of the example there.
const EXAMPLE: &str = "```toml\n";

/// Reads the schema and descriptors from stdin, and prints what is wrong with each.
const VALIDATE: &str = "
import json, sys, jsonschema
asked = json.load(sys.stdin)
kind = jsonschema.Draft202012Validator
kind.check_schema(asked['schema'])
validator = kind(asked['schema'])
wrong = lambda board: next((error.message for error in validator.iter_errors(board)), None)
json.dump([wrong(board) for board in asked['boards']], sys.stdout)
";

/// What python3-jsonschema finds wrong with each of some descriptors; nothing where it is missing.
fn problems(test: &str, texts: &[&str]) -> Option<Vec<Option<String>>> {
    if !oracle(test, "python3") {
        return None;
    }
    let has_module = command("python3").args(["-c", "import jsonschema"]).output().expect("python3 runs");
    if !has_module.status.success() {
        skip(test, "python3 has no module `jsonschema`; run fixtures/install-oracles");
        return None;
    }
    let board = |text: &&str| {
        let table: toml::Value = toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        serde_json::to_value(table).expect("a descriptor is JSON")
    };
    let asked = json!({"schema": schema(), "boards": texts.iter().map(board).collect::<Vec<_>>()});
    let mut python = command("python3");
    let mut python =
        python.args(["-c", VALIDATE]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    python.stdin.take().expect("a pipe").write_all(asked.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    Some(serde_json::from_slice(&output.stdout).expect("it answers"))
}

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("boards/README.md"))
        .expect("boards/README.md")
}

#[test]
fn every_shipped_descriptor_keeps_the_schema() {
    let registry = Registry::built_in();
    let names: Vec<&str> = registry.all_names().collect();
    let texts: Vec<&str> = names.iter().map(|name| registry.source(name).unwrap().text).collect();
    let Some(problems) = problems("every_shipped_descriptor_keeps_the_schema", &texts) else { return };
    let wrong: Vec<_> = names.iter().zip(problems).filter(|(_, problem)| problem.is_some()).collect();
    assert!(wrong.is_empty() && names.len() >= 55, "{wrong:#?}");
}

/// What the program refuses for its shape, an editor marks.
#[test]
fn mistakes_in_the_shape_of_a_descriptor_break_the_schema() {
    let demo = include_str!("../../fixtures/demo/board.toml");
    let registry = Registry::built_in();
    let extended = registry.source("orangepi/zero").unwrap().text;
    let replaced = |(old, new): (&str, &str)| {
        assert!(demo.contains(old), "{old}");
        demo.replacen(old, new, 1)
    };
    let right = [
        demo.to_owned(),
        format!("{extended}\n[[partition]]\nname = \"boot\"\nfile-only = [{{ image = \"zImage\" }}]\n"),
        format!("{extended}\n[[blob]]\nname = \"u-boot\"\ndrop = true\n"),
    ];
    let wrong = [
        replaced(("root = \"none\"", "root = \"nothing\"")),
        replaced(("root = \"none\"", "roots = \"none\"")),
        replaced(("offset = \"8 KiB\"", "offset = \"8 KB\"")),
        replaced(("offset = \"8 KiB\"\n", "")),
        replaced(("filesystem = \"squashfs\"", "filesystem = \"zfs\"")),
        replaced((
            "{ artifact = \"modules.squashfs\" }",
            "{ artifact = \"modules.squashfs\", image = \"x\" }",
        )),
        format!("{extended}\n[[blob]]\nname = \"u-boot\"\ndrop = false\n"),
        format!("{extended}\n[[partition]]\nsize = \"1 MiB\"\n"),
    ];
    let texts: Vec<&str> = right.iter().chain(&wrong).map(String::as_str).collect();
    let test = "mistakes_in_the_shape_of_a_descriptor_break_the_schema";
    let Some(problems) = problems(test, &texts) else { return };
    for (text, (problem, is_right)) in
        texts.iter().zip(problems.iter().zip((0..).map(|index| index < right.len())))
    {
        assert_eq!(problem.is_none(), is_right, "{problem:?}\n{text}");
    }
}

/// The keys as tables in Markdown, one for each table of a descriptor.
fn reference() -> String {
    let schema = schema();
    let mut text = String::new();
    for (of, shown) in [
        ("board", "the descriptor"),
        ("table", "`[table]`"),
        ("artifact", "`[[artifact]]`"),
        ("blob", "`[[blob]]`"),
        ("magic", "`magic` of a blob"),
        ("environment", "`[[environment]]`"),
        ("supplied", "`[[supplied]]`"),
        ("slots", "`[[slots]]`"),
        ("partition", "`[[partition]]`"),
        ("file", "`file` of partitions and artifacts"),
    ] {
        let table = &schema["$defs"][of];
        text += &format!("\n| key of {shown} | |\n|---|---|\n");
        let required = table["required"].as_array().cloned().unwrap_or_default();
        for (key, about) in table["properties"].as_object().expect("keys") {
            let mark = if required.iter().any(|name| name == key) { " *" } else { "" };
            let about =
                about["description"].as_str().unwrap_or_else(|| panic!("{of}: `{key}` is not described"));
            let about = about.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
            text += &format!("| `{key}`{mark} | {about} |\n");
        }
    }
    text + "\n"
}

/// `UPDATE_GOLDEN=1` writes what is said beside the types.
#[test]
fn the_readme_of_boards_documents_every_key() {
    let text = readme();
    let (before, rest) = text.split_once(KEYS[0]).expect("it has the mark");
    let (table, after) = rest.split_once(KEYS[1]).expect("it has the end mark");
    let expected = reference();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards/README.md");
        fs::write(path, format!("{before}{}{expected}{}{after}", KEYS[0], KEYS[1])).expect("writes");
        return;
    }
    assert!(
        table == expected,
        "run with UPDATE_GOLDEN=1: boards/README.md says\n{table}\ninstead of\n{expected}"
    );
}

#[test]
fn the_example_of_the_readme_is_a_board() {
    let text = readme();
    let (_, rest) = text.split_once(EXAMPLE).expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    if let Some(problems) = problems("the_example_of_the_readme_is_a_board", &[example]) {
        assert_eq!(problems, [None]);
    }
    let project = Project::bare();
    project.write("boards/acme/widget.toml", example);
    let (told, stderr) =
        succeed(&mut project.command(&["boards", "check", "acme/widget", "--boards", "boards"]));
    assert!(told.starts_with("board acme/widget: ok, "), "{told}");
    assert_eq!(stderr, "", "an example breaks no rule");
}

#[test]
fn a_board_is_begun_like_any_other() {
    let registry = Registry::built_in();
    let mut texts = Vec::new();
    for like in registry.names() {
        let project = Project::bare();
        let new = ["boards", "new", "acme/widget", "--like", like, "--boards", "own boards"];
        let (told, _) = succeed(&mut project.command(&new));
        assert_eq!(
            told,
            "own boards/acme/widget.toml\n\ntry it: skiff-image boards check acme/widget --boards 'own boards'\n"
        );
        let text = project.read("own boards/acme/widget.toml");
        texts.push(text);
        let (_, stderr) =
            succeed(&mut project.command(&["boards", "check", "acme/widget", "--boards", "own boards"]));
        assert!(!stderr.contains("error"), "{like}: {stderr}");
        let show = |board: &str| {
            project::json(&mut project.command(&["boards", "show", board, "--boards", "own boards"]))
        };
        let (mut made, mut other) = (show("acme/widget"), show(like));
        for own in ["name", "description", "status", "proof"] {
            made[own] = Value::Null;
            other[own] = Value::Null;
        }
        assert_eq!(made, other, "{like}");
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    if let Some(problems) = problems("a_board_is_begun_like_any_other", &texts) {
        assert!(problems.iter().all(Option::is_none), "{problems:#?}");
    }
}

#[test]
fn what_is_begun_has_comments_and_is_not_overwritten() {
    let project = Project::bare();
    let new =
        |name: &str, like: &str| project.command(&["boards", "new", name, "--like", like, "--boards", "b"]);
    succeed(&mut new("acme/widget", "orangepi/zero"));
    let text = project.read("b/acme/widget.toml");
    for line in [
        "# Family in `family/` whose keys this board takes over and changes.\nextends = \"orangepi\"",
        "#   [[blob]] `u-boot`\n",
        "#   [[partition]] `boot`, `rootfs`, `persist`\n",
    ] {
        assert!(text.contains(line), "`{line}` is not in\n{text}");
    }
    expect_failure(
        &mut new("acme/widget", "orangepi/zero"),
        4,
        &format!(
            "refused: `b/acme/widget.toml` exists already: a file of {} bytes\nhint: choose another name, or replace the file with `--force`",
            text.len()
        ),
    );
    expect_failure(
        &mut new("widget", "orangepi/zero"),
        1,
        "error: `widget` is not the name of a board: expected NAMESPACE/NAME of letters, digits, `_` and `-`\n\
         hint: give a name such as `acme/widget`",
    );
    let (_, told, code) = run(&mut new("acme/other", "orangepi/zer"));
    assert_eq!(code, 1);
    assert!(told.ends_with("hint: did you mean `orangepi/zero`?\n"), "{told}");
    expect_failure(
        &mut new("acme/other", "chip/r8"),
        1,
        "error: board `chip/r8` has no medium whose layout could be taken over\n\
         hint: `skiff-image boards list` shows all boards",
    );
}

/// A project with a board that is right and two that are wrong.
fn with_wrong_boards() -> Project {
    let project = Project::bare();
    let demo = include_str!("../../fixtures/demo/board.toml");
    project.write("b/acme/right.toml", demo);
    project.write("b/acme/wrong.toml", demo.replacen("root = ", "rot = ", 1));
    let overlap = demo.replacen("name = \"system\"\n", "name = \"system\"\nstart = \"20 MiB\"\n", 1);
    project.write("b/acme/overlap.toml", overlap);
    project
}

#[test]
fn every_descriptor_that_is_given_is_checked_and_named() {
    let project = with_wrong_boards();
    let files = ["b/acme/wrong.toml", "b/acme/overlap.toml", "b/acme/right.toml"];
    let (told, stderr, code) = run(&mut project.command(&[&["boards", "check"], &files[..]].concat()));
    assert_eq!(code, 1);
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("board b/acme/wrong.toml: `b/acme/wrong.toml:"), "{told}");
    assert!(
        lines[1].starts_with("board b/acme/overlap.toml: `b/acme/overlap.toml`: `boot` (bytes"),
        "{told}"
    );
    assert_eq!(lines[2..], ["board acme/right: ok, 16 rules of generic", "3 boards: 2 wrong"]);
    assert!(
        stderr.contains("error: `b/acme/wrong.toml:") && stderr.contains("hint: did you mean `root`?\n"),
        "{stderr}"
    );
    assert!(
        stderr.ends_with("error: 2 of 3 boards are wrong\nhint: what is wrong with each stands above\n"),
        "{stderr}"
    );
}

#[test]
fn partitions_out_of_order_are_no_overlap() {
    let project = Project::bare();
    let demo = include_str!("../../fixtures/demo/board.toml");
    let back = demo.replacen("name = \"boot\"\n", "name = \"boot\"\nstart = \"100 MiB\"\n", 1);
    let back = back.replacen("name = \"system\"\n", "name = \"system\"\nstart = \"1 MiB\"\n", 1);
    project.write("b/acme/back.toml", back);
    expect_failure(
        &mut project.command(&["boards", "check", "b/acme/back.toml"]),
        1,
        "error: `b/acme/back.toml`: partition `system` starts at 1 MiB and stands behind `boot`, which starts at 100 \
         MiB\nhint: list partitions in the order they have on the medium; `number` gives one another number in the table",
    );
}

#[test]
fn a_wrong_descriptor_is_no_problem_of_the_others() {
    let project = with_wrong_boards();
    fs::write(project.path("b/acme/bytes.toml"), [0xff, 0xfe]).unwrap();
    let list = ["boards", "list", "--boards", "b"];
    let (told, stderr) = succeed(&mut project.command(&list));
    assert!(told.contains("\nacme/right") && told.contains("\norangepi/zero"), "{told}");
    assert!(stderr.contains("warning: board `acme/wrong` is not known: `b/acme/wrong.toml:"), "{stderr}");
    assert!(
        stderr.contains("warning: board `acme/bytes` is not known: cannot read `b/acme/bytes.toml`: "),
        "{stderr}"
    );
    let rows = project::json(&mut project.command(&list));
    let wrong = rows.as_array().unwrap().iter().find(|row| row["name"] == "acme/wrong").unwrap();
    assert!(wrong["error"].as_str().unwrap().contains("unknown field `rot`"), "{wrong}");
    succeed(&mut project.command(&["boards", "show", "acme/right", "--boards", "b"]));
    succeed(&mut project.command(&["boards", "check", "acme/right", "--boards", "b"]));
}

/// The number that the descriptor has, and what it is: the layout may need less.
#[test]
fn a_medium_below_the_smallest_is_refused_in_the_words_of_the_descriptor() {
    let project = Project::new();
    project.edit_board("root = \"none\"", "root = \"none\"\nminimum-medium = \"1 GB\"");
    expect_failure(
        &mut project.with_inputs(&["plan", "--size", "512 MiB"], &[]),
        1,
        "error: board `demo/board` is for media of 1 GB and more (`minimum-medium`) but the disk has 512 MiB\n\
         hint: use a larger disk, or give a larger `--size`",
    );
    succeed(&mut project.with_inputs(&["plan", "--size", "953.75MiB"], &[]));
}
