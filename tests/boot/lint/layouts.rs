//! Layouts that keep the rules, and the changes that break them.

/// A layout that is known to be bad.
pub struct Case {
    /// The rule that it breaks.
    pub rule: &'static str,
    /// The good layout it is made from.
    pub of: &'static str,
    /// What is replaced.
    pub old: &'static str,
    /// By what.
    pub new: &'static str,
    /// What is told.
    pub found: &'static str,
}

macro_rules! cases {
    ($($of:literal { $($rule:literal: $old:literal => $new:literal, $found:literal;)* })*) => {
        &[$($(Case { rule: $rule, of: $of, old: $old, new: $new, found: $found },)*)*]
    };
}

/// The good layout of this name.
pub fn good(name: &str) -> &'static str {
    match name {
        "sunxi" => SUNXI,
        "sunxi-gpt" => SUNXI_GPT,
        "rockchip" => ROCKCHIP,
        "amlogic" => AMLOGIC,
        "exynos" => EXYNOS,
        "imx" => IMX,
        "imx-gpt" => IMX_GPT,
        "omap" => OMAP,
        "pi-mask-rom" => PI_MASK_ROM,
        "pi-eeprom" => PI_EEPROM,
        "efi" => EFI,
        "refind" => REFIND,
        "grub-bios" => GRUB_BIOS,
        "tegra" => TEGRA,
        "jh7110" => JH7110,
        "fat-root" => FAT_ROOT,
        _ => panic!("no layout `{name}`"),
    }
}

const SUNXI: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["arm"]
root = "initramfs"
rules = ["sunxi", "u-boot", "grow"]
minimum-medium = "512 MiB"
table = { kind = "mbr" }

[[environment]]
name = "environment"
offset = "960 KiB"
size = "64 KiB"

[[blob]]
name = "u-boot"
files = ["spl.bin"]
offset = "8 KiB"
limit = "900 KiB"
magic = { at = 4, text = "eGON.BT0" }

[[artifact]]
name = "boot.cmd"
format = "text"
rules = "uboot-script"
template = '''
setenv bootargs "console=ttyS0"
load mmc 0:1 ${fdt_addr_r} board.dtb
'''

[[artifact]]
name = "boot.scr"
format = "uboot-script"
from = "boot.cmd"

[[partition]]
name = "boot"
start = "1 MiB"
size = "64 MiB"
filesystem = "fat32"
label = "boot"
file = [{ artifact = "boot.scr" }, { image = "board.dtb" }]

[[partition]]
name = "persist"
start = "66 MiB"
size = "rest"
minimum = "64 MiB"
filesystem = "ext4"
label = "persist"
file = []
"#;

const SUNXI_GPT: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["arm"]
root = "initramfs"
rules = ["sunxi", "grow"]
table = { kind = "gpt", entries = 56 }

[[blob]]
name = "u-boot"
files = ["spl.bin"]
offset = "8 KiB"
magic = { at = 4, text = "eGON.BT0" }

[[partition]]
name = "persist"
size = "rest"
minimum = "64 MiB"
filesystem = "ext4"
label = "persist"
"#;

const ROCKCHIP: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["arm64"]
soc = "RK3399"
root = "initramfs"
rules = ["rockchip"]
table = { kind = "gpt" }

[[blob]]
name = "idbloader"
files = ["idbloader.img"]
offset = "64 sectors"
magic = { hex = "3b8cdcfc" }

[[blob]]
name = "u-boot"
files = ["u-boot.itb"]
offset = "16384 sectors"
magic = { hex = "d00dfeed" }

[[artifact]]
name = "cmdline.txt"
format = "text"
rules = "cmdline"
template = "console=tty1 console=ttyS2,1500000 earlycon=uart8250,mmio32,0xff1a0000"

[[partition]]
name = "persist"
start = "16 MiB"
size = "rest"
minimum = "64 MiB"
filesystem = "ext4"
label = "persist"
"#;

const AMLOGIC: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["arm64"]
root = "initramfs"
rules = ["amlogic"]
table = { kind = "mbr" }

[[blob]]
name = "u-boot"
files = ["u-boot.bin.sd.bin"]
offset = "0"
limit = "1 MiB"
skip = [["440", "512"]]

[[artifact]]
name = "cmdline.txt"
format = "text"
rules = "cmdline"
template = "console=ttyAML0,115200n8"

[[partition]]
name = "persist"
size = "rest"
minimum = "64 MiB"
filesystem = "ext4"
label = "persist"
"#;

const EXYNOS: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["arm"]
root = "initramfs"
rules = ["exynos"]
table = { kind = "mbr" }

[[blob]]
name = "bl1"
files = ["bl1.bin"]
offset = "1 sectors"
length = "30 sectors"

[[blob]]
name = "bl2"
files = ["bl2.bin"]
offset = "31 sectors"
limit = "32 sectors"

[[blob]]
name = "u-boot"
files = ["u-boot.bin"]
offset = "63 sectors"
limit = "1 MiB"

[[blob]]
name = "tzsw"
files = ["tzsw.bin"]
offset = "2111 sectors"
limit = "512 sectors"

[[partition]]
name = "persist"
start = "4 MiB"
size = "rest"
minimum = "64 MiB"
filesystem = "ext4"
label = "persist"
"#;

const IMX: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["arm"]
root = "initramfs"
rules = ["imx"]
table = { kind = "mbr" }

[[blob]]
name = "spl"
files = ["SPL"]
offset = "1 KiB"
limit = "68 KiB"
magic = { hex = "d1002040" }

[[blob]]
name = "u-boot"
files = ["u-boot.img"]
offset = "69 KiB"
magic = { hex = "27051956" }

[[partition]]
name = "persist"
size = "rest"
minimum = "64 MiB"
filesystem = "ext4"
label = "persist"
"#;

/// A GPT with the loader elsewhere, as for a board with eMMC boot partitions.
const IMX_GPT: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["arm"]
root = "initramfs"
rules = ["imx"]
table = { kind = "mbr" }

[[blob]]
name = "u-boot"
files = ["u-boot.imx"]
offset = "1 KiB"
magic = { hex = "d1002040" }

[[partition]]
name = "persist"
size = "rest"
minimum = "64 MiB"
filesystem = "ext4"
label = "persist"
"#;

const OMAP: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["arm"]
soc = "AM5728"
root = "initrd-then-squashfs"
rules = ["omap", "u-boot"]
table = { kind = "mbr" }

[[artifact]]
name = "rootfs.squashfs"
format = "squashfs"
subtree = "/"

[[artifact]]
name = "extlinux.conf"
format = "text"
rules = "extlinux"
template = '''
default a
label a
  kernel /zImage
  append console=ttyS2,115200n8
'''

[[partition]]
name = "boot"
size = "64 MiB"
active = true
filesystem = "fat32"
label = "boot"
file = [
    { image = "MLO" },
    { image = "u-boot.img" },
    { image = "zImage" },
    { artifact = "rootfs.squashfs" },
    { artifact = "extlinux.conf", to = "/extlinux/extlinux.conf" },
]

[[partition]]
name = "persist"
size = "rest"
minimum = "64 MiB"
filesystem = "ext4"
label = "persist"
file = [{ directory = "/boot" }]
"#;

const PI_MASK_ROM: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["arm"]
root = "initramfs"
rules = ["pi-mask-rom"]
table = { kind = "mbr" }

[[artifact]]
name = "config.txt"
format = "text"
rules = "pi-config"
template = '''
kernel=zImage
[pi2]
arm_freq=900
'''

[[artifact]]
name = "cmdline.txt"
format = "text"
rules = "cmdline"
template = "console=tty1 console=ttyAMA0,115200"

[[partition]]
name = "boot"
size = "64 MiB"
filesystem = "fat32"
label = "BOOT"
file = [
    { image = "bootcode.bin" },
    { image = "start.elf" },
    { image = "fixup.dat" },
    { image = "zImage" },
    { artifact = "config.txt" },
    { artifact = "cmdline.txt" },
]
"#;

const PI_EEPROM: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["arm64"]
root = "initramfs"
rules = ["pi-eeprom", "pi-bcm2711"]
table = { kind = "gpt" }

[[artifact]]
name = "config.txt"
format = "text"
rules = "pi-config"
template = '''
kernel=Image
'''

[[artifact]]
name = "cmdline.txt"
format = "text"
rules = "cmdline"
template = "console=tty1 console=serial0,115200"

[[partition]]
name = "boot"
size = "64 MiB"
type = "basic-data"
filesystem = "fat32"
label = "BOOT"
file = [
    { image = "start4.elf" },
    { image = "fixup4.dat" },
    { image = "Image" },
    { artifact = "config.txt" },
]
"#;

const EFI: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["x86_64", "arm64"]
root = "initramfs"
rules = ["efi"]

[[artifact]]
name = "skiff.conf"
format = "text"
rules = "loader-entry"
template = '''
title a
linux /kernel
options console=ttyS0
'''

[table]
kind = "gpt"

[[partition]]
type = "esp"
name = "boot"
size = "64 MiB"
filesystem = "fat32"
label = "EFI"
file = [
    { image = "kernel" },
    { arch = "x86_64", image = "bootx64.efi", to = "/EFI/BOOT/bootx64.efi" },
    { arch = "arm64", image = "bootaa64.efi", to = "/EFI/BOOT/bootaa64.efi", optional = true },
    { artifact = "skiff.conf", to = "/loader/entries/skiff.conf" },
]
"#;

const REFIND: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["x86_64"]
root = "squashfs-on-ext4"
rules = ["refind"]
table = { kind = "gpt" }

[[artifact]]
name = "root.squashfs"
format = "squashfs"
subtree = "/"

[[artifact]]
name = "refind_linux.conf"
format = "text"
rules = "plain"
template = '''
"Boot" "root=PARTUUID=@{partuuid.SKIFFOS} skiffos.squashfs=/boot/init-skiffos-%v.squashfs init=/boot/skiff-init/skiff-init-squashfs"
'''

[[partition]]
name = "SKIFFOS"
size = "rest"
minimum = "64 MiB"
filesystem = "ext4"
label = "SKIFFOS"
file = [
    { image = "bzImage", to = "/boot/bzImage-skiffos-@{version}-1" },
    { artifact = "root.squashfs", to = "/boot/init-skiffos-@{version}-1.squashfs" },
    { tree = "skiff-init", to = "/boot/skiff-init" },
    { artifact = "refind_linux.conf", to = "/boot/refind_linux.conf" },
]
"#;

const GRUB_BIOS: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["x86_64"]
root = "initramfs"
rules = ["grub-bios"]
table = { kind = "mbr" }

[[blob]]
name = "grub-boot"
files = ["boot.img"]
offset = "0"
length = "440"

[[blob]]
name = "grub-core"
files = ["core.img"]
offset = "1 sectors"
limit = "512 KiB"

[[partition]]
name = "boot"
size = "64 MiB"
active = true
filesystem = "fat32"
label = "boot"
"#;

const TEGRA: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["arm64"]
root = "initramfs"
rules = ["tegra"]
table = { kind = "gpt" }

[[partition]]
name = "TBC"
number = 2
size = "1 MiB"
filesystem = "raw"
image = "tbc"

[[partition]]
name = "LNX"
number = 3
size = "1 MiB"
filesystem = "raw"
image = "lnx"

[[partition]]
name = "APP"
number = 1
size = "rest"
minimum = "64 MiB"
filesystem = "ext4"
label = "persist"
"#;

const JH7110: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["riscv64"]
root = "initramfs"
rules = ["jh7110", "grow"]
table = { kind = "gpt" }

[[partition]]
name = "spl"
size = "1 MiB"
type = "2e54b353-1271-4842-806f-e436d6af6985"
filesystem = "raw"
image = "spl"

[[partition]]
name = "u-boot"
size = "4 MiB"
filesystem = "raw"
image = "itb"

[[partition]]
name = "persist"
size = "rest"
minimum = "64 MiB"
filesystem = "ext4"
label = "persist"
"#;

const FAT_ROOT: &str = r#"
description = "layout"
status = "boots nothing"
arch = ["arm"]
root = "squashfs-on-fat"
table = { kind = "mbr" }

[[artifact]]
name = "rootfs.squashfs"
format = "squashfs"
subtree = "/"

[[artifact]]
name = "cmdline.txt"
format = "text"
rules = "cmdline"
template = "root=/dev/mmcblk0p1 rw init=/skiff-init/skiff-init-squashfs"

[[partition]]
name = "boot"
size = "64 MiB"
filesystem = "fat32"
label = "boot"
file = [
    { artifact = "rootfs.squashfs" },
    { artifact = "cmdline.txt" },
    { tree = "skiff-init", to = "/skiff-init" },
]
"#;

pub const CASES: &[Case] = cases! {
    "sunxi" {
        "generic/fat-clusters": "64 MiB\"\nfilesystem" => "16 MiB\"\nfilesystem",
            "partition `boot` of 16 MiB has 32232 clusters but FAT32 needs 65525";
        "generic/environment": "960 KiB" => "1 MiB",
            "`environment` is saved at 1 MiB (64 KiB), inside partition `boot` (1 MiB to 65 MiB)";
        "generic/environment": "960 KiB" => "16 KiB",
            "`environment` is saved at 16 KiB (64 KiB), inside blob `u-boot` (8 KiB to 908 KiB)";
        "generic/environment": "offset = \"960 KiB\"" => "offset = \"0\"",
            "`environment` is saved at 0 bytes (64 KiB), inside the partition table (440 bytes to 512 bytes)";
        "generic/disk-signature": "offset = \"8 KiB\"" => "offset = \"0\"\nlength = \"442\"",
            "blob `u-boot` writes byte 440 but bytes 440 to 443 must stay";
        "generic/partition-entries": "offset = \"8 KiB\"" => "offset = \"0\"",
            "blob `u-boot` writes byte 444 but bytes 444 to 511 must stay";
        "generic/blobs-apart": "limit = \"900 KiB\"" => "limit = \"2 MiB\"",
            "blob `u-boot` reaches to 2056 KiB but partition `boot` has the bytes from 1 MiB on";
        "generic/blobs-aligned": "offset = \"8 KiB\"" => "offset = \"8193\"",
            "blob `u-boot` starts at byte 8193, which is not a multiple of 512";
        "generic/minimum-medium": "512 MiB" => "100 MiB",
            "`minimum-medium` is 100 MiB but the layout needs 130 MiB";
        "generic/device-tree": "{ image = \"board.dtb\" }" => "{ image = \"other.dtb\" }",
            "`boot.cmd` names `board.dtb`, which is on no filesystem";
        "sunxi/spl": "8 KiB" => "9 KiB",
            "blob `u-boot` starts at 9 KiB but must start at 8 KiB, since the board names no SoC";
        "sunxi/spl": "magic = { at = 4, text = \"eGON.BT0\" }\n" => "",
            "blob `u-boot` at 8 KiB has no `magic`, by which the rule knows it";
        "sunxi/sectors": "kind = \"mbr\"" => "kind = \"mbr\", sector-size = 4096",
            "the medium has sectors of 4096 bytes but must have 512";
        "u-boot/boot-partition": "label = \"persist\"\nfile = []" =>
            "label = \"persist\"\nactive = true",
            "`/boot.scr` is on partition `boot` but `persist` is looked at";
        "grow/persist": "label = \"persist\"" => "label = \"persist\"\ntype = 0x82",
            "partition `persist` has type 0x82 but must have 0x83";
        "sunxi/console": "console=ttyS0" => "console=ttyS1,115200",
            "`boot.cmd` has `console=ttyS1,115200` but the boot loader's console is `ttyS0`";
    }
    "sunxi-gpt" {
        "sunxi/gpt-entries": ", entries = 56" => "",
            "blob `u-boot` has the bytes from 8 KiB on but a GPT with 128 entries ends at 17 KiB";
    }
    "rockchip" {
        "rockchip/idbloader": "offset = \"64 sectors\"" => "offset = \"16 sectors\"",
            "blob `idbloader` starts at 8 KiB but must start at 32 KiB";
        "rockchip/u-boot": "offset = \"16384 sectors\"" => "offset = \"8 KiB\"",
            "blob `u-boot` starts at 8 KiB but must start at 8 MiB";
        "rockchip/gpt-entries": "kind = \"gpt\"" => "kind = \"gpt\", entries = 256",
            "blob `idbloader` has the bytes from 32 KiB on but a GPT with 256 entries ends at 33 KiB";
        "rockchip/sectors": "kind = \"gpt\"" => "kind = \"gpt\", sector-size = 4096",
            "the medium has sectors of 4096 bytes but must have 512";
        "rockchip/console": "ttyS2,1500000" => "ttyS2,115200n8",
            "`cmdline.txt` has `console=ttyS2,115200n8` but the boot loader's console is at 1500000 baud";
        "rockchip/console": "0xff1a0000" => "0xff130000",
            "`cmdline.txt` has `earlycon=uart8250,mmio32,0xff130000` but the boot loader's console is at 0xff1a0000";
    }
    "amlogic" {
        "amlogic/mbr-bytes": "skip = [[\"440\", \"512\"]]" => "skip = [[\"442\", \"512\"]]",
            "blob `u-boot` writes byte 440 but bytes 440 to 511 must stay";
        "amlogic/sector-1": "limit = \"1 MiB\"" => "limit = \"512\"",
            "none of the 1 blobs writes byte 512";
        "amlogic/table": "kind = \"mbr\"" => "kind = \"gpt\"", "the table is a GPT but must be an MBR";
        "amlogic/sectors": "kind = \"mbr\"" => "kind = \"mbr\", sector-size = 4096",
            "the medium has sectors of 4096 bytes but must have 512";
        "amlogic/console": "ttyAML0,115200n8" => "ttyAML0,1500000",
            "`cmdline.txt` has `console=ttyAML0,1500000` but the boot loader's console is at 115200 baud";
    }
    "exynos" {
        "exynos/bl1": "offset = \"1 sectors\"" => "offset = \"2 sectors\"",
            "blob `bl1` starts at 1 KiB but must start at 512 bytes";
        "exynos/bl1-spill": "length = \"30 sectors\"" => "length = \"15616\"",
            "blob `bl1` ends at 15.8 KiB (16128 bytes) but must end by 15.5 KiB (15872 bytes)";
        "exynos/bl2": "offset = \"31 sectors\"" => "offset = \"30 sectors\"",
            "blob `bl2` starts at 15 KiB but must start at 15.5 KiB (15872 bytes)";
        "exynos/u-boot": "offset = \"63 sectors\"" => "offset = \"64 sectors\"",
            "blob `u-boot` starts at 32 KiB but must start at 31.5 KiB (32256 bytes)";
        "exynos/tzsw": "offset = \"2111 sectors\"" => "offset = \"2112 sectors\"",
            "blob `tzsw` starts at 1056 KiB but must start at 1.0 MiB (1080832 bytes)";
        "exynos/table": "kind = \"mbr\"" => "kind = \"gpt\"", "the table is a GPT but must be an MBR";
        "exynos/sectors": "kind = \"mbr\"" => "kind = \"mbr\", sector-size = 4096",
            "the medium has sectors of 4096 bytes but must have 512";
    }
    "imx" {
        "imx/ivt": "offset = \"1 KiB\"" => "offset = \"2 KiB\"",
            "blob `spl` starts at 2 KiB but must start at 1 KiB";
        "imx/u-boot-img": "offset = \"69 KiB\"" => "offset = \"70 KiB\"",
            "blob `u-boot` starts at 70 KiB but must start at 69 KiB";
        "imx/sectors": "kind = \"mbr\"" => "kind = \"mbr\", sector-size = 4096",
            "the medium has sectors of 4096 bytes but must have 512";
    }
    "imx-gpt" {
        "imx/gpt-entries": "kind = \"mbr\"" => "kind = \"gpt\"",
            "blob `u-boot` has the bytes from 1 KiB on but a GPT with 128 entries ends at 17 KiB";
        "imx/ivt": "d1002040" => "27051956",
            "blob `u-boot` at 1 KiB has the magic 27051956 but must be one with the magic d1002040";
    }
    "omap" {
        "omap/active-fat": "active = true\n" => "", "none of the 2 partitions is one that is active";
        "omap/active-format": "filesystem = \"ext4\"" => "filesystem = \"ext4\"\nactive = true",
            "partition `persist` is formatted with `ext4` but must be with `fat16` or `fat32`";
        "omap/mlo": "{ image = \"MLO\" }" => "{ image = \"MLO\", to = \"/boot/MLO\" }",
            "`/MLO` is not on partition `boot`";
        "omap/u-boot-img": "{ image = \"u-boot.img\" }" => "{ image = \"u-boot.bin\" }",
            "`/u-boot.img` is not on partition `boot`";
        "omap/table": "kind = \"mbr\"" => "kind = \"gpt\"", "the table is a GPT but must be an MBR";
        "omap/types": "active = true" => "active = true\ntype = 0xef",
            "the FAT `boot` has type 0xef in the MBR but must have one of 0x01, 0x04, 0x06, 0x0b, 0x0c, 0x0e";
        "generic/extlinux": "kernel /zImage" => "kernel /boot/zImage",
            "`extlinux.conf` names `/boot/zImage`, which is not on partition `boot`";
        "generic/root-behind-initrd": "    { artifact = \"rootfs.squashfs\" },\n" => "",
            "`/*.squashfs` is on no filesystem that is `fat16` or `fat32` or `ext4`";
        "omap/console": "ttyS2,115200n8" => "ttyS0,115200n8",
            "`extlinux.conf` has `console=ttyS0,115200n8` but the boot loader's console is `ttyS2`";
    }
    "pi-mask-rom" {
        "pi-mask-rom/mbr": "kind = \"mbr\"" => "kind = \"gpt\"",
            "the MBR of the GPT does not list the FAT `boot` but must, as one of 0x01, 0x04, 0x06, 0x0b, 0x0c, 0x0e";
        "pi-mask-rom/mbr": "label = \"BOOT\"" => "label = \"BOOT\"\ntype = 0xef",
            "the FAT `boot` has type 0xef in the MBR but must have one of 0x01, 0x04, 0x06, 0x0b, 0x0c, 0x0e";
        "pi-mask-rom/bootcode": "    { image = \"bootcode.bin\" },\n" => "",
            "`/bootcode.bin` is not on partition `boot`";
        "pi-mask-rom/start-file": "{ image = \"start.elf\" }" => "{ image = \"start_x.elf\" }",
            "`config.txt` has no `start_file` and `start.elf` is not on partition `boot`";
        "pi-mask-rom/fixup-file": "{ image = \"fixup.dat\" }" => "{ image = \"fixup_x.dat\" }",
            "`config.txt` has no `fixup_file` and `fixup.dat` is not on partition `boot`";
        "pi-mask-rom/sectors": "kind = \"mbr\"" => "kind = \"mbr\", sector-size = 4096",
            "the medium has sectors of 4096 bytes but must have 512";
        "generic/config-txt": "kernel=zImage" => "kernel=zImage\ninitramfs rootfs.cpio.lz4 followkernel",
            "`config.txt` names `rootfs.cpio.lz4`, which is not on partition `boot`";
        "pi-mask-rom/console": "ttyAMA0,115200" => "ttyS0,115200",
            "`cmdline.txt` has `console=ttyS0,115200` but the boot loader's console is `ttyAMA0`";
    }
    "pi-eeprom" {
        "pi-eeprom/first-fat": "\"fat32\"" => "\"ext4\"", "none of the 1 partitions is one with a FAT";
        "pi-eeprom/config-txt": "{ artifact = \"config.txt\" }" =>
            "{ artifact = \"config.txt\", to = \"/boot/config.txt\" }",
            "`/config.txt` is not on partition `boot`";
        "pi-bcm2711/start-file": "{ image = \"start4.elf\" }" => "{ image = \"start4x.elf\" }",
            "`config.txt` has no `start_file` and `start4.elf` is not on partition `boot`";
        "pi-bcm2711/fixup-file": "{ image = \"fixup4.dat\" }" => "{ image = \"fixup4x.dat\" }",
            "`config.txt` has no `fixup_file` and `fixup4.dat` is not on partition `boot`";
        "pi-eeprom/console": "console=serial0,115200" => "console=ttyAMA10,115200",
            "`cmdline.txt` has `console=ttyAMA10,115200` but the boot loader's console is `ttyAMA0`";
    }
    "efi" {
        "efi/esp": "type = \"esp\"" => "type = \"basic-data\"",
            "none of the 1 partitions is one of type c12a7328-f81f-11d2-ba4b-00a0c93ec93b (in an MBR 0xef)";
        "efi/esp-format": "\"fat32\"" => "\"ext4\"",
            "partition `boot` is formatted with `ext4` but must be with `fat16` or `fat32`";
        "efi/table": "kind = \"gpt\"\n\n[[partition]]\ntype = \"esp\"" => "kind = \"mbr\"\n\n[[partition]]\ntype = 0xef",
            "the table is an MBR but must be a GPT";
        "efi/fallback": "/EFI/BOOT/bootx64.efi" => "/EFI/refind/refind_x64.efi",
            "`/EFI/BOOT/BOOTX64.EFI` is not on partition `boot`";
        "generic/loader-entry": "linux /kernel" => "linux /bzImage",
            "`skiff.conf` names `/bzImage`, which is not on partition `boot`";
    }
    "refind" {
        "refind/version": "bzImage-skiffos-@{version}-1" => "bzImage-skiffos-@{version}",
            "`/boot/bzImage-skiffos-1.0` has the version `1.0` but `/boot/init-skiffos-1.0.squashfs` is not beside it";
        "refind/version": "bzImage-skiffos-@{version}-1" => "bzImage-skiffos",
            "`skiffos.squashfs=/boot/init-skiffos-%v.squashfs` needs a version but `/boot/bzImage-skiffos` has no digit";
        "generic/root-on-ext4": "    { tree = \"skiff-init\", to = \"/boot/skiff-init\" },\n" => "",
            "`/boot/skiff-init/skiff-init-squashfs` is on no filesystem that is `ext4`";
        "generic/init": "init=/boot/skiff-init/" => "init=/skiff-init/",
            "`refind_linux.conf` has `init=/skiff-init/skiff-init-squashfs`, which is on no filesystem";
        "generic/init": " init=/boot/skiff-init/skiff-init-squashfs" => "",
            "a command line in `refind_linux.conf` has no `init=`";
    }
    "grub-bios" {
        "grub-bios/boot-img": "offset = \"0\"" => "offset = \"1 KiB\"",
            "blob `grub-boot` starts at 1 KiB but must start at 0 bytes";
        "grub-bios/boot-img-end": "length = \"440\"\n" => "",
            "blob `grub-boot` has neither `length` nor `limit` but must end by 440 bytes";
        "grub-bios/core-img": "offset = \"1 sectors\"" => "offset = \"2 sectors\"",
            "blob `grub-core` starts at 1 KiB but must start at 512 bytes";
        "grub-bios/table": "kind = \"mbr\"" => "kind = \"gpt\"", "the table is a GPT but must be an MBR";
        "generic/blobs-apart": "limit = \"512 KiB\"" => "limit = \"2 MiB\"",
            "blob `grub-core` reaches to 2.0 MiB (2097664 bytes) but partition `boot` has the bytes from 1 MiB on";
        "grub-bios/sectors": "kind = \"mbr\"" => "kind = \"mbr\", sector-size = 4096",
            "the medium has sectors of 4096 bytes but must have 512";
    }
    "tegra" {
        "tegra/app": "number = 1\nsize = \"rest\"" => "number = 4\nsize = \"rest\"",
            "partition `APP` has number 4 but must have 1";
        "tegra/table": "kind = \"gpt\"" => "kind = \"mbr\"", "the table is an MBR but must be a GPT";
        "tegra/tbc": "name = \"TBC\"" => "name = \"tbc\"", "none of the 3 partitions is one named `TBC`";
        "tegra/lnx": "name = \"LNX\"" => "name = \"boot\"", "none of the 3 partitions is one named `LNX`";
    }
    "jh7110" {
        "jh7110/spl-type": "type = \"2e54b353-1271-4842-806f-e436d6af6985\"\n" => "",
            "partition `spl` has type 0fc63daf-8483-4772-8e79-3d69d8477de4 but must have 2e54b353-1271-4842-806f-e436d6af6985";
        "jh7110/u-boot-number": "name = \"u-boot\"" => "name = \"u-boot\"\nnumber = 4",
            "partition `u-boot` has number 4 but must have 2";
        "grow/first-start": "name = \"u-boot\"" => "name = \"u-boot\"\nnumber = 4",
            "partition `persist` has number 3 and the highest is 4";
        "grow/persist": "label = \"persist\"" => "label = \"persist\"\ntype = \"basic-data\"",
            "partition `persist` has type ebd0a0a2-b9e5-4433-87c0-68b6b72699c7 but must have 0fc63daf-8483-4772-8e79-3d69d8477de4";
    }
    "fat-root" {
        "generic/root-on-fat": "    { artifact = \"rootfs.squashfs\" },\n" => "",
            "`/*.squashfs` is on no filesystem that is `fat16` or `fat32`";
    }
};
