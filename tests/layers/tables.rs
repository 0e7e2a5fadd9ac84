//! Tables and presets against independent tools: setcap(8), openssl, systemctl(1); and the whole root filesystem from
//! two checkouts.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::harness::dump::dump;
use crate::harness::privilege;
use crate::harness::tools::{command, oracle};
use skiff_image::layer::{Environment, Roots, discover};
use skiff_image::rootfs::capability::{FileCapabilities, NAMES};
use skiff_image::rootfs::presets::preset_all;
use skiff_image::rootfs::{Handoff, Output, PasswordMethod, RootInputs, RootTree, root_tree};
use skiff_image::tree::provenance::Provenance;
use skiff_image::tree::scan::{HardLinks, HostXattrs, Ownership, ScanOptions, scan};
use skiff_image::tree::{Body, Tree};
use skiff_image::value::Seed;

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn scanned(root: &Path, xattrs: HostXattrs) -> Tree {
    let options =
        ScanOptions { ownership: Ownership::Root, xattrs, hard_links: HardLinks::Keep, exclude: &|_| false };
    scan(root, &options).unwrap()
}

#[test]
fn capabilities_are_the_bytes_that_setcap_writes() {
    let name = "capabilities_are_the_bytes_that_setcap_writes";
    if !privilege::root(name) || !oracle(name, "setcap") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "x", "");
    let each = NAMES.map(|name| format!("{name}+ep"));
    let texts = [
        "cap_net_raw,cap_net_admin+eip",
        "cap_net_bind_service=ep",
        "cap_chown+p cap_kill+i",
        "=",
        "cap_net_raw+ep-e",
        "cap_chown+eip cap_chown-i",
        "CAP_SYS_ADMIN=p+i",
    ];
    for text in texts.into_iter().chain(each.iter().map(String::as_str)) {
        let output = command("setcap").arg(text).arg(dir.path().join("x")).output().unwrap();
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        let tree = scanned(dir.path(), HostXattrs::Keep);
        let xattrs = &tree.node(tree.get("x").unwrap()).xattrs;
        let expected = xattrs.get(b"security.capability".as_slice()).map(|value| value.to_vec());
        let ours = FileCapabilities::default().apply(text).unwrap().to_xattr();
        assert_eq!(Some(ours.to_vec()), expected, "{text}");
    }
    let output = command("setcap").arg("cap_chown+ep cap_kill+p").arg(dir.path().join("x")).output().unwrap();
    assert!(!output.status.success(), "a partly effective set, which we refuse, is taken by setcap");
}

#[test]
fn password_hashes_are_those_of_crypt() {
    if !oracle("password_hashes_are_those_of_crypt", "openssl") {
        return;
    }
    for (method, flag) in [(PasswordMethod::Sha512, "-6"), (PasswordMethod::Sha256, "-5")] {
        let ours = method.hash("pass wörd", "joe", &Seed("seed".into()));
        let salt = ours.split('$').nth(2).unwrap();
        assert_eq!(salt.len(), 16, "{ours}");
        let output = command("openssl").args(["passwd", flag, "-salt", salt, "pass wörd"]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), ours);
    }
}

/// Unit and preset files that use every feature an image needs.
fn units(root: &Path) {
    let lib = "usr/lib/systemd/system";
    let unit = |name: &str, install: &str| {
        write(
            root,
            &format!("{lib}/{name}"),
            &format!("[Unit]\nDescription=x\n[Service]\nExecStart=/bin/x\n[Install]\n{install}"),
        );
    };
    write(root, "usr/lib/systemd/systemd", "");
    for target in ["multi-user", "getty", "sockets", "x", "y", "z"] {
        write(root, &format!("{lib}/{target}.target"), "[Unit]\nDescription=t\n");
    }
    unit("plain.service", "WantedBy=multi-user.target\n");
    unit("two.service", "WantedBy=x.target y.target\nRequiredBy=z.target\n");
    unit("off.service", "WantedBy=multi-user.target\nAlso=off.socket\nAlias=off-alias.service\n");
    unit("off.socket", "WantedBy=sockets.target\n");
    unit("also.service", "Also=also-helper.service\nWantedBy=x.target\n");
    unit("also-helper.service", "WantedBy=y.target\n");
    unit("off-but-also.service", "Also=also-on.service\nWantedBy=x.target\n");
    unit("also-on.service", "WantedBy=y.target\n");
    unit("dbus-x.service", "Alias=dbus-org.x.service\nWantedBy=multi-user.target\n");
    unit("getty@.service", "WantedBy=getty.target\nDefaultInstance=tty1\n");
    unit("bare@.service", "WantedBy=x.target\n");
    unit("many@.service", "WantedBy=x.target\nAlias=other@.service\n");
    unit("masked.service", "WantedBy=x.target\n");
    unit("spec.service", "WantedBy=%p-%N.target\n");
    unit("linked.service", "WantedBy=x.target\n");
    unit("dropin.service", "WantedBy=x.target\n");
    unit("bracket-a.service", "WantedBy=x.target\n");
    unit("bracket-z.service", "WantedBy=x.target\n");
    unit("stale.service", "WantedBy=x.target\n");
    write(root, &format!("{lib}/static.service"), "[Service]\nExecStart=/bin/x\n");
    write(root, &format!("{lib}/README"), "not a unit");
    write(root, "etc/systemd/system/dropin.service.d/10-x.conf", "[Install]\nWantedBy=\nWantedBy=y.target\n");
    write(root, "etc/systemd/system/own.service", "[Install]\nWantedBy=multi-user.target\n");
    write(
        root,
        "usr/lib/systemd/system-preset/90-a.preset",
        "disable off.*\nenable many@.service one two\ndisable bracket-[a-c].service\ndisable stale.service\ndisable also-helper.service\ndisable off-but-also.service\n",
    );
    write(root, "usr/lib/systemd/system-preset/50-b.preset", "disable plain.service\n");
    write(root, "etc/systemd/system-preset/50-b.preset", "# empties the one above\nenable plain.service\n");
    write(root, "usr/lib/systemd/system-preset/99-c.preset", "enable off.service\n");
    let config = root.join("etc/systemd/system");
    fs::create_dir_all(config.join("x.target.wants")).unwrap();
    fs::create_dir_all(config.join("multi-user.target.wants")).unwrap();
    symlink("/dev/null", config.join("masked.service")).unwrap();
    symlink("/usr/lib/systemd/system/two.service", config.join("alias-of-two.service")).unwrap();
    symlink(
        "../../../../usr/lib/systemd/system/linked.service",
        config.join("x.target.wants/linked.service"),
    )
    .unwrap();
    symlink("/usr/lib/systemd/system/off.service", config.join("multi-user.target.wants/off.service"))
        .unwrap();
    symlink("/usr/lib/systemd/system/off.service", config.join("off-alias.service")).unwrap();
    symlink("/usr/lib/systemd/system/stale.service", config.join("stale-name.service")).unwrap();
}

/// Symbolic links of a tree with their targets.
fn links(tree: &Tree) -> BTreeMap<String, String> {
    let link = |(path, id): (Vec<u8>, _)| match &tree.node(id).body {
        Body::Symlink(target) => {
            Some((String::from_utf8(path).unwrap(), String::from_utf8(target.to_vec()).unwrap()))
        }
        _ => None,
    };
    tree.walk().filter_map(link).collect()
}

fn directories(tree: &Tree) -> Vec<String> {
    let directory = |(path, id)| tree.node(id).entries().map(|_| String::from_utf8(path).unwrap());
    tree.walk().filter_map(directory).collect()
}

#[test]
fn presets_make_and_remove_the_links_that_systemctl_does() {
    if !oracle("presets_make_and_remove_the_links_that_systemctl_does", "systemctl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    units(dir.path());
    let mut tree = scanned(dir.path(), HostXattrs::Ignore);
    let before = links(&tree);
    preset_all(&mut tree, &mut Provenance::new(), 0).unwrap();
    let output = command("systemctl").arg("--root").arg(dir.path()).arg("preset-all").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let theirs = scanned(dir.path(), HostXattrs::Ignore);
    assert_ne!(links(&theirs), before, "systemctl did nothing: {stderr}");
    assert_eq!(links(&tree), links(&theirs), "{stderr}");
    assert_eq!(directories(&tree), directories(&theirs));
}

/// A project with two layers, at `root`, as a checkout under an umask gives it.
fn checkout(root: &Path, umask: u32) {
    let overlay = "configs/a/base/root_overlay";
    write(root, &format!("{overlay}/etc/motd"), "base\n");
    write(root, &format!("{overlay}/usr/bin/tool"), "#!/bin/sh\n");
    write(root, &format!("{overlay}/usr/lib/systemd/system/tool.service"), "[Install]\nWantedBy=x.target\n");
    write(root, "configs/a/top/metadata/dependencies", "a/base\n");
    write(root, "configs/a/top/root_overlay/etc/motd", "top\n");
    symlink("../usr/bin/tool", root.join("configs/a/top/root_overlay/etc/tool")).unwrap();
    let mut stack = vec![root.to_path_buf()];
    while let Some(path) = stack.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_symlink() {
            continue;
        }
        let executable = metadata.is_dir() || path.ends_with("tool");
        let mode = if executable { 0o777 } else { 0o666 } & !umask;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if metadata.is_dir() {
            stack.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

fn buildroot_output(root: &Path) {
    write(
        root,
        ".config",
        "BR2_aarch64=y\nBR2_INIT_SYSTEMD=y\nBR2_TARGET_GENERIC_PASSWD_METHOD=\"sha-512\"\n",
    );
    write(root, "target/THIS_IS_NOT_YOUR_ROOT_FILESYSTEM", "");
    write(root, "target/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    write(root, "target/etc/shadow", "root:*:::::::\n");
    write(root, "target/etc/group", "root:x:0:\n");
    write(root, "target/etc/motd", "buildroot\n");
    write(root, "target/bin/busybox", "x");
    write(root, "target/usr/lib/systemd/systemd", "x");
    write(root, "target/run/stale", "x");
    write(
        root,
        "build/buildroot-fs/full_users_table.txt",
        "joe 1000 joe 1000 =secret /home/joe /bin/sh - Joe\n",
    );
    write(
        root,
        "build/buildroot-fs/full_devices_table.txt",
        "/etc/shadow f 600 root root - - - - -\n/bin/busybox f 4755 0 joe\n/dev d 755 0 0\n/dev/console c 622 0 0 5 1\n",
    );
    write(root, "build/packages-file-list.txt", "busybox,./bin/busybox\n");
}

fn compose(project: &Path, output: &Path) -> RootTree {
    compose_from(project, output, Handoff::Target)
}

fn compose_from(project: &Path, output: &Path, handoff: Handoff) -> RootTree {
    let roots = Roots::for_project(project);
    let registry = discover(&Environment::default(), &roots).unwrap();
    let layers = registry.resolve("a/top", "SKIFF_CONFIG").unwrap();
    let output = Output::read(output, handoff).unwrap();
    let seed = Seed("board".into());
    let (epoch, host_xattrs) = (1_700_000_000, HostXattrs::Omit);
    root_tree(&RootInputs { output: &output, layers: &layers, seed: &seed, epoch, host_xattrs }).unwrap()
}

#[test]
fn two_checkouts_under_different_umasks_give_one_tree() {
    let dir = tempfile::tempdir().unwrap();
    buildroot_output(&dir.path().join("one/output"));
    buildroot_output(&dir.path().join("two/elsewhere/output"));
    checkout(&dir.path().join("one/project"), 0o022);
    let one = compose(&dir.path().join("one/project"), &dir.path().join("one/output"));
    for umask in [0o002, 0o022] {
        let project = dir.path().join(format!("two/project-{umask:o}"));
        checkout(&project, umask);
        let two = compose(&project, &dir.path().join("two/elsewhere/output"));
        assert_eq!(dump(&one.tree), dump(&two.tree), "umask {umask:03o}");
    }
}

#[test]
fn the_root_filesystem_has_everything_and_can_explain_it() {
    let dir = tempfile::tempdir().unwrap();
    buildroot_output(&dir.path().join("output"));
    checkout(dir.path(), 0o022);
    let root = compose(dir.path(), &dir.path().join("output"));
    let text = dump(&root.tree).join("\n");
    for line in [
        "/bin/busybox file 4755 0:1000 @1700000000",
        "/dev/console character device 0622 0:0 @1700000000 [5:1]",
        "/etc/shadow file 0600 0:0",
        "/etc/tool symbolic link 0777 0:0 @1700000000 [../usr/bin/tool]",
        "/etc/systemd/system/x.target.wants/tool.service symbolic link",
        "/home/joe directory 0755 1000:1000",
        "/usr/bin/tool file 0755 0:0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert_eq!(
        root.notes,
        ["paths that systemd-tmpfiles makes are made at boot; images/rootfs.tar has them from the start"]
    );
    assert!(!text.contains("THIS_IS_NOT") && !text.contains("/run/stale"), "{text}");
    let explain = |path: &str| {
        let text = root.provenance.explain(&root.tree, path).to_string();
        text.replace(dir.path().to_str().unwrap(), "")
    };
    assert_eq!(
        explain("/bin/busybox"),
        "/bin/busybox: from package `busybox`; mode 4755 from device table \
         `/output/build/buildroot-fs/full_devices_table.txt:2`; owner 0:1000 from device table \
         `/output/build/buildroot-fs/full_devices_table.txt:2`\n  \
         file of 1 bytes\n  \
         created as file      by package `busybox`\n  \
         owner 0:0 -> 0:1000  by device table `/output/build/buildroot-fs/full_devices_table.txt:2`\n  \
         mode 0644 -> 4755    by device table `/output/build/buildroot-fs/full_devices_table.txt:2`\n"
    );
    assert_eq!(
        explain("/etc/motd"),
        "/etc/motd: from layer `a/top`, which shadows source `/output/target` and layer `a/base`; mode 0644 from \
         layer `a/top`; owner 0:0 from layer `a/top`\n  \
         file of 4 bytes\n  \
         created as file        by source `/output/target`\n  \
         file replaced by file  by layer `a/base`\n  file replaced by file  by layer `a/top`\n"
    );
    assert_eq!(
        explain("/run/stale"),
        "/run/stale is not in the image: it was removed by step `empty /run`\n  \
         created as file  by source `/output/target`\n  \
         file removed     by step `empty /run`\n"
    );
}

#[test]
fn an_archive_has_its_owners_already_and_gets_overlays_and_units() {
    if !oracle("an_archive_has_its_owners_already_and_gets_overlays_and_units", "tar") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("output");
    buildroot_output(&output);
    checkout(dir.path(), 0o022);
    fs::create_dir(output.join("images")).unwrap();
    let archive = output.join("images/rootfs.tar");
    let mut tar = command("tar");
    tar.args(["--format=posix", "--owner=7", "--group=8"]).arg("-cf").arg(&archive);
    assert!(tar.arg("-C").arg(output.join("target")).arg(".").status().unwrap().success());
    let root = compose_from(dir.path(), &output, Handoff::Tar);
    let text = dump(&root.tree).join("\n");
    for line in [
        "/bin/busybox file 0644 7:8 @1700000000",
        "/etc/motd file 0644 0:0",
        "/etc/systemd/system/x.target.wants/tool.service symbolic link",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("/home/joe") && !text.contains("/run/stale"), "{text}");
    assert!(root.notes.is_empty(), "{:?}", root.notes);
}
