//! The shipped boards, read back by tools that know nothing of the program: every sector, flag, label and
//! byte that a boot ROM, a boot loader or SkiffOS looks for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::harness::board::{about, assemble, output};
use crate::harness::disk::{
    Disk, Entry, Mount, SECTOR, bytes, check_ext4, contents, list_ext4, oracles, read_fat,
};
use crate::harness::privilege;
use crate::harness::tools::command;
use crate::harness::tools::{run, temporary};
use serde_json::Value;
use skiff_image::plan::Ids;
use skiff_image::value::Seed;

/// A card of 16 GB, as it is sold: 31116288 sectors.
const CARD: &str = "31116288 sectors";

const TOOLS: [&str; 12] = [
    "sfdisk",
    "sgdisk",
    "fsck.fat",
    "mcopy",
    "e2fsck",
    "debugfs",
    "dumpe2fs",
    "mdir",
    "dumpimage",
    "mkimage",
    "lz4",
    "cpio",
];

const BASIC_DATA: &str = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";
const LINUX_DATA: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";

/// A composed image and what it was composed from.
struct Composed {
    directory: tempfile::TempDir,
    image: PathBuf,
    output: PathBuf,
    images: PathBuf,
    plan: Value,
    disk: Disk,
}

impl Composed {
    fn new(board: &str, arch: &str, options: &[&str]) -> Composed {
        Composed::with_images(board, arch, &output(arch).join("images"), options)
    }

    fn with_images(board: &str, arch: &str, images: &Path, options: &[&str]) -> Composed {
        let directory = temporary();
        let images_text = images.to_str().expect("target/ has a plain name");
        let options = [&["--images", images_text], options].concat();
        let image = assemble(board, arch, directory.path(), &options);
        let plan = run(about(&["--json", "plan"], board, arch).args(&options));
        let disk = Disk::read(&image);
        Composed {
            plan: serde_json::from_str(&plan).expect("plan prints JSON"),
            output: output(arch),
            images: images.into(),
            directory,
            image,
            disk,
        }
    }

    /// Sectors of the MBR partitions: type, flag, first and last.
    fn expect_mbr(&self, expected: &[(&str, bool, u64, u64)]) {
        assert_eq!(self.disk.label, "dos");
        let found: Vec<_> = self.disk.entries.iter().map(described).collect();
        assert_eq!(found, expected);
        let planned = self.plan["disk"]["id"].as_str().expect("an id");
        assert_eq!(self.disk.id, format!("0x{planned}"));
        let signature = u32::from_le_bytes(self.bytes(440, 4).try_into().expect("four bytes"));
        assert_eq!(format!("{signature:08x}"), planned);
    }

    /// Names and sectors of the GPT partitions: type, first and last.
    fn expect_gpt(&self, expected: &[(&str, &str, u64, u64)]) {
        assert_eq!(self.disk.label, "gpt");
        let found: Vec<_> = self
            .disk
            .entries
            .iter()
            .map(|entry| {
                let (kind, _, first, last) = described(entry);
                (entry.name.as_str(), kind, first, last)
            })
            .collect();
        assert_eq!(found, expected);
        assert_eq!(self.disk.id.to_lowercase(), self.plan["disk"]["id"].as_str().expect("an id"));
        let seed = Seed(self.plan["seed"].as_str().expect("a seed").into());
        for entry in &self.disk.entries {
            let planned = Ids::new(&seed).partition_guid(&entry.name).to_string();
            assert_eq!(entry.guid.to_lowercase(), planned, "{}", entry.name);
        }
        let verdict = run(command("sgdisk").arg("--verify").arg(&self.image));
        assert!(verdict.contains("No problems found"), "{verdict}");
        assert!(!verdict.to_lowercase().contains("warning"), "{verdict}");
    }

    fn bytes(&self, offset: u64, len: u64) -> Vec<u8> {
        bytes(&self.image, offset, len)
    }

    /// The first `len` bytes of an image file, or all of them, are at `offset` of the disk.
    fn expect_blob(&self, file: &str, offset: u64, len: Option<usize>) {
        let blob = fs::read(self.images.join(file)).expect("the blob is an image file");
        let blob = &blob[..len.unwrap_or(blob.len())];
        assert!(self.bytes(offset, blob.len() as u64) == blob, "`{file}` is not at byte {offset}");
    }

    /// Checks the boot partition and gives a directory with what is on it.
    fn boot_files(&self, label: &str) -> PathBuf {
        let volume = self.disk.extract(1, self.directory.path());
        read_fat(&volume, label, self.directory.path())
    }

    /// The files of the boot partition that come from the images are those, and the others are `composed`.
    fn expect_boot_files(&self, boot: &Path, from_images: &[&str], composed: &[&str]) {
        let files = contents(boot).into_iter().filter(|(path, _)| boot.join(path).is_file());
        let mut files: BTreeMap<PathBuf, Vec<u8>> = files.map(|(path, (_, bytes))| (path, bytes)).collect();
        for name in from_images {
            let found =
                files.remove(Path::new(name)).unwrap_or_else(|| panic!("no `{name}` on the boot partition"));
            assert!(found == fs::read(self.images.join(name)).expect("an image file"), "`{name}` differs");
        }
        let left: Vec<&str> = files.keys().map(|path| path.to_str().expect("a plain name")).collect();
        assert_eq!(left, composed);
    }

    /// Checks the ext4 partitions `rootfs` (2) and `persist` (3), and the modules on the first.
    fn expect_ext4(&self) {
        let rootfs = self.disk.extract(2, self.directory.path());
        let persist = self.disk.extract(3, self.directory.path());
        assert_eq!((check_ext4(&rootfs).as_str(), check_ext4(&persist).as_str()), ("rootfs", "persist"));
        assert_eq!(list_ext4(&rootfs), ["modules.squashfs"]);
        assert!(list_ext4(&persist).is_empty());
        if privilege::root("the kernel mounts what boards have") {
            self.expect_kernel_finds_modules();
        }
    }

    /// The kernel mounts `rootfs` where it is on the disk, and the modules on it.
    fn expect_kernel_finds_modules(&self) {
        let entry = &self.disk.entries[1];
        let (offset, len) = (entry.start * SECTOR, entry.size * SECTOR);
        let place = format!("ro,loop,offset={offset},sizelimit={len}");
        let rootfs = Mount::new("ext4", &place, &self.image, &self.directory.path().join("rootfs"));
        let modules = rootfs.0.join("modules.squashfs");
        let modules = Mount::new("squashfs", "ro,loop", &modules, &self.directory.path().join("modules"));
        let (found, expected) = (contents(&modules.0), contents(&self.output.join("target/usr/lib/modules")));
        assert!(!expected.is_empty());
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        assert!(found == expected, "the modules on the disk differ from those of the build");
    }
}

fn described(entry: &Entry) -> (&str, bool, u64, u64) {
    (&entry.kind, entry.active, entry.start, entry.start + entry.size - 1)
}

/// A line of `cpio --list --verbose --numeric-uid-gid`.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    mode: String,
    owner: (u32, u32),
    /// Of a device.
    number: Option<(u32, u32)>,
}

/// What `cpio` finds in a compressed archive, by path; links without their targets.
fn list_archive(archive: &Path) -> BTreeMap<String, Listed> {
    let plain = archive.with_extension("cpio");
    run(command("lz4").args(["-d", "-f", "-q"]).arg(archive).arg(&plain));
    let listing = run(command("cpio").args(["--quiet", "-itvn", "-F"]).arg(&plain));
    listing.lines().map(listed).collect()
}

/// `crw--w---- 1 0 5 4, 0 Nov 14 2023 dev/tty0`
fn listed(line: &str) -> (String, Listed) {
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_else(|| panic!("`{line}` is too short"));
    let (mode, _links) = (word().to_owned(), word());
    let number = |word: &str| word.trim_end_matches(',').parse().expect("a number");
    let owner = (number(word()), number(word()));
    let size = word();
    let device = size.ends_with(',').then(|| (number(size), number(word())));
    let _date = (word(), word(), word());
    let name = words.collect::<Vec<_>>().join(" ");
    let name = name.split_once(" -> ").map_or(name.clone(), |(name, _)| name.into());
    (name, Listed { mode, owner, number: device })
}

/// The root filesystem is what the device table and the users table of the fixture make of the target
/// directory, without its modules.
fn expect_root_filesystem(archive: &Path, directory: &Path) {
    let listing = list_archive(archive);
    let at = |path: &str| listing.get(path).unwrap_or_else(|| panic!("no `{path}` in the root filesystem"));
    let mode_and_owner = |path| (at(path).mode.as_str(), at(path).owner);
    assert_eq!(mode_and_owner("usr/bin/busybox"), ("-rwsr-xr-x", (0, 0)));
    assert_eq!(mode_and_owner("root"), ("drwx------", (0, 0)));
    assert_eq!(mode_and_owner("etc/shadow"), ("-rw-------", (0, 0)));
    assert_eq!(mode_and_owner("tmp"), ("drwxrwxrwt", (0, 0)));
    assert_eq!(mode_and_owner("var/www"), ("drwxr-xr-x", (33, 33)));
    assert_eq!(mode_and_owner("home/skiff"), ("drwxr-xr-x", (1000, 1000)));
    assert_eq!(at("usr/libexec/fixture-helper").mode, "-rwsr-x---");
    assert_eq!(at("dev/console"), &device("crw--w--w-", 0, (5, 1)));
    assert_eq!(at("dev/null"), &device("crw-rw-rw-", 0, (1, 3)));
    for minor in 0..4 {
        assert_eq!(at(&format!("dev/tty{minor}")), &device("crw--w----", 5, (4, minor)));
    }
    let owned =
        ["var/www", "home/skiff", "home/locked", "usr/libexec/fixture-helper", "var/lib/fixture", "dev/tty"];
    for (path, listed) in &listing {
        let foreign = owned.iter().any(|owned| path.starts_with(owned));
        assert!(foreign || listed.owner == (0, 0), "{path}: {listed:?}");
    }
    for empty in ["run/", "tmp/", "usr/lib/modules/", "THIS_IS_NOT_YOUR_ROOT_FILESYSTEM"] {
        assert!(!listing.keys().any(|path| path.starts_with(empty)), "something is in `{empty}`");
    }
    for there in ["run", "usr/lib/modules", "init"] {
        at(there);
    }
    expect_accounts(archive, directory);
}

fn device(mode: &str, group: u32, number: (u32, u32)) -> Listed {
    Listed { mode: mode.into(), owner: (0, group), number: Some(number) }
}

/// The users of the users table are in the files of the archive.
fn expect_accounts(archive: &Path, directory: &Path) {
    let plain = archive.with_extension("cpio");
    let to = directory.join("accounts");
    fs::create_dir(&to).expect("a directory");
    let unpack = ["--quiet", "--no-absolute-filenames", "-id", "-F"];
    let files = ["etc/passwd", "etc/shadow", "etc/group"];
    run(command("cpio").args(unpack).arg(&plain).args(files).current_dir(&to));
    let read = |name: &str| fs::read_to_string(to.join("etc").join(name)).expect("an account file");
    let passwd = read("passwd");
    for user in ["root:x:0:0:", "sshd:x:105:", "skiff:x:1000:1000:", "locked:x:1001:"] {
        assert!(passwd.lines().any(|line| line.starts_with(user)), "no `{user}` in\n{passwd}");
    }
    assert!(read("shadow").lines().any(|line| line.starts_with("skiff:$")), "the password is hashed");
    assert!(read("group").lines().any(|line| line.starts_with("input:")), "a group without a user");
}

/// Both tools of U-Boot take the file for what it should be.
fn expect_uboot_image(file: &Path, description: &str) {
    for tool in ["dumpimage", "mkimage"] {
        let text = run(command(tool).arg("-l").arg(file));
        assert!(text.contains(description), "{tool}: {text}");
    }
}

/// The file inside a legacy image.
fn unwrap(file: &Path, kind: &str, to: &Path) {
    run(command("dumpimage").args(["-T", kind, "-p", "0", "-o"]).arg(to).arg(file));
}

fn expect_words(path: &Path, lines: &[&str]) {
    let text = fs::read_to_string(path).expect("a boot text");
    for expected in lines {
        assert!(text.lines().any(|line| line == *expected), "no `{expected}` in {}:\n{text}", path.display());
    }
}

#[test]
fn orangepi_zero_is_what_its_boot_rom_and_skiffos_look_for() {
    if !oracles("orangepi_zero_is_what_its_boot_rom_and_skiffos_look_for", &TOOLS) {
        return;
    }
    let composed = Composed::new("orangepi/zero", "armhf", &["--size", CARD]);
    // SkiffOS ends at the last sector; a partition that ends at a whole MiB leaves what no sector is lost by.
    composed.expect_mbr(&[
        ("c", false, 204_800, 839_679),
        ("83", false, 839_680, 1_228_799),
        ("83", false, 1_228_800, 31_115_263),
    ]);
    composed.expect_blob("u-boot-sunxi-with-spl.bin", 8192, None);
    assert_eq!(&composed.bytes(8192 + 4, 8), b"eGON.BT0");
    assert!(composed.bytes(512, 8192 - 512).iter().all(|byte| *byte == 0), "sectors 1 to 15 are free");
    let boot = composed.boot_files("boot");
    let from_images = ["zImage", "sun8i-h2-plus-orangepi-zero.dtb", "skiff-release"];
    composed.expect_boot_files(&boot, &from_images, &["boot.cmd", "boot.scr", "rootfs.cpio.uboot"]);
    expect_words(
        &boot.join("boot.cmd"),
        &[
            "setenv bootargs \"root=/dev/initrd rootwait ro ramdisk_size=100000 console=ttyS0,115200 earlyprintk \
             no_console_suspend net.ifnames=0\"",
            "setenv ramdisk_addr 0x44000000",
            "load ${devtype} ${devnum}:${distro_bootpart} ${fdt_addr_r} sun8i-h2-plus-orangepi-zero.dtb",
            "bootz ${kernel_addr_r} ${ramdisk_addr} ${fdt_addr_r}",
        ],
    );
    expect_uboot_images(&composed, &boot, "boot.cmd", "");
    composed.expect_ext4();
}

/// The script and the ramdisk of a 32-bit ARM board.
fn expect_uboot_images(composed: &Composed, boot: &Path, text: &str, title: &str) {
    let directory = composed.directory.path();
    let (script, ramdisk) = (boot.join("boot.scr"), boot.join("rootfs.cpio.uboot"));
    expect_uboot_image(&script, "ARM Linux Script (uncompressed)");
    expect_uboot_image(&ramdisk, "ARM Linux RAMDisk Image (uncompressed)");
    assert!(run(command("dumpimage").arg("-l").arg(&script)).contains(&format!("Image Name:   {title}\n")));
    let inner = directory.join("script");
    unwrap(&script, "script", &inner);
    // Before the script is its length and the zero that ends the list of lengths.
    assert!(fs::read(&inner).expect("a script")[8..] == fs::read(boot.join(text)).expect("a text"));
    let archive = directory.join("rootfs.cpio.lz4");
    unwrap(&ramdisk, "ramdisk", &archive);
    expect_root_filesystem(&archive, directory);
}

#[test]
fn odroid_xu_is_what_its_boot_rom_and_skiffos_look_for() {
    if !oracles("odroid_xu_is_what_its_boot_rom_and_skiffos_look_for", &TOOLS) {
        return;
    }
    let directory = temporary();
    let images = directory.path().join("images");
    run(command("cp").arg("-r").arg(output("armhf").join("images")).arg(&images));
    run(command("fixtures/exynos-blobs").arg(&images).current_dir(env!("CARGO_MANIFEST_DIR")));
    let composed = Composed::with_images("odroid/xu", "armhf", &images, &["--size", CARD]);
    // SkiffOS begins at sector 4096, where the environment of U-Boot (sectors 6272 to 6303) damages the FAT.
    composed.expect_mbr(&[
        ("c", true, 8192, 1_953_791),
        ("83", false, 1_953_792, 3_905_535),
        ("83", false, 3_905_536, 31_115_263),
    ]);
    composed.expect_blob("hk_sd_fuse/bl1.bin.hardkernel", SECTOR, Some(15_360));
    composed.expect_blob("hk_sd_fuse/bl2.bin.hardkernel.1mb_uboot", 31 * SECTOR, None);
    composed.expect_blob("u-boot-dtb.bin", 63 * SECTOR, None);
    composed.expect_blob("hk_sd_fuse/tzsw.bin.hardkernel", 2111 * SECTOR, None);
    assert!(composed.disk.entries[0].start * SECTOR >= 0x31_0000 + (16 << 10), "behind the environment");
    let boot = composed.boot_files("boot");
    let from_images = [
        "zImage",
        "exynos5422-odroidhc1.dtb",
        "exynos5422-odroidxu3-lite.dtb",
        "exynos5422-odroidxu3.dtb",
        "exynos5422-odroidxu4.dtb",
        "skiff-release",
    ];
    composed.expect_boot_files(&boot, &from_images, &["boot.scr", "boot.txt", "rootfs.cpio.uboot"]);
    expect_words(
        &boot.join("boot.txt"),
        &[
            "setenv bootargs \"root=/dev/ram0 ro console=tty1 console=ttySAC2,115200n8 fsck.repair=yes \
             consoleblank=0 net.ifnames=0 no_console_suspend hdmi_tx_amp_lvl=31 hdmi_tx_lvl_ch0=3 \
             hdmi_tx_lvl_ch1=3 hdmi_tx_lvl_ch2=3 hdmi_tx_emp_lvl=6 hdmi_clk_amp_lvl=31 hdmi_tx_res=0 HPD=false \
             governor=performance\"",
            "setenv kernel_addr 0x40008000",
            "setenv ramdisk_addr 0x46000000",
            "setenv fdt_addr 0x44000000",
            "setenv dtb exynos5422-odroidxu4.dtb",
            "bootz ${kernel_addr} ${ramdisk_addr} ${fdt_addr}",
        ],
    );
    expect_uboot_images(&composed, &boot, "boot.txt", "Skiff Odroid");
    composed.expect_ext4();
}

#[test]
fn pi_4_is_what_its_firmware_and_skiffos_look_for() {
    if !oracles("pi_4_is_what_its_firmware_and_skiffos_look_for", &TOOLS) {
        return;
    }
    let composed = Composed::new("pi/4", "arm64", &["--size", CARD]);
    composed.expect_gpt(&[
        ("boot", BASIC_DATA, 2048, 15_624_191),
        ("rootfs", LINUX_DATA, 15_624_192, 19_531_775),
        ("persist", LINUX_DATA, 19_531_776, 31_115_263),
    ]);
    let boot = composed.boot_files("BOOT");
    let mut from_images = vec![
        "Image",
        "bcm2711-rpi-4-b.dtb",
        "bcm2711-rpi-400.dtb",
        "bcm2711-rpi-cm4-io.dtb",
        "skiff-release",
    ];
    composed.expect_firmware(&boot);
    from_images.retain(|name| boot.join(name).is_file());
    assert_eq!(from_images.len(), 5, "a file is missing on the boot partition");
    for name in from_images {
        let same = fs::read(boot.join(name)).ok() == fs::read(composed.images.join(name)).ok();
        assert!(same, "`{name}` differs");
    }
    expect_words(
        &boot.join("config.txt"),
        &[
            "kernel=Image",
            "initramfs rootfs.cpio.lz4",
            "arm_64bit=1",
            "start_file=start4x.elf",
            "fixup_file=fixup4x.dat",
            "dtoverlay=miniuart-bt",
            "dtparam=krnbt=on",
            "dtparam=audio=on",
            "disable_overscan=1",
            "avoid_safe_mode=1",
            "hdmi_force_hotplug=1",
            "dtoverlay=vc4-kms-v3d",
            "max_framebuffers=2",
        ],
    );
    let cmdline = "console=tty1 console=ttyAMA0,115200 root=/dev/ram0 ro net.ifnames=0 dwc_otg.lpm_enable=0 \
                   cgroup_enable=cpuset cgroup_enable=memory usbhid.mousepoll=0 consoleblank=0";
    expect_words(&boot.join("cmdline.txt"), &[cmdline]);
    let text = fs::read_to_string(boot.join("cmdline.txt")).expect("cmdline.txt");
    assert_eq!(text.trim_end_matches('\n').lines().count(), 1, "the firmware reads one line");
    expect_root_filesystem(&boot.join("rootfs.cpio.lz4"), composed.directory.path());
    composed.expect_ext4();
}

impl Composed {
    /// Everything of `rpi-firmware` is at the root of the boot partition, but its two texts.
    fn expect_firmware(&self, boot: &Path) {
        let firmware = self.images.join("rpi-firmware");
        let found = contents(boot);
        for (path, (_, bytes)) in contents(&firmware) {
            if firmware.join(&path).is_dir() || ["config.txt", "cmdline.txt"].map(Path::new).contains(&&*path)
            {
                continue;
            }
            let on_disk = found.get(&path).unwrap_or_else(|| panic!("no `{}`", path.display()));
            assert!(on_disk.1 == bytes, "`{}` differs", path.display());
        }
    }
}

#[test]
fn virt_qemu_is_what_firmware_of_virtual_machines_looks_for() {
    if !oracles("virt_qemu_is_what_firmware_of_virtual_machines_looks_for", &TOOLS) {
        return;
    }
    for (arch, kernel, loader, console) in [
        ("amd64", "bzImage", "BOOTX64.EFI", "ttyS0,115200"),
        ("arm64", "Image", "BOOTAA64.EFI", "ttyAMA0,115200"),
    ] {
        let composed = Composed::new("virt/qemu", arch, &["--size", "1GiB"]);
        let rootfs_end = composed.disk.entries[1].start + composed.disk.entries[1].size;
        composed.expect_gpt(&[
            ("boot", ESP, 2048, 526_335),
            ("rootfs", LINUX_DATA, 526_336, rootfs_end - 1),
            ("persist", LINUX_DATA, rootfs_end, 2_095_103),
        ]);
        let boot = composed.boot_files("boot");
        let efi = boot.join("EFI/BOOT").join(loader);
        let built =
            composed.images.join("efi-part/EFI/BOOT").join(loader.to_lowercase().replace(".EFI", ".efi"));
        assert!(fs::read(&efi).expect("a loader") == fs::read(built).expect("a loader"));
        assert!(
            fs::read(boot.join(kernel)).expect("a kernel") == fs::read(composed.images.join(kernel)).unwrap()
        );
        let cmdline = format!("options root=/dev/ram0 ro console={console} net.ifnames=0");
        let lines = [&*format!("linux /{kernel}"), "initrd /rootfs.cpio.lz4", &cmdline];
        expect_words(&boot.join("loader/entries/skiff.conf"), &lines);
        expect_words(&boot.join("loader/loader.conf"), &["default skiff.conf"]);
        assert_eq!(boot.join("extlinux/extlinux.conf").is_file(), arch == "arm64");
        expect_root_filesystem(&boot.join("rootfs.cpio.lz4"), composed.directory.path());
        composed.expect_ext4();
    }
}

#[test]
fn persist_grows_to_a_larger_card() {
    let test = "persist_grows_to_a_larger_card";
    if !oracles(test, &["sfdisk", "resize2fs", "e2fsck", "dumpe2fs"]) {
        return;
    }
    let directory = temporary();
    let image = assemble("orangepi/zero", "armhf", directory.path(), &["--size", "1GiB"]);
    let before = Disk::read(&image).entries.pop().expect("persist is last");
    fs::File::options()
        .write(true)
        .open(&image)
        .and_then(|file| file.set_len(8 << 30))
        .expect("a larger card");
    // What SkiffOS does on the first boot: the last partition and then its filesystem.
    let grow = format!("echo ', +' | sfdisk --quiet --no-reread -N 3 {}", image.display());
    run(command("sh").args(["-c", &grow]));
    let disk = Disk::read(&image);
    let after = disk.entries.last().expect("persist is last");
    assert_eq!(after.start, before.start);
    assert!(after.size * SECTOR > 7 << 30);
    let persist = disk.extract(3, directory.path());
    run(command("e2fsck").args(["-f", "-n"]).arg(&persist));
    run(command("resize2fs").arg(&persist));
    assert_eq!(check_ext4(&persist), "persist");
    let header = run(command("dumpe2fs").arg("-h").arg(&persist));
    let blocks = header.lines().find_map(|line| line.strip_prefix("Block count:")).expect("a count");
    assert_eq!(blocks.trim().parse(), Ok(after.size * SECTOR / 4096));
}

#[test]
fn bmaptool_and_zstd_give_the_image_back() {
    let test = "bmaptool_and_zstd_give_the_image_back";
    if !oracles(test, &["bmaptool", "zstd", "cmp"]) {
        return;
    }
    let directory = temporary();
    let image = assemble("virt/qemu", "amd64", directory.path(), &["--size", "512MiB", "--zst"]);
    let at = |name: &str| directory.path().join(name);
    run(command("zstd").args(["-q", "-d", "-o"]).arg(at("plain.img")).arg(at("disk.img.zst")));
    run(command("cmp").arg(&image).arg(at("plain.img")));
    run(command("bmaptool")
        .args(["copy", "--bmap"])
        .arg(at("disk.img.bmap"))
        .arg(&image)
        .arg(at("copy.img")));
    // What is not mapped is a hole in both.
    run(command("cmp").arg(&image).arg(at("copy.img")));
    run(command("bmaptool")
        .args(["copy", "--bmap"])
        .arg(at("disk.img.bmap"))
        .arg(at("disk.img.zst"))
        .arg(at("unpacked.img")));
    run(command("cmp").arg(&image).arg(at("unpacked.img")));
    damage(&image);
    let copied = command("bmaptool")
        .args(["copy", "--bmap"])
        .arg(at("disk.img.bmap"))
        .arg(&image)
        .arg(at("bad.img"))
        .output();
    let copied = copied.expect("bmaptool runs");
    let text = String::from_utf8_lossy(&copied.stderr);
    assert!(!copied.status.success() && text.contains("checksum mismatch"), "{text}");
}

/// Changes one byte of the kernel.
fn damage(image: &Path) {
    let file = fs::File::options().read(true).write(true).open(image).expect("the image opens");
    let fat = Disk::read(image).entries[0].start * SECTOR;
    let at = fat + (8 << 20);
    let byte = bytes(image, at, 1)[0];
    file.write_all_at(&[!byte], at).expect("the image is writable");
}
