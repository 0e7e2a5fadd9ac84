//! Configurations of containers, read before they are on a medium, and images that are put beside them.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::harness::container_image::{Layout, digest};
use crate::harness::project::{Project, expect_failure, expect_no_image, succeed};
use crate::harness::tools::{command, oracle};

const DEFCONFIG: &str = "root_overlay/opt/skiff/coreenv/defconfig.yaml";
const HINT: &str = "hint: correct each: a device would start none of its containers";

/// A configuration with one container.
fn config(image: &str) -> String {
    format!(
        "containers:\n  core:\n    image: docker.io/library/alpine:3.22\nusers:\n  core:\n    container: core\nimages:\n  \
         docker.io/library/alpine:3.22:\n{image}"
    )
}

/// With two errors.
const BROKEN: &str = "containers:\n  core:\n    image: a:1\n    privilegd: true\nimages:\n  a:1:\n    pull: {}\nusers:\n  core:\n    \
                      container: cor\n";

fn told(path: &str) -> String {
    format!(
        "\n  {path}:4:5: unknown key `privilegd` of container `core`\n    hint: did you mean `privileged`?\
         \n  {path}:10:16: user `core`: there is no container `cor`\n    hint: did you mean `core`?\n{HINT}"
    )
}

#[test]
fn a_broken_configuration_is_refused_before_anything_is_done() {
    let project = Project::new();
    project.write(&format!("configs/demo/site/{DEFCONFIG}"), BROKEN);
    let path = format!("configs/demo/site/{DEFCONFIG}");
    let image = format!("error: containers: 2 errors in the image{}", told(&path));
    expect_no_image(&project, &[], 1, &image);
    // Nor does it get to a medium.
    expect_failure(&mut project.with_inputs(&["flash", "--simulate", "memory"], &[]), 1, &image);
    project.write(&format!("configs/demo/site/{DEFCONFIG}"), config("    pull: {}\n"));
    project.write("files/skiff/core/config.yaml", BROKEN);
    let persist = "error: containers: 2 errors in the persist partition".to_owned();
    let persist = persist + &told("files/skiff/core/config.yaml");
    expect_no_image(&project, &["--persist-dir", "files"], 1, &persist);
    project.write("files/skiff/core/config.yaml", b"a: b\nc: \xff\n");
    let not_text = "error: files/skiff/core/config.yaml:2: this configuration of containers is no text in UTF-8\n\
                    hint: save it as UTF-8";
    expect_failure(&mut project.assemble(&["--persist-dir", "files"]), 1, not_text);
    project.write("files/skiff/core/config.yaml", config("    pull: {}\n"));
    let (_, stderr) = succeed(&mut project.assemble(&["--persist-dir", "files"]));
    assert!(!stderr.contains("warning"), "{stderr}");
}

#[test]
fn configure_reads_those_of_all_layers() {
    let project = Project::to_configure();
    project.write(&format!("configs/a/b/{DEFCONFIG}"), BROKEN);
    let path = format!("configs/a/b/{DEFCONFIG}");
    let message = format!("error: containers: 2 errors in layer `a/b`{}", told(&path));
    expect_failure(&mut project.configure(), 1, &message);
    assert!(!project.path("workspaces").exists(), "nothing was made");
    // What packages of SkiffOS' layers install.
    fs::remove_dir_all(project.path("configs/a/b/root_overlay")).expect("it is there");
    let packaged = "buildroot_ext/package/skiff-core-x/coreenv-defconfig.yaml";
    project.write(&format!("configs/a/b/{packaged}"), BROKEN);
    let message =
        format!("error: containers: 2 errors in layer `a/b`{}", told(&format!("configs/a/b/{packaged}")));
    expect_failure(&mut project.configure(), 1, &message);
}

#[test]
fn notes_are_warnings_or_errors() {
    let project = Project::new();
    let misnamed = config("    pull:\n      policy: ifnotexists\n");
    project.write(&format!("configs/demo/site/{DEFCONFIG}"), misnamed);
    let (_, stderr) = succeed(&mut project.assemble(&[]));
    let place = format!("warning: configs/demo/site/{DEFCONFIG}:10:");
    assert_eq!(stderr.matches(&place).count(), 2, "{stderr}");
    let strict = &mut project.assemble(&["--force", "--strict"]);
    let output = strict.stdin(Stdio::null()).output().expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let start = format!(
        "error: 2 settings of containers would work, but may be meant otherwise:\n  configs/demo/site/{DEFCONFIG}:10:7: "
    );
    assert!(stderr.starts_with(&start), "{stderr}");
    assert!(stderr.ends_with("hint: correct what is named, or be less strict\n"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}

/// An archive of an image with one layer in `directory`; `damage` changes what is in it.
fn archive(directory: &Path, name: &str, architecture: &str, damage: impl Fn(&Layout)) {
    let layout = Layout::make(&directory.join("layout"), name, architecture, &[0; 1024]);
    damage(&layout);
    layout.archive(&directory.join("image.tar"));
}

const ALPINE: &str = "docker.io/library/alpine:3.22";

#[test]
fn an_image_is_put_where_the_device_looks_for_it() {
    let test = "an_image_is_put_where_the_device_looks_for_it";
    if !oracle(test, "tar") || !oracle(test, "debugfs") {
        return;
    }
    let project = Project::new();
    project.write(&format!("configs/demo/site/{DEFCONFIG}"), config("    pull: {}\n"));
    archive(&project.root(), ALPINE, "arm64", |_| ());
    let (_, stderr) = succeed(&mut project.assemble(&["--container-image", "image.tar"]));
    assert!(!stderr.contains("warning"), "{stderr}");
    let manifest: serde_json::Value =
        serde_json::from_str(&project.read("out/disk.img.manifest.json")).expect("JSON");
    let regions = manifest["regions"].as_array().expect("regions");
    let offset = &regions.iter().find(|region| region["name"] == "persist").expect("persist")["offset"];
    let mut debugfs = command("debugfs");
    let request = "dump \"/skiff/core/images/docker.io+library+alpine:3.22.tar\" found.tar";
    debugfs.current_dir(project.root()).args(["-R", request]);
    debugfs.arg(format!("{}?offset={offset}", project.path("out/disk.img").display()));
    assert!(debugfs.output().expect("debugfs starts").status.success());
    assert!(fs::read(project.path("found.tar")).unwrap() == fs::read(project.path("image.tar")).unwrap());

    // One that no image of the configuration is.
    let (_, stderr) = succeed(&mut project.assemble(&["--container-image", "other:1=image.tar"]));
    let path = format!("configs/demo/site/{DEFCONFIG}");
    let unused = format!(
        "warning: `{path}` has no image `other:1`, so nothing loads `image.tar`\n    hint: it has `{ALPINE}`; \
         `NAME=image.tar` gives it another name\n"
    );
    assert!(stderr.contains(&unused), "{stderr}");

    // One that is to be there and is not.
    let wanted = config("    archive: /mnt/persist/images/alpine.tar\n");
    project.write(&format!("configs/demo/site/{DEFCONFIG}"), wanted);
    let (_, stderr) = succeed(&mut project.assemble(&[]));
    let missing = format!(
        "warning: {path}:8:3: image `{ALPINE}` is loaded from `/mnt/persist/images/alpine.tar`, which is not put on the \
         medium\n    hint: have it among the files for persist, or leave `archive` out and give the image itself\n"
    );
    assert!(stderr.contains(&missing), "{stderr}");
    project.write("files/images/alpine.tar", "x");
    let (_, stderr) = succeed(&mut project.assemble(&["--persist-dir", "files"]));
    assert!(!stderr.contains("which is not put on the medium"), "{stderr}");
}

#[test]
fn an_image_that_a_device_could_not_use_is_refused() {
    let test = "an_image_that_a_device_could_not_use_is_refused";
    if !oracle(test, "tar") {
        return;
    }
    let project = Project::new();
    let save = "hint: make it with `podman save --format oci-archive -o FILE NAME`";
    let refused = |given: &str, message: &str| {
        expect_failure(&mut project.assemble(&["--container-image", given]), 1, message);
    };
    let zeros = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    let layer = zeros.replace("sha256:", "blobs/sha256/");
    archive(&project.root(), ALPINE, "arm64", |layout| fs::write(layout.path(&layer), [1; 1024]).unwrap());
    let found = digest(&[1; 1024]);
    refused(
        "image.tar",
        &format!(
            "error: `image.tar`: a layer `{zeros}` does not have the digest that its name says: `{found}`\n\
             hint: the archive is damaged: make or download it again"
        ),
    );
    archive(&project.root(), ALPINE, "arm64", |layout| fs::remove_file(layout.path(&layer)).unwrap());
    refused(
        "image.tar",
        &format!(
            "error: `image.tar`: a layer `{zeros}` is missing\nhint: the archive is cut off, or was made without all \
             layers: make it again"
        ),
    );
    archive(&project.root(), "", "arm64", |_| ());
    refused(
        "image.tar",
        "error: `image.tar` does not say the name of its image\nhint: name it: `NAME:TAG=FILE`",
    );
    let name = "hint: write it as the configuration does, such as `docker.io/library/alpine:3.22`";
    refused("../x:1=image.tar", &format!("error: `../x:1` is no name of an image\n{name}"));
    archive(&project.root(), ALPINE, "amd64", |_| ());
    refused(
        "image.tar",
        &format!(
            "error: image `{ALPINE}` is for `amd64`, and the board for `arm64`\n\
             hint: take the one for `arm64`"
        ),
    );
    archive(&project.root(), ALPINE, "arm64", |layout| {
        fs::remove_file(layout.path("oci-layout")).unwrap();
        fs::write(layout.path("manifest.json"), "[]").unwrap();
    });
    refused(
        "image.tar",
        &format!("error: `image.tar` is no archive of a container image: it is one of `docker save`\n{save}"),
    );
    project.write("short.tar", [7; 700]);
    let output = project.assemble(&["--container-image", "short.tar"]).output().expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("error: `short.tar` is no archive of a container image: "), "{stderr}");
}

/// The archive is read and written anew by the library that podman has, too.
#[test]
fn an_archive_of_other_programs_is_taken() {
    let test = "an_archive_of_other_programs_is_taken";
    if !oracle(test, "tar") || !oracle(test, "skopeo") {
        return;
    }
    let project = Project::new();
    project.write(&format!("configs/demo/site/{DEFCONFIG}"), config("    pull: {}\n"));
    archive(&project.root(), ALPINE, "arm64", |_| ());
    let to = format!("oci-archive:box.tar:{ALPINE}");
    let mut skopeo = command("skopeo");
    skopeo.current_dir(project.root()).args(["copy", "--insecure-policy", "oci-archive:image.tar", &to]);
    let copied = skopeo.output().expect("skopeo starts");
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let (_, stderr) = succeed(&mut project.assemble(&["--container-image", "box.tar"]));
    assert!(!stderr.contains("warning"), "{stderr}");
}
