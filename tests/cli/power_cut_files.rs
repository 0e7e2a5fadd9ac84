//! The power fails at every moment of `assemble`: under the name of the image there is the old one, the new one or
//! none, never half of one, and no block map or manifest of another image beside it.
//!
//! What the program asks the system for is recorded by `strace`, and cut by the rules that filesystems keep: the
//! bytes of a file are durable after its `fsync`, names after the `fsync` of their directory; until then any of the
//! changes of names can have happened, as long as one that another one needs has too. That is less than ext4, XFS
//! and Btrfs promise, which keep changes of names in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;

use crate::harness::project::{INPUTS, NAMES, PROGRAM, Project, succeed};
use crate::harness::tools::{command, oracle};

/// A file: one that was there before, or by the number of its inode.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum File {
    Old,
    New(String),
}

/// What the program asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Operation {
    Write(String),
    Sync(String),
    Link { file: String, name: String },
    Rename { from: String, to: String },
    Unlink(String),
    SyncDirectory,
}

use Operation::{Link, Rename, Sync, SyncDirectory, Unlink};

type Names = BTreeMap<String, File>;

/// The lines of a trace as if each call was one.
fn joined(trace: &str) -> Vec<String> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').expect("a thread and a call");
        let call = call.trim_start();
        if let Some(start) = call.strip_suffix("<unfinished ...>") {
            begun.insert(thread, start);
        } else if let Some((_, rest)) =
            call.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"))
        {
            calls.push(format!("{}{rest}", begun.remove(thread).expect("it was begun")));
        } else {
            calls.push(call.into());
        }
    }
    calls
}

/// What stands between quotation marks.
fn quoted(call: &str) -> Vec<&str> {
    call.split('"').skip(1).step_by(2).collect()
}

/// The path that a descriptor at the start of a text leads to.
fn path(text: &str) -> Option<&str> {
    Some(text.split_once('<')?.1.split_once('>')?.0)
}

/// The name of a file in the directory of the image.
fn name(path: &str) -> Option<String> {
    path.strip_prefix("out/").map(str::to_owned)
}

/// The inode of a file that was opened without a name in the directory of the image.
fn unnamed(path: &str) -> Option<String> {
    let (directory, name) = path.rsplit_once('/')?;
    (directory.ends_with("/out") && name.starts_with('#')).then(|| name.to_owned())
}

/// What a trace says about the directory of the image.
fn operations(trace: &str) -> Vec<Operation> {
    let mut descriptors: BTreeMap<String, String> = BTreeMap::new();
    let mut operations = Vec::new();
    for call in joined(trace).iter().filter(|call| !call.contains(" = -1 ")) {
        let Some((verb, arguments)) = call.split_once('(') else { continue };
        let on = path(arguments).and_then(unnamed);
        match (verb, &quoted(arguments)[..]) {
            ("open" | "openat", _) => {
                let opened = arguments.rsplit_once(" = ").map_or("", |(_, result)| result);
                let number = opened.split('<').next().unwrap_or_default();
                if let Some(file) = path(opened).and_then(unnamed) {
                    descriptors.insert(format!("/proc/self/fd/{number}"), file);
                }
            }
            ("fsync" | "fdatasync", _) => match on {
                Some(file) => operations.push(Sync(file)),
                None if path(arguments).is_some_and(|path| path.ends_with("/out")) => {
                    operations.push(SyncDirectory);
                }
                None => {}
            },
            ("linkat", [from, to]) => {
                let (file, to) = (descriptors.get(*from), name(to));
                operations.extend(file.zip(to).map(|(file, name)| Link { file: file.clone(), name }));
            }
            ("rename" | "renameat" | "renameat2", [from, to]) => {
                operations.extend(name(from).zip(name(to)).map(|(from, to)| Rename { from, to }));
            }
            ("unlink" | "unlinkat", [path]) => operations.extend(name(path).map(Unlink)),
            _ => operations.extend(on.map(Operation::Write)),
        }
    }
    operations
}

/// Applies a change of names; none if it needs another one that has not happened.
fn apply(names: &mut Names, operation: &Operation) -> Option<()> {
    match operation {
        Link { file, name } => drop(names.insert(name.clone(), File::New(file.clone()))),
        Rename { from, to } => {
            let file = names.remove(from)?;
            names.insert(to.clone(), file);
        }
        Unlink(name) => drop(names.remove(name)?),
        _ => {}
    }
    Some(())
}

/// What can be in the directory if some of the last changes of names are durable.
fn survivors(durable: &Names, pending: &[&Operation]) -> Vec<Names> {
    assert!(pending.len() < 12, "the directory is synced often enough: {pending:?}");
    let some = |bits: u32| {
        let mut names = durable.clone();
        let kept = pending.iter().enumerate().filter(|(index, _)| bits >> index & 1 == 1);
        kept.map(|(_, operation)| apply(&mut names, operation)).collect::<Option<()>>()?;
        Some(names)
    };
    (0..1 << pending.len()).filter_map(some).collect()
}

/// What is wrong with a directory; `half` are the files whose bytes are not durable.
fn judge(names: &Names, half: &BTreeSet<String>) -> Option<String> {
    let of = |name: &str| names.iter().find(|(found, _)| *found == name).map(|(_, file)| file);
    for (name, file) in names.iter().filter(|(name, _)| !name.starts_with('.')) {
        match file {
            File::New(file) if half.contains(file) => return Some(format!("`{name}` is half there")),
            _ => {}
        }
        let same = of(NAMES[0]).map(|image| *image == File::Old) == Some(*file == File::Old);
        if !same {
            return Some(format!("`{name}` belongs to another image"));
        }
    }
    None
}

/// Numbers of cuts and states, and what is wrong.
fn cut(before: &Names, operations: &[Operation]) -> (usize, usize, Vec<String>) {
    let (mut states, mut failures) = (0, Vec::new());
    let (mut durable, mut pending, mut half) = (before.clone(), Vec::new(), BTreeSet::new());
    for (count, operation) in operations.iter().enumerate() {
        match operation {
            Operation::Write(file) => drop(half.insert(file.clone())),
            Sync(file) => drop(half.remove(file)),
            SyncDirectory => {
                pending.drain(..).for_each(|done| apply(&mut durable, done).expect("in its order"));
            }
            change => pending.push(change),
        }
        for names in survivors(&durable, &pending) {
            states += 1;
            failures.extend(judge(&names, &half).map(|what| format!("after {count} {operation:?}: {what}")));
        }
    }
    (operations.len() + 1, states, failures)
}

/// What `assemble` asks for in a project.
fn record(project: &Project) -> Vec<Operation> {
    let trace = project.path("trace");
    let calls = "open,openat,linkat,rename,renameat,renameat2,unlink,unlinkat,fsync,fdatasync,ftruncate,fallocate,write,\
                 writev,pwrite64,pwritev,pwritev2,copy_file_range,sendfile";
    let mut strace = command("strace");
    strace.args(["-f", "-y", "-s", "0", "-e", &format!("trace={calls}"), "-o"]).arg(&trace).arg(PROGRAM);
    strace.args(["assemble", "--quiet", "--zst", "--out", "out/disk.img"]).args(INPUTS);
    strace.current_dir(project.path("")).env("SOURCE_DATE_EPOCH", "1700000000").env("SKIFF_CACHE", "off");
    succeed(&mut strace);
    operations(&fs::read_to_string(trace).expect("a trace"))
}

/// Fails unless the program did what a program that writes an image must do.
fn expect_recorded(operations: &[Operation]) {
    let count = |is: fn(&Operation) -> bool| operations.iter().filter(|operation| is(operation)).count();
    assert_eq!(count(|operation| matches!(operation, Link { .. })), 4, "{operations:?}");
    assert!(count(|operation| matches!(operation, Operation::Write(_))) > 10);
    assert!(count(|operation| matches!(operation, Sync(_))) > 4);
}

#[test]
fn an_image_is_never_half_there_nor_beside_what_belongs_to_another() {
    let test = "an_image_is_never_half_there_nor_beside_what_belongs_to_another";
    if !oracle(test, "strace") {
        return;
    }
    let project = Project::new();
    let (mut before, mut replacing) = (Names::new(), Vec::new());
    for what in ["a new image", "an image that replaces another"] {
        let operations = record(&project);
        expect_recorded(&operations);
        let (points, states, failures) = cut(&before, &operations);
        let count = failures.len();
        _ = writeln!(std::io::stderr(), "{what}: {points} cut points, {states} states; {count} failures");
        assert!(failures.is_empty(), "{what}: {failures:#?}\n{operations:#?}");
        let listed = project.listing("out");
        let names = listed.keys().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
        (before, replacing) = (names.map(|name| (name, File::Old)).collect(), operations);
    }
    assert_eq!(before.len(), 4, "nothing is left: {before:?}");

    // The same without one kind of operation each.
    let fails_without = |what: &str, left_out: &dyn Fn(&Operation) -> bool| {
        let rest: Vec<Operation> =
            replacing.iter().filter(|operation| !left_out(operation)).cloned().collect();
        assert!(rest.len() < replacing.len() && !cut(&before, &rest).2.is_empty(), "without {what}");
    };
    fails_without("syncs of files", &|operation| matches!(operation, Sync(_)));
    fails_without("syncs of the directory", &|operation| *operation == SyncDirectory);
    fails_without("removing what is old", &|operation| matches!(operation, Unlink(_)));
}
