//! What the shipped descriptors say, compared with what boot loaders, boot ROMs and SkiffOS expect of them, without
//! an image: boot texts name what is placed and use what is set, loaders lie where the boot ROM looks.

use std::collections::BTreeSet;

use crate::harness::loopdev::LoopDevice;
use crate::harness::project::{Project, expect_failure, json, succeed};
use skiff_image::board::{
    Artifact, Blob, BlobSource, Board, ContentSource, FilePlacement, Recipe, Registry, TextRules,
};
use skiff_image::value::Arch;

const SECTOR: u64 = 512;

/// Variables that U-Boot itself has set when it starts a script: addresses of the board's default environment, where
/// the script was found (distro boot and standard boot), what was loaded last, on which card the SPL was, and what the
/// boot loader before it wants the kernel to know.
const UBOOT_SETS: [&str; 11] = [
    "kernel_addr_r",
    "fdt_addr_r",
    "ramdisk_addr_r",
    "fdt_addr",
    "fdtcontroladdr",
    "devtype",
    "devnum",
    "distro_bootpart",
    "filesize",
    "mmc_bootdev",
    "cbootargs",
];

fn board(name: &str) -> Board {
    Registry::built_in().board(name).unwrap_or_else(|error| panic!("{error}"))
}

/// Every board with each of its architectures.
fn each_board(mut check: impl FnMut(&Board, Arch)) {
    let registry = Registry::built_in();
    for name in registry.names() {
        let board = registry.board(name).unwrap_or_else(|error| panic!("{error}"));
        board.arch.iter().for_each(|arch| check(&board, *arch));
    }
}

/// A text with the words of the board in it; ids are made up.
fn filled(board: &Board, arch: Arch, text: &str) -> String {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("@{") {
        let (name, behind) = after.split_once('}').expect("a word ends");
        let value = board.vars_for(arch).remove(name).unwrap_or_else(|| format!("<{name}>"));
        // A word may be made of words.
        filled += &format!("{before}{}", self::filled(board, arch, &value));
        rest = behind;
    }
    filled + rest
}

/// The boot texts of one kind, by name.
fn texts(board: &Board, arch: Arch, wanted: TextRules) -> Vec<(String, String)> {
    let text = |artifact: &Artifact| match &artifact.recipe {
        Recipe::Text { rules, template, .. } if *rules == wanted && artifact.arch.covers(arch) => {
            Some((format!("{} of {}", artifact.name, board.name), filled(board, arch, template)))
        }
        _ => None,
    };
    board.artifacts.iter().filter_map(text).collect()
}

/// Paths of the files on the first partition, where boot loaders look; `*` in them stands for itself.
fn placed(board: &Board, arch: Arch) -> BTreeSet<String> {
    let path = |place: &FilePlacement| {
        let to = filled(board, arch, &place.to);
        match &place.from {
            ContentSource::Images(names) if names[0].contains('*') => format!("{to}/{}", names[0]),
            ContentSource::Images(names) if filled(board, arch, &names[0]).contains('*') => {
                filled(board, arch, &names[0])
            }
            _ => to,
        }
    };
    let places = board.partitions[0].files.iter().filter(|place| place.arch.covers(arch));
    places.map(|place| path(place).trim_matches('/').to_owned()).collect()
}

/// Whether a file of this path is placed.
fn is_placed(placed: &BTreeSet<String>, path: &str) -> bool {
    let path = path.trim_matches('/');
    placed.iter().any(|place| match place.split_once('*') {
        Some((before, after)) => path.starts_with(before) && path.ends_with(after),
        None => place == path,
    })
}

/// Statements of a script, with what conditions stand before them cut off.
fn statements(script: &str) -> impl Iterator<Item = &str> {
    let parts = script.lines().flat_map(|line| line.split(';')).map(str::trim);
    parts.map(|part| {
        ["then ", "if ", "do ", "else "]
            .iter()
            .fold(part, |part, word| part.strip_prefix(word).unwrap_or(part).trim())
    })
}

/// Variables that a script uses where they may be unset: not in a `test`, and not set in a line before.
fn unset(script: &str) -> BTreeSet<String> {
    let mut set: BTreeSet<String> = UBOOT_SETS.iter().map(|name| (*name).to_owned()).collect();
    let mut unset = BTreeSet::new();
    for statement in statements(script) {
        let words: Vec<&str> = statement.split_whitespace().collect();
        let used = statement.split("${").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
        if words.first() != Some(&"test") {
            unset.extend(used.filter(|name| !set.contains(*name)).map(str::to_owned));
        }
        if let ["setenv", name, ..] | ["for", name, "in", ..] = words[..] {
            set.insert(name.into());
        }
    }
    unset
}

/// The values a variable of a script may have, with the text that uses it.
fn values<'s>(script: &'s str, word: &'s str) -> Vec<&'s str> {
    let Some(name) = word.strip_prefix("${").and_then(|word| word.strip_suffix('}')) else {
        return vec![word];
    };
    statements(script)
        .filter_map(|statement| statement.strip_prefix("setenv ")?.strip_prefix(name))
        .map(str::trim)
        .collect()
}

#[test]
fn scripts_load_what_is_placed_and_use_what_is_set() {
    let mut scripts = 0;
    each_board(|board, arch| {
        let placed = placed(board, arch);
        for (name, script) in texts(board, arch, TextRules::UbootScript) {
            scripts += 1;
            assert_eq!(unset(&script), BTreeSet::new(), "{name}");
            for statement in statements(&script) {
                let ["load" | "fatload", _, _, _, path] =
                    statement.split_whitespace().collect::<Vec<_>>()[..]
                else {
                    continue;
                };
                let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
                // Overlays are chosen by a list that people edit, and a missing one is told and left out.
                for file in values(&script, file).iter().filter(|file| !file.contains("${overlay}")) {
                    assert!(
                        is_placed(&placed, &format!("{directory}/{file}")),
                        "{name}: {statement}: {placed:?}"
                    );
                }
            }
        }
    });
    assert!(scripts > 20, "{scripts} scripts");
}

/// SkiffOS' script of the Orange Pis names a variable that no U-Boot sets.
#[test]
fn a_variable_that_nothing_sets_is_found() {
    let script = "setenv ramdisk 0x44000000\nload mmc 0 ${fdt_addr_r} a.dtb\nbootz ${kernel_addr_r} ${ramdisk} ${dtb_addr_r}\n";
    assert_eq!(unset(script), BTreeSet::from(["dtb_addr_r".to_owned()]));
    assert_eq!(
        unset("if test -z \"${devnum}\"; then setenv devnum 0; fi\nmmc dev ${devnum}\n"),
        BTreeSet::new()
    );
    let two = "setenv dtb a.dtb\nif test \"${x}\" = \"1\"; then setenv dtb b.dtb; fi\nload mmc 0 1 ${dtb}\n";
    assert_eq!(values(two, "${dtb}"), ["a.dtb", "b.dtb"]);
}

#[test]
fn extlinux_names_what_is_placed_and_uses_what_is_set() {
    each_board(|board, arch| {
        let placed = placed(board, arch);
        for (name, text) in texts(board, arch, TextRules::Extlinux) {
            assert_eq!(unset(&text), BTreeSet::new(), "{name}");
            for line in text.lines().map(str::trim) {
                let (key, path) = line.split_once(' ').unwrap_or((line, ""));
                match key.to_ascii_lowercase().as_str() {
                    "kernel" | "fdt" | "initrd" => {
                        assert!(is_placed(&placed, path), "{name}: {line}: {placed:?}");
                    }
                    "fdtdir" => {
                        let below = |other: &&String| other.starts_with(path.trim_matches('/'));
                        assert!(
                            placed.iter().filter(below).any(|path| path.ends_with(".dtb")),
                            "{name}: {line}"
                        );
                    }
                    _ => {}
                }
            }
        }
    });
}

/// First byte and first candidate of each blob.
fn blobs(name: &str) -> Vec<(u64, String)> {
    let blob = |blob: &Blob| match &blob.source {
        BlobSource::Images(files) => (blob.offset.0, files[0].clone()),
        BlobSource::Artifact(artifact) => (blob.offset.0, artifact.clone()),
    };
    board(name).blobs.iter().map(blob).collect()
}

#[track_caller]
fn expect_blobs(name: &str, expected: &[(u64, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(offset, file)| (*offset, (*file).to_owned())).collect();
    assert_eq!(blobs(name), expected, "{name}");
}

#[test]
fn loaders_lie_where_the_boot_rom_looks() {
    let all = ["m1", "m1plus", "m2", "m2plus", "m2ultra", "m3"].map(|name| format!("bananapi/{name}"));
    let more = ["orangepi/lite", "orangepi/zero", "pcduino/3", "pine64/h64", "pine64/phone"];
    let riscv = ["allwinner/nezha", "allwinner/licheerv"];
    for name in all.iter().map(String::as_str).chain(more).chain(riscv) {
        expect_blobs(name, &[(8 << 10, "u-boot-sunxi-with-spl.bin")]);
    }
    expect_blobs(
        "pine64/book_a64",
        &[(8 << 10, "pinebook-a64-uboot/sunxi-spl.bin"), (40 << 10, "pinebook-a64-uboot/u-boot.itb")],
    );
    // SkiffOS writes an Allwinner loader for the first, and no first stage for the last.
    for name in ["pine64/book", "pine64/rockpro64"] {
        let [first, second] =
            ["idbloader.img", "u-boot.itb"].map(|file| format!("rk3399-firmware-blobs/{file}"));
        expect_blobs(name, &[(64 * SECTOR, &first), (16_384 * SECTOR, &second)]);
    }
    expect_blobs("pine64/rock64", &[(64 * SECTOR, "idbloader.img"), (16_384 * SECTOR, "u-boot.itb")]);
    expect_blobs("usbarmory/mk2", &[(1 << 10, "u-boot.imx")]);
    expect_blobs("freescale/wandboard", &[(1 << 10, "SPL"), (69 << 10, "u-boot-dtb.img")]);
    expect_blobs(
        "odroid/u",
        &[
            (SECTOR, "hk_sd_fuse/bl1.HardKernel"),
            (31 * SECTOR, "hk_sd_fuse/bl2.HardKernel"),
            (63 * SECTOR, "u-boot-dtb.bin"),
            (2111 * SECTOR, "hk_sd_fuse/tzsw.HardKernel"),
        ],
    );
    let [bl1, signed] = ["odroidc2-uboot-blobs/bl1.bin.hardkernel", "u-boot-signed.bin.sd.bin"];
    expect_blobs("odroid/c2", &[(0, bl1), (97 * SECTOR, signed)]);
    for name in ["c4", "hc4", "n2", "n2l"] {
        expect_blobs(&format!("odroid/{name}"), &[(0, signed)]);
    }
    // Their loaders are in flash, or files of the FAT.
    let without = ["odroid/m1", "pine64/phone_pro", "starfive/visionfive", "starfive/visionfive2"];
    let files = ["beaglebone/black", "beaglebone/ai", "beaglebone/x15", "starfive/visionfive2_12"];
    without.iter().chain(&files).for_each(|name| expect_blobs(name, &[]));
}

/// Bytes of the disk signature and of the partition table stay as planned: ids in boot texts are made of them.
#[test]
fn no_loader_covers_the_disk_signature_or_the_table() {
    each_board(|board, _| {
        for blob in board.blobs.iter().filter(|blob| blob.offset.0 < SECTOR) {
            let skipped = blob.skip.iter().any(|(start, end)| start.0 <= 440 && end.0 >= SECTOR);
            let before = blob.length.or(blob.limit).is_some_and(|len| blob.offset.0 + len.0 <= 440);
            assert!(skipped || before, "blob `{}` of {}", blob.name, board.name);
        }
    });
}

/// U-Boot's `CONFIG_ENV_OFFSET` of these boards; SkiffOS begins the partition of the first two on it.
#[test]
fn no_partition_lies_on_what_uboot_saves() {
    let places: [(&str, u64, u64); 5] = [
        ("odroid/xu", 0x31_0000, 0x4000),
        ("usbarmory/mk2", 0x10_0000, 0x2000),
        ("odroid/u", 0x14_0000, 0x4000),
        ("freescale/wandboard", 0xC_0000, 0x2000),
        ("pine64/rock64", 0x3F_8000, 0x8000),
    ];
    for (name, offset, len) in places {
        let board = board(name);
        assert!(board.partitions[0].start.expect("it is fixed").0 >= offset + len, "{name}");
        for blob in &board.blobs {
            let room = blob.limit.or(blob.length).map_or(0, |len| len.0);
            assert!(blob.offset.0 + room <= offset || blob.offset.0 >= offset + len, "{name}: {}", blob.name);
        }
    }
}

#[test]
fn boards_have_their_own_device_tree_and_boot_loader() {
    let word = |name: &str, word: &str| board(name).vars_for(Arch::Arm).remove(word).expect("a word");
    // SkiffOS loads the device tree of the Zero on both.
    assert_eq!(word("orangepi/lite", "dtb"), "sun8i-h3-orangepi-lite.dtb");
    assert_eq!(word("orangepi/zero", "dtb"), "sun8i-h2-plus-orangepi-zero.dtb");
    // SkiffOS builds the U-Boot of the M1 (A20) for this one (H3).
    assert_eq!(word("bananapi/m2plus", "u-boot"), "bananapi_m2_plus_h3");
    let cmdline = board("pine64/rock64").vars_for(Arch::Arm64).remove("cmdline").expect("a word");
    assert!(cmdline.contains("earlycon=uart8250,mmio32,0xff130000"), "0xff1a0000 is the watchdog: {cmdline}");
}

const NAND: &str = "it boots from NAND flash, which is written over USB in the FEL mode of its boot ROM, and has no card or disk";

/// What every verb says that composes.
fn refused() -> String {
    format!(
        "error: board `chip/r8` cannot be composed for: {NAND}\n\
         hint: write the root filesystem as UBI volumes with sunxi-fel and fastboot, as SkiffOS' `chip/r8` does"
    )
}

#[test]
fn a_device_is_not_written_for_a_board_without_a_medium() {
    let Some(card) = LoopDevice::new("a_device_is_not_written_for_a_board_without_a_medium", 1 << 20, &[])
    else {
        return;
    };
    let device = card.path.to_str().expect("a device has a plain name");
    let flash = ["flash", "--yes", "--board", "chip/r8", "--source", "output", device];
    expect_failure(&mut Project::new().command(&flash), 1, &refused());
}

#[test]
fn boards_without_a_medium_are_refused_with_the_reason() {
    let project = Project::new();
    for verb in [&["plan"][..], &["assemble", "--out", "out/disk.img"]] {
        let inputs = ["--board", "chip/r8", "--source", "output"];
        expect_failure(&mut project.command(&[verb, &inputs].concat()), 1, &refused());
    }
    assert!(project.listing("out").is_empty());
    let (listed, _) = succeed(&mut project.command(&["boards", "list"]));
    assert!(listed.lines().any(|line| line.trim() == format!("refused: {NAND}")), "{listed}");
    let rows = json(&mut project.command(&["boards", "list"]));
    let rows: Vec<&str> = rows
        .as_array()
        .expect("rows")
        .iter()
        .filter(|row| row["refused"].is_string())
        .map(|row| row["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(rows, ["apple/arm", "chip/pocketr8", "chip/r8", "modalai/voxl2"]);
    let (checked, _) = succeed(&mut project.command(&["boards", "check", "chip/r8"]));
    assert_eq!(checked, format!("board chip/r8: ok, refused: {NAND}\n"));
    assert_eq!(json(&mut project.command(&["boards", "show", "modalai/voxl2"]))["arch"][0], "arm64");
}

#[test]
fn a_refused_board_says_no_more_than_why() {
    let project = Project::new();
    let text = "description = \"d\"\nstatus = \"s\"\narch = [\"arm\"]\nrefused = \"it is made of wood\"\nhint = \"paint it\"\n";
    project.write("boards/demo/board.toml", format!("{text}[table]\nkind = \"mbr\"\n"));
    expect_failure(
        &mut project.assemble(&[]),
        1,
        "error: `boards/demo/board.toml:6:2`: unknown field `table`, expected one of `description`, `status`, \
         `arch`, `refused`, `hint`\nhint: boards/README.md documents every key, and `skiff-image boards schema` prints them",
    );
    project.write("boards/demo/board.toml", text.replace("hint", "# hint"));
    expect_failure(
        &mut project.assemble(&[]),
        1,
        "error: `boards/demo/board.toml:1:1`: missing field `hint`\n\
         hint: boards/README.md documents every key, and `skiff-image boards schema` prints them",
    );
}
