//! Rules of boot ROMs and boot loaders: layouts that keep them, and a table of layouts that are known to boot nothing,
//! each made from one of the first by a single change and rejected with the rule that it breaks.

mod layouts;

use std::collections::BTreeSet;

use crate::harness::project;
use crate::harness::project::{Project, expect_failure, expect_no_image, json, succeed};
use crate::harness::tools;
use layouts::{CASES, Case, good};
use skiff_image::board::Severity;
use skiff_image::board::{Board, DescriptorSource, Families, NoFamilies, Registry};
use skiff_image::fs::ext4;
use skiff_image::lint::{Ext4, Finding, PlannedMedium, lint, lint_board};
use skiff_image::stage::TemplateVariables;

fn board(text: &str) -> Board {
    let source = DescriptorSource { file: "boards/test/layout.toml", text };
    Board::parse("test/layout", source, &NoFamilies).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn findings(text: &str) -> Vec<Finding> {
    lint_board(&board(text)).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

impl Case {
    /// The layout with its mistake.
    fn bad(&self) -> String {
        let text = good(self.of);
        assert!(text.contains(self.old), "`{}` of {} is not in\n{text}", self.old, self.rule);
        text.replacen(self.old, self.new, 1)
    }
}

#[test]
fn layouts_without_a_mistake_keep_their_rules() {
    let names: BTreeSet<&str> = CASES.iter().map(|case| case.of).collect();
    for name in names {
        assert_eq!(findings(good(name)), [], "{name}");
    }
}

#[test]
fn known_bad_layouts_are_rejected_with_the_rule_that_they_break() {
    let wrong = |case: &Case| {
        let found = findings(&case.bad());
        let told: Vec<&str> =
            found.iter().filter(|told| told.rule == case.rule).map(|told| told.found.as_str()).collect();
        (told.first() != Some(&case.found)).then_some((case.rule, case.found, found))
    };
    let wrong: Vec<_> = CASES.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A rule that no layout can break would be no rule.
#[test]
fn every_rule_is_broken_by_a_known_bad_layout_and_names_its_source() {
    // These have tests of their own.
    let elsewhere = ["refind/ext4-blocks", "u-boot/ext4-features", "generic/command-line"];
    let broken: BTreeSet<&str> = CASES.iter().map(|case| case.rule).chain(elsewhere).collect();
    let registry = Registry::built_in();
    let mut all = BTreeSet::new();
    for name in registry.rule_set_names() {
        for rule in registry.rule_set(name).unwrap().unwrap().rules {
            let id = format!("{name}/{}", rule.id);
            assert!(broken.contains(id.as_str()), "nothing breaks `{id}`");
            for text in [&rule.says, &rule.source, &rule.hint] {
                assert!(!text.is_empty() && !text.ends_with('.') && text.trim() == text, "{id}: `{text}`");
            }
            assert!(all.insert(id.clone()), "`{id}` is there twice");
        }
    }
    assert_eq!(all.len(), broken.len(), "a case names a rule that is not there");
}

#[test]
fn every_shipped_board_keeps_its_rules() {
    let registry = Registry::built_in();
    for name in registry.names() {
        let board = registry.board(name).unwrap();
        let found = lint_board(&board).unwrap_or_else(|error| panic!("{name}: {error}"));
        let errors: Vec<_> = found.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

/// The layout of a board whose first ext4 is `ext4`.
fn with_ext4(text: &str, ext4: Ext4) -> Vec<Finding> {
    let board = board(text);
    let variables = TemplateVariables::assumed(&board, board.arch[0]).unwrap();
    let board = variables.fill(board).unwrap();
    let mut medium = PlannedMedium::for_board(&board, board.arch[0], &variables, None).unwrap();
    let volume = medium.volumes.iter_mut().find(|volume| volume.ext4.is_some()).expect("an ext4");
    volume.ext4 = Some(ext4);
    lint(&medium)
}

#[test]
fn an_ext4_that_its_reader_cannot_take_is_rejected() {
    let small = Ext4 { block_size: 1024, ..Ext4::ours() };
    let found = with_ext4(good("refind"), small);
    assert_eq!((found[0].rule.as_str(), found.len()), ("refind/ext4-blocks", 1));
    assert_eq!(found[0].found, "the ext4 of partition `SKIFFOS` has blocks of 1024 bytes but must have 4096");
    let mut new = Ext4::ours();
    new.features.extend(["64bit".to_owned(), "orphan_file".to_owned()]);
    let found = with_ext4(good("sunxi"), new);
    assert_eq!((found[0].rule.as_str(), found.len()), ("u-boot/ext4-features", 1));
    assert_eq!(found[0].found, "the ext4 of partition `persist` has `64bit`, `orphan_file`");
}

/// What the rules are told of our ext4 is what `dumpe2fs` sees in one.
#[test]
fn the_features_of_our_ext4_are_what_dumpe2fs_sees() {
    if !tools::oracle("the_features_of_our_ext4_are_what_dumpe2fs_sees", "dumpe2fs") {
        return;
    }
    let project = Project::new();
    project.write("tree/file", "content");
    succeed(&mut project.command(&["mkfs", "ext4", "tree", "out/volume", "--size", "64 MiB"]));
    let output = tools::command("dumpe2fs").arg("-h").arg(project.path("out/volume")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).expect(key).trim();
    // e2fsprogs calls `uninit_bg` so; both names mean the same bit.
    let seen: BTreeSet<&str> = value("Filesystem features:")
        .split_whitespace()
        .map(|name| if name == "gdt_csum" { "uninit_bg" } else { name })
        .collect();
    assert_eq!(seen, BTreeSet::from(ext4::FEATURES));
    assert_eq!(value("Block size:"), ext4::BLOCK_SIZE.to_string());
}

const CHECK: [&str; 5] = ["boards", "check", "--boards", "boards", "demo/board"];

/// What is told of a board whose boot loader is not what the rules of another SoC want.
const NO_SPL: &str = "error: board `demo/board` breaks a rule: blob `loader` at 8 KiB has the magic `DEMO.LDR` but must be one with the magic `eGON.BT0`\n  \
    rule `sunxi/spl`: every boot ROM looks for the SPL at 8 KiB of a card; from the H3 on they look at 128 KiB if there is none, that of the H616 at 256 KiB, and none anywhere else\n  \
    source: U-Boot doc/board/allwinner/sunxi.rst, \"Installing on a (micro-) SD card\"; linux-sunxi mailing list, message 29095 (H2+, A64, H5, H6, not A20); linux-sunxi.org \"Allwinner Nezha\" (D1); U-Boot commit a7766911bc2f (H616)\n\
    hint: give blob `loader` `magic = { at = 4, text = \"eGON.BT0\" }`";

/// A project whose board must keep more rules, and breaks one of them.
fn broken_project() -> Project {
    let project = Project::new();
    project.edit_board("root = \"none\"", "root = \"none\"\nrules = [\"sunxi\"]");
    project
}

#[test]
fn boards_check_tells_rules_and_what_breaks_them() {
    let project = Project::new();
    let (told, stderr) = succeed(&mut project.command(&CHECK));
    assert_eq!((told.as_str(), stderr.as_str()), ("board demo/board: ok, 16 rules of generic\n", ""));
    let by_file = ["boards", "check", "boards/demo/board.toml"];
    assert_eq!(succeed(&mut project.command(&by_file)).0, told);
    let document = json(&mut project.command(&CHECK));
    assert_eq!(document["rules"]["generic"], 16);

    let project = broken_project();
    let (told, stderr, code) = project::run(&mut project.command(&CHECK));
    assert_eq!((told.as_str(), code), ("board demo/board: breaks a rule of generic, sunxi\n", 1));
    assert_eq!(stderr, format!("{NO_SPL}\n"));
    let (document, _, code) = project::run(project.command(&CHECK).arg("--json"));
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!((&document["violations"][0]["rule"], code), (&"sunxi/spl".into(), 1));

    let (told, stderr, code) = project::run(&mut project.command(&["boards", "check", "--boards", "boards"]));
    assert!(
        told.contains(
            "\nboard demo/board: breaks a rule of generic, sunxi\n  sunxi/spl: blob `loader` at 8 KiB"
        ),
        "{told}"
    );
    assert!(told.ends_with(" boards: 1 wrong\n"), "{told}");
    assert!(stderr.starts_with(NO_SPL), "{stderr}");
    assert!(stderr.ends_with("boards are wrong\nhint: what is wrong with each stands above\n"), "{stderr}");
    assert_eq!(code, 1);
}

#[test]
fn several_violations_are_told_together_and_warnings_do_not_refuse() {
    let project = Project::new();
    project.edit_board("offset = \"8 KiB\"", "offset = \"0\"\nlength = \"442\"");
    let (told, stderr) = succeed(&mut project.command(&CHECK));
    assert_eq!(told, "board demo/board: ok, 16 rules of generic\n");
    assert_eq!(
        stderr,
        "warning: board `demo/board`: blob `loader` writes byte 440 but bytes 440 to 443 must stay\n  \
         rule `generic/disk-signature`: bytes 440 to 443 are the disk signature, from which PARTUUID is made; a boot \
         loader there gives all media the same\n  \
         source: UEFI Specification 2.10, table 5.1: UniqueMBRDiskSignature at offset 440, 4 bytes\n  \
         hint: leave the range out of the blob with `skip`\n"
    );
    let (_, stderr) = succeed(&mut project.with_inputs(&["plan"], &[]));
    assert!(
        stderr.contains("warning: blob `loader` writes byte 440 but bytes 440 to 443 must stay\n"),
        "{stderr}"
    );

    let project = broken_project();
    project.edit_board("size = \"40 MiB\"", "size = \"16 MiB\"");
    let (told, stderr, _) = project::run(&mut project.command(&CHECK));
    assert_eq!(told, "board demo/board: breaks rules of generic, sunxi 2 times\n");
    assert!(stderr.starts_with("error: board `demo/board` breaks rules 2 times:\n"), "{stderr}");
    assert!(
        stderr.ends_with(
            "hint: give the partition another size, or format it with the other FAT; give blob `loader` `magic = { at \
             = 4, text = \"eGON.BT0\" }`\n"
        ),
        "{stderr}"
    );
}

/// Nothing that composes gets past the rules, and nothing is written.
#[test]
fn composing_is_refused_where_a_rule_is_broken() {
    let project = broken_project();
    expect_failure(&mut project.with_inputs(&["plan"], &[]), 1, NO_SPL);
    expect_no_image(&project, &[], 1, NO_SPL);
}

/// Only with its contents a layout breaks this: the text of a layer names a device tree that is not placed.
#[test]
fn what_a_layer_names_is_looked_for_among_the_placed_files() {
    let project = Project::new();
    let rules = "rules = \"uboot-script\"";
    project.edit_board(rules, &format!("{rules}\nlayer-files = [\"resources/boot-scripts/boot.txt\"]"));
    project.write(
        "configs/demo/site/resources/boot-scripts/boot.txt",
        "load mmc 0:1 ${fdt_addr_r} other.dtb\nload mmc 0:1 ${fdt_addr_r} ${fdtfile}.dtb\n",
    );
    succeed(&mut project.command(&CHECK));
    let (_, stderr, code) = project::run(&mut project.with_inputs(&["plan"], &[]));
    assert_eq!(code, 1);
    let told =
        "error: board `demo/board` breaks a rule: `boot.cmd` names `other.dtb`, which is on no filesystem\n";
    assert!(stderr.starts_with(told), "{stderr}");
}

/// A raw partition can bring an ext4 that somebody else made.
#[test]
fn the_superblock_of_a_raw_partition_is_looked_at() {
    if !tools::oracle("the_superblock_of_a_raw_partition_is_looked_at", "mke2fs") {
        return;
    }
    let project = Project::new();
    project.edit_board("root = \"none\"", "root = \"none\"\nrules = [\"u-boot\"]");
    let old = "name = \"rootfs\"\nsize = \"fit\"\nslack = \"4 MiB\"\nfilesystem = \"ext4\"\nlabel = \"rootfs\"\n\
               file = [{ artifact = \"modules.squashfs\" }]";
    project.edit_board(
        old,
        "name = \"rootfs\"\nsize = \"16 MiB\"\nfilesystem = \"raw\"\nimage = \"rootfs.ext4\"",
    );
    let make = |features: &str| {
        let mut mke2fs = tools::command("mke2fs");
        mke2fs.args(["-q", "-F", "-t", "ext4", "-O", features]);
        assert!(mke2fs.arg(project.path("output/images/rootfs.ext4")).arg("8M").status().unwrap().success());
    };
    make("^64bit,^metadata_csum");
    succeed(&mut project.with_inputs(&["plan"], &[]));
    make("64bit,metadata_csum");
    let (_, stderr, code) = project::run(&mut project.with_inputs(&["plan"], &[]));
    assert_eq!(code, 1);
    let told = "error: board `demo/board` breaks a rule: the ext4 of partition `rootfs` has `64bit`, `metadata_csum`\n";
    assert!(stderr.starts_with(told), "{stderr}");
}

#[test]
fn mistakes_in_rules_are_told_with_their_place() {
    let project = broken_project();
    project.edit_board("[\"sunxi\"]", "[\"sunxy\"]");
    expect_failure(
        &mut project.command(&CHECK),
        1,
        "error: `boards/demo/board.toml`: rules: there is no set of rules `sunxy`; the nearest is `sunxi`\n\
         hint: boards/README.md documents every key, and `skiff-image boards schema` prints them",
    );
    project.edit_board("[\"sunxy\"]", "[\"site\"]");
    let rule = |check: &str| {
        format!("[[rule]]\nid = \"a\"\nsays = \"b\"\nsource = \"c\"\nhint = \"d\"\ncheck.{check}\n")
    };
    project.write("boards/rules/site.toml", rule("table = { kind = [\"gpt\"] }"));
    let (told, stderr, _) = project::run(&mut project.command(&CHECK));
    assert_eq!(told, "board demo/board: breaks a rule of generic, site\n");
    assert!(
        stderr.contains("the table is an MBR but must be a GPT\n  rule `site/a`: b\n  source: c\nhint: d")
    );
    project.write("boards/rules/site.toml", rule("tabel = {}"));
    let (_, stderr, code) = project::run(&mut project.command(&CHECK));
    assert!(
        stderr.starts_with("error: `boards/rules/site.toml:6:7`: unknown variant `tabel`, expected one of")
    );
    assert!(stderr.ends_with("hint: did you mean `table`?\n"), "{stderr}");
    assert_eq!(code, 1);
    project.write("boards/rules/site.toml", rule("table = { kinds = [] }"));
    let (_, stderr, _) = project::run(&mut project.command(&CHECK));
    assert!(
        stderr.starts_with(
            "error: `boards/rules/site.toml:6:17`: unexpected keys in table: kinds, available keys: kind\n"
        ),
        "{stderr}"
    );
}

/// The boot ROM of an A20 looks at 8 KiB and nowhere else; later ones have one more place.
#[test]
fn the_soc_decides_where_a_boot_rom_looks() {
    let layout = |soc: &str, offset: &str| {
        let text = good("sunxi").replacen("offset = \"8 KiB\"", &format!("offset = \"{offset}\""), 1);
        let text = text.replacen("limit = \"900 KiB\"", "limit = \"512 KiB\"", 1);
        text.replacen("arch = ", &format!("soc = \"{soc}\"\narch = "), 1)
    };
    for (soc, offset) in
        [("A20", "8 KiB"), ("H3", "8 KiB"), ("H3", "128 KiB"), ("h2+", "128 KiB"), ("H616", "256 KiB")]
    {
        assert_eq!(findings(&layout(soc, offset)), [], "{soc} at {offset}");
    }
    for (soc, offset, told) in [
        ("A20", "128 KiB", "starts at 128 KiB but must start at 8 KiB for a `A20`"),
        ("A10", "256 KiB", "starts at 256 KiB but must start at 8 KiB for a `A10`"),
        ("H3", "256 KiB", "starts at 256 KiB but must start at 8 KiB or 128 KiB for a `H3`"),
        ("H616", "128 KiB", "starts at 128 KiB but must start at 8 KiB or 256 KiB for a `H616`"),
    ] {
        let found = findings(&layout(soc, offset));
        assert_eq!((found[0].rule.as_str(), found.len()), ("sunxi/spl", 1), "{found:#?}");
        assert_eq!(found[0].found, format!("blob `u-boot` {told}"));
    }
}

/// The same port is at another address of another SoC, and a board that names none is not held to one.
#[test]
fn the_soc_decides_where_its_boot_loader_speaks() {
    let of = |soc: &str| findings(&good("rockchip").replacen("soc = \"RK3399\"\n", soc, 1));
    assert_eq!(of(""), []);
    let found = of("soc = \"RK3328\"\n");
    assert_eq!(
        (found[0].rule.as_str(), found[0].severity, found.len()),
        ("rockchip/console", Severity::Warning, 1)
    );
    let told = "`cmdline.txt` has `earlycon=uart8250,mmio32,0xff1a0000` but the boot loader's console is at 0xff130000";
    assert_eq!(found[0].found, told);
    let two = good("rockchip").replacen("console=ttyS2", "console=ttyS3,9600 console=ttyS2", 1);
    assert_eq!(findings(&two), [], "a second port is the user's own");
}

/// No shipped board is even warned of.
#[test]
fn every_shipped_board_has_the_console_of_its_boot_loader() {
    let registry = Registry::built_in();
    let mut held = 0;
    for name in registry.names() {
        let board = registry.board(name).unwrap();
        held += board.rules.iter().flat_map(|set| &set.rules).filter(|rule| rule.id == "console").count();
        let found = lint_board(&board).unwrap_or_else(|error| panic!("{name}: {error}"));
        let console: Vec<_> = found.iter().filter(|finding| finding.rule.ends_with("/console")).collect();
        assert!(console.is_empty(), "{name}: {console:#?}");
    }
    assert!(held >= 34, "{held}");
}

/// The shipped boards say which SoC they have wherever a rule asks for it.
#[test]
fn boards_whose_rules_ask_for_the_soc_name_it() {
    let registry = Registry::built_in();
    let asked = ["sunxi", "rockchip", "omap"];
    let asks = |board: &Board| board.rules.iter().any(|set| asked.contains(&set.name.as_str()));
    let boards = registry.names().map(|name| registry.board(name).unwrap()).filter(asks);
    let unnamed: Vec<String> = boards.filter(|board| board.soc.is_none()).map(|board| board.name).collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
}

#[test]
fn a_blob_that_a_rule_cannot_know_gets_the_key_that_it_lacks() {
    let hint = |text: &str| findings(text)[0].hint.clone();
    let without = good("sunxi").replacen("magic = { at = 4, text = \"eGON.BT0\" }\n", "", 1);
    assert_eq!(hint(&without), "give blob `u-boot` `magic = { at = 4, text = \"eGON.BT0\" }`");
    let elsewhere = without.replacen("offset = \"8 KiB\"", "offset = \"16 KiB\"", 1);
    let found = findings(&elsewhere);
    assert_eq!(found[0].found, "no blob with the magic `eGON.BT0` at 8 KiB");
    assert_eq!(found[0].hint, "add a `[[blob]]` with `magic = { at = 4, text = \"eGON.BT0\" }` at 8 KiB");
    let renamed = good("exynos").replacen("name = \"bl1\"", "name = \"first\"", 1);
    let found = findings(&renamed);
    assert_eq!(found[0].found, "blob `first` at 512 bytes must be one named `bl1`");
    assert_eq!(found[0].hint, "give blob `first` `name = \"bl1\"`");
}

/// A partition that is the last of the medium grows when it is flashed, whatever its number is.
#[test]
fn the_last_partition_of_a_medium_need_not_have_the_highest_number() {
    let text = good("jh7110").replacen("name = \"u-boot\"", "name = \"u-boot\"\nnumber = 4", 1);
    let found = findings(&text.replacen("rules = [\"jh7110\", \"grow\"]", "rules = [\"grow\"]", 1));
    assert_eq!((found[0].rule.as_str(), found.len()), ("grow/first-start", 1), "{found:#?}");
    assert_eq!(found[0].severity, Severity::Warning);
}

#[test]
fn an_environment_behind_the_end_of_the_medium_is_told() {
    let more = "[[environment]]\nname = \"far\"\noffset = \"3 GiB\"\nsize = \"1 KiB\"\n\n[[environment]]";
    let found = findings(&good("sunxi").replacen("[[environment]]", more, 1));
    assert_eq!(found[0].rule, "generic/environment", "{found:#?}");
    assert_eq!(found[0].found, "`far` is saved at 3 GiB (1 KiB) but the medium ends at 130 MiB");
    assert_eq!(found[1].found, "`far` is saved at 3 GiB (1 KiB) but the medium ends at 512 MiB");
}

#[test]
fn a_command_line_that_the_kernel_would_cut_is_told() {
    let long = format!("\"{}\"", "x".repeat(1024));
    let found = findings(&good("pi-mask-rom").replacen("\"console=tty1 console=ttyAMA0,115200\"", &long, 1));
    assert_eq!((found[0].rule.as_str(), found.len()), ("generic/command-line", 1));
    assert_eq!(
        found[0].found,
        "a command line in `cmdline.txt` has 1024 bytes but a kernel for `arm` keeps 1023"
    );
}
