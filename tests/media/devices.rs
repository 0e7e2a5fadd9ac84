//! `devices` as a user runs it, against what `lsblk` says of the same machine.

use std::collections::BTreeMap;
use std::process::Command;

use crate::harness::loopdev::{LoopDevice, run};
use crate::harness::machine;
use crate::harness::skip::skip;
use crate::harness::tools;
use crate::harness::tools::{command, oracle};
use serde_json::Value;

const MIB: u64 = 1 << 20;

fn skiff_image(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_skiff-image")).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).expect("text")
}

fn listed() -> BTreeMap<String, Value> {
    let document: Value = serde_json::from_str(&skiff_image(&["--json", "devices"])).expect("JSON");
    let devices = document["devices"].as_array().expect("devices").clone();
    devices.into_iter().map(|device| (device["name"].as_str().expect("a name").to_owned(), device)).collect()
}

/// Devices come and go while other programs run: only what is there before and after counts, and who has one
/// attached again between the two is not met twenty times.
#[test]
fn the_disks_of_this_machine_are_those_of_lsblk() {
    let test = "the_disks_of_this_machine_are_those_of_lsblk";
    if !oracle(test, "lsblk") {
        return;
    }
    let by_lsblk = || -> BTreeMap<String, Value> {
        let columns = "NAME,SIZE,LOG-SEC,RM,RO,MAJ:MIN,TYPE,MOUNTPOINTS";
        let mut lsblk = command("lsblk");
        let (_, text) = run(lsblk.args(["--json", "--bytes", "--nodeps", "--all", "--output", columns]));
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let disks = document["blockdevices"].as_array().expect("disks").clone();
        disks.into_iter().map(|disk| (disk["name"].as_str().expect("a name").to_owned(), disk)).collect()
    };
    let Some(_attached) = LoopDevice::new(test, 3 * MIB, &["--sector-size", "4096"]) else { return };
    let compare = || {
        let _lease = machine::loop_devices();
        let (before, ours, after) = (by_lsblk(), listed(), by_lsblk());
        let same = |(name, disk): &(&String, &Value)| after.get(*name) == Some(*disk);
        // An empty one may have been attached meanwhile.
        let there: Vec<_> = before.iter().filter(same).filter(|(_, disk)| disk["size"] != 0).collect();
        assert!(!there.is_empty());
        there.into_iter().find_map(|(name, theirs)| difference(name, theirs, ours.get(name)))
    };
    let mut found = None;
    let agree = (0..20).any(|_| {
        found = compare();
        found.is_none()
    });
    assert!(agree, "{found:?}");
}

/// What of a disk we list otherwise than `lsblk`.
fn difference(name: &str, theirs: &Value, own: Option<&Value>) -> Option<String> {
    let Some(own) = own else { return Some(format!("`{name}` is not listed")) };
    let pairs = [("len", "size"), ("sector_size", "log-sec"), ("removable", "rm"), ("number", "maj:min")];
    let mut differing = pairs.into_iter().filter(|(key, column)| own[*key] != theirs[*column]);
    let mounted = theirs["mountpoints"].as_array().expect("a list").iter().any(Value::is_string);
    let may_be_written = !(mounted || theirs["ro"] == true) || own["eligible"] == false;
    (differing.next().is_some() || !may_be_written).then(|| format!("{name}: {own} is not {theirs}"))
}

#[test]
fn a_device_is_told_with_its_token_or_why_it_is_not_written() {
    let test = "a_device_is_told_with_its_token_or_why_it_is_not_written";
    let Some(free) = LoopDevice::new(test, 3 * MIB, &[]) else { return };
    let Some(locked) = LoopDevice::new(test, 3 * MIB, &["--read-only"]) else { return };
    let text = skiff_image(&["devices"]);
    let (path, file) = (free.path.display(), free.file.path().display());
    let name = free.path.file_name().expect("a name").to_string_lossy();
    let token = listed()[&*name]["token"].as_str().expect("a token").to_owned();
    let told = format!("{path}: {file}, 3 MiB, loop, no partitions\n  may be written, token {token}\n");
    assert!(format!("{text}\n").contains(&told), "{text}");
    let (path, file) = (locked.path.display(), locked.file.path().display());
    let told = format!(
        "{path}: {file}, 3 MiB, loop, no partitions\n  is not written: it is read-only\n  \
         hint: slide the lock of the card, or choose another disk\n"
    );
    assert!(text.contains(&told), "{text}");
    let name = locked.path.file_name().expect("a name").to_string_lossy();
    let reason = &listed()[&*name]["reasons"][0];
    assert_eq!(reason["reason"], "it is read-only");
    assert_eq!(reason["hint"], "slide the lock of the card, or choose another disk");
    assert_eq!(reason["force"], Value::Null);
}

/// A partition and its neighbour are mounted: both are told, and the disk of neither is written.
#[test]
fn all_that_is_mounted_of_a_disk_is_told() {
    let test = "all_that_is_mounted_of_a_disk_is_told";
    if !["addpart", "delpart", "mke2fs", "mount"].iter().all(|tool| oracle(test, tool)) {
        return;
    }
    let Some(disk) = LoopDevice::new(test, 16 * MIB, &["--partscan", "--sector-size", "4096"]) else {
        return;
    };
    let (path, file) = (disk.path.display(), disk.file.path().display());
    for (number, start) in [("1", "2048"), ("2", "10240")] {
        run(command("addpart").arg(&disk.path).args([number, start, "8192"]));
        if !std::path::Path::new(&format!("{path}p{number}")).exists() {
            skip(test, "loop devices have no partitions here");
            return;
        }
    }
    let at = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory");
    let points = ["a", "bb"].map(|name| at.path().join(name));
    for (number, point) in ["1", "2"].iter().zip(&points) {
        std::fs::create_dir(point).expect("mount point");
        let partition = format!("{path}p{number}");
        assert!(run(command("mke2fs").args(["-q", "-t", "ext4"]).arg(&partition)).0);
        assert!(run(command("mount").args(["-o", "ro"]).arg(&partition).arg(point)).0);
    }
    let text = skiff_image(&["devices"]);
    points.iter().for_each(|point| assert!(tools::unmount(point)));
    run(command("delpart").arg(&disk.path).arg("1"));
    run(command("delpart").arg(&disk.path).arg("2"));
    let [first, second] = points.map(|point| point.display().to_string());
    let name = disk.path.file_name().expect("a name").to_string_lossy();
    let told = format!(
        "{path}: {file}, 16 MiB, loop, sectors of 4096 bytes, has {name}p1, {name}p2\n  is not written: `{path}p1` is \
         mounted on `{first}`\n  hint: umount `{first}` if this is the right disk, or give `--force mounted`\n  \
         `{path}p2` is mounted on `{second}`\n"
    );
    assert!(text.contains(&told), "{text}\n{told}");
}
