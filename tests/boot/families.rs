//! Boards that extend a family, and names made of words: what is joined, where an error points to, which ids an
//! image gets.

use std::fs;
use std::os::unix::fs::FileExt;

use crate::harness::project::{Project, expect_failure, expect_no_image, json, succeed};
use serde_json::{Value, json};

const HINT: &str = "hint: boards/README.md documents every key, and `skiff-image boards schema` prints them";

/// A project whose demo board is a family, and whose board says `own` on top of it.
fn family(own: &str) -> Project {
    let project = Project::new();
    let text = fs::read_to_string(project.path("boards/demo/board.toml")).unwrap();
    project.write("boards/family/demo.toml", text);
    project.write("boards/demo/board.toml", own);
    project
}

fn shown(project: &Project) -> Value {
    json(&mut project.command(&["boards", "show", "--boards", "boards", "demo/board"]))
}

fn names(board: &Value, list: &str) -> Vec<String> {
    let name = |entry: &Value| entry["name"].as_str().unwrap().to_owned();
    board[list].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn a_board_that_adds_nothing_is_its_family() {
    let alone = shown(&Project::new());
    let mut extended = shown(&family("extends = \"demo\"\n"));
    assert_eq!(extended["extends"], "demo");
    extended["extends"] = Value::Null;
    assert_eq!(extended, alone);
}

#[test]
fn words_are_replaced_and_named_entries_are_joined() {
    let own = "extends = \"demo\"\ndescription = \"mine\"\n[vars]\nconsole = \"tty1\"\n\
        [[blob]]\nname = \"loader\"\nlimit = \"1 MiB\"\n\
        [[blob]]\nname = \"late\"\nfiles = [\"late.bin\"]\noffset = \"1 MiB\"\n\
        [[artifact]]\nname = \"rootfs.cpio.lz4\"\ncompression = \"gzip\"\n\
        [[partition]]\nname = \"boot\"\nfile = [{ image = \"more.dtb\" }]\n";
    let (alone, board) = (shown(&Project::new()), shown(&family(own)));
    assert_eq!(board["description"], "mine");
    assert_eq!(board["status"], alone["status"]);
    let words = board["vars"].as_array().unwrap();
    assert_eq!(words.len(), alone["vars"].as_array().unwrap().len() + 1, "words are added to the family's");
    assert_eq!(names(&board, "blobs"), ["loader", "late"]);
    assert_eq!((&board["blobs"][0]["offset"], &board["blobs"][0]["limit"]), (&json!(8192), &json!(1 << 20)));
    assert_eq!(names(&board, "artifacts"), names(&alone, "artifacts"));
    let files = |board: &Value| board["partitions"][0]["files"].as_array().unwrap().clone();
    let (before, after) = (files(&alone), files(&board));
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(
        after[before.len()..],
        [json!({ "arch": [], "from": { "images": ["more.dtb"] },
        "to": "/more.dtb", "mode": null, "optional": false, "keep": false })]
    );
}

#[test]
fn entries_are_dropped_and_files_replaced_only_on_request() {
    let own = "extends = \"demo\"\n[[blob]]\nname = \"loader\"\ndrop = true\n\
        [[partition]]\nname = \"boot\"\nfile-only = [{ image = \"Image\" }]\n";
    let board = shown(&family(own));
    assert_eq!(names(&board, "blobs"), Vec::<String>::new());
    assert_eq!(board["partitions"][0]["files"].as_array().unwrap().len(), 1);
}

#[test]
fn a_wrong_descriptor_is_told_with_the_file_that_is_wrong() {
    let check = |project: &Project, stderr: String| {
        let command = &mut project.command(&["boards", "check", "--boards", "boards", "demo/board"]);
        expect_failure(command, 1, &stderr);
    };
    let own = |own: &str, message: &str, hint: &str| {
        check(&family(own), format!("error: `boards/demo/board.toml:{message}\n{hint}"));
    };
    own("\nextends = \"dem\"", "2:11`: there is no family `dem`", "hint: did you mean `demo`?");
    own("extends = [\"demo\"]", "1:11`: `extends` is the name of one family", HINT);
    own(
        "extends = \"demo\"\n[[blob]]\nname = \"x\"\ndrop = true\n",
        "4:8`: blob `x` is not of the family, so it cannot be dropped",
        HINT,
    );
    own(
        "extends = \"demo\"\n[[blob]]\nname = \"loader\"\ndrop = true\nlimit = \"1 MiB\"\n",
        "4:8`: blob `loader`: beside `drop = true` stands only the name",
        HINT,
    );
    own(
        "extends = \"demo\"\n[[partition]]\nname = \"boot\"\nsize = 40\n",
        "4:8`: invalid type: integer `40`, expected a string",
        HINT,
    );
    let project = family("extends = \"demo\"\ndescription = \"mine\"\n");
    project.edit("boards/family/demo.toml", "8 KiB", "8 KB");
    check(
        &project,
        format!(
            "error: `boards/family/demo.toml:15:10`: `8 KB` has the unknown unit `KB`: use B, KiB, MiB, GiB, TiB (1024), \
             kB, MB, GB, TB (1000) or sectors (512)\n{HINT}"
        ),
    );
    let project = family("extends = \"demo\"\n");
    project.edit("boards/family/demo.toml", "[table]", "extends = \"demo\"\n[table]");
    check(
        &project,
        format!(
            "error: `boards/family/demo.toml:6:11`: family `demo` extends another: there is one level of families\n{HINT}"
        ),
    );
}

#[test]
fn a_family_is_no_board() {
    let project = family("extends = \"demo\"\n");
    let (list, _) = succeed(&mut project.command(&["boards", "list", "--boards", "boards"]));
    assert!(list.contains("demo/board") && !list.contains("family/"), "{list}");
    let (text, _) = succeed(&mut project.command(&["boards", "show", "--boards", "boards", "demo/board"]));
    assert!(
        text.starts_with("# boards/demo/board.toml\nextends = \"demo\"\n\n# boards/family/demo.toml\n"),
        "{text}"
    );
}

#[test]
fn words_are_filled_into_names() {
    let project = Project::new();
    project.write("output/images/skiff-release", "NAME=SkiffOS\nVERSION=\"2026.08\"\n");
    project.edit_board("{ image = \"Image\" }", "{ image = \"@{kernel}\", to = \"/Image-@{version}-1\" }");
    project.edit_board("[vars]\n", "[vars]\nkernel = \"Image\"\n");
    succeed(&mut project.assemble(&[]));
    let manifest = fs::read_to_string(project.path("out/disk.img.manifest.json")).unwrap();
    assert!(manifest.contains("/Image-2026.08-1\""), "{manifest}");
}

#[test]
fn words_are_made_of_words_but_not_of_themselves() {
    let project = Project::new();
    let words = "[vars]\na = \"@{b}.bin\"\nb = \"@{c}der\"\nc = \"loa\"\n";
    project.edit_board("[vars]\n", words);
    project.edit_board("files = [\"loader.bin\"]", "files = [\"@{a}\"]");
    succeed(&mut project.with_inputs(&["plan"], &[]));
    project.edit_board("c = \"loa\"", "c = \"@{a}\"");
    expect_no_image(
        &project,
        &[],
        1,
        "error: variable `a` of board `demo/board` is made of itself\nhint: write its text out in `[vars]`",
    );
}

#[test]
fn a_version_that_is_not_there_is_told() {
    let project = Project::new();
    project.edit_board("{ image = \"Image\" }", "{ image = \"Image\", to = \"/Image-@{version}\" }");
    expect_no_image(
        &project,
        &[],
        1,
        "error: board `demo/board` needs `@{version}`, but `output/images/skiff-release` with a line `VERSION=...` is \
         not there\n\
         hint: SkiffOS builds write it; for another build write the line there",
    );
}

/// Boot code that reaches into the disk signature decides over the bytes it covers; the ids that boot texts name
/// are those of the finished disk.
#[test]
fn a_blob_over_the_disk_signature_changes_the_ids() {
    let project = Project::new();
    let plain = json(&mut project.with_inputs(&["plan"], &[]))["disk"]["id"].as_str().unwrap().to_owned();
    let code: Vec<u8> = (0..442_u32).map(|at| (at % 251) as u8).collect();
    project.write("output/images/code.bin", &code);
    project.edit_board(
        "[[artifact]]",
        "[[blob]]\nname = \"code\"\nfiles = [\"code.bin\"]\noffset = \"0 sectors\"\nlength = \"442 B\"\n\n[[artifact]]",
    );
    let id = json(&mut project.with_inputs(&["plan"], &[]))["disk"]["id"].as_str().unwrap().to_owned();
    assert_eq!(id, format!("{}{:02x}{:02x}", &plain[..4], code[441], code[440]));
    succeed(&mut project.assemble(&[]));
    let (image, mut sector) = (fs::File::open(project.path("out/disk.img")).unwrap(), [0; 512]);
    image.read_exact_at(&mut sector, 0).unwrap();
    assert_eq!(sector[..442], code);
    assert_eq!(format!("{:08x}", u32::from_le_bytes(sector[440..444].try_into().unwrap())), id);
    assert_eq!(sector[510..], [0x55, 0xaa]);
    succeed(&mut project.command(&["verify", "out/disk.img"]));
    let whole = fs::read(project.path("out/disk.img")).unwrap();
    let argument = format!("root=PARTUUID={id}-02");
    assert!(whole.windows(argument.len()).any(|window| window == argument.as_bytes()), "{argument}");
}

#[test]
fn a_blob_is_left_out_only_where_the_board_boots_without_it() {
    let project = Project::new();
    project.remove("output/images/loader.bin");
    project.edit_board(
        "offset = \"8 KiB\"\n",
        "offset = \"8 KiB\"\noptional = true\nhint = \"flash it over USB\"\n",
    );
    let (_, told) = succeed(&mut project.assemble(&[]));
    let note = "blob `loader` is not there and is left out; flash it over USB";
    assert!(told.contains(note), "{told}");
}

#[test]
fn a_blob_can_be_a_composed_file() {
    let project = Project::new();
    project.edit_board("files = [\"loader.bin\"]", "artifact = \"boot.scr\"");
    project.edit_board("magic = { at = 4, text = \"DEMO.LDR\" }", "magic = { hex = \"27051956\" }");
    succeed(&mut project.assemble(&[]));
    let (image, mut magic) = (fs::File::open(project.path("out/disk.img")).unwrap(), [0; 4]);
    image.read_exact_at(&mut magic, 8192).unwrap();
    assert_eq!(magic, [0x27, 0x05, 0x19, 0x56]);
}

#[test]
fn the_plan_says_what_an_update_may_touch() {
    let project = Project::new();
    project.edit_board("name = \"system\"\n", "name = \"system\"\nupdate = \"whole\"\n");
    let plan = json(&mut project.with_inputs(&["plan"], &[]));
    let steps = plan["steps"].as_array().unwrap();
    let found = |name: &str| steps.iter().find(|step| step["name"] == name).unwrap()["update"].clone();
    let all = ["mbr", "loader", "boot", "system", "rootfs", "persist"].map(found);
    assert_eq!(all, ["never", "never", "files", "whole", "files", "never"]);
}
