//! The merge of fragments against the kernel's own script, against Kconfig, and against SkiffOS' scripts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::skiffos::{CHAINS, skiffos_copy, skiffos_environment, skiffos_tree};
use crate::harness::skip::skip;
use crate::harness::tools::{oracle, write_script};
use skiff_image::layer::fragment::{self, Fragment, FragmentVariables, Kind, lines};
use skiff_image::layer::merge::Merged;
use skiff_image::layer::{Layer, LayerOrigin};

/// The script of the kernel, out of Debian's source package; unpacked once.
fn script_of_the_kernel(test: &str) -> Option<PathBuf> {
    let archives = fs::read_dir("/usr/src").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_source = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("linux-source-") && name.ends_with(".tar.xz")
    };
    let Some(archive) = archives.filter(is_source).max() else {
        skip(test, "linux-source is missing; run fixtures/install-oracles");
        return None;
    };
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fixtures/kconfig");
    let script = directory.join(archive.file_stem().unwrap()).with_extension("merge_config.sh");
    if !script.is_file() {
        fs::create_dir_all(&directory).unwrap();
        let mut tar = Command::new("tar");
        tar.args(["--wildcards", "--to-stdout", "-xf"])
            .arg(&archive)
            .arg("*/scripts/kconfig/merge_config.sh");
        let text = tar.output().expect("tar starts").stdout;
        assert!(text.starts_with(b"#!"), "{} has no merge_config.sh", archive.display());
        let unfinished = tempfile::NamedTempFile::new_in(&directory).unwrap();
        fs::write(unfinished.path(), text).unwrap();
        unfinished.persist(&script).unwrap();
    }
    Some(script)
}

/// Numbers that look random and are always the same (a linear congruential generator of Knuth's).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

/// What the symbols of the cases are. Names begin and end alike on purpose.
const KCONFIG: &str = "mainmenu \"cases\"\n\
    config MODULES\n\tbool\n\tdefault y\n\toption modules\n\
    config A\n\ttristate \"a\"\n\
    config AB\n\ttristate \"ab\"\n\tdefault y\n\
    config A_B\n\tbool \"a_b\"\n\
    config B\n\tbool \"b\"\n\tdefault y\n\
    config NET_A\n\ttristate \"net a\"\n\
    config TEXT\n\tstring \"text\"\n\tdefault \"nothing\"\n\
    config TEXT_2\n\tstring \"text 2\"\n\
    config NUMBER\n\tint \"number\"\n\tdefault 7\n\
    config HEX\n\thex \"hex\"\n\tdefault 0x10\n\
    choice\n\tprompt \"one of\"\n\tdefault ONE\n\
    config ONE\n\tbool \"one\"\n\
    config TWO\n\tbool \"two\"\n\
    config THREE\n\tbool \"three\"\n\
    endchoice\n";

const STATES: [&str; 8] = ["A", "AB", "A_B", "B", "NET_A", "ONE", "TWO", "THREE"];
const TEXTS: [&str; 4] =
    ["\"\"", "\"a b # c\"", "\"with \\\"quotes\\\" and \\\\\"", "\"/path/@&#/x=y $(X)\""];

fn setting(random: &mut Random, prefix: &str) -> String {
    match random.below(10) {
        0..=2 => format!("{prefix}{}=y", random.of(&STATES)),
        3 => format!("{prefix}{}=n", random.of(&STATES)),
        4 => format!("{prefix}{}=m", random.of(&["A", "AB", "NET_A"])),
        5 | 6 => format!("# {prefix}{} is not set", random.of(&STATES)),
        7 => format!("{prefix}{}={}", random.of(&["TEXT", "TEXT_2"]), random.of(&TEXTS)),
        8 => format!("{prefix}NUMBER={}", random.below(100)),
        _ => format!("{prefix}HEX={:#x}", random.below(1 << 16)),
    }
}

/// Redefinitions, duplicates, remarks with symbols in them, indented lines, a missing newline at the end, nothing.
fn generated(random: &mut Random, prefix: &str) -> Vec<String> {
    let mut fragments = Vec::new();
    for _ in 0..2 + random.below(4) {
        let mut text = String::new();
        for _ in 0..random.below(12) {
            let symbol = format!("{prefix}{}", random.of(&STATES));
            match random.below(12) {
                0 => writeln!(text, "# about {symbol} and {symbol}=y"),
                1 => writeln!(text, "#{symbol} is not set"),
                2 => writeln!(text, "  {symbol}=y"),
                3 => writeln!(text, "\n\t"),
                _ => writeln!(text, "{}", setting(random, prefix)),
            }
            .unwrap();
        }
        if random.below(4) == 0 {
            text.pop();
        }
        fragments.push(text);
    }
    fragments
}

fn merged(texts: &[String]) -> Merged {
    let named = texts.iter().enumerate();
    let fragments = named.map(|(index, text)| Fragment {
        layer: "test/layer".into(),
        file: PathBuf::from(format!("test/layer/kernel/{index}")).into(),
        text: text.clone(),
    });
    Merged::from_fragments(&fragments.collect::<Vec<_>>())
}

/// What the script makes of fragments.
fn merged_by(script: &Path, texts: &[String], directory: &Path) -> String {
    let mut command = Command::new("sh");
    command.arg(script).args(["-m", "-O"]).arg(directory).current_dir(directory);
    for (index, text) in texts.iter().enumerate() {
        let file = directory.join(format!("fragment{index}"));
        // Scripts before Linux 6.8 glue a line without its newline to the next fragment.
        fs::write(&file, if text.ends_with('\n') { text.clone() } else { format!("{text}\n") }).unwrap();
        command.arg(file);
    }
    let output = command.stdin(Stdio::null()).output().expect("sh starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(directory.join(".config")).unwrap()
}

/// The lines that set something, as they are. Remarks differ on purpose: the script deletes those that have a symbol
/// in them.
fn set(text: &str) -> Vec<&str> {
    let numbers: Vec<usize> =
        lines(text).filter(|line| line.symbol.is_some()).map(|line| line.number - 1).collect();
    let all: Vec<&str> = text.lines().collect();
    numbers.into_iter().map(|number| all[number].trim_end()).collect()
}

/// What Kconfig makes of a text.
fn effective(text: &str, prefix: &str, directory: &Path) -> BTreeMap<String, String> {
    fs::write(directory.join("Kconfig"), KCONFIG).unwrap();
    fs::write(directory.join("defconfig"), text).unwrap();
    let mut conf = Command::new("kconfig-conf");
    conf.args(["--defconfig=defconfig", "Kconfig"]).current_dir(directory).env("CONFIG_", prefix);
    for file in ["AUTOHEADER", "AUTOCONFIG", "TRISTATE"] {
        conf.env(format!("KCONFIG_{file}"), directory.join(file));
    }
    let output =
        conf.env("KCONFIG_CONFIG", directory.join("effective")).output().expect("kconfig-conf starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let config = fs::read_to_string(directory.join("effective")).unwrap();
    lines(&config).filter_map(|line| Some((line.symbol?.to_owned(), line.value.to_string()))).collect()
}

const CASES: u64 = 60;
const THREADS: usize = 2;

/// Holds a case against the script, and what Kconfig makes of it; how many lines were overridden.
fn compared(seed: u64, script: &Path, kconfig: bool, directory: &Path) -> usize {
    let texts = generated(&mut Random(seed), "CONFIG_");
    let (ours, theirs) = (merged(&texts), merged_by(script, &texts, directory));
    assert_eq!(set(ours.text()), set(&theirs), "case {seed}: {texts:#?}");
    if kconfig {
        let made = |text: &str| effective(text, "CONFIG_", directory);
        assert_eq!(made(ours.text()), made(&theirs), "case {seed}: {texts:#?}");
    }
    set(&texts.join("\n")).len() - set(&theirs).len()
}

#[test]
fn fragments_of_the_kernel_are_merged_as_its_own_script_does() {
    let test = "fragments_of_the_kernel_are_merged_as_its_own_script_does";
    let Some(script) = script_of_the_kernel(test) else { return };
    let kconfig = oracle(test, "kconfig-conf");
    let some = |first: u64| {
        let directory = tempfile::tempdir().unwrap();
        let seeds = (first..CASES).step_by(THREADS);
        seeds.map(|seed| compared(seed, &script, kconfig, directory.path())).sum::<usize>()
    };
    let some = &some;
    let overridden: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS as u64).map(|first| scope.spawn(move || some(first))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread compares its cases")).sum()
    });
    assert!(overridden > 200, "{overridden} lines overridden: the cases are too easy");
}

#[test]
fn lines_that_end_as_on_windows_are_the_same_settings() {
    if !oracle("lines_that_end_as_on_windows_are_the_same_settings", "kconfig-conf") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for seed in 0..10 {
        let texts = generated(&mut Random(1000 + seed), "CONFIG_");
        let windows: Vec<String> = texts.iter().map(|text| text.replace('\n', "\r\n")).collect();
        let made = |text: &str| effective(text, "CONFIG_", directory.path());
        assert_eq!(made(merged(&windows).text()), made(merged(&texts).text()), "case {seed}: {texts:#?}");
    }
}

/// The script looks for a symbol anywhere in a line, so it deletes a setting whose text names another symbol.
#[test]
fn a_text_that_names_another_symbol_stays() {
    let Some(script) = script_of_the_kernel("a_text_that_names_another_symbol_stays") else { return };
    let directory = tempfile::tempdir().unwrap();
    let texts = ["CONFIG_CMDLINE=\"CONFIG_A=y\"\nCONFIG_A=y\n".into(), "# CONFIG_A is not set\n".into()];
    let unset = "# CONFIG_A is not set";
    assert_eq!(set(&merged_by(&script, &texts, directory.path())), [unset]);
    assert_eq!(set(merged(&texts).text()), ["CONFIG_CMDLINE=\"CONFIG_A=y\"", unset]);
}

#[test]
fn buildroot_ends_at_what_the_last_assignments_say() {
    if !oracle("buildroot_ends_at_what_the_last_assignments_say", "kconfig-conf") {
        return;
    }
    let (directory, prefix) = (tempfile::tempdir().unwrap(), "BR2_");
    let mut chosen_again = 0;
    for seed in 0..CASES {
        let texts = generated(&mut Random(5000 + seed), prefix);
        let ours = merged(&texts);
        let made = effective(ours.text(), prefix, directory.path());
        // SkiffOS puts the files behind one another, and Kconfig reads the whole.
        let joined: String = texts.iter().map(|text| format!("{text}\n")).collect();
        assert_eq!(made, effective(&joined, prefix, directory.path()), "case {seed}: {texts:#?}");
        let choice = ["BR2_ONE", "BR2_TWO", "BR2_THREE"];
        for setting in ours.settings().filter(|setting| !choice.contains(&setting.symbol.as_str())) {
            let wanted = setting.winner.value.as_str();
            let is = made.get(&setting.symbol).map_or("n", String::as_str);
            assert_eq!(is, wanted, "case {seed}: {} in {texts:#?}", setting.symbol);
        }
        let asked =
            |symbol: &&&str| ours.setting(symbol).is_some_and(|setting| setting.winner.value.as_str() == "y");
        chosen_again += usize::from(choice.iter().filter(asked).count() > 1);
    }
    assert!(chosen_again > 10, "{chosen_again} cases with two members of a choice: too easy");
}

fn layer(name: &str, path: &Path) -> Layer {
    let (found, shadows) = (LayerOrigin::InTree, Vec::new());
    Layer { name: name.into(), path: path.into(), description: None, unlisted: false, found, shadows }
}

/// The layers of a chain in the order of SkiffOS, whatever ours is.
fn layers(environment: &BTreeMap<String, String>) -> Vec<Layer> {
    let base = Path::new(&environment["SKIFF_BASE_CONFIGS_DIR"]);
    let overrides = [&environment["SKIFF_OVERRIDES_DIR"], &environment["SKIFF_WS_OVERRIDES_DIR"]];
    let chosen = environment["SKIFF_CONFIG_PATH"].split(' ').map(PathBuf::from);
    let all = [base.join("pre")].into_iter().chain(chosen).chain(overrides.map(PathBuf::from));
    all.chain([base.join("post")]).map(|path| layer(&path.display().to_string(), &path)).collect()
}

/// Runs their scripts up to where they need Buildroot: its `make` is one that does nothing.
fn configured_by_skiffos(environment: &BTreeMap<String, String>, root: &Path) -> PathBuf {
    let bin = root.join("fake-bin");
    write_script(&bin.join("make"), "#!/bin/sh\n: >.config\n");
    fs::create_dir_all(&environment["BUILDROOT_DIR"]).unwrap();
    let mut script = Command::new("bash");
    script.arg("scripts/build_configs.sh").current_dir(root).env_clear().envs(environment);
    script
        .env("PATH", format!("{}:{}", bin.display(), environment["PATH"]))
        .env("SKIFF_FORCE_RECONFIG", "true");
    let output = script.env("LC_ALL", "C").env("TERM", "linux").stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    PathBuf::from(&environment["SKIFF_FINAL_CONFIG_DIR"])
}

/// What stands for the words in `configs-base/post`, as their script computes it.
fn words(environment: &BTreeMap<String, String>, layers: &[Layer]) -> FragmentVariables {
    let directory = &environment["SKIFF_FINAL_CONFIG_DIR"];
    let all = |name: &str| {
        let there = layers.iter().filter_map(|layer| layer.file(name)).filter(|path| path.is_dir());
        there.map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
    };
    [
        ("REPLACEME_BR_PATCHES", all("buildroot_patches")),
        ("REPLACEME_BUSYBOX_FRAGMENTS", format!("{directory}/busybox/config")),
        ("REPLACEME_KERNEL_FRAGMENTS", format!("{directory}/kernel/config")),
        ("REPLACEME_KERNEL_PATCHES", all("kernel_patches")),
        ("REPLACEME_UBOOT_FRAGMENTS", format!("{directory}/uboot/config")),
        ("REPLACEME_UBOOT_PATCHES", all("uboot_patches")),
        ("REPLACEME_ROOTFS_OVERLAY", all("root_overlay")),
        ("REPLACEME_FINAL_CONFIG_DIR", directory.clone()),
        ("REPLACEME_SKIFF_VERSION_COMMIT", environment["SKIFF_VERSION_COMMIT"].clone()),
        ("REPLACEME_SKIFF_VERSION", environment["SKIFF_VERSION"].clone()),
    ]
    .into_iter()
    .collect()
}

fn merged_layers(layers: &[Layer], kind: Kind, words: &FragmentVariables) -> Merged {
    let fragments = fragment::read(layers, kind).unwrap_or_else(|error| panic!("{error}"));
    let of_layer = |fragment: Fragment| {
        let root = fragment.layer.clone();
        fragment.expand(&words.with_layer(&root))
    };
    Merged::from_fragments(&fragments.into_iter().map(of_layer).collect::<Vec<_>>())
}

fn plain(parts: &[fragment::Plain], between: &str) -> String {
    parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join(between)
}

#[test]
fn chains_of_skiffos_are_merged_as_its_scripts_do() {
    let Some(tree) = skiffos_tree("chains_of_skiffos_are_merged_as_its_scripts_do") else { return };
    let copy = skiffos_copy(&tree);
    for chain in CHAINS {
        let environment = skiffos_environment(copy.path(), chain);
        let theirs = configured_by_skiffos(&environment, copy.path());
        let read = |name: &str| fs::read_to_string(theirs.join(name)).unwrap();
        let layers = layers(&environment);
        let words = words(&environment, &layers);
        let cflags = plain(&fragment::cflags(&layers).unwrap(), " ");
        for kind in Kind::ALL {
            let words = if kind == Kind::Buildroot { words.clone() } else { FragmentVariables::default() };
            let mut ours = merged_layers(&layers, kind, &words);
            if kind == Kind::Buildroot {
                ours.append("ccache", &format!("BR2_CCACHE_DIR=\"{}\"", environment["BR2_CCACHE_DIR"]));
            }
            if kind == Kind::Buildroot && !cflags.is_empty() {
                ours.append("cflags", &format!("BR2_TARGET_OPTIMIZATION=\"{cflags}\""));
            }
            let theirs = read(&format!("{}/config", kind.directory()));
            // Their flags keep the space of each newline.
            let theirs: Vec<String> = set(&theirs).into_iter().map(squeezed).collect();
            assert_eq!(set(ours.text()), theirs, "{chain}: {kind}");
            eprintln!("{chain}: {kind}: {} lines, {} ignored", theirs.len(), ours.ignored().len());
        }
        let words_of = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
        assert_eq!(words_of(&cflags), words_of(&read("cflags")), "{chain}: cflags");
        assert_eq!(plain(&fragment::users(&layers).unwrap(), ""), read("users"), "{chain}: users");
    }
}

/// Compiler flags with one space between them.
fn squeezed(line: &str) -> String {
    let Some(flags) = line.strip_prefix("BR2_TARGET_OPTIMIZATION=\"") else { return line.into() };
    let flags: Vec<&str> = flags.trim_end_matches('"').split_whitespace().collect();
    format!("BR2_TARGET_OPTIMIZATION=\"{}\"", flags.join(" "))
}

/// Every layer there is, not only those of a chain.
#[test]
fn every_layer_of_skiffos_can_be_read() {
    let Some(tree) = skiffos_tree("every_layer_of_skiffos_can_be_read") else { return };
    let (mut count, mut ignored) = (0, 0);
    for namespace in
        fs::read_dir(tree.join("configs")).unwrap().flatten().filter(|entry| entry.path().is_dir())
    {
        for entry in fs::read_dir(namespace.path()).unwrap().flatten() {
            let layers = [layer("a/layer", &entry.path())];
            for kind in Kind::ALL {
                let merged = merged_layers(&layers, kind, &FragmentVariables::default());
                for line in merged.ignored() {
                    eprintln!("{line}");
                }
                ignored += merged.ignored().len();
            }
            fragment::cflags(&layers).unwrap();
            fragment::users(&layers).unwrap();
            count += 1;
        }
    }
    assert!(count > 100, "{count} layers");
    eprintln!("{count} layers, {ignored} lines that set nothing");
}

#[test]
fn flags_and_users_are_joined() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("a/cflags/20-cpu", "  # for the chip\n-mcpu=a\r\n\n -O3 -g # stays\n");
    write("a/cflags/10-base", "# nothing\n");
    write("a/users/base", "ann -1 ann -1 * - - -");
    write("b/users/.hidden", "x -1 x -1 * - - -");
    write("b/users/base", "bob -1 bob -1 * - - -\n");
    write("b/users/empty", "");
    let layers = ["a", "b"].map(|name| layer(name, &directory.path().join(name)));
    let cflags = fragment::cflags(&layers).unwrap();
    assert_eq!(plain(&cflags, " "), "-mcpu=a -O3 -g # stays");
    assert_eq!((cflags[0].layer.as_str(), cflags[0].file.ends_with("a/cflags/20-cpu")), ("a", true));
    let users = fragment::users(&layers).unwrap();
    assert_eq!(plain(&users, ""), "ann -1 ann -1 * - - -\nbob -1 bob -1 * - - -\n");
}
