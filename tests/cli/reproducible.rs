//! The same inputs give the same bytes: whatever the machine, the user, the place, the order of directories and
//! the umask of the checkout.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::harness::privilege;
use crate::harness::project::{NAMES, PROGRAM, Project, json, succeed};
use crate::harness::tools::{command, oracle};

/// Digests of the image, its block map and its manifest.
type Digests = Vec<blake3::Hash>;

/// What this command, which composes `out/disk.img` of `project`, makes.
#[track_caller]
fn composed_by(project: &Project, command: &mut Command) -> Digests {
    succeed(command);
    let digest = |name: &&str| {
        let bytes = fs::read(project.path("out").join(name)).unwrap();
        assert!(!bytes.is_empty());
        blake3::hash(&bytes)
    };
    NAMES.iter().map(digest).collect()
}

#[track_caller]
fn composed(project: &Project, more: &[&str]) -> Digests {
    composed_by(project, &mut project.assemble(more))
}

/// A project whose layer has what a checkout can have.
fn project() -> Project {
    let project = Project::new();
    let overlay = "configs/demo/site/root_overlay";
    project.write(&format!("{overlay}/usr/bin/tool"), "#!/bin/sh\n");
    fs::set_permissions(project.path(overlay).join("usr/bin/tool"), fs::Permissions::from_mode(0o755))
        .unwrap();
    symlink("tool", project.path(overlay).join("usr/bin/other")).unwrap();
    for name in ["z", "a", "m", "k"] {
        project.write(&format!("{overlay}/etc/site.d/{name}"), name);
    }
    project
}

#[test]
fn threads_do_not_matter() {
    let project = project();
    let one = composed(&project, &["--threads", "1"]);
    assert_eq!(composed(&project, &["--threads", "4"]), one);
    assert_eq!(composed(&project, &["--threads", "7"]), one);
}

#[test]
fn the_place_of_the_inputs_does_not_matter() {
    let first = project();
    let expected = composed(&first, &[]);
    let parent = tempfile::tempdir().unwrap();
    let deep = Project::below(&parent.path().join("a rather long name with spaces/and more"));
    copy(&first.path("configs"), &deep.path("configs"), Order::Forward);
    assert_eq!(composed(&deep, &[]), expected);
    // Named by absolute paths, from another directory, with an image of another name.
    let absolute = |name: &str| deep.path(name).to_str().unwrap().to_owned();
    let out = absolute("out/other.img");
    let mut command = Command::new(PROGRAM);
    command
        .args(["assemble", "--board", "demo/board", "--config", "demo/site", "--out", &out])
        .current_dir("/");
    command.args(["--boards", &absolute("boards"), "--source", &absolute("output"), "--root", &absolute("")]);
    succeed(command.env("SOURCE_DATE_EPOCH", "1700000000").env("SKIFF_CACHE", "off"));
    assert_eq!(blake3::hash(&fs::read(&out).unwrap()), expected[0]);
    assert_eq!(blake3::hash(&fs::read(format!("{out}.manifest.json")).unwrap()), expected[2]);
}

#[test]
fn the_umask_of_a_checkout_does_not_matter() {
    let original = project();
    let expected = composed(&original, &[]);
    fs::rename(original.path("configs"), original.path("original")).unwrap();
    for umask in ["0002", "0022"] {
        let copy = format!("umask {umask} && cp -r original configs");
        shell(&original, &copy);
        assert_eq!(composed(&original, &["--quiet"]), expected, "{copy}");
        fs::remove_dir_all(original.path("configs")).unwrap();
    }
}

#[test]
fn the_umask_of_a_git_clone_does_not_matter() {
    if !oracle("the_umask_of_a_git_clone_does_not_matter", "git") {
        return;
    }
    let original = project();
    let expected = composed(&original, &[]);
    fs::rename(original.path("configs"), original.path("original")).unwrap();
    shell(
        &original,
        "cd original && git init -q && git add . && \
         git -c user.name=a -c user.email=a@b.invalid commit -q --no-gpg-sign -m all",
    );
    for umask in ["0002", "0022"] {
        shell(&original, &format!("umask {umask} && git clone -q original configs"));
        assert_eq!(composed(&original, &["--quiet"]), expected, "umask {umask}");
        fs::remove_dir_all(original.path("configs")).unwrap();
    }
}

#[test]
fn the_environment_does_not_matter() {
    let project = project();
    let expected = composed(&project, &[]);
    let home = tempfile::tempdir().unwrap();
    for (zone, locale) in [("Pacific/Kiritimati", "tr_TR.UTF-8"), ("America/St_Johns", "POSIX")] {
        let mut command = project.assemble(&[]);
        command.env("TZ", zone).env("LC_ALL", locale).env("LANG", locale).env("TMPDIR", home.path());
        command.env("HOME", home.path()).env("USER", "someone").env("COLUMNS", "40").env("NO_COLOR", "1");
        assert_eq!(composed_by(&project, &mut command), expected, "{zone} {locale}");
    }
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0077; exec \"$@\"", "sh", PROGRAM]);
    let assemble = project.assemble(&[]);
    command.args(assemble.get_args()).current_dir(project.path("")).env("SOURCE_DATE_EPOCH", "1700000000");
    command.env("SKIFF_CACHE", "off");
    assert_eq!(composed_by(&project, &mut command), expected, "umask of the program");
}

#[test]
fn another_user_makes_the_same() {
    if !privilege::root("another_user_makes_the_same") {
        return;
    }
    let project = project();
    let expected = composed(&project, &[]);
    fs::copy(PROGRAM, project.path("program")).unwrap();
    shell(&project, "rm -r out && mkdir out && chown -R 65534:65534 . && chmod 0755 .");
    let assemble = project.assemble(&[]);
    let mut command = Command::new(project.path("program"));
    command.args(assemble.get_args()).current_dir(project.path("")).env("SOURCE_DATE_EPOCH", "1700000000");
    command.env("SKIFF_CACHE", "off").uid(65_534).gid(65_534);
    assert_eq!(composed_by(&project, &mut command), expected);
}

#[test]
fn the_order_of_directories_and_the_times_of_files_do_not_matter() {
    let first = project();
    let expected = composed(&first, &[]);
    let second = Project::new();
    for tree in ["output", "configs", "boards"] {
        fs::remove_dir_all(second.path(tree)).unwrap();
        copy(&first.path(tree), &second.path(tree), Order::Backward);
    }
    assert_eq!(composed(&second, &[]), expected);
}

#[test]
fn without_a_stated_time_there_is_a_fixed_one() {
    let project = project();
    let stated = composed(&project, &["--timestamp", "315532800"]);
    let mut command = project.assemble(&[]);
    assert_eq!(composed_by(&project, command.env_remove("SOURCE_DATE_EPOCH")), stated);
    assert_ne!(composed(&project, &[]), stated, "a stated time is used");
}

#[test]
fn equal_seeds_keep_all_ids_and_different_seeds_change_all() {
    let project = project();
    let ids = |seed: &str| -> Vec<String> {
        let plan = json(&mut project.with_inputs(&["plan"], &["--seed", seed]));
        let steps = plan["steps"].as_array().unwrap();
        let formatted = steps.iter().filter(|step| step["action"]["kind"] == "filesystem");
        // A squashfs has no id.
        let formatted = formatted.filter(|step| step["action"]["filesystem"] != "squashfs");
        let ids = formatted.map(|step| &step["action"]["id"]).chain([&plan["disk"]["id"]]);
        ids.map(|id| id.as_str().unwrap().to_owned()).collect()
    };
    let (one, same, other) = (ids("one"), ids("one"), ids("other"));
    assert_eq!((one.len(), &one), (4, &same));
    let all: BTreeSet<&String> = one.iter().chain(&other).collect();
    assert_eq!(all.len(), 8, "{one:?} {other:?}");

    let image = composed(&project, &["--seed", "one"]);
    assert_eq!(composed(&project, &["--seed", "one"]), image);
    let found = |of: &[String]| {
        let shown = succeed(&mut project.command(&["inspect", "out/disk.img"])).0.to_lowercase();
        of.iter().filter(|id| shown.contains(&id.to_lowercase())).count()
    };
    assert_eq!((found(&one), found(&other)), (4, 0), "the ids of the plan are in the image");
    assert_ne!(composed(&project, &["--seed", "other"])[0], image[0]);
    assert_eq!((found(&one), found(&other)), (0, 4));
    // The command line that is in the boot script names the partition by the id of this disk.
    let script = boot_script(&project.path("out/disk.img"));
    assert!(script.contains(&format!("root=PARTUUID={}-02 ", other[3])), "{script}");
}

/// `boot.cmd` of the first partition.
fn boot_script(image: &Path) -> String {
    let bytes = fs::read(image).unwrap();
    let volume = std::io::Cursor::new(bytes[1 << 20..41 << 20].to_vec());
    let filesystem = fatfs::FileSystem::new(volume, fatfs::FsOptions::new()).unwrap();
    let mut text = String::new();
    filesystem.root_dir().open_file("boot.cmd").unwrap().read_to_string(&mut text).unwrap();
    text
}

/// In which order entries are made.
#[derive(Clone, Copy)]
enum Order {
    Forward,
    Backward,
}

/// Copies a tree; backward, with other times.
fn copy(from: &Path, to: &Path, order: Order) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, from.metadata().unwrap().permissions()).unwrap();
    let mut paths: Vec<PathBuf> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    if matches!(order, Order::Backward) {
        paths.reverse();
    }
    for path in paths {
        let new = to.join(path.file_name().unwrap());
        if path.is_symlink() {
            symlink(fs::read_link(&path).unwrap(), new).unwrap();
        } else if path.is_dir() {
            copy(&path, &new, order);
        } else {
            fs::copy(&path, &new).unwrap();
            if matches!(order, Order::Backward) {
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
                File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
            }
        }
    }
}

fn shell(project: &Project, script: &str) {
    let status = command("sh").args(["-e", "-c", script]).current_dir(project.path("")).status().unwrap();
    assert!(status.success(), "{script}");
}
