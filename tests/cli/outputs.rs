//! Outputs that are no medium with partitions: archives, container images, images for a partition that is there
//! already, bundles for other programs; and the parts of descriptors that they need.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::disk;
use crate::harness::disk::{SECTOR, bytes, check_ext4};
use crate::harness::loopdev::LoopDevice;
use crate::harness::privilege;
use crate::harness::project;
use crate::harness::project::{Project, expect_failure, succeed};
use crate::harness::tools;
use crate::harness::tools::{command, oracle};
use serde_json::Value;
use sha2::{Digest, Sha256};
use skiff_image::event::Silent;
use skiff_image::flash::{Commit, FlashOptions, header_last};
use skiff_image::fs::ext4;
use skiff_image::storage::{Fault, Faulty, Memory, Region, Target};
use skiff_image::tree::archive::read_archive;
use skiff_image::tree::{Body, Content, Node, Stat, Tree};
use uuid::Uuid;

/// A verb about a board, from the files of a project.
fn about(project: &Project, verb: &[&str], board: &str) -> Command {
    let inputs = ["--boards", "boards", "--board", board, "--source", "output", "--config", "demo/site"];
    project.command(&[&["--quiet"], verb, &inputs].concat())
}

/// A project with one more board, `demo/other`.
fn with_board(descriptor: &str) -> Project {
    let project = Project::new();
    let head = "description = \"A board of a test\"\nstatus = \"boots nothing\"\narch = [\"arm64\"]\nroot = \"none\"\n";
    project.write("boards/demo/other.toml", format!("{head}{descriptor}"));
    project
}

/// What a descriptor is refused with.
#[track_caller]
fn invalid(descriptor: &str, told: &str) {
    let project = with_board(descriptor);
    let hint = "hint: boards/README.md documents every key, and `skiff-image boards schema` prints them";
    let told = format!("error: `boards/demo/other.toml`: {told}\n{hint}");
    expect_failure(&mut about(&project, &["plan"], "demo/other"), 1, &told);
}

/// What composing a descriptor is refused with.
#[track_caller]
fn refused(descriptor: &str, told: &str) {
    expect_failure(&mut about(&with_board(descriptor), &["plan"], "demo/other"), 1, told);
}

/// What a tool prints if it succeeds.
#[track_caller]
fn tool(command: &mut Command) -> String {
    let output = command.output().expect("the tool runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}

/// Makes small files among the images.
fn images(project: &Project, names: &[&str]) {
    for name in names {
        project.write(&format!("output/images/{name}"), format!("{name}, made up\n").repeat(300));
    }
}

fn assemble(project: &Project, board: &str, out: &str, more: &[&str]) -> PathBuf {
    succeed(&mut about(project, &[&["assemble", "--out", out], more].concat(), board));
    project.path(out)
}

const EXT4: &str =
    "[table]\nkind = \"none\"\n\n[[partition]]\nname = \"system\"\nfilesystem = \"ext4\"\nlabel = \"SYS\"\n";
const TAR: &str =
    "[table]\nkind = \"none\"\n\n[[partition]]\nname = \"all\"\nsize = \"fit\"\nfilesystem = \"tar\"\n";

#[test]
fn an_image_without_a_table_is_one_filesystem() {
    const TEST: &str = "an_image_without_a_table_is_one_filesystem";
    let project = with_board(&format!(
        "{EXT4}size = \"rest\"\nminimum = \"64 MiB\"\nfile = [\n\
         {{ root = \"/usr/share\", to = \"/share\", exclude = [\"model.bin\"] }},\n\
         {{ text = \"version of @{{board}}\\n\", to = \"/etc/version\", mode = \"0600\" }},\n\
         {{ link = \"version\", to = \"/etc/link\" }},\n\
         {{ image = \"Image\", to = \"/boot/Image\", mode = \"0755\" }},\n\
         {{ directory = \"/tmp\", mode = \"1777\" }},\n]\n"
    ));
    let image = assemble(&project, "demo/other", "out/system.img", &[]);
    assert_eq!(fs::metadata(&image).unwrap().len(), 64 << 20);
    let (plan, _) = succeed(&mut about(&project, &["plan"], "demo/other"));
    let lines: Vec<&str> = plan.lines().collect();
    assert!(lines[1].starts_with("no partition table, seed "), "{plan}");
    assert_eq!(lines.len(), 4, "one filesystem and nothing that is written last: {plan}");
    succeed(&mut project.command(&["verify", "out/system.img"]));
    let (found, _) = succeed(&mut project.command(&["inspect", "out/system.img"]));
    assert!(found.contains("64 MiB, no partition table\n  0  64 MiB from 0 bytes  ext4 `SYS`"), "{found}");
    let larger = assemble(&project, "demo/other", "out/larger.img", &["--size", "96 MiB"]);
    assert_eq!(fs::metadata(&larger).unwrap().len(), 96 << 20);
    let small = "error: the layout of board `demo/other` needs 64 MiB but the disk has 32 MiB\n\
                 hint: use a larger disk, or give a larger `--size`";
    expect_failure(&mut about(&project, &["plan", "--size", "32 MiB"], "demo/other"), 1, small);
    if !disk::oracles(TEST, &["e2fsck", "debugfs", "dumpe2fs"]) {
        return;
    }
    for image in [image, larger] {
        assert_eq!(check_ext4(&image), "SYS");
    }
    let debugfs =
        |request: &str| tool(command("debugfs").args(["-R", request]).arg(project.path("out/system.img")));
    assert_eq!(debugfs("cat /etc/version"), "version of demo/other\n");
    assert!(debugfs("stat /etc/version").contains("Mode:  0600"));
    assert!(debugfs("stat /etc/link").contains("Fast link dest: \"version\""));
    assert!(debugfs("stat /boot/Image").contains("Mode:  0755"));
    assert!(debugfs("stat /tmp").contains("Mode:  01777"));
    assert!(!debugfs("ls -p /share").contains("model.bin"), "it is excluded");
}

#[test]
fn an_existing_partition_has_an_id_that_only_the_user_knows() {
    const ID: &str = "0b7c5f1e-6f1b-4c50-9d3e-2f6f2f0c9a11";
    let boot = "[[artifact]]\nname = \"boot\"\nformat = \"text\"\nrules = \"plain\"\n\
                template = \"root=PARTUUID=@{partuuid.system}\\n\"\n\n";
    let project = with_board(&format!(
        "{}{boot}[[partition]]\nname = \"system\"\nsize = \"32 MiB\"\nfilesystem = \"ext4\"\nlabel = \"SYS\"\n\
         file = [{{ artifact = \"boot\" }}]\n",
        "[table]\nkind = \"none\"\n"
    ));
    expect_failure(
        &mut about(&project, &["plan"], "demo/other"),
        1,
        "error: `@{partuuid.system}` is the id of the partition that the image goes to, and that is not known\n\
         hint: `blkid -s PARTUUID -o value /dev/sdXN` prints it; give it with `--partuuid`",
    );
    let upper = ID.to_uppercase();
    let image = assemble(&project, "demo/other", "out/system.img", &["--partuuid", &upper]);
    let manifest: Value =
        serde_json::from_slice(&fs::read(project.path("out/system.img.manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["partuuid"], ID);
    let (plan, _) = succeed(&mut about(&project, &["plan", "--partuuid", "C0FFEE01-03"], "demo/other"));
    assert!(plan.contains("no partition table, for the partition c0ffee01-03, seed "), "{plan}");
    if disk::oracles("an_existing_partition_has_an_id_that_only_the_user_knows", &["debugfs"]) {
        let text = tool(command("debugfs").args(["-R", "cat /boot"]).arg(&image));
        assert_eq!(text, format!("root=PARTUUID={ID}\n"));
    }
    expect_failure(
        &mut about(&project, &["plan", "--partuuid", ID], "demo/board"),
        1,
        "error: board `demo/board` makes a partition table, so the ids of its partitions follow from the seed\n\
         hint: leave `--partuuid` out",
    );
    for wrong in ["0b7c5f1e", "c0ffee01-3", "0b7c5f1e6f1b4c509d3e2f6f2f0c9a11"] {
        let mut plan = about(&project, &["plan", "--partuuid", wrong], "demo/other");
        let (_, told, code) = project::run(&mut plan);
        let reason = "give it as `blkid -s PARTUUID -o value /dev/sdXN` prints it";
        assert_eq!(code, 2, "{told}");
        assert!(
            told.contains(&format!("invalid value '{wrong}' for '--partuuid <UUID>': {reason}")),
            "{told}"
        );
    }
}

#[test]
fn what_a_descriptor_cannot_mean_is_told() {
    let table = "[table]\nkind = \"mbr\"\n";
    let partition = |name: &str, more: &str| {
        format!("[[partition]]\nname = \"{name}\"\nsize = \"8 MiB\"\nfilesystem = \"none\"\n{more}\n")
    };
    invalid(
        &format!("{table}{}", partition("a", "number = 0")),
        "partition `a`: partitions are numbered from 1, not from 0",
    );
    invalid(
        &format!("{table}{}{}", partition("a", "number = 2"), partition("b", "")),
        "partition `b`: the number 2 is `a`'s already",
    );
    invalid(
        &format!("[table]\nkind = \"gpt\"\nhybrid-mbr = [3]\n{}", partition("a", "")),
        "table: hybrid-mbr lists partition 3, which does not exist",
    );
    invalid(
        &format!("{table}{}", &TAR[TAR.find("[[").unwrap()..]),
        "partition `all`: an archive is no partition; it needs a table of kind \"none\"",
    );
    invalid(
        &format!("{EXT4}size = \"8 MiB\"\n{}", partition("b", "")),
        "table: kind \"none\" wants one partition and no blob, not 2 partitions and 0 blobs",
    );
    invalid(
        &format!("{EXT4}size = \"8 MiB\"\nstart = \"1 MiB\"\n"),
        "partition `system`: `start`, `number` and `hybrid-mbr` mean nothing without a table",
    );
    invalid(
        &format!("{EXT4}size = \"8 MiB\"\ntype = \"linux\"\n"),
        "partition `system`: `type` means nothing without a table",
    );
    invalid(
        &TAR.replace("\"fit\"", "\"8 MiB\""),
        "partition `all`: an archive is as long as it is: its size is \"fit\"",
    );
    let file = |file: &str| format!("{TAR}file = [{{ {file} }}]\n");
    invalid(
        &file("image = \"Image\", root = \"/usr\""),
        "partition `all`: a file needs exactly one of `image`, `tree`, `artifact`, `directory`, `root`, `text` and \
         `link`",
    );
    invalid(&file("text = \"a\""), "partition `all`: `text` and `link` need `to`");
    invalid(
        &file("link = \"a\", to = \"/b\", mode = \"0755\""),
        "partition `all`: `mode` means nothing for `tree`, `root` and `link`",
    );
    invalid(
        &file("image = \"Image\", mode = \"rwx\""),
        "partition `all`: mode `rwx` is not octal up to 7777",
    );
    invalid(
        &file("image = \"Image\", exclude = [\"a\"]"),
        "partition `all`: `exclude` means nothing but for `tree` and `root`",
    );
    invalid(
        &format!("{table}{}", partition("a", "file = [{ image = \"Image\" }]")),
        "partition `a`: files can only be put on fat16, fat32, ext4, tar and oci",
    );
    invalid(
        &format!("{table}{}", partition("a", "image = \"Image\"")),
        "partition `a`: `image` means nothing but for raw",
    );
    invalid(
        &format!("{table}{}", partition("a", "").replace("none", "raw")),
        "partition `a`: `image` is missing: a raw partition holds a file",
    );
    invalid(&TAR.replace("tar", "oci"), "partition `all`: `oci` is missing");
    invalid(
        &format!("{}compression = \"xz\"\n", TAR.replace("tar", "oci")),
        "partition `all`: a layer is compressed with none, gzip or zstd, not xz",
    );
    invalid(
        &format!("{TAR}\n[[artifact]]\nname = \"a\"\nformat = \"ext4\"\nsize = \"1 MiB\"\n"),
        "artifact `a`: `label` is missing",
    );
    invalid(
        &format!(
            "{TAR}\n[[artifact]]\nname = \"a\"\nformat = \"text\"\nrules = \"plain\"\ntemplate = \"\"\nfile = []\n"
        ),
        "artifact `a`: `file` means nothing for this format",
    );
    invalid(
        &format!(
            "{TAR}\n[[artifact]]\nname = \"a\"\nformat = \"cpio\"\ncompression = \"none\"\nfile = [{{ artifact = \"b\" }}]\n"
        ),
        "artifact `a`: a file names the artifact `b`, which does not exist",
    );
}

#[test]
fn what_cannot_be_put_somewhere_is_told() {
    let files = |files: &str| format!("{TAR}file = [{files}]\n");
    refused(
        &files("{ root = \"/opt/none\" }"),
        "error: partition `all` needs `/opt/none`, which is not in the root filesystem\n\
         hint: build what brings it, or change the board",
    );
    refused(
        &files("{ root = \"/\" }, { text = \"\", to = \"/bin/new\" }"),
        "error: `/bin` cannot be made: `/bin` of `/bin` of the root filesystem is a symbolic link\n\
         hint: name the path that the link leads to, or exclude what is in the way",
    );
    refused(
        &files("{ root = \"/\" }, { text = \"\", to = \"/etc/passwd\" }"),
        "error: `/etc/passwd` is placed twice: by `/etc/passwd` of the root filesystem and by the text for \
         `/etc/passwd` of partition `all`\n\
         hint: exclude it from the directory that brings it along",
    );
    refused(
        &files("{ directory = \"/etc\" }, { link = \"x\", to = \"/etc\" }"),
        "error: `/etc` is placed twice: by a directory and by the link `/etc` of partition `all`\n\
         hint: exclude it from the directory that brings it along",
    );
    refused(
        &format!(
            "{TAR}\n[[artifact]]\nname = \"esp.img\"\nformat = \"fat32\"\nlabel = \"esp\"\nsize = \"64 MiB\"\n\
             file = [{{ image = \"BOOTAA64.efi\" }}]\n"
        ),
        "error: artifact `esp.img` needs `BOOTAA64.efi`, which is not in `output/images`\n\
         hint: build it, or give the directory that has it with `--images`",
    );
    let sized = "error: board `demo/other` makes an archive, not a disk: it has no size to choose and goes to no \
                 device\nhint: use `assemble` without `--size`";
    let project = with_board(TAR);
    expect_failure(&mut about(&project, &["plan", "--size", "1 GiB"], "demo/other"), 1, sized);
    let wrong = "[partition.oci]\nreference = \"Skiff\"\nentrypoint = [\"/init\"]\n";
    refused(
        &format!("{}{wrong}", TAR.replace("tar", "oci")),
        "error: `Skiff` is not the name of a container image: NAME:TAG, without capital letters in the name\n\
         hint: correct `reference` of the board, for example `localhost/skiffos:latest`",
    );
}

#[test]
fn an_archive_is_whole_reproducible_and_its_damage_is_named() {
    let descriptor =
        format!("{TAR}file = [{{ root = \"/\" }}, {{ image = \"Image\", to = \"/boot/Image\" }}]\n");
    let project = with_board(&descriptor);
    fs::hard_link(project.path("output/target/usr/bin/app"), project.path("output/target/usr/bin/app2"))
        .unwrap();
    let archive = assemble(&project, "demo/other", "out/all.tar", &["--threads", "1"]);
    let other = assemble(&project, "demo/other", "out/other.tar", &["--threads", "3"]);
    assert!(fs::read(&archive).unwrap() == fs::read(other).unwrap(), "the bytes do not depend on threads");
    assert!(!project.path("out/all.tar.bmap").exists(), "nobody copies an archive by blocks");
    let tree = read_archive(&archive).expect("an archive");
    assert_eq!(tree.get("usr/bin/app"), tree.get("usr/bin/app2"), "one file with two names");
    let stat = |path: &str| {
        let node = tree.node(tree.get(path).unwrap_or_else(|| panic!("{path}")));
        (node.stat.mode, node.stat.uid, node.body.kind())
    };
    assert_eq!(stat("usr/bin/app"), (0o4755, 0, "file"));
    assert_eq!(stat("etc/shadow"), (0o600, 0, "file"));
    assert_eq!(stat("dev/console"), (0o622, 0, "character device"));
    assert_eq!(stat("bin"), (0o777, 0, "symbolic link"));
    assert_eq!(stat("boot/Image"), (0o644, 0, "file"));
    assert_ne!(stat("var/log").1, 0, "the owner of the device table");
    let (found, _) = succeed(&mut project.command(&["inspect", "out/all.tar"]));
    assert!(found.contains("tar archive, compression none, "), "{found}");
    succeed(&mut project.command(&["verify", "out/all.tar"]));
    let bytes = fs::read(&archive).unwrap();
    let app = fs::read(project.path("output/target/usr/bin/app")).unwrap();
    let at = bytes.windows(64).position(|window| window == &app[..64]).expect("the file is in the archive");
    let file = fs::OpenOptions::new().write(true).open(&archive).unwrap();
    file.write_all_at(&[bytes[at + 5000] ^ 1], at as u64 + 5000).unwrap();
    let (told, _, code) = project::run(&mut project.command(&["verify", "out/all.tar"]));
    assert_eq!(code, 3);
    assert!(told.contains("region `all` (tar)"), "{told}");
    assert!(told.contains("file `/usr/bin/app` has other bytes than were written"), "{told}");
}

/// The documents of an image layout by their name, and what they say of themselves.
struct Layout(BTreeMap<String, Vec<u8>>);

impl Layout {
    fn read(archive: &Path) -> Layout {
        let tree = read_archive(archive).expect("an archive");
        let file = |(path, id): (Vec<u8>, _)| match &tree.node(id).body {
            Body::File(content) => Some((String::from_utf8(path).unwrap(), content.read_all().unwrap())),
            _ => None,
        };
        Layout(tree.walk().filter_map(file).collect())
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.0[name]).expect("JSON")
    }

    /// The blob of a descriptor, whose digest and size must be right.
    fn blob(&self, descriptor: &Value) -> &[u8] {
        let digest = descriptor["digest"].as_str().unwrap();
        let bytes = &self.0[&format!("blobs/{}", digest.replace(':', "/"))];
        assert_eq!(digest, sha256(bytes));
        assert_eq!(descriptor["size"], bytes.len());
        bytes
    }
}

fn sha256(bytes: &[u8]) -> String {
    let hex: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", hex.concat())
}

#[test]
fn a_container_image_keeps_the_specification() {
    let project = Project::new();
    let archive = assemble(&project, "virt/docker", "out/docker.tar", &[]);
    let layout = Layout::read(&archive);
    assert_eq!(layout.json("oci-layout"), serde_json::json!({ "imageLayoutVersion": "1.0.0" }));
    let index = layout.json("index.json");
    let manifest = &index["manifests"][0];
    assert_eq!(manifest["annotations"]["org.opencontainers.image.ref.name"], "latest");
    let manifest: Value = serde_json::from_slice(layout.blob(manifest)).unwrap();
    let layer = layout.blob(&manifest["layers"][0]);
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(layer), &mut plain).expect("gzip");
    let config: Value = serde_json::from_slice(layout.blob(&manifest["config"])).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][0], sha256(&plain));
    assert_eq!((&config["architecture"], &config["os"]), (&"arm64".into(), &"linux".into()));
    assert_eq!(config["created"], "2023-11-14T22:13:20Z");
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/lib/systemd/systemd"]));
    assert_eq!(config["config"]["Volumes"], serde_json::json!({ "/mnt/persist": {}, "/mnt/rootfs": {} }));
    let older = layout.json("manifest.json");
    assert_eq!(older[0]["RepoTags"][0].as_str().unwrap().rsplit('/').next(), Some("skiffos:latest"));
    for path in [&older[0]["Config"], &older[0]["Layers"][0]] {
        assert!(layout.0.contains_key(path.as_str().unwrap()), "{path}");
    }
    assert_eq!(
        fs::read(&archive).unwrap(),
        fs::read(assemble(&project, "virt/docker", "out/2.tar", &[])).unwrap()
    );
    let (found, _) = succeed(&mut project.command(&["inspect", "out/docker.tar"]));
    assert!(found.contains("container image in a tar archive, compression none, "), "{found}");
    succeed(&mut project.command(&["verify", "out/docker.tar"]));
}

#[test]
fn skopeo_and_umoci_take_the_container_image() {
    const TEST: &str = "skopeo_and_umoci_take_the_container_image";
    if !(disk::oracles(TEST, &["skopeo", "umoci"]) && privilege::root(TEST)) {
        return;
    }
    let project = Project::new();
    let archive = assemble(&project, "virt/docker", "out/docker.tar", &[]);
    for transport in ["oci-archive", "docker-archive"] {
        let found = tool(command("skopeo").arg("inspect").arg(format!("{transport}:{}", archive.display())));
        let found: Value = serde_json::from_str(&found).expect("JSON");
        assert_eq!((&found["Architecture"], &found["Os"]), (&"arm64".into(), &"linux".into()), "{transport}");
        assert_eq!(found["Env"], serde_json::json!(["container=oci"]));
    }
    let (layout, bundle) = (project.path("out/layout"), project.path("out/bundle"));
    let from = format!("oci-archive:{}", archive.display());
    tool(
        command("skopeo")
            .args(["copy", "--insecure-policy", &from])
            .arg(format!("oci:{}:latest", layout.display())),
    );
    tool(
        command("umoci").args(["unpack", "--image"]).arg(format!("{}:latest", layout.display())).arg(&bundle),
    );
    let root = bundle.join("rootfs");
    let app = fs::metadata(root.join("usr/bin/app")).unwrap();
    assert_eq!((app.permissions().mode() & 0o7777, app.uid()), (0o4755, 0));
    assert_eq!(
        fs::read(root.join("usr/bin/app")).unwrap(),
        fs::read(project.path("output/target/usr/bin/app")).unwrap()
    );
    assert!(root.join("etc/skip-skiff-mounts").is_file() && root.join("mnt/persist").is_dir());
    let link = |name: &str| fs::read_link(root.join("etc/systemd/system").join(name)).unwrap();
    assert_eq!(link("tmp.mount"), Path::new("/dev/null"));
    assert_eq!(link("default.target"), Path::new("/usr/lib/systemd/system/multi-user.target"));
    let config: Value = serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["args"], serde_json::json!(["/lib/systemd/systemd"]));
}

/// A project of another architecture.
fn of_arch(config: &str) -> Project {
    let project = Project::new();
    project.write("output/.config", config);
    project
}

#[test]
fn wsl_gets_a_compressed_archive_of_what_starts_the_system() {
    const TEST: &str = "wsl_gets_a_compressed_archive_of_what_starts_the_system";
    let project = of_arch("BR2_x86_64=y\n");
    images(&project, &["skiff-init/busybox", "skiff-init/wsl-shell", "skiff-init/skiff-init-squashfs"]);
    succeed(&mut about(&project, &["assemble"], "virt/wsl"));
    let archive = project.path("output/images/skiff-virt-wsl.tar.gz");
    if !disk::oracles(TEST, &["tar", "gzip", "unsquashfs"]) {
        return;
    }
    tool(command("gzip").arg("--test").arg(&archive));
    let listing = tool(command("tar").args(["--numeric-owner", "-tvzf"]).arg(&archive));
    let line = |name: &str| {
        let found = listing.lines().find(|line| line.contains(&format!(" {name}")));
        found.unwrap_or_else(|| panic!("{name} is not in\n{listing}"))
    };
    assert!(line("bin/busybox").starts_with("-rwxr-xr-x 0/0"));
    assert!(line("bin/sh -> busybox").starts_with("lrwxrwxrwx 0/0"));
    assert!(line("root/").starts_with("drwx------ 0/0"));
    assert!(line("tmp/").starts_with("drwxrwxrwt 0/0"));
    let out = project.path("out");
    let names = ["boot/rootfs.squashfs", "etc/wsl.conf"];
    tool(command("tar").arg("-xzf").arg(&archive).arg("-C").arg(&out).args(names));
    assert_eq!(
        fs::read_to_string(out.join("etc/wsl.conf")).unwrap(),
        "[automount]\noptions = \"uid=0,gid=0\"\n"
    );
    let inside = tool(command("unsquashfs").arg("-ll").arg(out.join("boot/rootfs.squashfs")));
    assert!(inside.contains("squashfs-root/usr/bin/app"), "{inside}");
}

const SIGNED: [(&str, u64, &str); 11] = [
    ("TBC", 2048, "signed/nvtboot_cpu.bin.encrypt"),
    ("RP1", 4096, "signed/tegra210-p3448-0000-p3449-0000-b00.dtb.encrypt"),
    ("EBT", 6144, "signed/cboot.bin.encrypt"),
    ("WB0", 8192, "signed/warmboot.bin.encrypt"),
    ("BPF", 10240, "signed/sc7entry-firmware.bin.encrypt"),
    ("TOS", 16384, "signed/tos-mon-only.img.encrypt"),
    ("DTB", 18432, "bootloader/tegra210-p3448-0000-p3449-0000-b00.dtb"),
    ("LNX", 20480, "bootloader/signed/boot.img.encrypt"),
    ("EKS", 22528, "signed/eks.img"),
    ("BMP", 24576, "bootloader/bmp.blob"),
    ("RP4", 26624, "bootloader/rp4.blob"),
];

fn nano() -> Project {
    let project = Project::new();
    let signed: Vec<String> = SIGNED.iter().map(|(_, _, file)| format!("linux4tegra/{file}")).collect();
    images(&project, &signed.iter().map(String::as_str).collect::<Vec<_>>());
    images(&project, &["tegra210-p3450-0000.dtb"]);
    project
}

#[test]
fn a_jetson_nano_has_the_first_partition_last() {
    const TEST: &str = "a_jetson_nano_has_the_first_partition_last";
    let project = nano();
    let card = assemble(&project, "jetson/nano", "out/card.img", &["--size", "31116288 sectors"]);
    for (name, start, file) in SIGNED {
        let expected = fs::read(project.path(&format!("output/images/linux4tegra/{file}"))).unwrap();
        assert!(bytes(&card, start * SECTOR, expected.len() as u64) == expected, "{name}");
    }
    succeed(&mut project.command(&["verify", "out/card.img"]));
    if !disk::oracles(TEST, &["sgdisk", "sfdisk", "e2fsck", "dumpe2fs", "debugfs", "dumpimage"]) {
        return;
    }
    let said = tool(command("sgdisk").arg("-v").arg(&card));
    assert!(said.contains("No problems found."), "{said}");
    let printed = tool(command("sgdisk").arg("-p").arg(&card));
    let rows: Vec<Vec<&str>> = printed
        .lines()
        .skip_while(|line| !line.starts_with("Number"))
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect();
    let row = |number: usize| {
        (rows[number - 1][0], rows[number - 1][1], rows[number - 1][2], *rows[number - 1].last().unwrap())
    };
    assert_eq!(rows.len(), 14);
    // To the last MiB of the card; SkiffOS' own stops where L4T's template does.
    assert_eq!(row(1), ("1", "28672", "31115263", "APP"));
    for (number, start, end, name) in [
        (2, "2048", "2303", "TBC"),
        (3, "4096", "4991", "RP1"),
        (4, "6144", "7295", "EBT"),
        (5, "8192", "8319", "WB0"),
        (6, "10240", "10623", "BPF"),
        (7, "12288", "13055", "BPF-DTB"),
        (8, "14336", "14463", "FX"),
        (9, "16384", "17279", "TOS"),
        (10, "18432", "19327", "DTB"),
        (11, "20480", "22015", "LNX"),
        (12, "22528", "22655", "EKS"),
        (13, "24576", "24959", "BMP"),
        (14, "26624", "26879", "RP4"),
    ] {
        assert_eq!(row(number), (number.to_string().as_str(), start, end, name));
    }
    let disk = disk::Disk::read(&card);
    let app = disk.entries.iter().position(|entry| entry.name == "APP").unwrap() + 1;
    let app = disk.extract(app, &project.path("out"));
    assert_eq!(check_ext4(&app), "persist");
    let script = project.path("out/boot.scr");
    tool(command("debugfs").args(["-R", &format!("dump /boot/boot.scr {}", script.display())]).arg(&app));
    assert!(tool(command("dumpimage").arg("-l").arg(&script)).contains("AArch64 Linux Script"));
}

#[test]
fn a_signed_file_that_is_missing_or_too_long_is_told() {
    let project = nano();
    let file = "output/images/linux4tegra/signed/eks.img";
    project.write(file, vec![1; 128 * 512 + 1]);
    expect_failure(
        &mut about(&project, &["plan"], "jetson/nano"),
        1,
        "error: partition `EKS` needs 64.0 KiB (65537 bytes) for its content but has 64 KiB\n\
         hint: give the partition a larger size in the board descriptor, or put less into it",
    );
    project.remove(file);
    expect_failure(
        &mut about(&project, &["plan"], "jetson/nano"),
        1,
        "error: partition `EKS` needs one of `linux4tegra/signed/eks.img`, `linux4tegra/bootloader/signed/eks.img`, \
         `linux4tegra/bootloader/eks.img`, but none of them is in `output/images`\n\
         hint: NVIDIA lets nobody else pass its stages on: have flash.sh of L4T 32.7.4 sign them for `jetson-nano-qspi-sd` \
         (BUILD_SD_IMAGE=1, --no-flash --sign), and put its directory there as `linux4tegra`",
    );
}

/// Unpacks a bundle and checks the filesystem for APP in it.
fn unpacked(project: &Project, board: &str) -> PathBuf {
    let bundle = assemble(project, board, "out/bundle.tar", &[]);
    let to = project.path("out/Linux_for_Tegra");
    fs::create_dir(&to).unwrap();
    tool(command("tar").arg("-xf").arg(&bundle).arg("-C").arg(&to));
    let system = to.join("bootloader/system.img");
    assert_eq!(fs::metadata(&system).unwrap().len(), 1 << 30);
    assert_eq!(check_ext4(&system), "persist");
    let listing = tool(command("debugfs").args(["-R", "ls -p /boot"]).arg(&system));
    assert!(listing.contains("/Image/") && listing.contains("/rootfs.squashfs/"), "{listing}");
    to
}

#[test]
fn jetsons_on_usb_get_a_bundle_for_nvidias_tool() {
    const TEST: &str = "jetsons_on_usb_get_a_bundle_for_nvidias_tool";
    if !disk::oracles(TEST, &["tar", "e2fsck", "dumpe2fs", "debugfs", "fsck.fat", "mdir", "mtype"]) {
        return;
    }
    let project = Project::new();
    let dtb = "tegra186-quill-p3310-1000-c03-00-base.dtb";
    images(&project, &["skiff-init/skiff-init-squashfs", "u-boot.bin", "tegra186-p2771-0000.dtb", dtb]);
    let to = unpacked(&project, "jetson/tx2");
    let readme = fs::read_to_string(to.join("skiffos/README")).unwrap();
    let call = format!("-L skiffos/u-boot.bin -d skiffos/{dtb} jetson-tx2-devkit mmcblk0p1");
    assert!(readme.contains(&call), "{readme}");
    for file in [dtb, "u-boot.bin"] {
        assert!(to.join("skiffos").join(file).is_file(), "{file}");
    }

    let project = Project::new();
    images(&project, &["skiff-init/skiff-init-squashfs", "linux4tegra/bootloader/BOOTAA64.efi"]);
    let to = unpacked(&project, "jetson/agx");
    let esp = to.join("bootloader/esp.img");
    assert_eq!(fs::metadata(&esp).unwrap().len(), 64 << 20);
    tool(command("fsck.fat").arg("-n").arg(&esp));
    assert!(tool(command("mdir").arg("-i").arg(&esp).arg("::/EFI/BOOT")).contains("BOOTAA64 EFI"));
    let conf = ["-R", "cat /boot/extlinux/extlinux.conf"];
    let conf = tool(command("debugfs").args(conf).arg(to.join("bootloader/system.img")));
    assert!(conf.contains("APPEND ${cbootargs} root=/dev/mmcblk0p1 rootwait rw "), "{conf}");
}

#[test]
fn an_initramfs_can_be_made_of_files() {
    let project = with_board(&format!(
        "{TAR}file = [{{ artifact = \"small.cpio\" }}]\n\n[[artifact]]\nname = \"small.cpio\"\nformat = \"cpio\"\n\
         compression = \"none\"\nfile = [{{ image = \"loader.bin\", to = \"/init\", mode = \"0755\" }}]\n"
    ));
    let archive = assemble(&project, "demo/other", "out/all.tar", &[]);
    if !disk::oracles("an_initramfs_can_be_made_of_files", &["cpio", "tar"]) {
        return;
    }
    tool(command("tar").arg("-xf").arg(archive).arg("-C").arg(project.path("out")));
    let listing = tool(command("cpio").args(["-t", "-v", "-F"]).arg(project.path("out/small.cpio")));
    let init = listing.lines().find(|line| line.ends_with(" init")).expect("init");
    assert!(init.starts_with("-rwxr-xr-x") && listing.lines().count() == 2, "{listing}");
}

#[test]
fn one_filesystem_is_not_written_over_a_whole_disk() {
    const TEST: &str = "one_filesystem_is_not_written_over_a_whole_disk";
    let Some(device) = LoopDevice::new(TEST, 64 << 20, &[]) else { return };
    let project = with_board(&format!("{EXT4}size = \"32 MiB\"\n"));
    let image = assemble(&project, "demo/other", "out/system.img", &[]);
    let node = device.path.to_str().unwrap();
    let told = format!(
        "refused: `{node}` is not written: it is a whole disk, and the image is that of one partition\n\
         hint: make a partition for it, and give its path, for example `/dev/sdb3`"
    );
    expect_failure(&mut about(&project, &["flash", "--yes", node], "demo/other"), 4, &told);
    let image = image.to_str().unwrap();
    expect_failure(&mut project.command(&["flash", "--yes", "--image", image, node]), 4, &told);
    let archive = assemble(&project, "virt/docker", "out/docker.tar", &[]);
    let told = format!(
        "refused: `{node}` is not written: the image is an archive, which goes to no device\n\
         hint: unpack it, or load it with the program that it is for"
    );
    expect_failure(&mut about(&project, &["flash", "--yes", node], "virt/docker"), 4, &told);
    // A rehearsal says the same of a medium that is not there.
    let simulated = ["flash", "--simulate", "memory,size=64MiB"];
    let rehearsed = told.replace(node, "memory");
    expect_failure(&mut about(&project, &simulated, "virt/docker"), 4, &rehearsed);
    let archive = archive.to_str().unwrap();
    let told = format!(
        "refused: `{archive}` is not written: it is not a raw disk image (found: tar)\n\
         hint: give the disk image itself: unpack or convert what was given, or write it as it is with `--force not-raw`"
    );
    expect_failure(&mut project.command(&["flash", "--yes", "--image", archive, node]), 4, &told);
    let simulated = [&simulated[..], &["--image", archive]].concat();
    expect_failure(&mut project.command(&simulated), 4, &told);
    let mut start = vec![0; 1 << 20];
    device.backing().read_exact_at(&mut start, 0).unwrap();
    assert!(start.iter().all(|byte| *byte == 0), "nothing was written");
}

#[test]
fn a_disk_with_sectors_of_4096_bytes_is_refused_before_any_work() {
    const TEST: &str = "a_disk_with_sectors_of_4096_bytes_is_refused_before_any_work";
    let Some(device) = LoopDevice::new(TEST, 256 << 20, &["--sector-size", "4096"]) else { return };
    let project = Project::new();
    let node = device.path.to_str().unwrap();
    let told = "error: the disk has sectors of 4096 bytes but board `demo/board` is laid out for 512\n\
                hint: set `sector-size` in the `[table]` of a board descriptor for such disks";
    // What is missing would be told later.
    project.remove("output/images/Image");
    expect_failure(&mut about(&project, &["flash", "--yes", node], "demo/board"), 1, told);
    assert!(oracle(TEST, "losetup"));
}

/// A used medium with an ext4 on it, as far as `fault` lets it come.
fn partition_with(fault: Option<Fault>) -> (Memory, bool) {
    const LEN: u64 = 16 << 20;
    let partition = Memory::new(LEN);
    partition.write_at(&vec![0xa5; LEN as usize], 0).expect("memory");
    let mut tree = Tree::new(Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 });
    let stat = Stat { mode: 0o644, uid: 0, gid: 0, mtime: 0 };
    tree.insert(Tree::ROOT, b"kernel", Node::new(stat, Body::File(Content::bytes(vec![7; 3 << 20]))));
    let options = ext4::Options {
        label: "SYS".into(),
        uuid: Uuid::from_u128(1),
        hash_seed: Uuid::from_u128(2),
        timestamp: 0,
        bytes_per_inode: 16384,
        inodes: 0,
        reserved_percent: 0,
        journal: ext4::Journal::Auto,
        grow_to: LEN,
    };
    let layout = ext4::layout(&tree, &options, LEN).expect("it fits");
    let faulty = Faulty::new(&partition, fault.unwrap_or(Fault::Full { after: u64::MAX }));
    let options = FlashOptions::default();
    let commit = Commit { target: &faulty, used: true, regions: &[], listener: &Silent, options };
    let source = |target: &dyn Target| {
        ext4::write(&layout, &Region::whole(target, "system"))?;
        Ok(Vec::new())
    };
    let done = commit.run(&header_last(&source, 4096));
    let done = done.is_ok();
    (partition, done)
}

#[test]
fn a_partition_has_a_filesystem_only_when_all_of_it_is_there() {
    let start = |partition: &Memory| {
        let mut bytes = vec![0; 4096];
        partition.read_at(&mut bytes, 0).expect("memory");
        bytes
    };
    let (partition, done) = partition_with(None);
    assert!(done);
    // `s_magic` of the superblock, and the filesystem as a whole.
    assert_eq!(start(&partition)[1024 + 56..][..2], [0x53, 0xef]);
    if disk::oracles("a_partition_has_a_filesystem_only_when_all_of_it_is_there", &["e2fsck", "dumpe2fs"]) {
        let mut bytes = vec![0; 16 << 20];
        partition.read_at(&mut bytes, 0).expect("memory");
        let file = tools::temporary();
        fs::write(file.path().join("system.img"), bytes).unwrap();
        assert_eq!(check_ext4(&file.path().join("system.img")), "SYS");
    }
    // Pulled out at any time, or with a bit that is wrong: nothing that could be mounted is left.
    let pulled = (0..30).map(|part| Fault::Vanish { after: part * (100 << 10) });
    let wrong = (3..6).map(|write| Fault::Flip { write, bit: 4_000_001 });
    for fault in pulled.chain(wrong) {
        let (partition, done) = partition_with(Some(fault));
        assert!(!done && start(&partition).iter().all(|byte| *byte == 0), "{fault:?}");
    }
}
