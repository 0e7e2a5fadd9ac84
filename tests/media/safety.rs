//! What may be written as a whole disk: a made-up machine, and this one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::harness::loopdev::{LoopDevice, run};
use crate::harness::skip::skip;
use crate::harness::tools;
use crate::harness::tools::{command, oracle};
use skiff_image::Error;
use skiff_image::device::{Candidate, Disk, Host, Mount, Override, Reason, Refused};
use skiff_image::device::{Existing, existing};
use skiff_image::error::ErrorKind;
use skiff_image::flash::FlashError;
use skiff_image::flash::TableState;
use skiff_image::storage::{Memory, Target};
use skiff_image::table::{self, PartitionKind, gpt, mbr};
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
        assert_eq!(error.kind(), ErrorKind::Refused);
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
    assert_eq!(error.kind(), ErrorKind::Refused);
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
            assert_eq!(error.kind(), ErrorKind::Refused);
            (error.to_string(), error.hint().expect("a hint"))
        };
        let reject = skiff_image::device::existing::reject;
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
                format!("if this is the right partition, make the image for the PARTUUID `{second}`")
            )
        );
        assert_eq!(
            told(reject(None, None, Some(first))),
            (
                format!(
                    "`/dev/given` is not written: the image is made for the partition with the PARTUUID \
                     `{first}`, and this one reports none"
                ),
                "check that its disk has a partition table".into()
            )
        );
    }
}

#[test]
fn a_partition_that_was_not_completed_has_no_filesystem() {
    let failed = |table| FlashError::Unfinished {
        message: "it broke".into(),
        kind: ErrorKind::Io,
        hint: None,
        code: None,
        table,
    };
    let told = |table| failed(table).for_partition().to_string();
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
    let (_, hint) = card_refusal(&machine);
    assert_eq!(hint, "swapoff `/dev/sdb2` if this is the right disk");
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

/// Names of the disks in the order of the list, each with the first thing that speaks against it.
fn listed(machine: &Machine) -> Vec<(String, Option<String>)> {
    let disks = Host::at(machine.root.path()).disks();
    let first = |disk: &Disk| disk.reasons.first().map(Reason::to_string);
    disks.iter().map(|disk| (disk.candidate.name.clone(), first(disk))).collect()
}

#[test]
fn disks_are_listed_with_cards_first_and_empty_readers_last() {
    let machine = Machine::with_two_disks();
    let reader = machine.disk("pci0/usb1/host7/block/sdc", "8:32", 0);
    machine.write(reader.join("removable"), "1\n");
    machine.disk("pci0/usb1/host8/block/sdd", "8:48", 64 << 30);
    machine.disk("pci0/mmc_host/mmc0/mmc0:0001/block/mmcblk0", "179:0", 16 << 30);
    machine.disk("virtual/block/loop0", "7:0", 1 << 30);
    machine.disk("virtual/block/loop1", "7:1", 0);
    machine.disk("pci0/nvme/nvme0/nvme0n1", "259:0", 512 << 30);
    let free = |name: &str| (name.to_string(), None);
    let against = |name: &str, reason: &str| (name.to_string(), Some(reason.to_string()));
    let system = "`/dev/dm-0` is mounted on `/`: this is the disk of the running system";
    assert_eq!(
        listed(&machine),
        [
            free("mmcblk0"),
            free("sdb"),
            free("sdd"),
            free("loop0"),
            against("sdc", "there is no medium in it"),
            against("sda", system),
            against("nvme0n1", "it is an internal disk (nvme, not removable)"),
            against("dm-0", system),
        ]
    );
    let disks = Host::at(machine.root.path()).disks();
    let system = disks.iter().find(|disk| disk.candidate.name == "sda").expect("a disk");
    assert_eq!(system.mounts, [Mount { device: "/dev/dm-0".into(), mount_point: "/".into() }]);
    let told: Vec<String> = system.reasons.iter().map(Reason::to_string).collect();
    assert_eq!(
        told[1..],
        [
            "`/dev/sda2` is a part of `/dev/dm-0`",
            "it is an internal disk (ata, not removable)",
            "it has 512 GiB, and what has more than 256 GiB is more often a disk full of data than a card",
        ]
    );
}

/// The reason for which the card is refused, and the hint.
fn card_refusal(machine: &Machine) -> (String, String) {
    let error = Error::from(machine.candidate("8:16", 0).expect_err("refused"));
    (error.to_string(), error.hint().expect("a hint"))
}

#[test]
fn what_is_built_on_a_disk_is_called_by_its_name() {
    let kinds = [
        ("LVM-6Qz8", "vg0-root", "the LVM volume `vg0-root`", "dmsetup remove vg0-root"),
        ("CRYPT-LUKS2-77-home", "home", "the encrypted disk `home`", "cryptsetup close home"),
        ("mpath-3600", "mpatha", "the multipath disk `mpatha`", "multipath -f mpatha"),
        ("", "linear", "the device mapper disk `linear`", "dmsetup remove linear"),
    ];
    for (uuid, name, what, close) in kinds {
        let machine = Machine::with_two_disks();
        let volume = machine.disk("virtual/block/dm-7", "253:7", 1 << 30);
        machine.write(volume.join("dm/name"), &format!("{name}\n"));
        machine.write(volume.join("dm/uuid"), &format!("{uuid}\n"));
        machine.link(&volume, "sys/devices/pci0/usb1/host6/block/sdb/sdb1/holders/dm-7");
        let (told, hint) = card_refusal(&machine);
        assert_eq!(
            told,
            format!("`/dev/given` is not written: `/dev/sdb1` is a part of `/dev/dm-7`, {what}")
        );
        assert_eq!(hint, format!("close it with `{close}` if this is the right disk"));
    }
    let machine = Machine::with_two_disks();
    let raid = machine.disk("virtual/block/md127", "9:127", 1 << 30);
    machine.write(raid.join("md/level"), "raid1\n");
    machine.link(&raid, "sys/devices/pci0/usb1/host6/block/sdb/holders/md127");
    let (told, hint) = card_refusal(&machine);
    assert_eq!(told, "`/dev/given` is not written: `/dev/sdb` is a part of `/dev/md127`, a RAID (raid1)");
    let close = "close it with `mdadm --stop /dev/md127` if this is the right disk";
    assert_eq!(hint, close);
    // A volume on the RAID is mounted: that is found through both.
    machine.mounts("40 27 9:127 / /srv/data rw - ext4 /dev/md127 rw\n");
    let (told, hint) = card_refusal(&machine);
    assert_eq!(told, "`/dev/given` is not written: `/dev/md127` is mounted on `/srv/data`");
    assert_eq!(hint, "umount `/srv/data` if this is the right disk");
}

#[test]
fn boot_areas_of_an_emmc_and_optical_drives_are_no_disks() {
    let machine = Machine::with_two_disks();
    let card = "pci0/mmc_host/mmc0/mmc0:0001/block/mmcblk0";
    machine.disk(card, "179:0", 16 << 30);
    machine.partition(&format!("{card}/mmcblk0p1"), "179:1");
    machine.disk(&format!("{card}/mmcblk0boot0"), "179:8", 4 << 20);
    let found = machine.candidate("179:0", 0).expect("the disk itself");
    assert_eq!((found.partitions, found.bus), (vec!["mmcblk0p1".to_string()], "mmc".to_string()));
    let error = Error::from(machine.candidate("179:8", 0).expect_err("refused"));
    assert_eq!(
        error.to_string(),
        "`/dev/given` is not written: it is a hardware partition of `/dev/mmcblk0`"
    );
    assert_eq!(error.hint().expect("a hint"), "to write the medium itself, give `/dev/mmcblk0`");
    // The controller of an NVMe disk has a number too, and is no disk.
    machine.write("sys/devices/pci0/usb1/nvme/nvme0/dev", "240:0\n");
    machine.disk("pci0/usb1/nvme/nvme0/nvme0n1", "259:0", 1 << 30);
    machine.candidate("259:0", 0).expect("a disk in a USB case");
    let drive = machine.disk("pci0/ata2/host1/block/sr0", "11:0", 700 << 20);
    machine.write(drive.join("device/type"), "5\n");
    assert_eq!(machine.refusal("11:0"), "`/dev/given` is not written: it is an optical drive");
}

#[test]
fn compressed_swap_is_swap() {
    let machine = Machine::with_two_disks();
    machine.disk("virtual/block/zram0", "252:0", 4 << 30);
    machine.write("proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 4194300 0 100\n");
    let error = Error::from(machine.candidate("252:0", 0).expect_err("refused"));
    assert_eq!(error.to_string(), "`/dev/given` is not written: `/dev/zram0` is used as swap space");
    assert_eq!(
        error.hint().expect("a hint"),
        "swapoff `/dev/zram0` if this is the right disk; the kernel lets nobody write to it before"
    );
}

#[test]
fn internal_and_large_disks_are_doubted() {
    let machine = Machine::with_two_disks();
    machine.disk("pci0/nvme/nvme0/nvme0n1", "259:0", 128 << 30);
    let error = Error::from(machine.candidate("259:0", 0).expect_err("refused"));
    assert_eq!(
        error.to_string(),
        "`/dev/given` is not written: it is an internal disk (nvme, not removable)"
    );
    assert_eq!(error.hint().expect("a hint"), "choose a card or stick");
    // The same in a Thunderbolt case.
    machine.write("sys/devices/pci0/nvme/removable", "removable\n");
    machine.candidate("259:0", 0).expect("it can be unplugged");
    for (path, number) in [
        ("pci1/host2/block/sde", "8:64"),
        ("pci1/virtio3/block/vdb", "252:16"),
        ("vbd-768/block/xvda", "202:0"),
    ] {
        machine.disk(path, number, 1 << 30);
        assert!(machine.refusal(number).contains("it is an internal disk ("));
    }
    machine.disk("pci0/usb1/host9/block/sdf", "8:80", 256 << 30);
    machine.candidate("8:80", 0).expect("as large as a card");
    machine.disk("pci0/usb1/host9/block/sdg", "8:96", (256 << 30) + 512);
    let error = Error::from(machine.candidate("8:96", 0).expect_err("refused"));
    assert_eq!(
        error.to_string(),
        "`/dev/given` is not written: it has 256.0 GiB (274877907456 bytes), and what has more than 256 GiB is more \
         often a disk full of data than a card"
    );
    assert_eq!(error.hint().expect("a hint"), "choose a card or stick");
    // Who names a partition has looked at what is on the disk.
    machine.partition("pci1/host2/block/sde/sde1", "8:65");
    partition(&machine, "8:65", 0).expect("a partition of an internal disk");
}

#[test]
fn each_refusal_has_its_own_word_and_the_system_disk_has_none() {
    let machine = Machine::with_two_disks();
    let despite = |words: &[&str], number: &str| {
        let words = words.iter().map(|word| word.parse().expect("a word")).collect();
        Host::at(machine.root.path()).despite(words).candidate_of(number, Path::new("/dev/given"), 0)
    };
    let overridden = |words: &[&str]| -> Vec<String> {
        despite(words, "8:16").expect("overridden").overridden.iter().map(Reason::to_string).collect()
    };
    assert_eq!(overridden(&["mounted", "held"]), Vec::<String>::new());
    machine.mounts("40 27 8:17 / /mnt rw - ext4 /dev/sdb1 rw\n41 27 8:18 / /a rw - ext4 /dev/sdb2 rw\n");
    machine.write("proc/swaps", "Filename Type Size Used Priority\n/dev/sdb2 partition 1048572 0 -2\n");
    machine.write("sys/fs/btrfs/5a1e-uuid/devices/sdb2/size", "2048\n");
    for words in [&["swap", "held"][..], &["mounted", "held"], &["mounted", "swap"]] {
        despite(words, "8:16").expect_err("one is not overridden");
    }
    assert_eq!(
        overridden(&["mounted", "swap", "held"]),
        [
            "`/dev/sdb2` is mounted on `/a`",
            "`/dev/sdb1` is mounted on `/mnt`",
            "`/dev/sdb2` is used as swap space",
            "`/dev/sdb2` is a part of `btrfs 5a1e-uuid`",
        ]
    );
    let all = ["mounted", "swap", "held", "internal", "large"];
    let system = despite(&all, "8:0").expect_err("the system disk").to_string();
    assert!(system.ends_with("this is the disk of the running system"), "{system}");
    let unknown = "system".parse::<Override>().expect_err("no word");
    assert_eq!(
        unknown.to_string(),
        "no refusal is called `system`; those that can be overridden are `mounted`, `swap`, `held`, `internal`, \
         `large`"
    );
}

#[test]
fn a_token_is_that_of_one_device_and_a_changed_card_is_another() {
    let machine = Machine::with_two_disks();
    let card = || machine.candidate("8:16", 0).expect("free");
    let (first, path) = (card(), "sys/devices/pci0/usb1/host6/block/sdb");
    assert_eq!(first.token(), card().token());
    assert_eq!(first.token().len(), 9);
    let mut tokens = vec![first.token()];
    for (name, text) in
        [("device/serial", "0816\n"), ("device/model", "Other\n"), ("size", "2048\n"), ("dev", "8:32\n")]
    {
        let before = fs::read_to_string(machine.root.path().join(path).join(name)).expect("it is there");
        machine.write(Path::new(path).join(name), text);
        assert!(!card().is_same(&first), "{name}");
        tokens.push(card().token());
        machine.write(Path::new(path).join(name), &before);
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 5, "{tokens:?}");
    // The same reader with another card of the same size; and the same card, partitioned anew.
    machine.write(Path::new(path).join("diskseq"), "7\n");
    let seventh = card();
    machine.partition("pci0/usb1/host6/block/sdb/sdb3", "8:19");
    assert!(card().is_same(&seventh));
    machine.write(Path::new(path).join("diskseq"), "8\n");
    assert!(!card().is_same(&seventh));
}

#[test]
fn a_serial_number_is_found_where_each_kind_of_disk_has_it() {
    let machine = Machine::with_two_disks();
    let stick = machine.disk("pci0/usb1/1-1/1-1:1.0/host9/target/9:0/block/sdx", "65:112", 1 << 30);
    machine.write("sys/devices/pci0/usb1/1-1/idVendor", "0781\n");
    machine.write("sys/devices/pci0/usb1/1-1/serial", "4C53\n");
    machine.write("sys/devices/pci0/usb1/serial", "0000:00:14.0\n");
    let serial = || machine.candidate("65:112", 0).expect("free").serial;
    assert_eq!(serial().as_deref(), Some("4C53"));
    machine.write(stick.join("device/vpd_pg80"), "\0\u{1}\0\u{8}  S3Z9N  ");
    assert_eq!(serial().as_deref(), Some("S3Z9N"));
    machine.write(stick.join("serial"), "virtio-1\n");
    assert_eq!(serial().as_deref(), Some("virtio-1"));
}

#[test]
fn files_are_not_devices() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory");
    let at = |name: &str| directory.path().join(name);
    fs::write(at("file"), "").expect("file");
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).expect("pipe");
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("socket");
    let give = "give the path of a disk, for example `/dev/sdb`";
    let make = "`assemble` makes image files; `losetup --find --show FILE` makes a disk of one";
    for (path, what, expected) in [
        (at("file"), "a file", make),
        (at("pipe"), "a pipe", give),
        (at("socket"), "a socket", give),
        ("/".into(), "a directory", give),
        ("/dev/null".into(), "a character device", give),
    ] {
        let error = Error::from(Host::new().candidate(&path, 0).expect_err("refused"));
        let told = format!("`{}` is not written: it is {what}, not a block device", path.display());
        assert_eq!((error.to_string(), error.hint().expect("a hint")), (told, expected.to_string()));
        assert_eq!(error.kind(), ErrorKind::Refused);
    }
}

#[test]
fn what_is_not_there_is_told_from_a_link_to_nothing() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory");
    let (missing, link) = (directory.path().join("sdz"), directory.path().join("usb-Card_0815"));
    symlink("../../sdz", &link).expect("link");
    let told = |path: &Path| {
        let error = Error::from(Host::new().candidate(path, 0).expect_err("refused"));
        assert_eq!(error.kind(), ErrorKind::Input);
        (error.to_string(), error.hint().expect("a hint"))
    };
    assert_eq!(
        told(&missing),
        (
            format!("there is no `{}`", missing.display()),
            "`skiff-image devices` lists the disks of this machine".into()
        )
    );
    assert_eq!(
        told(&link),
        (
            format!("`{}` is a link to `../../sdz`, which is not there", link.display()),
            "plug the device in; `skiff-image devices` lists what is there".into()
        )
    );
}

#[test]
fn the_disk_of_this_machine_is_refused() {
    // The root of a container may be on no disk of its own; the list is only asked not to lie then.
    for Disk { candidate: disk, reasons, .. } in Host::new().disks() {
        let root = fs::metadata("/").expect("root");
        let number = format!(
            "{}:{}",
            rustix::fs::major(std::os::unix::fs::MetadataExt::dev(&root)),
            rustix::fs::minor(std::os::unix::fs::MetadataExt::dev(&root))
        );
        let own = fs::read_to_string(format!("/sys/class/block/{}/dev", disk.name)).unwrap_or_default();
        if own.trim() == number {
            assert!(matches!(reasons[..], [Reason::SystemDisk { .. }, ..]), "{disk}: {reasons:?}");
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
    let busy = skiff_image::storage::Device::open(&disk.path).err();
    assert!(tools::unmount(mount_point.path()));
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
    assert!(tools::unmount(mount_point.path()));
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
        skip(test, &format!("swapon: {text}"));
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
