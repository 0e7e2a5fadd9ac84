//! Every board that the program ships, composed from made-up files and read back: what is proven of a board by existing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use crate::harness::board::every::{case_name, cases, for_every_board};
use crate::harness::board::readback;
use crate::harness::board::readback::Readback;
use crate::harness::board::synthetic::Synthetic;
use crate::harness::disk;
use crate::harness::golden;
use crate::harness::tools::run;
use serde_json::Value;
use skiff_image::board::{Blob, Board};
use skiff_image::value::{Arch, ByteSize};

/// Names and first bytes of the partitions of a plan.
fn starts(plan: &Value) -> Vec<(String, u64)> {
    let steps = plan["steps"].as_array().expect("steps").iter();
    let partitions = steps.filter(|step| step["action"]["number"].is_number());
    let start = |step: &Value| Some((step["name"].as_str()?.to_owned(), step["offset"].as_u64()?));
    partitions.map(|step| start(step).expect("a name and an offset")).collect()
}

/// What a command that must fail says.
#[track_caller]
fn refusal(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {told}");
    assert!(output.stdout.is_empty(), "{command:?} printed a result");
    told.trim_end().to_owned()
}

fn golden_name(board: &Board, arch: Arch) -> String {
    format!("{}.txt", case_name(board, arch))
}

#[test]
fn every_plan_is_its_golden() {
    for_every_board(|board, arch| {
        let synthetic = Synthetic::new(board.clone(), arch);
        let printed = run(synthetic.command(&["--quiet", "plan"]).args(synthetic.minimum()));
        golden::expect(&format!("plans/{}", golden_name(board, arch)), &printed);
    });
    let names: BTreeSet<String> = cases().iter().map(|(board, arch)| golden_name(board, *arch)).collect();
    golden::expect_no_others("plans", &names);
}

#[test]
fn every_image_is_read_back_by_other_tools() {
    if !disk::oracles("every_image_is_read_back_by_other_tools", &readback::TOOLS) {
        return;
    }
    let digests = Mutex::new(BTreeMap::new());
    for_every_board(|board, arch| {
        let synthetic = Synthetic::new(board.clone(), arch);
        run(synthetic.command(&["--quiet", "assemble", "--out", "disk.img"]).args(synthetic.minimum()));
        Readback::new(&synthetic, "disk.img").expect_all();
        run(&mut synthetic.program(&["--quiet", "verify", "disk.img"]));
        let digest = digest(&synthetic.path("disk.img"));
        digests.lock().expect("no panic while it is held").insert(case_name(board, arch), digest);
    });
    let digests = digests.into_inner().expect("no panic while it is held");
    let lines: String = digests.iter().map(|(name, digest)| format!("{digest} {name}\n")).collect();
    golden::expect("images.txt", &lines);
}

/// BLAKE3 of a file, in hexadecimal.
fn digest(path: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).expect("the image")).expect("it can be read");
    hasher.finalize().to_hex().to_string()
}

/// The least medium a board is composed for, and how messages tell it: what the descriptor says, or the sector behind
/// the last partition and what a GPT keeps behind it.
fn least(synthetic: &Synthetic) -> (u64, String) {
    let board = &synthetic.board;
    if board.minimum_medium.0 > 0 {
        let least = board.minimum_medium;
        let told =
            format!("board `{}` is for media of {} and more (`minimum-medium`)", board.name, least.as_sold());
        return (least.0, told);
    }
    let plan = synthetic.plan();
    let steps = plan["steps"].as_array().expect("steps");
    let number = |step: &Value, key: &str| step[key].as_u64().expect("a number");
    let end = |step: &&Value| number(step, "offset") + number(step, "len");
    let last = steps.iter().max_by_key(|step| end(step)).expect("a step");
    let backup =
        steps.iter().filter(|step| step["name"].as_str().is_some_and(|name| name.starts_with("gpt backup")));
    let backup: u64 = backup.map(|step| number(step, "len")).sum();
    let partitions = steps.iter().filter(|step| step["action"]["number"].is_number());
    let need = partitions.map(|step| end(&step)).max().unwrap_or_else(|| end(&last)) + backup;
    let least = ByteSize(need.next_multiple_of(board.align.0));
    (need, format!("the layout of board `{}` needs {least}", board.name))
}

/// An archive has the size it has.
fn expect_no_size(synthetic: &Synthetic) {
    assert_eq!(
        refusal(synthetic.command(&["--quiet", "plan"]).args(["--size", "1 GiB"])),
        format!(
            "error: board `{}` makes an archive, not a disk: it has no size to choose and goes to no device\n\
             hint: use `assemble` without `--size`",
            synthetic.board.name
        )
    );
}

#[test]
fn a_medium_that_is_one_sector_too_small_is_refused_with_both_numbers() {
    for_every_board(|board, arch| {
        let synthetic = Synthetic::new(board.clone(), arch);
        if synthetic.is_archive() {
            return expect_no_size(&synthetic);
        }
        let (least, need) = least(&synthetic);
        let plan = |len: u64| {
            let mut plan = synthetic.command(&["--quiet", "plan"]);
            plan.args(["--size", &len.to_string()]);
            plan
        };
        run(&mut plan(least));
        let have = ByteSize(least - u64::from(board.sector_size));
        assert_eq!(
            refusal(&mut plan(have.0)),
            format!(
                "error: {need} but the disk has {have}\nhint: use a larger disk, or give a larger `--size`"
            )
        );
    });
}

/// Replaces the file of a blob while `plan` is run, which must refuse it.
fn refused_with(synthetic: &Synthetic, blob: &Blob, change: impl FnOnce(&Path)) -> String {
    let file = synthetic.image(synthetic.file_of(blob).expect("a blob that is a file"));
    let original = fs::read(&file).expect("the file of a blob");
    change(&file);
    let told = refusal(synthetic.command(&["--quiet", "plan"]).args(synthetic.minimum()));
    fs::write(&file, original).expect("the file of a blob");
    told
}

/// As messages show the bytes of a magic.
fn shown(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return format!("\"{}\"", String::from_utf8_lossy(bytes));
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_blob_with_another_magic_is_refused() {
    for_every_board(|board, arch| {
        let synthetic = Synthetic::new(board.clone(), arch);
        for blob in &synthetic.board.blobs {
            let (Some(magic), Some(file)) = (&blob.magic, synthetic.file_of(blob)) else { continue };
            let at = magic.at.0 as usize;
            let other: Vec<u8> = magic.bytes.iter().map(|byte| byte ^ 0xff).collect();
            let told = refused_with(&synthetic, blob, |path| {
                let mut bytes = fs::read(path).expect("the file of a blob");
                bytes[at..at + other.len()].copy_from_slice(&other);
                fs::write(path, bytes).expect("the file of a blob");
            });
            let (name, found, expected) = (&blob.name, shown(&other), shown(&magic.bytes));
            assert_eq!(
                told,
                format!(
                    "error: blob `{name}`: `{file}` has {found} at byte {at} but {expected} is expected\n\
                     hint: check that it was built for this board"
                )
            );
        }
    });
}

/// Blobs with a magic, one board of each magic: what boards of other SoCs are given by mistake.
fn foreign_blobs() -> BTreeMap<Vec<u8>, (String, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for (board, arch) in cases() {
        let synthetic = Synthetic::new(board, arch);
        for blob in &synthetic.board.blobs {
            if let (Some(magic), Some(file)) = (&blob.magic, synthetic.file_of(blob)) {
                let bytes = fs::read(synthetic.image(file)).expect("the file of a blob");
                found.entry(magic.bytes.clone()).or_insert((synthetic.board.name.clone(), bytes));
            }
        }
    }
    found
}

#[test]
fn a_blob_for_another_board_is_refused() {
    let foreign = foreign_blobs();
    assert!(foreign.len() >= 5, "eGON, Rockchip, i.MX, Amlogic, FIT: {:?}", foreign.keys());
    for_every_board(|board, arch| {
        let synthetic = Synthetic::new(board.clone(), arch);
        for blob in &synthetic.board.blobs {
            let (Some(magic), Some(file)) = (&blob.magic, synthetic.file_of(blob)) else { continue };
            for (_, (other, bytes)) in foreign.iter().filter(|(other, _)| **other != magic.bytes) {
                let told = refused_with(&synthetic, blob, |path| {
                    fs::write(path, bytes).expect("the file of a blob");
                });
                let (at, length) = (magic.at.0 as usize, magic.bytes.len());
                let found = bytes.get(at..at + length).map_or("the end of the file".into(), shown);
                let (name, expected) = (&blob.name, shown(&magic.bytes));
                assert_eq!(
                    told,
                    format!(
                        "error: blob `{name}`: `{file}` has {found} at byte {at} but {expected} is expected\n\
                         hint: check that it was built for this board"
                    ),
                    "the blob of {other}"
                );
            }
        }
    });
}

#[test]
fn a_blob_that_is_one_byte_too_long_is_refused_with_both_numbers() {
    for_every_board(|board, arch| {
        let synthetic = Synthetic::new(board.clone(), arch);
        if board.blobs.is_empty() {
            return;
        }
        let starts = starts(&synthetic.plan());
        // What a board cuts off on purpose may be as long as it likes.
        let whole = |blob: &&Blob| blob.length.is_none() && synthetic.file_of(blob).is_some();
        for blob in synthetic.board.blobs.iter().filter(whole) {
            let (room, neighbour) = synthetic.room(blob, &starts);
            let told = refused_with(&synthetic, blob, |file| {
                let file = File::options().write(true).open(file).expect("the file of a blob");
                file.set_len(blob.from.0 + room + 1).expect("the file of a blob");
            });
            let (name, need, have) = (&blob.name, ByteSize(room + 1), ByteSize(room));
            assert_eq!(
                told,
                format!(
                    "error: blob `{name}` needs {need} but has {have} before {neighbour}\n\
                     hint: build a smaller one, or check that it is the right file for this board"
                )
            );
        }
    });
}
