//! From `configure` over `compile` to `assemble` without a flag: what the workspace remembers is what is composed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::project::{Project, json, succeed};
use crate::harness::tools::write;
use crate::harness::tools::{command, oracle};
use crate::harness::toy_buildroot::KCONFIG;

/// A system that is configured and compiled by the toy, with a layer from elsewhere, at a time of its own.
fn compiled() -> Project {
    let project = Project::to_configure();
    project.write("configs/virt/qemu/buildroot/system", "BR2_aarch64=y\nBR2_LINUX_KERNEL=y\n");
    let init = project.beside("more/site/first/root_overlay/sbin/init");
    write(&init, "#!/bin/sh\n");
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    let mut configure =
        project.command(&["configure", "--buildroot", "../toy", "--config", "virt/qemu,site/first"]);
    configure.env("SKIFF_EXTRA_CONFIGS_PATH", project.beside("more"));
    succeed(configure.env("SOURCE_DATE_EPOCH", "1700000000"));
    succeed(&mut project.command(&["compile"]));
    project
}

#[test]
fn after_compile_assemble_needs_no_flag() {
    if !oracle("after_compile_assemble_needs_no_flag", KCONFIG) {
        return;
    }
    let project = compiled();
    let (stdout, stderr) = succeed(&mut project.command(&["assemble", "--json"]));
    assert!(stderr.starts_with("as at the last configure: SOURCE_DATE_EPOCH=1700000000\n"), "{stderr}");
    let made: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((made["board"].as_str(), made["image"].as_str()), (Some("virt/qemu"), Some(IMAGE)));
    let manifest: serde_json::Value =
        serde_json::from_str(&project.read(&format!("{IMAGE}.manifest.json"))).unwrap();
    assert_eq!(manifest["timestamp"], 1_700_000_000, "{manifest}");
    let first = fs::read(project.path(IMAGE)).unwrap();

    // What is given goes before what is remembered.
    let mut other = project.command(&["assemble", "--json"]);
    let (_, stderr) = succeed(other.env("SOURCE_DATE_EPOCH", "1600000000"));
    assert!(!stderr.contains("as at the last configure"), "{stderr}");
    assert!(fs::read(project.path(IMAGE)).unwrap() != first, "it has another time");
    json(&mut project.command(&["assemble"]));
    assert!(fs::read(project.path(IMAGE)).unwrap() == first, "the same again");
}

const IMAGE: &str = "workspaces/default/images/skiff-virt-qemu.img";

#[test]
fn the_initramfs_of_a_compiled_system_has_a_first_program_and_a_console() {
    let test = "the_initramfs_of_a_compiled_system_has_a_first_program_and_a_console";
    if ![KCONFIG, "mcopy", "lz4", "cpio"].into_iter().all(|tool| oracle(test, tool)) {
        return;
    }
    let project = compiled();
    succeed(&mut project.command(&["--quiet", "assemble"]));
    let archive = project.beside("rootfs.cpio.lz4");
    // GPT: the first partition is at 1 MiB.
    let boot = format!("{}@@1M", project.path(IMAGE).display());
    assert!(
        command("mcopy").args(["-i", &boot, "::rootfs.cpio.lz4"]).arg(&archive).status().unwrap().success()
    );
    let mut list = Command::new("sh");
    list.args(["-c", "lz4 -dc \"$0\" | cpio -itv --quiet -n"]).arg(&archive);
    let output = list.output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let lines: BTreeSet<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    let line = |name: &str| {
        lines.iter().find(|line| line.last() == Some(&name)).unwrap_or_else(|| panic!("{listed}"))
    };
    assert_eq!(&line("init")[..4], ["-rwxr-xr-x", "1", "0", "0"]);
    assert_eq!(&line("dev/console")[..6], ["crw-------", "1", "0", "0", "5,", "1"]);
}
