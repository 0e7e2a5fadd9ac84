//! `ota bundle`, `ota delta` and `ota check`.

use std::fs;

use super::{Workshop, fingerprint, noise, squashfs};

#[test]
fn a_bundle_is_made_reproducibly_and_checked() {
    let Some(workshop) = Workshop::new("a_bundle_is_made_reproducibly_and_checked") else { return };
    let workshop = workshop.with_root();
    let path = workshop.bundle("7", b"kernel", &noise(1, 200_000));
    let first = fs::read(&path).expect("it is there");
    workshop.bundle("7", b"kernel", &noise(1, 200_000));
    assert!(fs::read(&path).expect("it is there") == first, "Ed25519 signs without chance");
    let shown = workshop.done(&["check", "7.bundle", "--trust", "root"]);
    let key = fingerprint(&workshop.path("key.pub"));
    let expected = format!(
        "  boards   maker/small (arm64)\n  loaders  uboot-fat\n  file     kernel, 6 bytes\n  file     rootfs.squashfs, 195.3 KiB (200000 bytes)\n  \
         signed   by {key} for root 1\n"
    );
    assert!(shown.starts_with("7.bundle: bundle, ") && shown.ends_with(&expected), "{shown}");
    let document = workshop.document(&["check", "7.bundle", "--trust", "root"]);
    assert_eq!((&document["sequence"], &document["blocks_checked"]), (&7.into(), &true.into()));
    assert_eq!(document["signers"][0], key);

    workshop.key("other");
    workshop.done(&["keys", "new", "other.pub", "-o", "other-root"]);
    let (stranger, code) = workshop.refused(&["check", "7.bundle", "--trust", "other-root"]);
    assert_eq!(
        (stranger.as_str(), code),
        (
            format!(
                "refused: `7.bundle`: the statement is signed by {key}, which is not a key of root 1\nhint: sign with a key that \
                 the device trusts, or bring the roots that add it\n"
            )
            .as_str(),
            4
        )
    );
    let mut damaged = first.clone();
    *damaged.last_mut().expect("it is not empty") ^= 1;
    workshop.write("damaged", &damaged);
    let (error, code) = workshop.refused(&["check", "damaged", "--trust", "root"]);
    assert!(error.contains("of `rootfs.squashfs` is not the one that was signed"), "{error}");
    assert_eq!(code, 1);
    // Cut off at every 4 KiB, and with something behind it.
    for len in (0..first.len()).step_by(4096) {
        workshop.write("cut", &first[..len]);
        let (error, code) = workshop.refused(&["check", "cut", "--trust", "root"]);
        assert!(error.starts_with("error: `cut`: the bundle ends in "), "{error}");
        assert_eq!(code, 1);
    }
    workshop.write("longer", [&first[..], b"x"].concat());
    let (error, _) = workshop.refused(&["check", "longer", "--trust", "root"]);
    assert_eq!(
        error,
        "error: `longer`: something follows the end of the bundle\nhint: get the bundle again\n"
    );
}

#[test]
fn others_sign_a_bundle_elsewhere() {
    let Some(workshop) = Workshop::new("others_sign_a_bundle_elsewhere") else { return };
    let workshop = workshop.with_root();
    workshop.key("second");
    workshop.done(&["keys", "new", "key.pub", "second.pub", "-o", "root", "--threshold", "2", "--force"]);
    workshop.write("kernel", "kernel");
    workshop.write("image", "image");
    let words = workshop.bundle_words("1", "out");
    let (few, code) = workshop.refused(&words);
    assert_eq!(
        (few.as_str(), code),
        (
            "refused: the statement has 1 of the 2 signatures that root 1 wants\nhint: let more holders of keys sign\n",
            4
        )
    );
    assert!(!workshop.path("out").exists());
    let without_key: Vec<&str> =
        words.iter().copied().filter(|word| *word != "--key" && *word != "key").collect();
    let (said, _) = workshop.refused(&[&without_key[..], &["--unsigned", "text"]].concat());
    assert_eq!(said, "text: sign it with `ssh-keygen -Y sign -n skiff-update-statement -f KEY text`\n");
    for key in ["key", "second"] {
        let mut sign = std::process::Command::new("ssh-keygen");
        sign.current_dir(workshop.path("")).args([
            "-q",
            "-Y",
            "sign",
            "-n",
            "skiff-update-statement",
            "-f",
            key,
        ]);
        assert!(sign.arg("text").status().expect("it starts").success());
        fs::rename(workshop.path("text.sig"), workshop.path(&format!("{key}.sig"))).expect("it is there");
    }
    workshop.done(&[&without_key[..], &["--signature", "key.sig", "--signature", "second.sig"]].concat());
    workshop.write("kernel", "another kernel");
    let (error, code) = workshop.refused(&[&words[..], &["--signature", "second.sig"]].concat());
    assert!(error.contains("does not fit: what it signs, or itself, was changed"), "{error}");
    assert_eq!(code, 4);
}

#[test]
fn a_delta_of_a_changed_file_is_small_and_checked() {
    let Some(workshop) = Workshop::new("a_delta_of_a_changed_file_is_small_and_checked") else { return };
    let workshop = workshop.with_root();
    let (old, new) = (squashfs(&workshop, "old", 1), squashfs(&workshop, "new", 2));
    workshop.bundle("1", b"kernel", &old);
    workshop.bundle("2", b"kernel", &new);
    let made = workshop.document(&["delta", "1.bundle", "2.bundle", "-o", "delta"]);
    let (size, whole) =
        (made["size"].as_u64().expect("a size"), made["bundle_size"].as_u64().expect("a size"));
    assert!(size * 20 < whole, "{size} of {whole}");
    let shown = workshop.done(&["check", "delta", "--trust", "root", "--old", "1.bundle"]);
    assert!(shown.starts_with("delta: delta, ") && shown.ends_with(" for root 1\n"), "{shown}");
    let shown = workshop.done(&["check", "delta", "--trust", "root"]);
    let note = "\n  the blocks were not compared: `--old` takes the bundle they are made from\n";
    assert!(shown.ends_with(note), "{shown}");
    let (error, code) = workshop.refused(&["check", "delta", "--trust", "root", "--old", "delta"]);
    assert!(error.contains("which this device does not have"), "{error}");
    assert_eq!(code, 4);
    let mut damaged = workshop.read("delta");
    *damaged.last_mut().expect("it is not empty") ^= 1;
    workshop.write("delta", damaged);
    let (_, code) = workshop.refused(&["check", "delta", "--trust", "root", "--old", "1.bundle"]);
    assert_eq!(code, 1);
    let mut bundle = workshop.read("2.bundle");
    let start = bundle.len() - new.len();
    bundle[start..].iter_mut().step_by(1000).for_each(|byte| *byte ^= 1);
    workshop.write("2.bundle", bundle);
    let (error, _) = workshop.refused(&["delta", "1.bundle", "2.bundle", "-o", "delta"]);
    assert!(error.starts_with("error: cannot read `2.bundle`: the block at byte "), "{error}");
}

/// Board, architecture and files come from the workspace where the flags leave them out.
#[test]
fn a_bundle_of_a_workspace() {
    let Some(workshop) = Workshop::new("a_bundle_of_a_workspace") else { return };
    let workshop = workshop.with_root();
    workshop.write("workspaces/default/.config", "BR2_aarch64=y\n");
    workshop.write("workspaces/default/images/Image", "the kernel");
    workshop.write("workspaces/default/target/etc/hostname", "x");
    for table in ["users", "devices"] {
        workshop.write(&format!("workspaces/default/build/buildroot-fs/full_{table}_table.txt"), "");
    }
    fs::create_dir_all(workshop.path("configs")).expect("a directory");
    let words = "bundle --trust root --key key --board virt/qemu --loader uboot-fat --release 1 --sequence 1 --file kernel=Image -o out";
    let made = workshop.document(&words.split(' ').collect::<Vec<_>>());
    assert_eq!((&made["arch"], &made["boards"][0]), (&"arm64".into(), &"virt/qemu".into()));
    assert_eq!((&made["files"][0]["name"], &made["files"][0]["size"]), (&"kernel".into(), &10.into()));
    let none = words.replace("--board virt/qemu ", "");
    let (error, code) = workshop.refused(&none.split(' ').collect::<Vec<_>>());
    assert!(
        error.starts_with("error: no board: neither a board nor a chain of layers is given\n"),
        "{error}"
    );
    assert_eq!(code, 1);
}
