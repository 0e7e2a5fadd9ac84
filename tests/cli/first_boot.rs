//! What a new medium knows before its first boot, read back by debugfs; whether the next version fits beside this
//! one; files that another configuration left behind.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::harness::project::{Project, expect_failure, expect_no_image, json, run, succeed};
use crate::harness::tools::{command, oracle};

/// A public key, made for this test; nobody has its other half.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f somebody@example";

/// What debugfs says about the persist partition of the assembled image.
fn debugfs(project: &Project, request: &str) -> String {
    debugfs_of(project, "persist", request)
}

/// What debugfs says about a partition of the assembled image.
fn debugfs_of(project: &Project, partition: &str, request: &str) -> String {
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(project.path("out/disk.img.manifest.json")).unwrap()).unwrap();
    let regions = manifest["regions"].as_array().unwrap();
    let offset = &regions.iter().find(|region| region["name"] == partition).unwrap()["offset"];
    let image = format!("{}?offset={offset}", project.path("out/disk.img").display());
    let (stdout, stderr, code) = run(command("debugfs").args(["-R", request]).arg(image));
    assert_eq!(code, 0, "{request}: {stderr}");
    stdout
}

/// Mode, owner and group of a file, as debugfs prints them.
fn mode(project: &Project, path: &str) -> (String, String) {
    let stat = debugfs(project, &format!("stat {path}"));
    let word = |key: &str| {
        let after = stat.split_once(key).unwrap_or_else(|| panic!("no {key} in {stat}")).1;
        after.split_whitespace().next().unwrap().to_owned()
    };
    (word("Mode:"), format!("{}:{}", word("User:"), word("Group:")))
}

#[test]
fn a_new_medium_knows_keys_name_network_and_files() {
    if !oracle("a_new_medium_knows_keys_name_network_and_files", "debugfs") {
        return;
    }
    let project = Project::new();
    project.write("id_ed25519.pub", format!("# mine\n{KEY}\n"));
    project.write("other/id_ed25519.pub", format!("restrict,pty {KEY}\n"));
    project.write("password", "correct horse\\\n");
    project.write("files/skiff/etc/secret", "x");
    fs::set_permissions(project.path("files/skiff/etc/secret"), fs::Permissions::from_mode(0o640)).unwrap();
    let more = [
        ["--ssh-key", "id_ed25519.pub"],
        ["--ssh-key", "other/id_ed25519.pub"],
        ["--hostname", "robot-7"],
        ["--wifi", "Lab 2"],
        ["--wifi-password-file", "password"],
        ["--persist-dir", "files"],
    ];
    let (_, told) = succeed(&mut project.assemble(&more.concat()));
    assert!(!told.contains("correct horse"), "no message shows a password: {told}");
    assert_eq!(debugfs(&project, "cat /skiff/keys/id_ed25519.pub"), format!("{KEY}\n"));
    assert_eq!(debugfs(&project, "cat /skiff/keys/id_ed25519-2.pub"), format!("restrict,pty {KEY}\n"));
    assert_eq!(debugfs(&project, "cat /skiff/hostname"), "robot-7\n");
    let keyfile = debugfs(&project, "cat \"/skiff/connections/Lab 2.nmconnection\"");
    let (head, rest) = keyfile.split_once("uuid=").unwrap();
    assert_eq!(head, "[connection]\nid=Lab 2\n");
    assert_eq!(
        &rest[36..],
        "\ntype=wifi\n\n[wifi]\nmode=infrastructure\nssid=Lab 2\n\n\
         [wifi-security]\nkey-mgmt=wpa-psk\npsk=correct horse\\\\\n\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n"
    );
    let root = |mode: &str| (mode.to_owned(), "0:0".to_owned());
    assert_eq!(mode(&project, "\"/skiff/connections/Lab 2.nmconnection\""), root("0600"));
    assert_eq!(mode(&project, "/skiff/connections"), root("0700"));
    assert_eq!(mode(&project, "/skiff/etc/secret"), root("0640"));
    assert_eq!(mode(&project, "/skiff"), root("0755"));
}

/// Whoever can read the image can read what is in it, and digests help who guesses a password.
#[test]
fn an_image_with_a_secret_is_its_owners_alone() {
    let project = Project::new();
    project.write("open/etc/motd", "x");
    project.write("closed/etc/key", "x");
    fs::set_permissions(project.path("closed/etc/key"), fs::Permissions::from_mode(0o640)).unwrap();
    let modes = |more: &[&str]| -> Vec<u32> {
        let mut assemble = project.assemble(&[&["--zst", "--zst-level", "1"], more].concat());
        succeed(assemble.env("SKIFF_WIFI_PASSWORD", "correct horse"));
        let names = ["disk.img", "disk.img.bmap", "disk.img.manifest.json", "disk.img.zst"];
        names.map(|name| fs::metadata(project.path(&format!("out/{name}"))).unwrap().mode() & 0o077).to_vec()
    };
    for secret in [&["--wifi", "Lab"][..], &["--persist-dir", "closed"]] {
        assert_eq!(modes(secret), [0; 4], "{secret:?}");
    }
    for open in [&[][..], &["--wifi", "Lab", "--wifi-open"], &["--persist-dir", "open"]] {
        assert!(modes(open).iter().all(|mode| mode & 0o044 == 0o044), "{open:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let project = Project::new();
    let more = ["--wifi", "Lab", "--wifi-open", "--hostname", "a.b"];
    succeed(&mut project.assemble(&more));
    let first = fs::read(project.path("out/disk.img")).unwrap();
    succeed(&mut project.assemble(&more));
    assert!(first == fs::read(project.path("out/disk.img")).unwrap());
}

#[test]
fn a_password_comes_from_the_environment_too() {
    let project = Project::new();
    let mut assemble = project.assemble(&["--wifi", "Lab"]);
    succeed(assemble.env("SKIFF_WIFI_PASSWORD", "correct horse"));
}

#[test]
fn what_cannot_be_put_there_is_told() {
    let project = Project::new();
    project.write("private", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    project.write("empty.pub", "# no key\n");
    project.write("cut.pub", "ssh-ed25519 AAAA!\n");
    project.write("dsa.pub", "\nssh-dss AAAA\n");
    project.write("mixed.pub", KEY.replace("ssh-ed25519", "ssh-rsa"));
    project.write("short", "seven77");
    project.write("files/skiff/hostname", "x");
    let key = "hint: give a file such as `~/.ssh/id_ed25519.pub`, which `ssh-keygen` makes";
    let name = "hint: use letters, digits and `-`, such as `robot-7`";
    let cases: [(&[&str], String); 12] = [
        (
            &["--ssh-key", "private"],
            "error: `private` is a private key\nhint: give the public key beside it, whose name ends in `.pub`".into(),
        ),
        (&["--ssh-key", "empty.pub"], format!("error: `empty.pub` has no key in it\n{key}")),
        (
            &["--ssh-key", "cut.pub"],
            format!("error: cut.pub:1: no public key of OpenSSH: what follows its kind is not base64\n{key}"),
        ),
        (
            &["--ssh-key", "dsa.pub"],
            format!("error: dsa.pub:2: no public key of OpenSSH: `ssh-dss` is no kind of key that sshd takes\n{key}"),
        ),
        (
            &["--ssh-key", "mixed.pub"],
            format!(
                "error: mixed.pub:1: no public key of OpenSSH: its line says `ssh-rsa`, the key itself `ssh-ed25519`\n{key}"
            ),
        ),
        (&["--hostname", "a_b"], format!("error: `a_b` is no host name: `_` is not possible in it\n{name}")),
        (
            &["--hostname=-a"],
            format!("error: `-a` is no host name: `-a` begins or ends with `-`\n{name}"),
        ),
        (
            &["--hostname", "a..b"],
            format!("error: `a..b` is no host name: `` has 0 characters, but 1 to 63 fit\n{name}"),
        ),
        (
            &["--wifi", "123456789012345678901234567890123", "--wifi-open"],
            "error: the name of a wireless network has 1 to 32 bytes, not 33\n\
             hint: give the name that the access point sends"
                .into(),
        ),
        (
            &["--wifi", "Lab", "--wifi-password-file", "short"],
            "error: the password of `Lab` has 7 bytes; it has 8 to 63 printable ASCII characters or 64 hexadecimal \
             digits\nhint: give the password of the network, without quotes"
                .into(),
        ),
        (
            &["--wifi", "Lab"],
            "error: the network `Lab` has no password\n\
             hint: give `--wifi-password-file FILE`, set SKIFF_WIFI_PASSWORD, or say `--wifi-open`"
                .into(),
        ),
        (
            &["--hostname", "a", "--persist-dir", "files"],
            "error: `/skiff/hostname` of the persist partition is given twice: by `files` and by the host name\n\
             hint: leave one of them out"
                .into(),
        ),
    ];
    for (more, stderr) in cases {
        expect_failure(&mut project.assemble(more), 1, &stderr);
    }
    let long = "a".repeat(65);
    let message = format!("error: `{long}` is no host name: it has 65 characters, but 1 to 64 fit\n{name}");
    expect_failure(&mut project.assemble(&["--hostname", &long]), 1, &message);
}

/// A ready image is copied as it is: nothing could be added to it in silence.
#[test]
fn a_ready_image_takes_no_keys() {
    let project = Project::new();
    for option in ["--ssh-key", "--hostname", "--wifi", "--persist-dir", "--container-image"] {
        let mut command = project.command(&["flash", "--image", "a.img", option, "x", "/dev/null"]);
        let (_, told, code) = run(&mut command);
        assert_eq!(code, 2, "{told}");
        assert!(told.starts_with("error: the argument '--image <FILE|-|URL>' cannot be used with"), "{told}");
    }
}

#[test]
fn a_board_that_keeps_nothing_takes_no_keys() {
    let project = Project::new();
    project.edit_board("name = \"persist\"", "name = \"data\"");
    expect_no_image(
        &project,
        &["--hostname", "a"],
        1,
        "error: board `demo/board` has no partition that keeps files\n\
         hint: leave the option out: this board's output starts without such files",
    );
    project.edit_board("arch = [", "persist = \"data\"\narch = [");
    succeed(&mut project.assemble(&["--hostname", "a"]));
}

#[test]
fn what_the_build_puts_there_is_not_covered_in_silence() {
    let project = Project::new();
    project.write("output/images/persist_part/skiff/hostname", "x");
    project.edit_board("label = \"persist\"", "label = \"persist\"\nfile = [{ tree = \"persist_part\" }]");
    expect_no_image(
        &project,
        &["--hostname", "a"],
        1,
        "error: `/skiff/hostname` is placed twice: by `images/persist_part/skiff/hostname` and by the options for the \
         first boot\n\
         hint: exclude it from the directory that brings it along",
    );
}

#[test]
fn the_partition_that_keeps_files_must_be_there() {
    let project = Project::new();
    project.edit_board("arch = [", "persist = \"boot\"\narch = [");
    expect_no_image(
        &project,
        &[],
        1,
        "error: `boards/demo/board.toml`: persist: partition `boot` is no ext4, which owners and modes need\n\
         hint: boards/README.md documents every key, and `skiff-image boards schema` prints them",
    );
    project.edit_board("persist = \"boot\"", "persist = \"date\"");
    expect_no_image(
        &project,
        &[],
        1,
        "error: `boards/demo/board.toml`: persist: there is no partition `date`\n\
         hint: boards/README.md documents every key, and `skiff-image boards schema` prints them",
    );
}

/// An update writes the new files before it removes the old ones.
#[test]
fn the_next_version_must_fit_beside_this_one() {
    let project = Project::new();
    fs::File::options()
        .write(true)
        .open(project.path("output/images/Image"))
        .and_then(|file| file.set_len(25 << 20))
        .unwrap();
    expect_no_image(
        &project,
        &[],
        1,
        "error: partition `boot` holds this version but not the next beside it: both and a sixteenth of headroom need \
         52.8 MiB (55329084 bytes), and it has 40 MiB\n\
         hint: give the partition a larger size in the board descriptor, or say `update = \"never\"` there",
    );
    project.edit_board("label = \"boot\"", "label = \"boot\"\nupdate = \"never\"");
    succeed(&mut project.assemble(&[]));
}

/// Inodes are made once: small files use them up long before the bytes.
#[test]
fn the_next_version_finds_inodes_too() {
    if !oracle("the_next_version_finds_inodes_too", "debugfs") {
        return;
    }
    let project = Project::new();
    for number in 0..5000 {
        project.write(&format!("output/images/small/{number}"), "");
    }
    let file = "file = [{ artifact = \"modules.squashfs\" }";
    project.edit_board(file, &format!("{file}, {{ tree = \"small\" }}"));
    project.edit_board("size = \"fit\"\nslack = \"4 MiB\"", "size = \"40 MiB\"");
    succeed(&mut project.assemble(&[]));
    let stats = debugfs_of(&project, "rootfs", "stats");
    let free = stats.lines().find_map(|line| line.strip_prefix("Free inodes:")).unwrap();
    assert!(free.trim().parse::<u32>().unwrap() > 5000, "{stats}");
}

#[test]
fn a_file_of_another_configuration_is_not_preferred_in_silence() {
    let project = Project::new();
    let config = fs::read_to_string(project.path("output/.config")).unwrap();
    project.write("output/.config", format!("{config}BR2_LINUX_KERNEL=y\nBR2_LINUX_KERNEL_IMAGEGZ=y\n"));
    expect_no_image(
        &project,
        &[],
        1,
        "error: `output/images/Image` is from another configuration: BR2_LINUX_KERNEL_IMAGE is not set\n\
         hint: build again and remove what the earlier configuration left in `output/images`",
    );
    // A better candidate is taken, and the stale one named.
    project.write("output/images/Image.gz", "kernel");
    project.edit_board("{ image = \"Image\" }", "{ image = [\"Image\", \"Image.gz\"], to = \"/kernel\" }");
    let (_, told) = succeed(&mut project.assemble(&[]));
    let note = "`output/images/Image` is left out: it is from another configuration: BR2_LINUX_KERNEL_IMAGE is not set";
    assert!(told.contains(note), "{told}");
    let plan = json(&mut project.with_inputs(&["plan"], &[]));
    assert_eq!(plan["board"], "demo/board");
}
