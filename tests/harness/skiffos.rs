//! SkiffOS' own tree, whose scripts are what ours is compared with. It is named by SKIFFOS_TREE and never part of this.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::skip::leave_out;

/// The variable with a checkout of SkiffOS, which is only read.
pub const TREE: &str = "SKIFFOS_TREE";

/// What is compared: chains that people use, and such that are ordered otherwise here.
pub const CHAINS: [&str; 15] = [
    "pi/4,skiff/core",
    "odroid/xu",
    "pine64/phone,core/gentoo",
    "intel/desktop",
    "skiff/core,apps/docker",
    "core/gentoo,skiff/core,pi/3",
    "virt/qemu",
    "virt/docker,skiff/core",
    "jetson/tx2 skiff/core",
    "beaglebone/ai,util/rootlogin",
    "starfive/visionfive2,core/fedora",
    "apple/arm,core/nixos",
    "allwinner/nezha,apps/crio,apps/docker",
    "valve/deck,core/steam",
    "odroid/hc4,apps/portainer,apps/docker",
];

/// The tree; without one a line says that the test is skipped.
pub fn skiffos_tree(test: &str) -> Option<PathBuf> {
    let tree = std::env::var_os(TREE).filter(|path| !path.is_empty()).map(PathBuf::from);
    if tree.is_none() {
        leave_out(test, &format!("{TREE} names no checkout of SkiffOS"));
    }
    let tree = tree?;
    assert!(
        tree.join("scripts/enumerate_configs.sh").is_file(),
        "{} is no checkout of SkiffOS",
        tree.display()
    );
    Some(tree)
}

/// A copy of the tree, because its scripts write into it; gone when dropped.
pub fn skiffos_copy(tree: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory can be made");
    for entry in tree.read_dir().expect("the tree can be listed") {
        let entry = entry.expect("the tree can be listed");
        // The submodule may be a whole Buildroot, and what was built is not wanted.
        if ["buildroot", "workspaces", ".git"].iter().all(|name| entry.file_name() != *name) {
            let copied = Command::new("cp").arg("-a").arg(entry.path()).arg(copy.path()).status();
            assert!(copied.expect("cp starts").success());
        }
    }
    std::fs::create_dir(copy.path().join("workspaces")).expect("a directory can be made");
    copy
}

/// The environment that SkiffOS gives to programs of layers, for a chain.
pub fn skiffos_environment(tree: &Path, chain: &str) -> BTreeMap<String, String> {
    skiffos_environment_with(tree, chain, &[])
}

/// The same with more variables set.
pub fn skiffos_environment_with(
    tree: &Path,
    chain: &str,
    variables: &[(&str, &str)],
) -> BTreeMap<String, String> {
    let mut make = Command::new("make");
    make.args(["-s", "env"]).current_dir(tree).env_clear().env("SKIFF_CONFIG", chain);
    make.env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap());
    let output = make.envs(variables.iter().copied()).output().expect("make starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("the environment is text");
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}
