//! The programs that a device has: those of the packages that layers select, and the applets of busybox.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Applets that `package/busybox/busybox.config` of Buildroot 2026.05.1 enables.
const APPLETS: &str = include_str!("busybox_applets.txt");

/// Symbols and the programs of their packages (Buildroot's `package/*/Config.in` and `.mk`), as far as scripts and units
/// may want them.
const PACKAGES: &str = include_str!("programs.txt");

/// Where the sandbox has the machine's own `/usr`.
pub const HOST: &str = "/opt/host";

/// Symbols that the fragments of a layer set to `y` or `n`.
fn symbols(layer: &str, kind: &str) -> BTreeMap<String, bool> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(layer).join(kind);
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut symbols = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for line in skiff_image::layer::fragment::lines(&text) {
            if let Some(symbol) = line.symbol {
                symbols.insert(symbol.to_owned(), line.value.to_string() == "y");
            }
        }
    }
    symbols
}

/// Programs of packages, each with the symbol that selects it.
fn packaged() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = PACKAGES.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .flat_map(|(symbol, names)| names.split_whitespace().map(move |name| (symbol, name)))
}

/// Names of the programs that a system of these layers has.
fn programs(layers: &[&str]) -> Vec<String> {
    let (mut packages, mut applets) = (BTreeMap::new(), BTreeMap::new());
    for layer in layers {
        packages.extend(symbols(layer, "buildroot"));
        applets.extend(symbols(layer, "busybox"));
    }
    let mut programs: Vec<String> = APPLETS.split_whitespace().map(String::from).collect();
    for (symbol, set) in applets {
        let name = symbol.trim_start_matches("CONFIG_").to_lowercase();
        programs.retain(|known| *known != name);
        programs.extend(set.then_some(name));
    }
    let selected = packaged().filter(|(symbol, _)| packages.get(*symbol) == Some(&true));
    programs.extend(selected.map(|(_, name)| name.to_owned()));
    programs
}

/// Fills `usr/bin` of a root directory with links to these programs of the machine: the applets are those of a
/// busybox where it has them.
pub fn install(root: &Path, layers: &[&str]) {
    let bin = root.join("usr/bin");
    fs::create_dir_all(&bin).unwrap();
    symlink("bin", root.join("usr/sbin")).unwrap();
    let list = std::process::Command::new("busybox").arg("--list").output().expect("busybox runs");
    let list = String::from_utf8(list.stdout).unwrap();
    let in_busybox: Vec<&str> = list.lines().collect();
    let packaged: Vec<&str> = packaged().map(|(_, name)| name).collect();
    // Debian's busybox runs its own applets as a shell, without a look at PATH; Buildroot's does not.
    for name in ["sh", "ash"] {
        symlink(format!("{HOST}/bin/dash"), bin.join(name)).unwrap();
    }
    for name in programs(layers).into_iter().filter(|name| !["sh", "ash"].contains(&&**name)) {
        let directory = ["bin", "sbin"]
            .into_iter()
            .find(|directory| Path::new("/usr").join(directory).join(&name).exists());
        let target = match directory {
            _ if in_busybox.contains(&&*name) && !packaged.contains(&&*name) => format!("{HOST}/bin/busybox"),
            Some(directory) => format!("{HOST}/{directory}/{name}"),
            None => continue,
        };
        // A program of a package replaces the applet.
        let _ = fs::remove_file(bin.join(&name));
        symlink(target, bin.join(&name)).unwrap();
    }
}
