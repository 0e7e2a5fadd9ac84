//! The rules of `skiff-init` that need no machine: settings, names of devices, choice of images, messages.

#[path = "../../src/init/src/choice.rs"]
mod choice;
#[path = "../../src/init/src/cmdline.rs"]
mod cmdline;
#[allow(dead_code)] // an alias that only the program needs
#[path = "../../src/init/src/failure.rs"]
mod failure;
#[path = "../../src/init/src/options.rs"]
mod options;
#[path = "../../src/init/src/probe.rs"]
mod probe;
#[path = "../../src/init/src/spec.rs"]
mod spec;
#[path = "../../src/init/src/table.rs"]
mod table;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::tools::{command, oracle};
use crate::harness::tools::{run, temporary};
use choice::{Choice, devices_to_grow, inits, stated_digest};
use cmdline::{Argument, last, parse};
use failure::Failure;
use options::{Options, RootAs};
use spec::Spec;

fn argument(name: &str, value: Option<&str>) -> Argument {
    Argument { name: name.into(), value: value.map(str::to_owned) }
}

#[test]
fn the_command_line_is_split_as_the_kernel_splits_it() {
    let text = "quiet  root=LABEL=x a=\"two words\" \"b=whole word\" c=\"\" d=in\"ner one\"\te=last\n";
    let expected = [
        argument("quiet", None),
        argument("root", Some("LABEL=x")),
        argument("a", Some("two words")),
        argument("b", Some("whole word")),
        argument("c", Some("")),
        argument("d", Some("in\"ner one\"")),
        argument("e", Some("last")),
    ];
    assert_eq!(parse(text), expected);
    assert_eq!(parse("a=\"never closed b"), [argument("a", Some("never closed b"))]);
    assert_eq!(parse(" \n"), []);
    let long = format!("{} skiffos.init=/x", "y=z ".repeat(10_000));
    assert_eq!(last(&parse(&long), "skiffos.init"), Some("/x"));
    assert_eq!(last(&parse("n=1 n=2 n"), "n"), None, "the last one counts, even without a value");
}

#[test]
fn the_command_line_goes_before_the_file_and_the_file_before_the_defaults() {
    let mut options = Options::default();
    let file = "# comment\n\nwait = 20\npanic=5\nroot-as = boot\noverlay_size = \"512M\"\ngrow = no\n";
    assert_eq!(options.read_file("skiff-init.conf", file), []);
    let line = "skiffos.wait=3 skiffos.verify skiffos.boot=PARTUUID=12-01 other=x \
                skiffos.bind=/a:/b,/c/d:/e skiffos.previous=/p skiffos.squashfs=/s skiffos.boot-type=f2fs";
    assert_eq!(options.read_cmdline(&parse(line)), []);
    let expected = Options {
        squashfs: Some("/s".into()),
        previous: Some("/p".into()),
        verify: true,
        boot: Some(Spec::PartUuid("12-01".into())),
        boot_type: Some("f2fs".into()),
        wait: Duration::from_secs(3),
        overlay_size: "512M".into(),
        root_as: RootAs::Boot,
        binds: vec![("/a".into(), "/b".into()), ("/c/d".into(), "/e".into())],
        grow: false,
        init: None,
        panic: Duration::from_secs(5),
    };
    assert_eq!(options, expected);
}

#[test]
fn settings_that_make_no_sense_are_told_and_ignored() {
    let mut options = Options::default();
    let line = "skiffos.wiat=3 skiffos.squashfs=relative skiffos.init=/../up skiffos.verify=maybe \
                skiffos.boot=sda1 skiffos.boot-type=a,b skiffos.wait=3601 skiffos.overlay-size=101% \
                skiffos.overlay-size=1,nosuid skiffos.root-as=home skiffos.bind=/a";
    let place = "kernel command line:";
    let told: Vec<String> = options.read_cmdline(&parse(line)).iter().map(ToString::to_string).collect();
    let expected = [
        "there is no setting `wiat`; it is ignored",
        "`squashfs` must be an absolute path, not `relative`; it is ignored",
        "`init` must be an absolute path, not `/../up`; it is ignored",
        "`verify` must be `0` or `1`, not `maybe`; it is ignored",
        "`boot` must be `/dev/NAME`, `LABEL=`, `UUID=`, `PARTUUID=` or `PARTLABEL=`, not `sda1`; it is ignored",
        "`boot-type` must be the name of a filesystem, not `a,b`; it is ignored",
        "`wait` must be seconds from 0 to 3600, not `3601`; it is ignored",
        "`overlay-size` must be a number with `k`, `m` or `g`, or 1% to 100%, not `101%`; it is ignored",
        "`overlay-size` must be a number with `k`, `m` or `g`, or 1% to 100%, not `1,nosuid`; it is ignored",
        "`root-as` must be `auto`, `persist`, `boot`, `host` or `none`, not `home`; it is ignored",
        "`bind` must be `FROM:TO` of absolute paths, separated by commas, not `/a`; it is ignored",
    ];
    assert_eq!(told, expected.map(|text| format!("{place} {text}")));
    let told = options.read_file("/boot/skiff-init.conf", "\nwait 3\n");
    let line = "/boot/skiff-init.conf:2: `wait 3` is not `name = value`; it is ignored";
    assert_eq!(told.iter().map(ToString::to_string).collect::<Vec<_>>(), [line]);
    assert_eq!(options, Options::default());
}

#[test]
fn devices_are_named_in_five_ways() {
    let names = ["/dev/mmcblk0p1", "LABEL=persist", "UUID=12AB-34CD", "PARTUUID=0-1", "PARTLABEL=two words"];
    for name in names {
        assert_eq!(Spec::parse(name).expect(name).to_string(), name);
    }
    for name in ["", "sda", "LABEL=", "LABEL", "ID=x"] {
        assert_eq!(Spec::parse(name), None, "{name}");
    }
}

#[test]
fn the_first_image_that_exists_is_chosen_and_its_predecessor() {
    let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    let mut options = Options::default();
    let choice = Choice::new(&options, |path| path != Path::new("/boot/rootfs.squashfs"));
    let expected =
        Choice { current: paths(&["/rootfs.squashfs"]), previous: paths(&["/rootfs.squashfs.old"]) };
    assert_eq!(choice, expected);
    let none = Choice::new(&options, |_| false);
    assert_eq!(none.current.len(), 3);
    assert_eq!(none.previous[2], Path::new("/mnt/boot/rootfs.squashfs.old"));
    options.squashfs = Some("/a".into());
    options.previous = Some("/b".into());
    let choice = Choice::new(&options, |_| false);
    assert_eq!(choice, Choice { current: paths(&["/a"]), previous: paths(&["/b"]) });
    assert_eq!(inits(&options, None), paths(&["/lib/systemd/systemd", "/sbin/init"]));
    assert_eq!(inits(&options, Some("/i")), paths(&["/i", "/lib/systemd/systemd", "/sbin/init"]));
    options.init = Some("/own".into());
    assert_eq!(inits(&options, Some("/i")), paths(&["/own"]));
}

#[test]
fn texts_beside_the_image_are_read_as_others_write_them() {
    let digest = blake3::hash(b"image").to_string();
    assert_eq!(stated_digest(&format!("{digest}  rootfs.squashfs\n")), Some(digest.clone()));
    assert_eq!(stated_digest(&digest.to_uppercase()), Some(digest.clone()));
    assert_eq!(stated_digest(&digest[1..]), None);
    assert_eq!(stated_digest(""), None);
    let list = "# devices\n/dev/mmcblk0p2\n  /dev/sda1\nLABEL=x\n";
    assert_eq!(devices_to_grow(list), [Path::new("/dev/mmcblk0p2"), Path::new("/dev/sda1")]);
}

fn start_of(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).expect("the filesystem");
    bytes.truncate(probe::SPAN);
    bytes
}

/// What `blkid` says of an image.
fn blkid(path: &Path, tag: &str) -> String {
    run(command("blkid").args(["-p", "-o", "value", "-s", tag]).arg(path)).trim().to_owned()
}

#[test]
fn filesystems_are_named_as_blkid_names_them() {
    let test = "filesystems_are_named_as_blkid_names_them";
    if ["mkfs.vfat", "mkfs.ext4", "blkid"].iter().any(|tool| !oracle(test, tool)) {
        return;
    }
    let directory = temporary();
    let image = directory.path().join("image");
    let makers: [&[&str]; 6] = [
        &["mkfs.vfat", "-F", "32", "-s", "1", "-n", "BOOT"],
        &["mkfs.vfat", "-F", "16"],
        &["mkfs.vfat", "-F", "12", "-s", "64", "-n", "TWO WORDS"],
        &["mkfs.ext4", "-q", "-F", "-L", "sixteen-letters!"],
        &["mkfs.ext4", "-q", "-F", "-O", "^64bit", "-b", "1024"],
        &["mkfs.ext2", "-q", "-F", "-b", "4096"],
    ];
    for maker in makers {
        File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("target/ is writable");
        run(command(maker[0]).args(&maker[1..]).arg(&image));
        let found = probe::filesystem(&start_of(&image)).unwrap_or_else(|| panic!("{maker:?}"));
        assert_eq!((found.label, found.uuid), (blkid(&image, "LABEL"), blkid(&image, "UUID")), "{maker:?}");
        let ext = maker[0] != "mkfs.vfat";
        assert_eq!(found.kind, if ext { "ext4" } else { "vfat" });
        let bytes = probe::ext_size(&start_of(&image)).map(|size| size.blocks * size.block_bytes);
        assert_eq!(bytes, ext.then_some(64 << 20));
    }
    assert_eq!(probe::filesystem(&[0; probe::SPAN]), None);
    assert_eq!(probe::filesystem(&[0x55; 100]), None);
}

#[test]
fn partitions_have_the_ids_that_sfdisk_gave_them() {
    if !oracle("partitions_have_the_ids_that_sfdisk_gave_them", "sfdisk") {
        return;
    }
    let directory = temporary();
    let disk = directory.path().join("disk");
    let id = "00112233-4455-6677-8899-aabbccddeeff";
    let tables = [
        ("label: dos\nlabel-id: 0x0badcafe\nstart=2048, size=2048\nsize=2048", "0badcafe-02".to_owned()),
        (&format!("label: gpt\nstart=2048, size=2048\nsize=2048, uuid={id}"), id.to_owned()),
    ];
    for (script, expected) in tables {
        File::create(&disk).and_then(|file| file.set_len(16 << 20)).expect("target/ is writable");
        let make = "printf '%s\\n' \"$2\" | sfdisk --quiet \"$1\"";
        run(command("sh").args(["-c", make, "table"]).arg(&disk).arg(script));
        assert_eq!(uuid(&disk, 2), Some(expected));
        assert_eq!(uuid(&disk, 0).filter(|_| script.contains("gpt")), None);
    }
    File::create(&disk).and_then(|file| file.set_len(1 << 20)).expect("target/ is writable");
    assert_eq!(uuid(&disk, 1), None);
}

fn uuid(disk: &Path, number: u32) -> Option<String> {
    let file = File::open(disk).expect("the disk");
    let read = |offset, length| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset).ok().map(|()| bytes)
    };
    table::partition_uuid(read, number, 512)
}

#[test]
fn every_failure_says_what_where_and_what_to_do() {
    let path = || PathBuf::from("/x");
    let source = || io::Error::from_raw_os_error(5);
    let nothing = Choice::new(&Options::default(), |_| false).nothing();
    let cases = [
        (
            nothing,
            "no image: there is no `/boot/rootfs.squashfs`, `/rootfs.squashfs` or `/mnt/boot/rootfs.squashfs`",
            "name it with `skiffos.squashfs=PATH`, or the device it is on with `skiffos.boot=`",
        ),
        (
            Failure::NoDevice { device: Spec::Label("x".into()), seconds: 10, seen: "sda".into() },
            "no device `LABEL=x` within 10 s; there are: sda",
            "check the medium and `skiffos.boot=`; `skiffos.wait=SECONDS` waits longer",
        ),
        (
            Failure::Mount { what: "/x".into(), kind: "vfat".into(), at: "/y".into(), source: source() },
            "cannot mount `/x` (vfat) at `/y`: Input/output error (os error 5)",
            "the kernel may lack this filesystem, or the medium is damaged",
        ),
        (
            Failure::Digest { image: path(), found: "1".into(), stated: "2".into() },
            "`/x` is damaged: its BLAKE3 digest is 1, not 2",
            "write the image again; without `skiffos.verify` it is not checked",
        ),
        (
            Failure::Restart { source: source() },
            "the kernel refuses to restart: Input/output error (os error 5)",
            "switch the device off and on",
        ),
        (
            Failure::UnknownFilesystem { device: path() },
            "`/x` holds neither ext4 nor FAT",
            "name its filesystem with `skiffos.boot-type=`",
        ),
        (
            Failure::Writable { source: source() },
            "cannot make the root writable: Input/output error (os error 5)",
            "check the medium: what the system keeps is lost at the next start",
        ),
        (
            Failure::Directory { path: path(), source: source() },
            "cannot make the directory `/x`: Input/output error (os error 5)",
            "the root filesystem must be writable: `rw` on the kernel command line",
        ),
        (
            Failure::Read { path: path(), source: source() },
            "cannot read `/x`: Input/output error (os error 5)",
            "the medium may be damaged",
        ),
        (
            Failure::Loop { image: path(), source: source() },
            "no loop device for `/x`: Input/output error (os error 5)",
            "the kernel needs CONFIG_BLK_DEV_LOOP",
        ),
        (
            Failure::NoDigest { sidecar: path() },
            "`/x` states no digest",
            "it must begin with 64 hexadecimal digits, as `b3sum` prints them",
        ),
        (
            Failure::NoInit { image: path(), tried: "`/lib/systemd/systemd` or `/sbin/init`".into() },
            "`/x` has no `/lib/systemd/systemd` or `/sbin/init` that can be started",
            "name the program with `skiffos.init=PATH`, or write the image again",
        ),
        (
            Failure::Move { what: path(), source: source() },
            "cannot move `/x` into the new root: Input/output error (os error 5)",
            "this is a property of the kernel; report it",
        ),
        (
            Failure::Start { program: path(), source: source() },
            "cannot start `/x`: Input/output error (os error 5)",
            "the image may be for another processor, or damaged",
        ),
        (
            Failure::Grow { device: path(), source: source() },
            "cannot grow the filesystem on `/x`: Input/output error (os error 5)",
            "the system starts with the size it has",
        ),
        (
            Failure::Internal { message: "why".into() },
            "internal error: why",
            "this is a mistake in skiff-init; report it",
        ),
    ];
    for (failure, message, hint) in cases {
        assert_eq!((failure.to_string().as_str(), failure.hint()), (message, hint));
    }
}
