//! What descriptors claim to be proven is proven by a test, and what tests prove is claimed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use skiff_image::board::{Board, BoardError, DescriptorSource, NoFamilies, Proof, Registry};

use crate::harness::golden;

/// What boots: board, machine, and the test that boots it.
const BOOTS: &[(&str, &str, &str, &str)] = &[
    (
        "apple/intel",
        "q35 UEFI rEFInd",
        "boot/qemu/x86.rs",
        "mac_boots_from_a_partition_beside_macos_and_not_under_another_version",
    ),
    (
        "bananapi/m2ultra",
        "bpim2u",
        "boot/qemu/arm.rs",
        "bananapi_m2ultra_boots_through_its_spl_and_not_with_the_spl_moved",
    ),
    (
        "intel/desktop",
        "q35 UEFI GRUB rEFInd",
        "boot/qemu/x86.rs",
        "desktop_boots_through_grub_and_refind_and_not_without_its_squashfs_or_its_partition",
    ),
    (
        "intel/x64",
        "q35 UEFI GRUB",
        "boot/qemu/x86.rs",
        "x64_boots_through_uefi_and_grub_and_not_without_its_modules",
    ),
    (
        "orangepi/zero",
        "orangepi-pc",
        "boot/qemu/arm.rs",
        "orangepi_zero_boots_through_its_spl_and_not_with_the_spl_moved",
    ),
    (
        "pcengines/apu2",
        "q35 SeaBIOS GRUB",
        "boot/qemu/x86.rs",
        "apu2_boots_through_grub_behind_the_mbr_and_not_with_its_core_moved",
    ),
    ("pi/2", "raspi2b", "boot/qemu/arm.rs", "pi_2_boots_what_its_firmware_finds_on_the_card"),
    ("pi/3x64", "raspi3b", "boot/qemu/arm.rs", "pi_3_boots_what_its_firmware_finds_on_the_card"),
    ("pi/4", "raspi4b", "boot/qemu/arm.rs", "pi_4_boots_what_its_firmware_finds_on_the_card"),
    ("virt/qemu", "q35 UEFI", "boot/qemu/virt.rs", "virt_x86_64_boots_through_uefi"),
    (
        "virt/qemu",
        "arm64 U-Boot extlinux",
        "boot/qemu/virt.rs",
        "virt_arm64_boots_through_u_boot_and_extlinux",
    ),
    (
        "virt/qemu",
        "arm64 U-Boot boot.scr",
        "boot/qemu/virt.rs",
        "virt_arm64_boots_through_u_boot_and_boot_scr",
    ),
    ("virt/qemu", "arm64 UEFI GRUB", "boot/qemu/virt.rs", "virt_arm64_boots_through_uefi_and_grub"),
    ("virt/qemu", "arm U-Boot", "boot/qemu/virt.rs", "virt_arm_boots_through_u_boot_and_extlinux"),
    (
        "virt/qemu",
        "riscv64 OpenSBI U-Boot",
        "boot/qemu/virt.rs",
        "virt_riscv64_boots_through_opensbi_u_boot_and_extlinux",
    ),
];

/// Around the table of boards in the README.
const MARKS: [&str; 2] = ["<!-- boards list --markdown -->\n", "<!-- end of boards -->"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Board and what it is proven by, of all claims that `pick` takes.
fn claims(pick: impl Fn(&Proof) -> Option<&str>) -> BTreeSet<(String, String)> {
    let registry = Registry::built_in();
    let board = |name: &str| registry.board(name).unwrap_or_else(|error| panic!("{error}"));
    let of = |board: Board| {
        let by: Vec<String> = board.proof.iter().filter_map(&pick).map(String::from).collect();
        by.into_iter().map(move |by| (board.name.clone(), by))
    };
    registry.names().map(board).flat_map(of).collect()
}

#[track_caller]
fn expect_same(claimed: &BTreeSet<(String, String)>, proven: &BTreeSet<(String, String)>) {
    let untrue: Vec<_> = claimed.difference(proven).collect();
    assert!(untrue.is_empty(), "claimed, but no test proves it: {untrue:?}");
    let unclaimed: Vec<_> = proven.difference(claimed).collect();
    assert!(unclaimed.is_empty(), "a test proves it, but the descriptor does not say so: {unclaimed:?}");
}

/// `tests/boot/every_board.rs` takes every board there is.
#[test]
fn every_board_claims_its_layout() {
    let claimed = claims(|proof| matches!(proof, Proof::Layout).then_some("L1"));
    let all = Registry::built_in().names().map(|name| (name.into(), "L1".into())).collect();
    expect_same(&claimed, &all);
}

/// `tests/boot/boot_loaders.rs` takes every line of the fixture's table.
#[test]
fn boot_loaders_are_claimed_where_the_fixture_has_them() {
    let list = Command::new(root().join("fixtures/debian-blobs")).arg("--list").output();
    let list = String::from_utf8(list.expect("fixtures/debian-blobs runs").stdout).expect("it prints text");
    let line = |line: &str| {
        let mut words = line.split(' ').map(String::from);
        (words.next().expect("a board"), words.next().expect("a package"))
    };
    let claimed = claims(|proof| matches!(proof, Proof::BootLoader(_)).then(|| proof.by()).flatten());
    expect_same(&claimed, &list.lines().map(line).collect());
}

#[test]
fn boots_are_claimed_where_a_test_boots() {
    for (board, _, file, test) in BOOTS {
        let text = fs::read_to_string(root().join("tests").join(file)).expect("a file of tests");
        assert!(
            text.contains(&format!("#[test]\nfn {test}()")),
            "{board}: tests/{file} has no test `{test}`"
        );
    }
    let claimed = claims(|proof| matches!(proof, Proof::Boot(_)).then(|| proof.by()).flatten());
    let proven = BOOTS.iter().map(|(board, machine, ..)| (String::from(*board), String::from(*machine)));
    expect_same(&claimed, &proven.collect());
}

#[test]
fn the_readme_has_the_table_of_boards() {
    let list =
        Command::new(env!("CARGO_BIN_EXE_skiff-image")).args(["boards", "list", "--markdown"]).output();
    let table = String::from_utf8(list.expect("the program starts").stdout).expect("it prints text");
    let path = root().join("README.md");
    let text = fs::read_to_string(&path).expect("the README");
    let (before, rest) = text.split_once(MARKS[0]).expect("the README marks where the table begins");
    let (found, after) = rest.split_once(MARKS[1]).expect("the README marks where the table ends");
    if golden::updating() {
        let text = [before, MARKS[0], &table, MARKS[1], after].concat();
        return fs::write(path, text).expect("the README can be written");
    }
    assert!(found == table, "the README's table of boards is stale: run with UPDATE_GOLDEN=1");
}

#[test]
fn a_claim_that_is_no_level_is_refused_where_it_stands() {
    let text = "description = \"x\"\nstatus = \"x\"\nproof = [\"L1\", \"L5:dreams\"]\n";
    let error = Board::parse("a/b", DescriptorSource { file: "b.toml", text }, &NoFamilies)
        .expect_err("a wrong claim");
    assert!(matches!(error, BoardError::Toml { .. }));
    assert_eq!(
        error.to_string(),
        "`b.toml:3:9`: `L5:dreams` is no level of proof: use `L1`, `L2:PACKAGE` or `L3:MACHINE`"
    );
}
