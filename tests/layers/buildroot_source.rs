//! Buildroot's source tree: where it is found, what is pinned, how it is fetched and patched.

#[cfg(feature = "network")]
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::project::{Project, expect_failure, json, run, succeed};
#[cfg(feature = "network")]
use crate::harness::server::{Server, answer, whole};
use crate::harness::tools::oracle;
use crate::harness::tools::write;
use crate::harness::toy_buildroot;
use crate::harness::toy_buildroot::KCONFIG;
use skiff_image::buildroot::source::{Pin, Places, Source, TreeDigest};
use skiff_image::interrupt::Interrupt;
use skiff_image::workspace::Workspace;

const HINT: &str = "hint: `skiff-image fetch` gets the pinned one; `--any-buildroot` takes this one as it is";
const CONFIGURE: [&str; 3] = ["configure", "--config", "a/b"];

/// Digests of a tree's entries by the description in words, with find, stat and readlink.
fn digests(tree: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(tree).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with('.') || ["docs", "dl", "output"].contains(&name.as_str()) {
            continue;
        }
        let mut find = Command::new("find");
        find.current_dir(tree).args([&name, "-not", "-type", "d", "-not", "-name", "*.pyc", "-print0"]);
        let output = find.output().unwrap().stdout;
        let mut paths: Vec<&[u8]> = output.split(|byte| *byte == 0).filter(|path| !path.is_empty()).collect();
        paths.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        for path in paths {
            let file = tree.join(std::ffi::OsStr::from_bytes(path));
            let metadata = file.symlink_metadata().unwrap();
            let (kind, bytes) = if metadata.is_symlink() {
                (b'l', fs::read_link(&file).unwrap().as_os_str().as_bytes().to_vec())
            } else {
                let is_program = metadata.permissions().mode() & 0o100 != 0;
                (if is_program { b'x' } else { b'f' }, fs::read(&file).unwrap())
            };
            hasher.update(&(path.len() as u64).to_le_bytes()).update(path).update(&[kind]);
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        }
        found.insert(name, hasher.finalize().to_hex().to_string());
    }
    found
}

fn digest(entries: &BTreeMap<String, String>) -> String {
    let lines: String = entries.iter().map(|(name, digest)| format!("{name} {digest}\n")).collect();
    blake3::hash(lines.as_bytes()).to_hex().to_string()
}

/// Pins the tree as it is.
fn pin(project: &Project, tree: &Path, url: &str) {
    let entries = digests(tree);
    let mut text =
        format!("version = \"2026.05.1\"\nurl = \"{url}\"\ndigest = \"{}\"\n\n[entries]\n", digest(&entries));
    entries.iter().for_each(|(name, digest)| text += &format!("\"{name}\" = \"{digest}\"\n"));
    project.write("buildroot/release.toml", &text);
}

/// A program and a link, which a digest tells from files.
fn with_program_and_link(tree: &Path) {
    write(&tree.join("support/run"), "#!/bin/sh\n");
    fs::set_permissions(tree.join("support/run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../Makefile", tree.join("support/link")).unwrap();
}

#[test]
fn a_tree_that_is_not_the_pinned_one_is_told() {
    if !oracle("buildroot_source", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    let toy = project.beside("toy");
    with_program_and_link(&toy);
    pin(&project, &toy, "https://example.org/b.tar.xz");
    succeed(&mut project.configure());
    // What use and releases add is left out.
    for added in [".git/x", "docs/x", "dl/x", "output/x", "support/__pycache__/x.pyc", "support/y.pyc"] {
        write(&toy.join(added), "");
    }
    assert_eq!(json(&mut project.configure())["made"], serde_json::json!(null));

    let altered = |differing: &str, count: usize| {
        let message = format!(
            "`{}` is not Buildroot 2026.05.1 as it was released: {count} of 5 entries differ (`{differing}`)",
            toy.display()
        );
        expect_failure(&mut project.configure(), 1, &format!("error: {message}\n{HINT}"));
        message
    };
    fs::set_permissions(toy.join("support/run"), fs::Permissions::from_mode(0o644)).unwrap();
    write(&toy.join("new"), "");
    altered("new`, `support", 2);
    fs::set_permissions(toy.join("support/run"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(toy.join("new")).unwrap();
    fs::remove_file(toy.join("support/link")).unwrap();
    symlink("../Config.in", toy.join("support/link")).unwrap();
    let message = altered("support", 1);
    let (_, stderr) = succeed(project.configure().arg("--any-buildroot"));
    assert_eq!(stderr, format!("warning: {message}\n"));

    let makefile = fs::read_to_string(toy.join("Makefile")).unwrap();
    write(&toy.join("Makefile"), makefile.replace("2026.05.1", "2025.02"));
    expect_failure(
        project.configure().arg("--forget"),
        1,
        &format!(
            "error: `{}` is Buildroot 2025.02, the project is made for 2026.05.1\n{HINT}",
            toy.display()
        ),
    );
    write(&toy.join("Makefile"), "all:\n");
    expect_failure(
        project.configure().arg("--forget"),
        1,
        &format!(
            "error: `{}/Makefile` does not say which version of Buildroot it is\n\
             hint: give the directory that Buildroot was unpacked to",
            toy.display()
        ),
    );
}

#[test]
fn the_nearest_tree_is_taken() {
    if !oracle("buildroot_source", KCONFIG) {
        return;
    }
    let project = Project::to_configure();
    expect_failure(
        &mut project.command(&CONFIGURE),
        1,
        &format!(
            "error: there is no source tree of Buildroot {}\nhint: `skiff-image fetch` puts it into \
             `workspaces/.buildroot`; or give one that is there with `--buildroot`",
            include_str!("../../buildroot/VERSION").trim()
        ),
    );
    // SkiffOS has its own Buildroot as a sub-module.
    let url = "https://example.org/fork/buildroot.git";
    project.write(".gitmodules", format!("[submodule \"buildroot\"]\n\tpath = buildroot\n\turl = {url}\n"));
    expect_failure(
        &mut project.command(&CONFIGURE),
        1,
        &format!(
            "error: `buildroot` is empty: it is a sub-module of the project, its own Buildroot from {url}\n\
             hint: `git submodule update --init buildroot` gets the version that the project pins"
        ),
    );
    project.remove(".gitmodules");
    expect_failure(
        project.command(&CONFIGURE).env("BUILDROOT_DIR", "configs"),
        1,
        "error: `configs` is not a source tree of Buildroot: it has no `Makefile`\n\
         hint: give the directory that Buildroot was unpacked to",
    );
    let taken = |command: &mut Command| PathBuf::from(json(command)["buildroot"].as_str().unwrap());
    toy_buildroot::make(&project.path("buildroot"));
    assert_eq!(taken(&mut project.command(&CONFIGURE)), project.path("buildroot"));
    assert_eq!(taken(project.command(&CONFIGURE).env("BUILDROOT_DIR", "../toy")), project.beside("toy"));
    assert_eq!(taken(&mut project.command(&CONFIGURE)), project.beside("toy"), "as it was");
    let of_project = project.path("buildroot");
    let given = [&CONFIGURE[..], &["--buildroot", of_project.to_str().unwrap()]].concat();
    assert_eq!(taken(project.command(&given).env("BUILDROOT_DIR", "../toy")), of_project);
    // Downloads of a SkiffOS checkout are used.
    let makefile = fs::read_to_string(of_project.join("Makefile")).unwrap();
    write(&of_project.join("Makefile"), &(makefile + "\n$(info downloads: $(BR2_DL_DIR))\n"));
    let downloads = |command: &mut Command| succeed(command.arg("--verbose")).1;
    let common = format!("downloads: {}\n", project.path("workspaces/.downloads").display());
    assert!(downloads(&mut project.command(&CONFIGURE)).contains(&common));
    fs::create_dir(of_project.join("dl")).unwrap();
    write(&of_project.join("package/x"), "");
    let own = format!("downloads: {}\n", of_project.join("dl").display());
    assert!(downloads(&mut project.command(&CONFIGURE)).contains(&own));
    write(&of_project.join("package/x"), "x");
    let given = "downloads: /elsewhere\n";
    assert!(downloads(project.command(&CONFIGURE).env("BR2_DL_DIR", "/elsewhere")).contains(given));
}

#[test]
fn a_pin_must_be_right() {
    let project = Project::to_configure();
    let said = |message: &str| {
        expect_failure(
            &mut project.configure(),
            1,
            &format!(
                "error: `{}` does not pin a release: {message}\n\
                 hint: take the file from the project's own repository, or remove it to pin nothing",
                project.path("buildroot/release.toml").display()
            ),
        );
    };
    project.write("buildroot/release.toml", "version = \"1\"\n");
    said("missing field `url`");
    project.write(
        "buildroot/release.toml",
        "version = \"1\"\nurl = \"u\"\ndigest = \"d\"\n[entries]\na = \"b\"\n",
    );
    let digest = digest(&BTreeMap::from([("a".into(), "b".into())]));
    said(&format!("`digest` is d, that of its entries {digest}"));
}

/// An archive of the toy, made by tar, as a release is.
fn archive(project: &Project, compression: &str) -> PathBuf {
    let tree = project.beside("buildroot-2026.05.1");
    if !tree.exists() {
        toy_buildroot::make(&tree);
        with_program_and_link(&tree);
    }
    let path = project.beside("buildroot.tar");
    let mut tar = Command::new("tar");
    tar.current_dir(project.beside("")).arg(compression).arg("-cf").arg(&path).arg("buildroot-2026.05.1");
    assert!(tar.status().unwrap().success());
    path
}

#[test]
fn a_release_is_unpacked_and_found() {
    if !oracle("buildroot_source", KCONFIG) || !oracle("buildroot_source", "xz") {
        return;
    }
    for compression in ["--xz", "--gzip", "--no-auto-compress"] {
        let project = Project::to_configure();
        let archive = archive(&project, compression);
        pin(&project, &project.beside("buildroot-2026.05.1"), "https://example.org/b.tar.xz");
        let fetch = || project.command(&["fetch", "--from", archive.to_str().unwrap()]);
        let (stdout, stderr) = succeed(&mut fetch());
        let place = "workspaces/.buildroot/buildroot-2026.05.1";
        assert_eq!((stdout, stderr), (format!("Buildroot 2026.05.1 is in `{place}`\n"), String::new()));
        assert_eq!(digests(&project.path(place)), digests(&project.beside("buildroot-2026.05.1")));
        assert_eq!(
            json(&mut project.command(&CONFIGURE))["buildroot"],
            project.path(place).to_str().unwrap()
        );
        let (stdout, _) = succeed(&mut fetch());
        assert_eq!(stdout, format!("Buildroot 2026.05.1 is already in `{place}`\n"));
        write(&project.path(place).join("package/new"), "");
        let (_, stderr, code) = run(&mut fetch());
        assert!(code == 1 && stderr.contains("1 of 5 entries differ (`package`)"), "{stderr}");
    }
}

#[test]
fn an_archive_that_is_not_the_release_leaves_nothing() {
    let project = Project::to_configure();
    let archive = archive(&project, "--gzip");
    pin(&project, &project.beside("toy"), "https://example.org/b.tar.xz");
    let name = archive.to_str().unwrap().to_owned();
    let fetch = || project.command(&["fetch", "--from", &name]);
    expect_failure(
        &mut fetch(),
        1,
        &format!(
            "error: `{name}` is not Buildroot 2026.05.1 as it was released: 1 of 4 entries differ (`support`)\n{HINT}"
        ),
    );
    let whole = fs::read(&archive).unwrap();
    let hint = "hint: give a release of Buildroot as it is published, buildroot-VERSION.tar.xz";
    fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    let (_, stderr, code) = run(&mut fetch());
    assert_eq!(code, 1);
    assert!(stderr.starts_with(&format!("error: `{name}` cannot be unpacked: ")), "{stderr}");
    assert!(stderr.trim_end().ends_with(hint), "{stderr}");
    for (entry, message) in [
        (entry("../evil", None), "`../evil`, which leads out of the directory it is unpacked to"),
        (entry("b/link", Some("/etc")), "`/etc`, which leads out of the directory it is unpacked to"),
        (entry("b/a/link", Some("../../x")), "`../../x`, which leads out of the directory it is unpacked to"),
    ] {
        fs::write(&archive, entry).unwrap();
        expect_failure(&mut fetch(), 1, &format!("error: `{name}` has {message}\n{hint}"));
    }
    // Through two links that stay inside by their names alone.
    let links = [("b/a/b/up", "../.."), ("b/out", "a/b/up/..")].map(|(path, to)| entry(path, Some(to)));
    fs::write(&archive, [&links[0][..], &links[1], &entry("b/out/evil", None)].concat()).unwrap();
    let (_, stderr, _) = run(&mut fetch());
    assert!(stderr.contains("which leads out of the directory it is unpacked to"), "{stderr}");
    assert!(!project.path("workspaces/.buildroot/evil").exists());
    let mut fifo = tar::Header::new_gnu();
    fifo.set_entry_type(tar::EntryType::Fifo);
    fs::write(&archive, with_name(fifo, "b/pipe")).unwrap();
    let message = "`b/pipe`, which is neither a file nor a directory nor a link";
    expect_failure(&mut fetch(), 1, &format!("error: `{name}` has {message}\n{hint}"));
    let left: Vec<_> = fs::read_dir(project.path("workspaces/.buildroot"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["lock"]);
}

/// An entry of an archive, without the end of one.
fn entry(path: &str, link: Option<&str>) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(if link.is_some() { tar::EntryType::Symlink } else { tar::EntryType::Regular });
    if let Some(link) = link {
        header.set_link_name_literal(link).unwrap();
    }
    with_name(header, path)
}

fn with_name(mut header: tar::Header, path: &str) -> Vec<u8> {
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[cfg(feature = "network")]
#[test]
fn a_release_comes_from_its_address() {
    let project = Project::to_configure();
    let bytes = fs::read(archive(&project, "--gzip")).unwrap();
    let server = Server::start(move |_, request| match request.path.as_str() {
        "/b.tar.xz" => whole(&bytes),
        "/broken.tar.xz" => whole(&bytes[..bytes.len() / 2]),
        _ => answer("404 Not Found", "", b"", 0),
    });
    let tree = project.beside("buildroot-2026.05.1");
    pin(&project, &tree, &format!("{}/b.tar.xz", server.address));
    let fetched = json(&mut project.command(&["fetch"]));
    assert_eq!(fetched["new"], true);
    assert_eq!(digests(&project.path(fetched["path"].as_str().unwrap())), digests(&tree));

    fs::remove_dir_all(project.path("workspaces")).unwrap();
    let hint = "hint: fetch the archive by other means, and give the file or the unpacked tree: `fetch --from FILE` takes \
                a file, `configure --buildroot DIR` a tree";
    let missing = format!("{}/c.tar.xz", server.address);
    expect_failure(
        &mut project.command(&["fetch", "--from", &missing]),
        1,
        &format!("error: the server answered 404 Not Found for `{missing}`\n{hint}"),
    );
    let broken = format!("{}/broken.tar.xz", server.address);
    let (_, stderr, code) = run(&mut project.command(&["fetch", "--from", &broken]));
    let start = format!("error: `{broken}` cannot be unpacked: ");
    assert!(code == 1 && stderr.starts_with(&start) && stderr.trim_end().ends_with(hint), "{stderr}");
    expect_failure(
        &mut project.command(&["fetch", "--from", "http://example.org/b.tar.xz"]),
        1,
        &format!("error: `http://example.org/b.tar.xz` is not encrypted\n{hint}"),
    );
}

#[test]
fn the_series_is_applied_to_a_copy() {
    if !oracle("buildroot_source", KCONFIG) || !oracle("buildroot_source", "patch") {
        return;
    }
    let project = Project::to_configure();
    let toy = project.beside("toy");
    with_program_and_link(&toy);
    let before = digests(&toy);
    let patch = |number: u32, from: &str, to: &str| {
        let diff = format!("--- a/support/run\n+++ b/support/run\n@@ -1 +1 @@\n-{from}\n+{to}\n");
        project.write(&format!("buildroot/patches/000{number}-run.patch"), &diff);
    };
    patch(2, "#!/bin/dash", "#!/bin/bash");
    patch(1, "#!/bin/sh", "#!/bin/dash");
    let first = json(&mut project.configure())["buildroot"].as_str().unwrap().to_owned();
    assert!(Path::new(&first).starts_with(project.path("workspaces/.buildroot")), "{first}");
    assert_eq!(fs::read_to_string(format!("{first}/support/run")).unwrap(), "#!/bin/bash\n");
    assert!(Path::new(&first).join("support/link").is_symlink());
    assert_eq!(digests(&toy), before, "the tree itself stays as it is");
    let again = json(&mut project.command(&["configure"]));
    assert_eq!(
        (again["buildroot"].as_str(), &again["made"]),
        (Some(first.as_str()), &serde_json::json!(null))
    );

    patch(2, "#!/bin/dash", "#!/bin/ksh");
    let second = json(&mut project.configure());
    assert_ne!(second["buildroot"], first.as_str());
    assert_eq!(second["made"], "changed");
    patch(2, "#!/bin/zsh", "#!/bin/ksh");
    let (_, stderr, code) = run(&mut project.configure());
    assert_eq!(code, 1);
    let start = format!(
        "error: `{}` does not apply to `{}`: ",
        project.path("buildroot/patches/0002-run.patch").display(),
        toy.display()
    );
    assert!(stderr.starts_with(&start), "{stderr}");
    let hint = "hint: adapt the patch, or take the version of Buildroot that it is made for\n";
    assert!(stderr.ends_with(hint), "{stderr}");
}

#[test]
fn patching_can_be_interrupted() {
    let project = Project::to_configure();
    project.write("buildroot/patches/1.patch", "");
    let workspace = Workspace::for_name(&project.root(), "default").unwrap();
    let interrupt = Interrupt::default();
    interrupt.raise();
    let places = Places { given: Some(project.beside("toy")), ..Places::default() };
    let error = Source::find(&workspace, &places, &interrupt).unwrap_err();
    assert_eq!(error.to_string(), "patching Buildroot was interrupted");
    let left: Vec<_> = fs::read_dir(project.path("workspaces/.buildroot"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["lock"]);
}

/// The project's pin against a real tree, named by SKIFF_BUILDROOT_TREE; UPDATE_GOLDEN=1 writes it.
#[test]
fn the_project_pins_the_release() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pinned = Pin::built_in();
    assert_eq!(pinned.version, include_str!("../../buildroot/VERSION").trim());
    assert_eq!(pinned.url, format!("https://buildroot.org/downloads/buildroot-{}.tar.xz", pinned.version));
    assert_eq!(Pin::for_project(root).unwrap().as_ref(), Some(&pinned));
    assert!(pinned.entries.contains_key("package"));
    let Some(tree) = std::env::var_os("SKIFF_BUILDROOT_TREE").map(PathBuf::from) else {
        eprintln!(
            "skipped: the_project_pins_the_release: SKIFF_BUILDROOT_TREE names no source tree of Buildroot"
        );
        return;
    };
    let found = TreeDigest::for_tree(&tree).unwrap();
    assert_eq!(found.entries, digests(&tree));
    let pin = Pin::for_tree(&pinned.version, &pinned.url, &found);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(root.join("buildroot/release.toml"), pin.text()).unwrap();
    } else {
        assert_eq!(pin, pinned);
    }
}
