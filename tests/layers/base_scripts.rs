//! The scripts and units of the base system: run for real, in namespaces of their own, on media of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::harness::loopdev;
use crate::harness::loopdev::LoopDevice;
use crate::harness::privilege::root;
use crate::harness::project::{Project, succeed};
use crate::harness::sandbox::{Said, Sandbox, label, persist};
use crate::harness::tools::{command, oracle, write_script};
use skiff_image::tree::display;
use skiff_image::tree::overlay::Overlay;

/// Every file below a directory of the project.
fn files(directory: &str) -> Vec<PathBuf> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// The shell of a script: by its first line, or `sh` for what is only sourced.
fn shell(path: &Path) -> Option<&'static str> {
    let text = fs::read(path).unwrap();
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let sourced = path.extension().is_some_and(|extension| extension == "sh");
    match first {
        b"#!/bin/sh" => Some("sh"),
        b"#!/usr/bin/env bash" => Some("bash"),
        _ => sourced.then_some("sh"),
    }
}

fn scripts() -> Vec<(PathBuf, &'static str)> {
    let files = files("configs").into_iter().chain(files("fixtures"));
    let scripts: Vec<_> = files.filter_map(|path| shell(&path).map(|shell| (path, shell))).collect();
    assert!(scripts.len() > 25, "{scripts:?}");
    scripts
}

#[test]
fn shells_and_shellcheck_accept_every_script() {
    let test = "shells_and_shellcheck_accept_every_script";
    for (path, shell) in scripts() {
        if oracle(test, shell) {
            assert!(command(shell).arg("-n").arg(&path).status().unwrap().success(), "{}", path.display());
        }
    }
    if !oracle(test, "shellcheck") {
        return;
    }
    for (path, shell) in scripts() {
        // What is sourced is checked by itself; a board's hook sets variables for who sources it.
        let hook = path.to_str().unwrap().contains("/mount-all.pre.d/");
        let exclude = if hook { "SC1091,SC2034" } else { "SC1091" };
        let mut shellcheck = command("shellcheck");
        shellcheck.args(["--external-sources", "--exclude", exclude, "--shell", shell]).arg(&path);
        let (ok, said) = loopdev::run(shellcheck.current_dir(env!("CARGO_MANIFEST_DIR")));
        assert!(ok, "{said}");
    }
}

#[test]
fn every_script_stops_at_errors_and_at_unset_variables() {
    for (path, _) in scripts() {
        let text = fs::read_to_string(&path).unwrap();
        let strict = text.lines().any(|line| line.starts_with("set -eu"));
        let sourced = !text.starts_with("#!");
        assert!(strict || sourced, "{}", path.display());
        assert!(!text.contains("|| true\n") || path.starts_with(fixtures()), "{}", path.display());
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// What is wrong with the units of a system of the machine's own units and ours.
fn verify_units(change: impl Fn(&Path)) -> String {
    let root = tempfile::tempdir().unwrap();
    let units = root.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&units).unwrap();
    let overlay = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/skiff/standard/root_overlay");
    let parent = units.parent().unwrap();
    for (from, to) in [(Path::new("/usr/lib/systemd/system"), parent), (&overlay.join("usr"), root.path())] {
        assert!(command("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    }
    assert!(command("cp").arg("-a").arg(overlay.join("opt")).arg(root.path()).status().unwrap().success());
    change(&units);
    let mut verify = command("systemd-analyze");
    verify.arg("verify").arg(format!("--root={}", root.path().display())).arg("multi-user.target");
    let own =
        fs::read_dir(overlay.join("usr/lib/systemd/system")).unwrap().map(|entry| entry.unwrap().file_name());
    let services = own.filter(|name| name.to_str().unwrap().ends_with(".service"));
    let (_, said) = loopdev::run(verify.args(services));
    // The machine's own units want programs that are not in this root.
    said.lines()
        .filter(|line| line.contains("skiff") || line.contains("cycle"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn systemd_accepts_the_units_and_finds_no_circle() {
    if !oracle("systemd_accepts_the_units_and_finds_no_circle", "systemd-analyze") {
        return;
    }
    assert_eq!(verify_units(|_| ()), "");
    let circle = verify_units(|units| {
        let persist = units.join("skiff-persist.service");
        let text = fs::read_to_string(&persist).unwrap();
        fs::write(&persist, text.replace("\nAfter=", "\nAfter=systemd-journald.service ")).unwrap();
    });
    assert!(circle.contains("ordering cycle"), "{circle}");
    let missing = verify_units(|units| {
        let persist = units.join("skiff-persist.service");
        let text = fs::read_to_string(&persist).unwrap();
        fs::write(&persist, text.replace("mount-persist.sh", "none.sh")).unwrap();
    });
    assert!(missing.contains("none.sh is not executable"), "{missing}");
}

#[test]
fn every_step_of_mount_all_has_a_unit_and_the_other_way_round() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/skiff/standard/root_overlay");
    let text = fs::read_to_string(base.join("opt/skiff/scripts/mount-all.sh")).unwrap();
    let line =
        text.lines().find_map(|line| line.strip_prefix("for script in ")?.strip_suffix("; do")).unwrap();
    let mut steps: Vec<String> =
        line.split(' ').map(|step| format!("/opt/skiff/scripts/{step}.sh")).collect();
    steps.sort();
    let units = fs::read_dir(base.join("usr/lib/systemd/system")).unwrap().map(|entry| entry.unwrap().path());
    // What shows the status of the others is not one of them.
    let is_step = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "service")
            && !path.ends_with("skiff-status.service")
    };
    let services = units.filter(is_step);
    let mut started: Vec<String> = Vec::new();
    for path in services {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("\nTimeoutStartSec=") && text.contains("+console\n"), "{text}");
        started.extend(text.lines().filter_map(|line| Some(line.strip_prefix("ExecStart=")?.into())));
    }
    started.sort();
    // What all steps source makes it if no unit has.
    started.retain(|script| script != "/opt/skiff/scripts/read-settings.sh");
    assert_eq!(started, steps);
}

/// Whether namespaces and media can be made here.
fn can_run(test: &str) -> bool {
    root(test)
        && oracle(test, "unshare")
        && oracle(test, "sshd")
        && oracle(test, "mke2fs")
        && oracle(test, "busybox")
}

fn assert_failed(said: &Said, stderr: &str) {
    assert_eq!((said.stderr.as_str(), said.code), (stderr, 1), "{}", said.stdout);
}

fn assert_silent(said: &Said) {
    assert_eq!((said.stderr.as_str(), said.code), ("", 0), "{}", said.stdout);
}

#[test]
fn a_missing_medium_is_told_within_its_bound() {
    if !can_run("a_missing_medium_is_told_within_its_bound") {
        return;
    }
    let sandbox = Sandbox::new(&[]);
    sandbox.write("etc/skiff/mount.env", "PERSIST_DEVICE=LABEL=no-such-label\nPERSIST_WAIT=2\n");
    let begun = Instant::now();
    let said = sandbox.step("mount-persist");
    let took = begun.elapsed().as_secs_f64();
    assert_failed(
        &said,
        "skiff: mount-persist: no device LABEL=no-such-label for /mnt/persist after 2 s\n\
         hint: check the medium and its label (blkid), or set the device in /opt/skiff/scripts/mount-all.pre.d\n",
    );
    assert!(took >= 2.0, "{took} s");

    sandbox.write("etc/skiff/mount.env", "WAIT_PATHS_EXIST=/dev/no-such\nWAIT_PATHS_SECONDS=1\n");
    assert_failed(
        &sandbox.step("mount-persist"),
        "skiff: mount-persist: no /dev/no-such after 1 s\n\
         hint: correct WAIT_PATHS_EXIST in /opt/skiff/scripts/mount-all.pre.d\n",
    );
    for step in ["identity", "etc", "journal", "network", "grow"] {
        assert_failed(
            &sandbox.step(step),
            &format!(
                "skiff: {step}: /mnt/persist is not mounted\n\
                 hint: see what skiff-persist.service says; without it nothing is kept\n"
            ),
        );
    }
}

#[test]
fn a_medium_that_cannot_be_mounted_is_told() {
    if !can_run("a_medium_that_cannot_be_mounted_is_told") {
        return;
    }
    let Some(device) = LoopDevice::new("a_medium_that_cannot_be_mounted_is_told", 1 << 20, &[]) else {
        return;
    };
    let sandbox = Sandbox::new(&[]);
    let name = device.path.to_str().unwrap();
    sandbox.choose_persist(name);
    let said = sandbox.step("mount-persist");
    let told = format!(
        "skiff: mount-persist: {name} cannot be mounted on /mnt/persist\nhint: check the filesystem: fsck -n {name}\n"
    );
    assert!(said.code == 1 && said.stderr.ends_with(&told), "{}", said.stderr);
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqsZ6zFZ1mGZsl2EBmaU5mXKqYN0kW3aSxbtIZyNfHP me@home";

/// Mounts persist alone, puts things there, and unmounts it.
fn seed(sandbox: &Sandbox, text: &str) {
    assert_silent(
        &sandbox.run(&format!("set -eu\n/opt/skiff/scripts/mount-persist.sh\ncd /mnt/persist\n{text}")),
    );
}

/// What stays: digests of all files with their modes and owners.
const STATE: &str = "host find /mnt/persist /etc /root -xdev -type f ! -path '*/blkid*' ! -path '*/journal/*' \
    -printf '%m %u:%g %p ' -exec sha256sum {} ';' | sort";

#[test]
fn a_first_boot_a_second_run_and_a_second_boot() {
    let test = "a_first_boot_a_second_run_and_a_second_boot";
    if !can_run(test) {
        return;
    }
    let label = label("first");
    let Some(_device) = persist(test, &label) else { return };
    let sandbox = Sandbox::new(&[]);
    sandbox.choose_persist(&format!("LABEL={label}"));
    sandbox.write("etc/skiff-release", "VERSION=1\nBUILD_DATE=\"2020-01-02 03:04:05\"\n");
    sandbox.write("etc/NetworkManager/system-connections/image.nmconnection", "[connection]\n");
    sandbox.write_script("opt/skiff/scripts/mount-all.d/90-last.sh", "echo \"extra in $PERSIST_ROOT\"");
    seed(
        &sandbox,
        &format!(
            "umask 000\nmkdir -p skiff/keys skiff/connections skiff/etc/app skiff/ssh/sshd_config.d\n\
             printf '{KEY}' >skiff/keys/me.pub\necho device-1 >skiff/hostname\n\
             echo '[wifi]' >skiff/connections/home.nmconnection\necho mine >skiff/etc/app/conf\n\
             echo 'ClientAliveInterval 17' >skiff/ssh/sshd_config.d/alive.conf"
        ),
    );
    let twice = format!(
        "set -eu\n/opt/skiff/scripts/mount-all.sh\n{STATE} >/tmp/one\n/opt/skiff/scripts/mount-all.sh\n{STATE} >/tmp/two\n\
         cmp /tmp/one /tmp/two\nhostname\ncat /etc/hosts\nsshd -T | grep -i clientaliveinterval\n\
         stat -c '%a %n' /root/.ssh/authorized_keys /etc/ssh/ssh_host_*_key /etc/NetworkManager/system-connections/*\n\
         cat /root/.ssh/authorized_keys /etc/app/conf\nmountpoint /mnt/rootfs\nmountpoint /var/log/journal\n\
         ls /mnt/persist/skiff/connections\ncat /etc/machine-id"
    );
    let said = sandbox.run(&twice);
    assert_silent(&said);
    let (told, machine_id) = said.stdout.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(
        told,
        format!(
            "extra in /mnt/persist\nextra in /mnt/persist\ndevice-1\n\
             127.0.0.1\tlocalhost\n127.0.1.1\tdevice-1\nclientaliveinterval 17\n\
             600 /root/.ssh/authorized_keys\n600 /etc/ssh/ssh_host_ecdsa_key\n600 /etc/ssh/ssh_host_ed25519_key\n\
             600 /etc/ssh/ssh_host_rsa_key\n600 /etc/NetworkManager/system-connections/home.nmconnection\n\
             600 /etc/NetworkManager/system-connections/image.nmconnection\n{KEY}\nmine\n\
             /mnt/rootfs is a mountpoint\n/var/log/journal is a mountpoint\nhome.nmconnection"
        )
    );
    assert!(machine_id.len() == 32, "{machine_id}");

    let host_keys = "sha256sum </etc/ssh/ssh_host_ed25519_key";
    let first = sandbox.run(host_keys).stdout;
    let again = Sandbox::new(&[]);
    again.choose_persist(&format!("LABEL={label}"));
    let said = again.run(&format!("/opt/skiff/scripts/mount-all.sh && cat /etc/machine-id && {host_keys}"));
    assert_eq!((said.stdout, said.stderr.as_str()), (format!("{machine_id}\n{first}"), ""));
}

/// The fourth partition of an image, as a block device.
fn fourth_partition(test: &str, image: &Path) -> Option<LoopDevice> {
    let (_, table) = loopdev::run(command("sfdisk").arg("--json").arg(image));
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    let partition = &table["partitiontable"]["partitions"][3];
    let bytes = |key: &str| (partition[key].as_u64().unwrap() * 512).to_string();
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::copy(image, file.path()).unwrap();
    LoopDevice::over(test, file, &["--offset", &bytes("start"), "--sizelimit", &bytes("size")])
}

#[test]
fn what_an_image_was_given_for_its_first_boot_is_taken() {
    let test = "what_an_image_was_given_for_its_first_boot_is_taken";
    if !can_run(test) || !oracle(test, "sfdisk") {
        return;
    }
    let project = Project::new();
    project.write("me.pub", KEY);
    succeed(
        project
            .assemble(&["--ssh-key", "me.pub", "--hostname", "robot-7", "--wifi", "Lab", "--wifi-open"])
            .env("TZ", "UTC"),
    );
    let Some(device) = fourth_partition(test, &project.path("out/disk.img")) else { return };
    let sandbox = Sandbox::new(&[]);
    sandbox.choose_persist(device.path.to_str().unwrap());
    let said = sandbox.run(
        "set -e\n/opt/skiff/scripts/mount-all.sh\nhostname\ncat /root/.ssh/authorized_keys\n\
         cd /etc/NetworkManager/system-connections\nstat -c '%a %u' *\ngrep -c 'ssid=Lab' *",
    );
    assert_eq!((said.stdout, said.stderr.as_str()), (format!("robot-7\n{KEY}\n600 0\n1\n"), ""));
}

#[test]
fn the_default_host_name_is_not_kept() {
    let test = "the_default_host_name_is_not_kept";
    if !can_run(test) {
        return;
    }
    let label = label("name");
    let Some(_device) = persist(test, &label) else { return };
    let sandbox = Sandbox::new(&[]);
    sandbox.choose_persist(&format!("LABEL={label}"));
    sandbox.write("etc/hostname", "skiff\n");
    let steps = "/opt/skiff/scripts/mount-persist.sh && /opt/skiff/scripts/identity.sh";
    assert_silent(&sandbox.run(&format!("{steps} && test ! -e /mnt/persist/skiff/hostname")));
    seed(&sandbox, "echo 'not_a_name' >skiff/hostname\necho broken >skiff/machine-id");
    let said = sandbox.run(steps);
    assert_failed(
        &said,
        "skiff: identity: /mnt/persist/skiff/machine-id is damaged and is replaced\n\
         hint: nothing to do: old journals stay under the old id\n\
         skiff: identity: /mnt/persist/skiff/hostname: `not_a_name` is no host name\n\
         hint: use 1 to 64 letters, digits, dots and hyphens\n",
    );
}

#[test]
fn wrong_keys_and_a_wrong_configuration_lock_nobody_out() {
    let test = "wrong_keys_and_a_wrong_configuration_lock_nobody_out";
    if !can_run(test) {
        return;
    }
    let label = label("keys");
    let Some(_device) = persist(test, &label) else { return };
    let sandbox = Sandbox::new(&[]);
    sandbox.choose_persist(&format!("LABEL={label}"));
    assert_eq!(
        sandbox.run("/opt/skiff/scripts/mount-persist.sh && /opt/skiff/scripts/authorized-keys.sh").stderr,
        "skiff: authorized-keys: nobody can log in over ssh: put a public key into /mnt/persist/skiff/keys\n"
    );
    seed(
        &sandbox,
        &format!(
            "mkdir -p skiff/ssh/sshd_config.d\necho nonsense >skiff/keys/a.pub\necho '{KEY}' >skiff/keys/b.pub\n\
             echo 'restrict,pty {KEY}' >skiff/keys/c.pub\n\
             echo 'Port none' >skiff/ssh/sshd_config.d/port.conf\ntouch skiff/ssh/sshd_config"
        ),
    );
    let said = sandbox.run("/opt/skiff/scripts/mount-persist.sh && /opt/skiff/scripts/authorized-keys.sh");
    assert_failed(
        &said,
        "skiff: authorized-keys: /mnt/persist/skiff/keys/a.pub is no public key and is left out\n\
         hint: copy the .pub file that ssh-keygen made\n",
    );
    let keys = fs::read_to_string(sandbox.path("root/.ssh/authorized_keys")).unwrap();
    assert_eq!(keys, format!("{KEY}\nrestrict,pty {KEY}\n"));
    let said = sandbox.run("/opt/skiff/scripts/mount-persist.sh && /opt/skiff/scripts/ssh-server.sh; status=$?\nsshd -t; exit $status");
    let (before, after) = said.stderr.split_once("which is left out: ").unwrap();
    assert_eq!(
        before,
        "skiff: ssh-server: /mnt/persist/skiff/ssh/sshd_config is not read: put what differs from /etc/ssh/sshd_config \
         into sshd_config.d/*.conf there\n\
         skiff: ssh-server: sshd does not accept /mnt/persist/skiff/ssh/sshd_config.d, "
    );
    let hint = "hint: correct it and run systemctl restart skiff-ssh sshd\n";
    assert!(said.code == 1 && after.contains("00-persist-port.conf") && after.ends_with(hint), "{after}");
}

#[test]
fn scripts_of_layers_are_bounded_and_all_are_run() {
    let test = "scripts_of_layers_are_bounded_and_all_are_run";
    if !can_run(test) {
        return;
    }
    let sandbox = Sandbox::new(&[]);
    sandbox.write("etc/skiff/mount.env", "EXTRA_SCRIPT_WAIT=1\n");
    let directory = "/opt/skiff/scripts/mount-all.d";
    sandbox.write_script(&format!("{directory}/10-hangs.sh")[1..], "sleep 100");
    sandbox.write_script(&format!("{directory}/20-fails.sh")[1..], "exit 7");
    sandbox.write_script(&format!("{directory}/25-killed.sh")[1..], "kill -TERM $$");
    sandbox.write_script(&format!("{directory}/30-works.sh")[1..], "echo \"$ROOTFS_MNT\"");
    let said = sandbox.step("extra-scripts");
    assert_failed(
        &said,
        &format!(
            "skiff: extra-scripts: {directory}/10-hangs.sh was stopped after 1 s\n\
             hint: set EXTRA_SCRIPT_WAIT in /etc/skiff/mount.env if it needs longer\n\
             skiff: extra-scripts: {directory}/20-fails.sh failed with status 7\n\
             hint: run it by hand: what it wrote is above\n\
             skiff: extra-scripts: {directory}/25-killed.sh failed with status 143\n\
             hint: run it by hand: what it wrote is above\n"
        ),
    );
    assert_eq!(said.stdout, "/mnt/rootfs\n");
    let env = fs::read_to_string(sandbox.path("etc/skiff/env")).unwrap();
    assert!(env.contains("PERSIST_DEVICE=\"LABEL=persist\"\n"), "{env}");
}

#[test]
fn hooks_are_run_once_and_one_that_is_wrong_changes_nothing() {
    let test = "hooks_are_run_once_and_one_that_is_wrong_changes_nothing";
    if !can_run(test) {
        return;
    }
    let sandbox = Sandbox::new(&[]);
    let hooks = "opt/skiff/scripts/mount-all.pre.d";
    sandbox.write("etc/skiff/mount.env", "PERSIST_WAIT=7\nROOTFS_MNT=/mnt/it\\'s\n");
    let array =
        "echo run >>/tmp/runs\nWAIT_PATHS_EXIST=(/dev/a \"/dev/b\")\n[[ $SKIFF_RUN_INIT_ACTIONS == true ]]\n";
    sandbox.write(&format!("{hooks}/10-array.sh"), array);
    for (name, text) in [
        ("20-wrong", "BOOT_MNT=/wrong\nfalse\n"),
        ("30-syntax", "BOOT_MNT=/wrong\nif true\n"),
        ("40-exit", "BOOT_MNT=/wrong\nexit 0\n"),
        ("50-right", "PERSIST_WAIT=$((PERSIST_WAIT + 1))\n"),
    ] {
        sandbox.write(&format!("{hooks}/{name}.sh"), text);
    }
    let said = sandbox.run(
        "cd /opt/skiff/scripts\n./read-settings.sh\n./clock.sh\n. ./settings.sh\necho $PERSIST_WAIT $WAIT_PATHS_EXIST $BOOT_MNT \
         $ROOTFS_MNT $SKIFF_PERSIST\ncat /tmp/runs /run/skiff/problems",
    );
    let problem = |name: &str, status: u8| {
        format!(
            "read-settings: /{hooks}/{name}.sh ended with status {status} before its end and changes nothing\n"
        )
    };
    let problems = [problem("20-wrong", 1), problem("30-syntax", 2), problem("40-exit", 0)];
    assert_eq!(
        said.stdout,
        format!("8 /dev/a /dev/b /mnt/boot /mnt/it's /mnt/persist/skiff\nrun\n{}", problems.concat())
    );
    for problem in problems {
        assert!(
            said.stderr.contains(&format!("skiff: {problem}hint: correct it in its layer\n")),
            "{}",
            said.stderr
        );
    }
}

#[test]
fn files_of_persist_replace_links_of_the_image() {
    let test = "files_of_persist_replace_links_of_the_image";
    if !can_run(test) {
        return;
    }
    let label = label("links");
    let Some(_device) = persist(test, &label) else { return };
    let sandbox = Sandbox::new(&[]);
    sandbox.choose_persist(&format!("LABEL={label}"));
    sandbox.write("usr/lib-of-image", "of the image\n");
    std::os::unix::fs::symlink("/usr/lib-of-image", sandbox.path("etc/localtime")).unwrap();
    seed(
        &sandbox,
        "mkdir -p skiff/etc/zone\ntouch skiff/etc/zone/file\necho mine >skiff/etc/localtime\nln -s localtime skiff/etc/other",
    );
    let said = sandbox.run(
        "set -e\n/opt/skiff/scripts/mount-persist.sh\n/opt/skiff/scripts/etc.sh\nls -d /etc/zone/file\n\
         cat /etc/localtime /usr/lib-of-image /etc/other",
    );
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("/etc/zone/file\nmine\nof the image\nmine\n", "")
    );

    // A directory of the image where persist has a file: that entry is reported, those behind it are laid all the same.
    sandbox.write("etc/inner/file", "of the image\n");
    seed(&sandbox, "echo mine >skiff/etc/inner\necho last >skiff/etc/zzz");
    let said = sandbox.run("/opt/skiff/scripts/mount-persist.sh && /opt/skiff/scripts/etc.sh; status=$?; cat /etc/zzz; exit $status");
    assert_eq!((said.stdout.as_str(), said.code), ("last\n", 1));
    assert!(
        said.stderr.starts_with("skiff: etc: /mnt/persist/skiff/etc/inner is not wholly laid over /etc: "),
        "{}",
        said.stderr
    );
}

#[test]
fn a_damaged_persist_is_repaired_or_reported_and_ssh_goes_on_without_it() {
    let test = "a_damaged_persist_is_repaired_or_reported_and_ssh_goes_on_without_it";
    if !can_run(test) || !oracle(test, "debugfs") {
        return;
    }
    let label = label("hurt");
    let Some(device) = persist(test, &label) else { return };
    let sandbox = Sandbox::new(&[]);
    sandbox.choose_persist(device.name());
    let debugfs = |request: &str| {
        let (done, text) = loopdev::run(command("debugfs").args(["-w", "-R", request, device.name()]));
        assert!(done, "{text}");
    };
    // What e2fsck -p corrects: the filesystem has errors, and one count is wrong.
    debugfs("set_super_value state 2");
    debugfs("set_super_value free_blocks_count 1");
    let said = sandbox.run("/opt/skiff/scripts/mount-persist.sh && cat /run/skiff/problems");
    assert_eq!(said.code, 0, "{}", said.stderr);
    let problem = format!("mount-persist: {} was damaged and is repaired: ", device.name());
    assert!(said.stdout.starts_with(&problem), "{}", said.stdout);
    assert!(said.stderr.starts_with(&format!("skiff: {problem}")), "{}", said.stderr);
    assert_silent(&sandbox.run("/opt/skiff/scripts/mount-persist.sh"));

    // What it does not: without a root directory nothing can be mounted.
    debugfs("clri <2>");
    debugfs("set_super_value state 2");
    let said = sandbox.run("/opt/skiff/scripts/mount-persist.sh");
    let problem = format!(
        "skiff: mount-persist: {} is damaged, and e2fsck -p does not repair it (status 4): ",
        device.name()
    );
    assert!(said.stderr.starts_with(&problem) && said.code == 1, "{}", said.stderr);
    let hint = format!("hint: save what can be read, then run e2fsck {} by hand\n", device.name());
    assert!(said.stderr.contains(&hint), "{}", said.stderr);
    let said = sandbox.run("/opt/skiff/scripts/ssh-server.sh; status=$?; sshd -t && exit $status");
    assert_failed(
        &said,
        "skiff: ssh-server: /mnt/persist is not mounted: the host keys are those of this boot only\n\
         hint: see what skiff-persist.service says\n",
    );
}

#[test]
fn the_status_has_addresses_failed_units_and_problems() {
    let test = "the_status_has_addresses_failed_units_and_problems";
    if !can_run(test) {
        return;
    }
    let sandbox = Sandbox::new(&[]);
    sandbox.write("etc/os-release", "NAME=x\nPRETTY_NAME=\"SkiffOS 1.2\"\n");
    // As iproute2 and busybox print them, and systemd without colours.
    let ip = "2: eth0    inet 10.0.2.15/24 brd 10.0.2.255 scope global eth0\n\
              2: eth0    inet6 fec0::1/64 scope global dynamic\n";
    sandbox.write("tmp/ip", ip);
    sandbox.write_script("opt/fake/ip", "[ \"$*\" = '-o addr show scope global' ] && cat /tmp/ip");
    sandbox.write_script("opt/fake/systemctl", "printf 'bad.service loaded failed failed It is bad\\n'");
    let said = sandbox.run(
        "hostname device-1\nmkdir -p /run/skiff\necho 'mount-persist: it was damaged' >/run/skiff/problems\n\
         /opt/skiff/scripts/status.sh",
    );
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        (
            "device-1  SkiffOS 1.2\n\nAddresses\n  eth0  10.0.2.15\n  eth0  fec0::1\n\n\
             Failed units (systemctl status UNIT)\n  bad.service\n\nProblems of this boot\n  \
             mount-persist: it was damaged\n",
            ""
        )
    );
    sandbox.write_script("opt/fake/sleep", "exit 1");
    let said = sandbox.run("hostname device-1; /opt/skiff/scripts/status.sh --follow");
    assert!(said.stdout.starts_with("\u{1b}[H\u{1b}[2Jdevice-1  SkiffOS 1.2\n"), "{}", said.stdout);
}

#[test]
fn mount_all_goes_on_after_a_failure_and_tells_it() {
    let test = "mount_all_goes_on_after_a_failure_and_tells_it";
    if !can_run(test) {
        return;
    }
    let sandbox = Sandbox::new(&[]);
    sandbox.write("etc/skip-skiff-mounts", "");
    sandbox.write("etc/skip-skiff-journal-mounts", "");
    fs::create_dir(sandbox.path("mnt/persist")).unwrap();
    sandbox.write("mnt/persist/skiff/hostname", "in-a-container\n");
    sandbox.write("etc/skiff-release", "BUILD_DATE=\"soon\"\n");
    let said = sandbox.run("/opt/skiff/scripts/mount-all.sh; status=$?; hostname; exit $status");
    assert_eq!(said.stdout, "in-a-container\n");
    for told in [
        "skiff: clock: BUILD_DATE of /etc/skiff-release is no date: soon\nhint: write it as 2026-01-31 23:59:59\n",
        "skiff: mount-persist: /etc/skip-skiff-mounts: nothing is mounted\n",
        "skiff: mount-rootfs: /etc/skip-skiff-mounts: nothing is mounted\n",
        "skiff: mount-all: failed: clock",
        "\nhint: the reasons are above; all of them can be run again\n",
    ] {
        assert!(said.stderr.contains(told), "{}", said.stderr);
    }
    assert_eq!(said.code, 1);
}

#[test]
fn a_clock_that_is_behind_is_set() {
    let test = "a_clock_that_is_behind_is_set";
    if !can_run(test) {
        return;
    }
    let sandbox = Sandbox::new(&[]);
    sandbox.write("etc/skiff-release", "BUILD_DATE=\"2020-01-02 03:04:05\"\n");
    // The real one would set the clock of the whole machine.
    sandbox.write_script(
        "opt/fake/date",
        "case $* in '-u +%s') echo 100 ;; *-s*) echo \"$*\" >>/tmp/set ;; *) exec /usr/bin/date \"$@\" ;; esac",
    );
    let said = sandbox.step("clock");
    assert_eq!(
        (said.stderr.as_str(), said.code),
        ("skiff: clock: clock set to the time of the build, 2020-01-02 03:04:05\n", 0)
    );
    assert_eq!(fs::read_to_string(sandbox.path("tmp/set")).unwrap(), "-u -s @1577934245\n");
}

/// A medium of 48 MiB whose table was made for 32 MiB; partition 2 of the table lies before partition 1.
fn small_table(test: &str, label: &str, kind: &str) -> Option<LoopDevice> {
    let device = LoopDevice::new(test, 32 << 20, &[])?;
    let table = format!("label: {kind}\n1: start=16384, size=32768\n2: start=2048, size=8192\n");
    let file = device.file.path().to_owned();
    let mut sfdisk = command("sh");
    sfdisk.args(["-c", "printf '%s' \"$1\" | sfdisk --quiet \"$2\"", "sh", &table]).arg(&file);
    assert!(sfdisk.status().unwrap().success(), "sfdisk");
    device.backing().set_len(48 << 20).unwrap();
    for (tool, option) in [("losetup", "-c"), ("partx", "-a")] {
        assert!(command(tool).args([option, device.name()]).status().unwrap().success(), "{tool}");
    }
    let mut mke2fs = command("mke2fs");
    mke2fs.args(["-q", "-t", "ext4", "-L", label]).arg(format!("{}p1", device.name()));
    assert!(mke2fs.status().unwrap().success(), "mke2fs");
    Some(device)
}

/// Whether the kernel lets this process grow a mounted filesystem (CAP_SYS_RESOURCE).
fn may_grow_mounted() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() & 1 << 24 != 0
}

#[test]
fn persist_grows_to_the_end_of_the_medium_once() {
    let test = "persist_grows_to_the_end_of_the_medium_once";
    if !can_run(test) || !oracle(test, "partx") || !oracle(test, "sfdisk") {
        return;
    }
    for kind in ["dos", "gpt"] {
        let label = label(kind);
        let Some(device) = small_table(test, &label, kind) else { return };
        let sandbox = Sandbox::new(&[]);
        sandbox.choose_persist(&format!("LABEL={label}"));
        let name = device.name();
        let said = sandbox.run("/opt/skiff/scripts/mount-persist.sh && /opt/skiff/scripts/grow.sh");
        let growing = format!("skiff: grow: growing {name}p1 by up to 24 MiB\n");
        if may_grow_mounted() {
            assert_eq!((said.stderr, said.code), (growing, 0));
        } else {
            assert!(said.stderr.starts_with(&growing) && said.code == 1, "{}", said.stderr);
            for (tool, option) in [("e2fsck", "-fp"), ("resize2fs", "-p")] {
                let (ok, said) = loopdev::run(command(tool).arg(option).arg(format!("{name}p1")));
                assert!(ok, "{said}");
            }
        }
        let (_, found) = loopdev::run(command("dumpe2fs").arg("-h").arg(format!("{name}p1")));
        let blocks = found.lines().find_map(|line| line.strip_prefix("Block count:")).unwrap().trim();
        assert!(blocks.parse::<u64>().unwrap() > 39 << 10, "{kind}: {found}");
        let (ok, found) = loopdev::run(command("sfdisk").args(["--verify"]).arg(device.file.path()));
        assert!(ok && !found.contains("mismatch") && !found.contains("not on the end"), "{found}");
        let (_, before) = loopdev::run(command("sfdisk").arg("--dump").arg(device.file.path()));
        assert!(before.contains("start=        2048, size=        8192"), "{before}");
        assert!(before.contains("start=       16384, size=       81") || kind == "gpt", "{before}");
        let again = sandbox.run("/opt/skiff/scripts/mount-persist.sh && /opt/skiff/scripts/grow.sh");
        assert_silent(&again);
        let (_, after) = loopdev::run(command("sfdisk").arg("--dump").arg(device.file.path()));
        assert_eq!(after, before);
    }
}

#[test]
fn what_cannot_grow_is_told() {
    let test = "what_cannot_grow_is_told";
    if !can_run(test) || !oracle(test, "partx") {
        return;
    }
    let Some(device) = small_table(test, &label("last"), "dos") else { return };
    let name = device.name();
    let made = command("mke2fs").args(["-q", "-t", "ext4"]).arg(format!("{name}p2")).status().unwrap();
    assert!(made.success());
    let sandbox = Sandbox::new(&[]);
    sandbox.choose_persist(&format!("{name}p2"));
    let grow = "/opt/skiff/scripts/mount-persist.sh && /opt/skiff/scripts/grow.sh";
    let said = sandbox.run(grow);
    let told = format!("skiff: grow: {name}p2 is not the last partition on {name} and cannot grow\n");
    assert_eq!((said.stderr, said.code), (told, 0));

    sandbox.write_script("opt/fake/resize2fs", "echo no luck; exit 1");
    sandbox.write("etc/skiff/mount.env", "DISABLE_RESIZE_PARTITION=true\n");
    assert_failed(
        &sandbox.run(grow),
        &format!(
            "skiff: grow: the filesystem on {name}p2 did not grow: no luck\n\
             hint: it can be used as it is; run resize2fs {name}p2 by hand\n"
        ),
    );
    let said = sandbox
        .run("mkdir -p /mnt/persist && mount -t tmpfs none /mnt/persist && /opt/skiff/scripts/grow.sh");
    assert_eq!((said.stderr.as_str(), said.code), ("skiff: grow: persist is tmpfs, which is not grown\n", 0));
    sandbox.write("opt/skiff/scripts/mount-all.pre.d/60-off.sh", "DISABLE_RESIZE_PERSIST=true\n");
    assert_silent(&sandbox.run(grow));
}

#[test]
fn swap_that_cannot_be_had_is_told() {
    let test = "swap_that_cannot_be_had_is_told";
    if !can_run(test) {
        return;
    }
    let label = label("swap");
    let Some(_device) = persist(test, &label) else { return };
    let sandbox = Sandbox::new(&[]);
    sandbox.choose_persist(&format!("LABEL={label}"));
    // Swap is a matter of the whole machine.
    for tool in ["swapon", "modprobe"] {
        sandbox.write_script(&format!("opt/fake/{tool}"), &format!("echo \"{tool} $*\"\nexit ${{FAKE:-0}}"));
    }
    let swap = "/opt/skiff/scripts/mount-persist.sh && /opt/skiff/scripts/swap.sh";
    sandbox.write("etc/skiff/swap.env", "DISABLE_ZRAM=true\nSWAPFILE_SIZE=4\n");
    let said = sandbox.run(&format!("{swap} && {swap} && stat -c '%a %s' /mnt/persist/primary.swap"));
    let on = "swapon -p 10 /mnt/persist/primary.swap\n";
    assert_eq!((said.stdout, said.stderr.as_str()), (format!("{on}{on}600 4194304\n"), ""));
    assert_failed(
        &sandbox.run(&format!("export FAKE=1; {swap}")),
        "skiff: swap: /mnt/persist/primary.swap cannot be used\nhint: remove it: the next boot makes a new one\n",
    );
    sandbox.write("etc/skiff/swap.env", "DISABLE_ZRAM=true\nSWAPFILE_PATH=/mnt/persist/other\n");
    let said = sandbox.run(swap);
    let (before, after) = said.stderr.split_once(" half of the ").unwrap();
    assert_eq!(before, "skiff: swap: no swap file: 2048 MiB are more than");
    assert!(after.ends_with(" MiB that are free\n") && said.code == 0, "{after}");
    assert_eq!(sandbox.step("swap").stderr, "skiff: swap: no swap file: /mnt/persist is not mounted\n");
    sandbox.write_script("opt/fake/mkswap", "exit 1");
    sandbox.write(
        "etc/skiff/swap.env",
        "DISABLE_ZRAM=true\nSWAPFILE_PATH=/mnt/persist/other\nSWAPFILE_SIZE=4\n",
    );
    assert_failed(
        &sandbox.run(&format!("{swap}; status=$?; test ! -e /mnt/persist/other.new && exit $status")),
        "skiff: swap: /mnt/persist/other cannot be made\n\
         hint: set DISABLE_SWAPFILE=true in /etc/skiff/swap.env to do without\n",
    );
    sandbox.write("etc/skiff/swap.env", "DISABLE_SWAPFILE=true\n");
    if Path::new("/dev/zram0").exists() {
        return;
    }
    assert_failed(
        &sandbox.run(&format!("export FAKE=1; {swap}")),
        "skiff: swap: the kernel has no zram\n\
         hint: set DISABLE_ZRAM=true in /etc/skiff/swap.env, or build CONFIG_ZRAM\n",
    );
    assert_failed(
        &sandbox.run(swap),
        "skiff: swap: no /dev/zram0 after 5 s\n\
         hint: set DISABLE_ZRAM=true in /etc/skiff/swap.env to do without\n",
    );
}

#[test]
fn modules_are_mounted_if_they_are_those_of_the_kernel() {
    let test = "modules_are_mounted_if_they_are_those_of_the_kernel";
    if !can_run(test) || !oracle(test, "mksquashfs") {
        return;
    }
    let sandbox = Sandbox::new(&["skiff/moduleimg"]);
    let script = "/opt/skiff/scripts/mount-all.d/mount-modules.sh";
    assert_failed(
        &sandbox.run(script),
        "skiff: /mnt/rootfs/modules.squashfs is missing: no kernel modules\n\
         hint: install the system again, or copy modules.squashfs of the same version there\n",
    );
    fs::create_dir_all(sandbox.path("mnt/rootfs")).unwrap();
    let pack = |release: &str| {
        let modules = tempfile::tempdir().unwrap();
        fs::create_dir(modules.path().join(release)).unwrap();
        let image = sandbox.path("mnt/rootfs/modules.squashfs");
        let mut mksquashfs = command("mksquashfs");
        mksquashfs.arg(modules.path()).arg(image).args(["-noappend", "-quiet", "-no-progress"]);
        assert!(mksquashfs.status().unwrap().success());
    };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().to_owned();
    pack("0.0.0-other");
    assert_failed(
        &sandbox.run(script),
        &format!(
            "skiff: /mnt/rootfs/modules.squashfs has no modules for the running kernel {release}\n\
             hint: kernel and modules must be of the same build: install both\n"
        ),
    );
    pack(&release);
    let said = sandbox.run(&format!("{script} && {script} && ls /usr/lib/modules"));
    assert_eq!((said.stdout, said.stderr.as_str()), (format!("{release}\n"), ""));
}

#[test]
fn mount_points_are_there_whoever_lays_the_overlay_over() {
    let overlay = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/skiff/standard/root_overlay");
    let ours = Overlay::read("skiff/standard", &overlay).unwrap();
    let ours: Vec<String> = ours.tree.walk().map(|(path, _)| display(&path).to_string()).collect();
    let is_mount_point = |path: &&String| path.starts_with("/mnt/");
    let mount_points: Vec<&String> = ours.iter().filter(is_mount_point).collect();
    assert_eq!(mount_points, ["/mnt/boot", "/mnt/persist", "/mnt/rootfs"]);
    if !oracle("mount_points_are_there_whoever_lays_the_overlay_over", "rsync") {
        return;
    }
    // As Buildroot calls it (system/system.mk).
    let target = tempfile::tempdir().unwrap();
    // What its skeleton has, and nothing fills.
    fs::create_dir(target.path().join("etc")).unwrap();
    let resolv = target.path().join("etc/resolv.conf");
    std::os::unix::fs::symlink("../run/resolv.conf", &resolv).unwrap();
    let mut rsync = command("rsync");
    rsync.args(["-a", "--ignore-times", "--chmod=u=rwX,go=rX", "--exclude", ".empty", "--exclude", "*~"]);
    assert!(rsync.arg(format!("{}/", overlay.display())).arg(target.path()).status().unwrap().success());
    assert_eq!(fs::read_link(resolv).unwrap(), Path::new("../run/NetworkManager/resolv.conf"));
    for mount_point in mount_points {
        let directory = target.path().join(&mount_point[1..]);
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
    }
}

/// Images as Buildroot leaves them, with a stand-in for the tools that sign.
fn amlogic_images(device: &str, bl1: bool) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let fip = directory.path().join("amlogic-boot-fip");
    fs::create_dir_all(fip.join(device)).unwrap();
    let script = "#!/bin/sh\nset -eu\ntest -d \"$1\"\n{ head -c 49664 /dev/zero; cat \"$2\"; } >\"$3/u-boot.bin.sd.bin\"\n";
    write_script(&fip.join("build-fip.sh"), script);
    if bl1 {
        fs::write(fip.join(device).join("bl1.bin.hardkernel"), "bl1").unwrap();
    }
    fs::write(directory.path().join("u-boot.bin"), "U-Boot").unwrap();
    let config = format!("BR2_PACKAGE_HOST_AMLOGIC_BOOT_FIP_DEVICE=\"{device}\"\n");
    fs::write(directory.path().join("config"), config).unwrap();
    directory
}

#[test]
fn u_boot_of_amlogic_boards_is_signed_under_the_name_that_descriptors_ask_for() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/odroid/amlogic/hooks/post.sh");
    let sign = |images: &Path| {
        loopdev::run(command("sh").arg(&script).arg(images).env("BR2_CONFIG", images.join("config")))
    };
    for (device, bl1, len) in [("odroid-c4", false, 49670), ("odroid-c2", true, 6)] {
        let images = amlogic_images(device, bl1);
        for _ in 0..2 {
            let (ok, said) = sign(images.path());
            assert!(ok, "{said}");
        }
        let signed = fs::read(images.path().join("u-boot-signed.bin.sd.bin")).unwrap();
        assert!(signed.len() == len && signed.ends_with(b"U-Boot"), "{device}: {}", signed.len());
        assert_eq!(images.path().join("odroidc2-uboot-blobs/bl1.bin.hardkernel").exists(), bl1);
    }
    let images = amlogic_images("odroid-c4", false);
    fs::write(images.path().join("config"), "BR2_PACKAGE_HOST_AMLOGIC_BOOT_FIP_DEVICE=\"none\"\n").unwrap();
    let (ok, said) = sign(images.path());
    let fip = images.path().join("amlogic-boot-fip");
    assert!(!ok);
    assert_eq!(
        said,
        format!(
            "odroid/amlogic: {} has nothing for `none`\n\
             hint: BR2_PACKAGE_HOST_AMLOGIC_BOOT_FIP_DEVICE is a directory of amlogic-boot-fip\n",
            fip.display()
        )
    );
}

/// Runs the post-image script of a layer.
fn post_image(layer: &str, build: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(layer).join("hooks/post.sh");
    let mut hook = command("sh");
    hook.arg(script).arg(build.join("images")).env("TARGET_DIR", build.join("target"));
    let (ok, said) = loopdev::run(hook.env("SOURCE_DATE_EPOCH", "1577934245").env_remove("BINARIES_DIR"));
    assert!(ok && said.is_empty(), "{said}");
}

#[test]
fn images_that_buildroot_does_not_make_are_made_after_it() {
    let test = "images_that_buildroot_does_not_make_are_made_after_it";
    let build = tempfile::tempdir().unwrap();
    let path = |path: &str| build.path().join(path);
    for (file, text) in [
        ("target/usr/lib/grub/i386-pc/boot.img", "boot"),
        ("target/usr/lib/firmware/amd-ucode/microcode_amd.bin", "old"),
        ("target/usr/lib/firmware/amd-ucode/microcode_amd_fam17h.bin", "new"),
        ("images/grub/i386-pc/stale.mod", ""),
    ] {
        fs::create_dir_all(path(file).parent().unwrap()).unwrap();
        fs::write(path(file), text).unwrap();
    }
    post_image("pcengines/apu2", build.path());
    let modules: Vec<_> =
        fs::read_dir(path("images/grub/i386-pc")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(modules, ["boot.img"]);

    if !oracle(test, "cpio") {
        return;
    }
    post_image("valve/deck", build.path());
    let first = fs::read(path("images/amd-ucode.img")).unwrap();
    post_image("valve/deck", build.path());
    assert!(first == fs::read(path("images/amd-ucode.img")).unwrap(), "the same microcode, the same bytes");
    let unpack = "cpio --quiet -i -d <images/amd-ucode.img && cat kernel/x86/microcode/AuthenticAMD.bin";
    let (ok, said) = loopdev::run(command("sh").args(["-c", unpack]).current_dir(build.path()));
    assert!(ok && said == "oldnew", "{said}");
}
