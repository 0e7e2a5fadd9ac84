//! Build script: makes the descriptors of `boards/` part of the program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("boards");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut code = String::from(
        "/// Directory, name and text of each descriptor.\nconst BUILT_IN: &[(&str, &str, &str)] = &[\n",
    );
    for namespace in sorted(&root).into_iter().filter(|path| path.is_dir()) {
        println!("cargo::rerun-if-changed={}", namespace.display());
        for file in sorted(&namespace) {
            if file.extension().is_some_and(|extension| extension == "toml") {
                let (space, name) = (stem(&namespace), stem(&file));
                writeln!(code, "    ({space:?}, {name:?}, include_str!({file:?})),")
                    .expect("writing to a string");
            }
        }
    }
    code.push_str("];\n");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("boards.rs"), code).expect("OUT_DIR is writable");
}

fn sorted(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("boards/ can be read");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("boards/ can be read").path()).collect();
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_str().expect("board names are ASCII").into()
}
