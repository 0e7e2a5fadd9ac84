//! Access lists and attributes from a source into filesystems: kept, or reported and refused with `--strict`.

use std::path::Path;

use crate::harness::privilege;
use crate::harness::project::{Project, expect_failure, succeed};
use crate::harness::tools::{command, oracle};

const LIST: &[u8] = b"user::rw-\nuser:1000:rwx\ngroup::r--\nmask::rwx\nother::---\n";
const LABEL: &[u8] = b"system_u:object_r:bin_t:s0\0";

/// An archive of one program with these records.
fn archive(path: &Path, records: &[(&str, &[u8])]) {
    let mut builder = tar::Builder::new(std::fs::File::create(path).expect("a file"));
    builder.append_pax_extensions(records.iter().copied()).expect("records");
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o670);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(2);
    header.set_cksum();
    builder.append_data(&mut header, "program", &b"1\n"[..]).expect("a member");
    builder.finish().expect("an archive");
}

/// Output of a command of debugfs.
fn debugfs(image: &Path, request: &str) -> String {
    let output = command("debugfs").arg("-R").arg(request).arg(image).output().expect("debugfs runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn lists_and_labels_of_an_archive_are_on_an_ext4() {
    let project = Project::new();
    let xattrs = [("SCHILY.xattr.security.ima", &b"\x03\x02"[..]), ("SCHILY.xattr.security.selinux", LABEL)];
    archive(&project.path("a.tar"), &[&[("SCHILY.acl.access", LIST)][..], &xattrs].concat());
    let (_, stderr) = succeed(&mut project.command(&["mkfs", "ext4", "--strict", "a.tar", "out/a.ext4"]));
    assert_eq!(stderr, "");
    if oracle("lists_and_labels_of_an_archive_are_on_an_ext4", "debugfs") {
        let image = project.path("out/a.ext4");
        let listed = debugfs(&image, "ea_list /program");
        for name in ["system.posix_acl_access", "security.ima", "security.selinux"] {
            assert!(listed.contains(name), "{name}: {listed}");
        }
        assert!(debugfs(&image, "stat /program").contains("Mode:  0670"));
    }
}

#[test]
fn a_list_that_is_left_out_is_reported_and_its_mask_is_not_the_groups() {
    let project = Project::new();
    archive(&project.path("a.tar"), &[("SCHILY.acl.access", LIST)]);
    let lost = "`/program` loses the attribute `system.posix_acl_access`";
    for (kind, flags, mode) in [
        ("squashfs", &["--cache", "off"][..], " and gets the mode 0640"),
        ("cpio", &[], " and gets the mode 0640"),
    ] {
        let out = format!("out/{kind}");
        let mkfs = |strict: &[&'static str]| {
            project.command(&[&["mkfs", kind, "a.tar", &out], flags, strict].concat())
        };
        expect_failure(
            &mut mkfs(&["--strict"]),
            1,
            &format!(
                "error: one thing would be left out of the image: {lost}{mode}\n\
                 hint: remove it from the source, or compose without `--strict`"
            ),
        );
        let (_, stderr) = succeed(&mut mkfs(&[]));
        assert_eq!(stderr, format!("warning: {lost}{mode}\n"));
    }
    let newc = std::fs::read(project.path("out/cpio")).expect("an archive");
    let text = String::from_utf8_lossy(&newc);
    // `c_mode` of the second entry; the first is the root directory.
    let headers: Vec<_> = text.match_indices("070701").map(|(at, _)| &text[at + 14..at + 22]).collect();
    assert_eq!(headers[1], format!("{:08X}", 0o100_640));
    if oracle("a_list_that_is_left_out_is_reported_and_its_mask_is_not_the_groups", "unsquashfs") {
        let listed = command("unsquashfs").arg("-lln").arg(project.path("out/squashfs")).output();
        let listed = String::from_utf8_lossy(&listed.expect("unsquashfs runs").stdout).into_owned();
        assert!(listed.contains("-rw-r-----"), "{listed}");
    }
}

/// Attaches what a host with an integrity policy does.
fn label(file: &Path) {
    let set = command("setfattr").args(["-n", "security.ima", "-v", "0x0302"]).arg(file).output();
    let set = set.expect("setfattr runs");
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
}

#[test]
fn labels_of_the_host_are_reported_kept_or_dropped() {
    let test = "labels_of_the_host_are_reported_kept_or_dropped";
    if !privilege::root(test) || !oracle(test, "setfattr") || !oracle(test, "unsquashfs") {
        return;
    }
    let project = Project::new();
    for name in ["source/a", "source/b"] {
        project.write(name, "1");
        label(&project.path(name));
    }
    let mkfs = |flags: &[&'static str]| {
        let base = ["mkfs", "squashfs", "--cache", "off", "--force", "source", "out/fs"];
        project.command(&[&base[..], flags].concat())
    };
    let lost = "`/a` and 1 more lose the attribute `security.ima`, which belongs to the host";
    assert_eq!(succeed(&mut mkfs(&[])).1, format!("warning: {lost}\n"));
    let strict = format!(
        "error: one thing would be left out of the image: {lost}\n\
         hint: remove it from the source, or compose without `--strict`"
    );
    expect_failure(&mut mkfs(&["--strict"]), 1, &strict);
    assert_eq!(succeed(&mut mkfs(&["--strict", "--host-xattrs", "drop"])).1, "");
    assert_eq!(succeed(&mut mkfs(&["--strict", "--host-xattrs", "keep"])).1, "");
    let unpacked = project.path("out/tree");
    let run = command("unsquashfs")
        .args(["-q", "-n", "-xattrs", "-d"])
        .arg(&unpacked)
        .arg(project.path("out/fs"))
        .output();
    assert!(run.expect("unsquashfs runs").status.success());
    let value = rustix::fs::lgetxattr(unpacked.join("a"), "security.ima", &mut [0_u8; 8][..]);
    assert_eq!(value, Ok(2));
}

#[test]
fn labels_of_the_host_on_a_target_are_reported_kept_or_dropped() {
    let test = "labels_of_the_host_on_a_target_are_reported_kept_or_dropped";
    if !privilege::root(test) || !oracle(test, "setfattr") {
        return;
    }
    let project = Project::new();
    label(&project.path("output/target/usr/bin/app"));
    let lost = "`/usr/bin/app` loses the attribute `security.ima`, which belongs to the host";
    assert_eq!(succeed(&mut project.assemble(&["--quiet"])).1, format!("warning: {lost}\n"));
    let assemble = |flags: &[&'static str]| project.assemble(&[&["--quiet", "--force"], flags].concat());
    let strict = format!(
        "error: one thing would be left out of the image: {lost}\n\
         hint: remove it from the source, or compose without `--strict`"
    );
    expect_failure(&mut assemble(&["--strict"]), 1, &strict);
    assert_eq!(succeed(&mut assemble(&["--strict", "--host-xattrs", "drop"])).1, "");
    // The initramfs of the demo is an archive without attributes; its squashfs has them.
    let kept = succeed(&mut assemble(&["--host-xattrs", "keep"])).1;
    assert_eq!(kept, "warning: `rootfs.cpio.lz4`: `/usr/bin/app` loses the attribute `security.ima`\n");
}
