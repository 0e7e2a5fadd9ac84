//! Files that SkiffOS ships.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use skiff_core::config::Config;

use crate::skip::leave_out;

/// The variable with a checkout of SkiffOS, which is only read.
const TREE: &str = "SKIFFOS_TREE";

#[test]
fn every_file_of_skiffos_loads() {
    let Some(tree) = std::env::var_os(TREE).filter(|path| !path.is_empty()).map(PathBuf::from) else {
        return leave_out("every_file_of_skiffos_loads", &format!("{TREE} names no checkout of SkiffOS"));
    };
    let mut files = Vec::new();
    find(&tree.join("configs"), &mut files);
    assert!(files.len() >= 21, "{}: {} files", tree.display(), files.len());
    // How often each word of a file that means something else is told.
    let mut told = BTreeMap::new();
    for path in &files {
        let (config, notes) = Config::load(path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((config.containers.len(), config.images.len()), (1, 1), "{}", path.display());
        assert!(!config.users.is_empty(), "{}", path.display());
        let twice = notes.iter().filter(|note| note.message.ends_with("with the same value")).count();
        let misnamed = notes.iter().filter(|note| note.message.contains("`pullPolicy`")).count();
        let word = notes.iter().filter(|note| note.message.contains("`ifnotpresent`")).count();
        assert_eq!(notes.len(), twice + misnamed + word, "{}: {notes:#?}", path.display());
        for (what, count) in [("twice", twice), ("misnamed", misnamed), ("word", word)] {
            *told.entry(what).or_insert(0) += count;
        }
    }
    assert_eq!(told, BTreeMap::from([("twice", 5), ("misnamed", 19), ("word", 19)]));
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the tree can be listed").flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, files);
        } else if entry.file_name() == "coreenv-defconfig.yaml" {
            files.push(path);
        }
    }
}
