//! What may be written as a whole disk: a made-up machine, and this one.

mod common;
#[path = "common/loopdev.rs"]
mod loopdev;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::{command, oracle};
use loopdev::{LoopDevice, run};
use skiff_image::Error;
use skiff_image::error::Family;
use skiff_image::flash::commit::TableState;
use skiff_image::flash::safety::{Candidate, Host, Reason, Refused};
use skiff_image::flash::{Existing, FlashError, existing};
use skiff_image::table::{self, PartitionKind, gpt, mbr};
use skiff_image::target::{Memory, Target};
use uuid::{Uuid, uuid};

/// A tree with `/sys` and `/proc` of a made-up machine.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let machine = Machine { root };
        for directory in ["sys/dev/block", "sys/block", "sys/class/block", "proc/self", "dev/mapper"] {
            fs::create_dir_all(machine.root.path().join(directory)).expect("directory");
        }
        machine
    }

    fn write(&self, path: impl AsRef<Path>, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("write");
    }

    fn link(&self, target: &Path, link: impl AsRef<Path>) {
        let link = self.root.path().join(link);
        fs::create_dir_all(link.parent().expect("parent")).expect("directory");
        symlink(self.root.path().join(target), link).expect("link");
    }

    /// A disk or partition at `sys/devices/<path>`.
    fn node(&self, path: &str, number: &str, bytes: u64) -> PathBuf {
        let directory = Path::new("sys/devices").join(path);
        let name = directory.file_name().expect("name").to_owned();
        self.write(directory.join("dev"), &format!("{number}\n"));
        self.write(directory.join("size"), &format!("{}\n", bytes / 512));
        self.write(directory.join("ro"), "0\n");
        self.link(&directory, Path::new("sys/dev/block").join(number));
        self.link(&directory, Path::new("sys/class/block").join(name));
        directory
    }

    fn disk(&self, path: &str, number: &str, bytes: u64) -> PathBuf {
        let directory = self.node(path, number, bytes);
        self.link(&directory, Path::new("sys/block").join(directory.file_name().expect("name")));
        directory
    }

    fn partition(&self, path: &str, number: &str) -> PathBuf {
        let directory = self.node(path, number, 1 << 30);
        self.write(directory.join("partition"), "1\n");
        directory
    }

    /// A card in a USB reader with two partitions, and a system disk with a volume group.
    fn with_two_disks() -> Machine {
        let machine = Machine::new();
        let card = machine.disk("pci0/usb1/host6/block/sdb", "8:16", 32 << 30);
        machine.write(card.join("device/vendor"), "Generic \n");
        machine.write(card.join("device/model"), "SD/MMC Reader   \n");
        machine.write(card.join("device/serial"), "0815\n");
        machine.write(card.join("queue/logical_block_size"), "512\n");
        machine.write(card.join("removable"), "1\n");
        machine.partition("pci0/usb1/host6/block/sdb/sdb1", "8:17");
        machine.partition("pci0/usb1/host6/block/sdb/sdb2", "8:18");
        machine.disk("pci0/ata1/host0/block/sda", "8:0", 512 << 30);
        let system = machine.partition("pci0/ata1/host0/block/sda/sda2", "8:2");
        let volume = machine.disk("virtual/block/dm-0", "253:0", 500 << 30);
        machine.link(&volume, system.join("holders/dm-0"));
        machine.mounts("");
        machine
    }

    fn mounts(&self, lines: &str) {
        let root = "27 0 253:0 / / rw,relatime - ext4 /dev/mapper/root rw\n";
        self.write("proc/self/mountinfo", &format!("{root}{lines}"));
    }

    fn candidate(&self, number: &str, need: u64) -> Result<Candidate, Refused> {
        Host::at(self.root.path()).candidate_of(number, Path::new("/dev/given"), need)
    }

    fn refusal(&self, number: &str) -> String {
        let error = Error::from(self.candidate(number, 1 << 30).expect_err("refused"));
        assert_eq!(error.family(), Family::Refused);
        assert!(error.hint().is_some());
        error.to_string()
    }
}

#[test]
fn a_free_card_is_described() {
    let machine = Machine::with_two_disks();
    let card = machine.candidate("8:16", 1 << 30).expect("free");
    assert_eq!(
        card.to_string(),
        "/dev/sdb: Generic SD/MMC Reader, serial 0815, 32 GiB, usb, removable, has sdb1, sdb2"
    );
    assert_eq!((card.len, card.sector_size), (32 << 30, 512));
}

/// The partition `8:17` of the card.
fn partition(machine: &Machine, number: &str, need: u64) -> Result<Candidate, Refused> {
    Host::at(machine.root.path()).partition_of(number, Path::new("/dev/given"), need)
}

fn partition_refusal(machine: &Machine, number: &str, need: u64) -> (String, String) {
    let error = Error::from(partition(machine, number, need).expect_err("refused"));
    assert_eq!(error.family(), Family::Refused);
    (error.to_string(), error.hint().expect("a hint"))
}

#[test]
fn a_free_partition_is_described_with_its_disk() {
    let machine = Machine::with_two_disks();
    let directory = "sys/devices/pci0/usb1/host6/block/sdb/sdb2";
    machine.write(format!("{directory}/partition"), "2\n");
    machine.write(format!("{directory}/uevent"), "DEVNAME=sdb2\nPARTN=2\nPARTUUID=c0ffee01-02\n");
    let found = partition(&machine, "8:18", 1 << 30).expect("free");
    assert_eq!(
        found.to_string(),
        "/dev/sdb2: partition 2 of /dev/sdb, Generic SD/MMC Reader, serial 0815, 1 GiB, usb, removable"
    );
    let part = found.part.expect("a place");
    assert_eq!((part.disk.as_path(), part.number), (Path::new("/dev/sdb"), 2));
    assert_eq!(part.partuuid.as_deref(), Some("c0ffee01-02"));
    assert_eq!((found.len, found.sector_size), (1 << 30, 512));
    // Other partitions of the same disk may be in use.
    machine.mounts("40 27 8:17 / /mnt rw - ext4 /dev/sdb1 rw\n");
    partition(&machine, "8:18", 1 << 30).expect("its neighbour is mounted, it is not");
}

#[test]
fn a_partition_in_use_is_refused() {
    let machine = Machine::with_two_disks();
    let told = |reason: &str| format!("`/dev/given` is not written: {reason}");
    assert_eq!(
        partition_refusal(&machine, "8:16", 0),
        (
            told("it is a whole disk, and the image is that of one partition"),
            "make a partition for it, and give its path, for example `/dev/sdb3`".into()
        )
    );
    let (small, _) = partition_refusal(&machine, "8:17", 2 << 30);
    assert_eq!(small, told("the image needs 2 GiB and it has 1 GiB"));
    let (system, _) = partition_refusal(&machine, "8:2", 0);
    assert_eq!(system, told("`/dev/dm-0` is mounted on `/`: this is the disk of the running system"));
    machine.mounts("40 27 8:17 / /mnt rw - ext4 /dev/sdb1 rw\n");
    assert_eq!(partition_refusal(&machine, "8:17", 0).0, told("`/dev/sdb1` is mounted on `/mnt`"));
    machine.mounts("");
    let volume = machine.disk("virtual/block/dm-7", "253:7", 1 << 30);
    machine.link(&volume, "sys/devices/pci0/usb1/host6/block/sdb/holders/dm-7");
    assert_eq!(partition_refusal(&machine, "8:17", 0).0, told("`/dev/sdb` is a part of `/dev/dm-7`"));
}

/// A disk with an ESP and a partition for the system.
fn disk_with_esp(gpt: bool) -> (Memory, [Existing; 2]) {
    let disk = Memory::new(64 << 20);
    let guid = |n: u128| Uuid::from_u128(n);
    let esp = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    let linux = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");
    let partition = |number: u32, type_guid, code| table::Partition {
        number,
        name: format!("p{number}"),
        start: u64::from(number) << 20,
        len: 1 << 20,
        kind: match gpt {
            true => {
                PartitionKind::Gpt { type_guid, guid: guid(number.into()), attributes: 0, name: "p".into() }
            }
            false => PartitionKind::Mbr { code, active: false },
        },
    };
    let partitions = [partition(1, esp, 0xef), partition(2, linux, 0x83)];
    let options = gpt::Options { disk_guid: guid(9), entry_count: 128, reserved: &[], hybrid: None };
    let pieces = match gpt {
        true => gpt::encode(&partitions, disk.geometry(), &options),
        false => mbr::encode(0xC0FF_EE01, &partitions, disk.geometry()),
    };
    for piece in pieces.expect("a table") {
        disk.write_at(&piece.bytes, piece.offset).expect("memory");
    }
    let entry = |number| existing(&disk, number).expect("memory").expect("a partition");
    let entries = [entry(1), entry(2)];
    (disk, entries)
}

#[test]
fn the_esp_and_a_partition_that_is_not_meant_are_refused() {
    for (gpt, first, second) in [
        (true, "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"),
        (false, "c0ffee01-01", "c0ffee01-02"),
    ] {
        let (disk, [esp, system]) = disk_with_esp(gpt);
        assert_eq!(esp, Existing { partuuid: first.into(), is_esp: true });
        assert_eq!(system, Existing { partuuid: second.into(), is_esp: false });
        assert_eq!(existing(&disk, 3).expect("memory"), None);
        let told = |reason: Option<Reason>| {
            let refused = Refused::Because { path: "/dev/given".into(), reason: reason.expect("a reason") };
            let error = Error::from(refused);
            assert_eq!(error.family(), Family::Refused);
            (error.to_string(), error.hint().expect("a hint"))
        };
        let reject = skiff_image::flash::existing::reject;
        assert_eq!(
            told(reject(None, Some(&esp), None)),
            (
                "`/dev/given` is not written: it is the EFI system partition, which is never written as a whole"
                    .into(),
                "give the partition that was made for the system".into()
            )
        );
        assert_eq!(reject(None, Some(&system), None), None, "no partition is named");
        assert_eq!(reject(None, Some(&system), Some(&second.to_uppercase())), None);
        assert_eq!(reject(Some("abcd-ef"), Some(&system), Some("ABCD-EF")), None, "the kernel knows best");
        assert_eq!(
            told(reject(None, Some(&system), Some(first))),
            (
                format!(
                    "`/dev/given` is not written: the image is made for the partition with the PARTUUID \
                     `{first}`, and this one has `{second}`"
                ),
                format!("make the image with `--partuuid {second}` if this is the right partition")
            )
        );
        assert_eq!(
            told(reject(None, None, Some(first))),
            (
                format!(
                    "`/dev/given` is not written: the image is made for the partition with the PARTUUID \
                     `{first}`, and this one tells none"
                ),
                "check that its disk has a partition table".into()
            )
        );
    }
}

#[test]
fn a_partition_that_was_not_completed_has_no_filesystem() {
    let failed =
        |table| FlashError::Unfinished { message: "it broke".into(), family: Family::Io, hint: None, table };
    let told = |table| failed(table).of_partition().to_string();
    assert_eq!(
        told(TableState::Wiped),
        "it broke; it was left without a filesystem, so that nothing mounts it"
    );
    assert_eq!(told(TableState::Unknown), "it broke; it could not be wiped either: do not boot from it");
}

#[test]
fn a_partition_is_not_a_disk() {
    assert_eq!(
        Machine::with_two_disks().refusal("8:17"),
        "`/dev/given` is not written: it is a partition of `/dev/sdb`, and an image covers a whole disk"
    );
}

#[test]
fn a_mounted_partition_is_named() {
    let machine = Machine::with_two_disks();
    machine.mounts("90 27 8:18 / /media/my\\040card rw - vfat /dev/sdb2 rw\n");
    assert_eq!(
        machine.refusal("8:16"),
        "`/dev/given` is not written: `/dev/sdb2` is mounted on `/media/my card`"
    );
}

#[test]
fn a_filesystem_with_a_number_of_its_own_is_found_by_its_source() {
    let machine = Machine::with_two_disks();
    machine.mounts("90 27 0:44 /@ /mnt rw shared:1 - btrfs /dev/sdb1 rw\n");
    assert_eq!(machine.refusal("8:16"), "`/dev/given` is not written: `/dev/sdb1` is mounted on `/mnt`");
}

#[test]
fn the_system_disk_is_found_through_what_is_built_on_it() {
    let machine = Machine::with_two_disks();
    machine.mounts("28 27 8:2 / /mnt rw - ext4 /dev/sda2 rw\n");
    assert_eq!(
        machine.refusal("8:0"),
        "`/dev/given` is not written: `/dev/dm-0` is mounted on `/`: this is the disk of the running system"
    );
    assert_eq!(
        machine.refusal("253:0"),
        "`/dev/given` is not written: `/dev/dm-0` is mounted on `/`: this is the disk of the running system"
    );
}

#[test]
fn swap_and_holders_are_named() {
    let machine = Machine::with_two_disks();
    machine.write("proc/swaps", "Filename Type Size Used Priority\n/dev/sdb2 partition 1048572 0 -2\n");
    assert_eq!(machine.refusal("8:16"), "`/dev/given` is not written: `/dev/sdb2` is used as swap space");
    machine.write("proc/swaps", "Filename Type Size Used Priority\n");
    let raid = machine.disk("virtual/block/md0", "9:0", 1 << 30);
    machine.link(&raid, "sys/devices/pci0/usb1/host6/block/sdb/sdb1/holders/md0");
    assert_eq!(machine.refusal("8:16"), "`/dev/given` is not written: `/dev/sdb1` is a part of `/dev/md0`");
    let link = machine.root.path().join("dev/mapper/swap");
    symlink(machine.root.path().join("dev/md0"), link).expect("link");
    fs::write(machine.root.path().join("dev/md0"), "").expect("node");
    machine.write("proc/swaps", "Filename Type\n/dev/mapper/swap partition\n");
    assert_eq!(machine.refusal("8:16"), "`/dev/given` is not written: `/dev/md0` is used as swap space");
}

#[test]
fn every_disk_of_a_btrfs_is_held() {
    let machine = Machine::with_two_disks();
    machine.write("sys/fs/btrfs/5a1e-uuid/devices/sdb2/size", "2048\n");
    assert_eq!(
        machine.refusal("8:16"),
        "`/dev/given` is not written: `/dev/sdb2` is a part of `btrfs 5a1e-uuid`"
    );
}

#[test]
fn what_cannot_hold_an_image_is_refused() {
    let machine = Machine::with_two_disks();
    let error = machine.candidate("8:16", (32 << 30) + 512).expect_err("too small");
    assert_eq!(
        error.to_string(),
        "`/dev/given` is not written: the image needs 32.0 GiB (34359738880 bytes) and it has 32 GiB"
    );
    machine.write("sys/devices/pci0/usb1/host6/block/sdb/ro", "1\n");
    assert_eq!(machine.refusal("8:16"), "`/dev/given` is not written: it is read-only");
    machine.write("sys/devices/pci0/usb1/host6/block/sdb/ro", "0\n");
    machine.write("sys/devices/pci0/usb1/host6/block/sdb/size", "0\n");
    assert_eq!(machine.refusal("8:16"), "`/dev/given` is not written: there is no medium in it");
}

#[test]
fn disks_are_listed_with_what_speaks_against_them() {
    let machine = Machine::with_two_disks();
    let disks = Host::at(machine.root.path()).disks();
    let names: Vec<_> = disks
        .iter()
        .map(|(disk, reason)| (disk.name.as_str(), disk.bus.as_str(), reason.is_none()))
        .collect();
    assert_eq!(names, [("dm-0", "other", false), ("sda", "ata", false), ("sdb", "usb", true)]);
}

#[test]
fn files_are_not_devices() {
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("file");
    for (path, what) in
        [(file.path(), "a file"), ("/".as_ref(), "a directory"), ("/dev/null".as_ref(), "a character device")]
    {
        let message = Host::new().candidate(path, 0).expect_err("refused").to_string();
        assert_eq!(message, format!("`{}` is not written: it is {what}, not a block device", path.display()));
    }
}

#[test]
fn the_disk_of_this_machine_is_refused() {
    // The root of a container may be on no disk of its own; the list is only asked not to lie then.
    for (disk, reason) in Host::new().disks() {
        let root = fs::metadata("/").expect("root");
        let number = format!(
            "{}:{}",
            rustix::fs::major(std::os::unix::fs::MetadataExt::dev(&root)),
            rustix::fs::minor(std::os::unix::fs::MetadataExt::dev(&root))
        );
        let own = fs::read_to_string(format!("/sys/class/block/{}/dev", disk.name)).unwrap_or_default();
        if own.trim() == number {
            assert!(matches!(reason, Some(Reason::SystemDisk { .. })), "{disk}: {reason:?}");
        }
    }
}

#[test]
fn a_loop_device_is_free_until_it_is_mounted() {
    let test = "a_loop_device_is_free_until_it_is_mounted";
    let Some(disk) = LoopDevice::new(test, 64 << 20, &[]) else { return };
    let host = Host::new();
    let candidate = host.candidate(&disk.path, 64 << 20).expect("free");
    assert_eq!((candidate.len, candidate.bus.as_str()), (64 << 20, "loop"));
    if !oracle(test, "mkfs.ext4") {
        return;
    }
    assert!(run(command("mkfs.ext4").arg("-q").arg(&disk.path)).0);
    let mount_point = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory");
    let (mounted, text) = run(command("mount").arg(&disk.path).arg(mount_point.path()));
    assert!(mounted, "{text}");
    let refused = host.candidate(&disk.path, 0);
    let busy = skiff_image::target::Device::open(&disk.path).err();
    assert!(common::unmount(mount_point.path()));
    let path = disk.path.display();
    assert_eq!(
        refused.expect_err("mounted").to_string(),
        format!("`{path}` is not written: `{path}` is mounted on `{}`", mount_point.path().display())
    );
    assert_eq!(
        busy.expect("the kernel refuses too").to_string(),
        format!("`{path}` is in use by the system")
    );
    host.candidate(&disk.path, 0).expect("free again");
}

#[test]
fn a_filesystem_at_an_offset_of_a_disk_is_found() {
    let test = "a_filesystem_at_an_offset_of_a_disk_is_found";
    let Some(disk) = LoopDevice::new(test, 64 << 20, &[]) else { return };
    if !oracle(test, "mkfs.ext4") {
        return;
    }
    let attach = ["--find", "--show", "--offset", "4194304"];
    let (attached, inner) = run(command("losetup").args(attach).arg(&disk.path));
    assert!(attached, "{inner}");
    let inner = inner.trim();
    assert!(run(command("mkfs.ext4").arg("-q").arg(inner)).0);
    let mount_point = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory");
    let (mounted, _) = run(command("mount").arg(inner).arg(mount_point.path()));
    let refused = Host::new().candidate(&disk.path, 0);
    assert!(common::unmount(mount_point.path()));
    run(command("losetup").arg("--detach").arg(inner));
    assert!(mounted);
    assert_eq!(
        refused.expect_err("mounted").to_string(),
        format!(
            "`{}` is not written: `{inner}` is mounted on `{}`",
            disk.path.display(),
            mount_point.path().display()
        )
    );
}

#[test]
fn a_loop_device_with_swap_is_refused() {
    let test = "a_loop_device_with_swap_is_refused";
    let Some(disk) = LoopDevice::new(test, 16 << 20, &[]) else { return };
    if !oracle(test, "mkswap") {
        return;
    }
    assert!(run(command("mkswap").arg(&disk.path)).0);
    let (on, text) = run(command("swapon").arg(&disk.path));
    if !on {
        assert!(std::env::var_os("CI").is_none(), "{text}");
        eprintln!("skipped: {test}: swapon: {text}");
        return;
    }
    let refused = Host::new().candidate(&disk.path, 0);
    assert!(run(command("swapoff").arg(&disk.path)).0);
    let path = disk.path.display();
    assert_eq!(
        refused.expect_err("swap").to_string(),
        format!("`{path}` is not written: `{path}` is used as swap space")
    );
}

#[test]
fn a_read_only_loop_device_is_refused() {
    let Some(disk) = LoopDevice::new("read-only", 1 << 20, &["--read-only"]) else { return };
    let message = Host::new().candidate(&disk.path, 0).expect_err("refused").to_string();
    assert_eq!(message, format!("`{}` is not written: it is read-only", disk.path.display()));
}
