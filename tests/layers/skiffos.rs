//! The same layers as SkiffOS' own scripts, in the same order if that is asked for, and the same environment for
//! programs of layers. Compared with the scripts of a tree that SKIFFOS_TREE names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::project::{PROGRAM, json};
use crate::harness::skiffos::{
    CHAINS, skiffos_copy, skiffos_environment, skiffos_environment_with, skiffos_tree,
};
use skiff_image::layer::{Environment, Order, Registry, Roots, discover, displaced};

fn names(registry: &Registry, chain: &str, order: Order) -> Vec<String> {
    let chain = registry.chain(chain, "the test", order).unwrap_or_else(|error| panic!("{chain}: {error}"));
    assert_eq!(chain.pre.map(|layer| layer.name).as_deref(), Some("configs-base/pre"));
    assert_eq!(chain.post.map(|layer| layer.name).as_deref(), Some("configs-base/post"));
    assert_eq!(chain.overrides.len(), 1, "the tree has overrides/");
    chain.chosen.into_iter().map(|layer| layer.name).collect()
}

#[test]
fn chains_are_those_of_skiffos_and_differences_have_their_reasons() {
    let Some(tree) = skiffos_tree("layers") else { return };
    let copy = skiffos_copy(&tree);
    let registry = discover(&Environment::default(), &Roots::for_project(copy.path())).unwrap();
    let mut differ = 0;
    for chain in CHAINS {
        let environment = skiffos_environment(copy.path(), chain);
        let theirs: Vec<&str> = environment["SKIFF_CONFIG"].split(',').collect();
        assert_eq!(names(&registry, chain, Order::Skiffos), theirs, "{chain}");
        let ours = names(&registry, chain, Order::Dependencies);
        let reasons = displaced(&registry, chain, "the test").unwrap();
        assert_eq!(ours == theirs, reasons.is_empty(), "{chain}: {ours:?}, {theirs:?}: {reasons:?}");
        assert_eq!(
            ours.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            theirs.iter().copied().collect(),
            "{chain}: the same layers"
        );
        for reason in &reasons {
            let place = |name: &str| theirs.iter().position(|known| *known == name).unwrap();
            assert!(place(&reason.dependency) > place(&reason.dependent), "{chain}: {reason:?}");
            eprintln!("{chain}: {} behind {}", reason.dependency, reason.dependent);
        }
        differ += usize::from(!reasons.is_empty());
    }
    eprintln!("{} chains, {differ} in another order", CHAINS.len());
}

/// Layers `t/a` to `t/f` that depend on each other as a number says, in circles too if it is odd; and a list of some
/// of them.
fn random_layers(tree: &Path, mut seed: u64) -> String {
    let configs = tree.join("configs");
    fs::remove_dir_all(&configs).unwrap();
    let odd = seed % 2 == 1;
    let mut next = move |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    let names = ["t/a", "t/b", "t/c", "t/d", "t/e", "t/f"];
    let mut some = |most: u64, among: &[&str]| -> String {
        let count = if among.is_empty() { 0 } else { next(most + 1) };
        (0..count).map(|_| among[next(among.len() as u64) as usize]).collect::<Vec<_>>().join(",")
    };
    for (index, name) in names.iter().enumerate() {
        let metadata = configs.join(name).join("metadata");
        fs::create_dir_all(&metadata).unwrap();
        let among = if odd { &names } else { &names[index + 1..] };
        fs::write(metadata.join("dependencies"), some(2, among)).unwrap();
    }
    some(3, &names) + ",t/a"
}

#[test]
fn layers_that_depend_on_each_other_at_random_are_ordered_as_by_skiffos() {
    let Some(tree) = skiffos_tree("random layers") else { return };
    let copy = skiffos_copy(&tree);
    let (mut cycles, mut differ) = (0, 0);
    for seed in 0..40 {
        let list = random_layers(copy.path(), seed);
        let registry = discover(&Environment::default(), &Roots::for_project(copy.path())).unwrap();
        let theirs = skiffos_environment(copy.path(), &list)["SKIFF_CONFIG"].clone();
        let chain = registry.chain(&list, "the test", Order::Skiffos).unwrap();
        assert_eq!(chain.text(), theirs, "{seed}: {list}");
        match registry.chain(&list, "the test", Order::Dependencies) {
            Ok(ours) => {
                let reasons = displaced(&registry, &list, "the test").unwrap();
                assert_eq!(ours.text() == theirs, reasons.is_empty(), "{seed}: {list}");
                differ += usize::from(!reasons.is_empty());
            }
            Err(error) => {
                assert_eq!(chain.warnings, [error.to_string()], "{seed}: {list}");
                cycles += 1;
            }
        }
    }
    assert!(cycles > 3 && differ > 3, "{cycles} with circles, {differ} in another order");
}

/// What only SkiffOS' own scripts read.
fn is_theirs(name: &str) -> bool {
    let starts = ["SKIFF_PACKAGE_", "SKIFF_CONFIG_METADATA_"];
    starts.iter().any(|start| name.starts_with(start))
        || ["SKIFF_FILTER_ENVS", "SKIFF_HAS_ENUMERATED_CONFIGS", "SKIFF_BUILD_TARGET_OVERRIDE"]
            .contains(&name)
        || name.contains("_COMMAND_")
}

fn of_layers(environment: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let others = ["ROOT_DIR", "WORKSPACE_DIR", "BUILDROOT_DIR"];
    let wanted = |name: &str| name.contains("SKIFF") && !is_theirs(name) || others.contains(&name);
    environment.into_iter().filter(|(name, _)| wanted(name)).collect()
}

fn our_environment(tree: &Path, chain: &str, variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut command = Command::new(PROGRAM);
    command.args(["env", "--skiffos-order", "--config", chain]).current_dir(tree).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("SKIFF_VERSION", "unknown").envs(variables.iter().copied());
    let mut found: BTreeMap<String, String> = serde_json::from_value(json(&mut command)).unwrap();
    assert_eq!(found.remove("SKIFF_ORDER").as_deref(), Some("skiffos"));
    found
}

#[test]
fn programs_of_layers_find_the_environment_of_skiffos() {
    let Some(tree) = skiffos_tree("the environment") else { return };
    let copy = skiffos_copy(&tree);
    let tree = copy.path().canonicalize().unwrap();
    let theirs = of_layers(skiffos_environment(&tree, "pine64/phone,core/gentoo"));
    assert!(theirs.len() > 280, "{}", theirs.len());
    assert_eq!(of_layers(our_environment(&tree, "pine64/phone,core/gentoo", &[])), theirs);
}

#[test]
fn an_extension_repository_is_used_unchanged() {
    let Some(tree) = skiffos_tree("an extension repository") else { return };
    let copy = skiffos_copy(&tree);
    let tree = copy.path().canonicalize().unwrap();
    let write = |name: &str, text: &str| {
        let path = tree.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    // One replaces a layer of the tree, one is named by its own variable.
    write("one/apps/docker/metadata/dependencies", "apps/crun");
    write("one/mine/robot/metadata/dependencies", "skiff/core mine/arm");
    write("two/mine/robot/metadata/dependencies", "apps/kodi");
    write("two/mine/arm/metadata/description", "x");
    write("elsewhere/metadata/dependencies", "apps/ttyd");
    let path = |name: &str| tree.join(name).to_str().unwrap().to_owned();
    let extra = format!("{}:{}", path("one"), path("two"));
    let own = path("elsewhere");
    let variables = [("SKIFF_EXTRA_CONFIGS_PATH", extra.as_str()), ("SKIFF_CONFIG_PATH_MINE_ARM", &own)];
    let mut ours = of_layers(our_environment(&tree, "pi/4,mine/robot", &variables));
    let theirs = of_layers(skiffos_environment_with(&tree, "pi/4,mine/robot", &variables));
    assert_eq!(ours["SKIFF_CONFIG"], theirs["SKIFF_CONFIG"]);
    assert!(theirs["SKIFF_CONFIG"].contains("apps/crun,apps/docker"), "{}", theirs["SKIFF_CONFIG"]);
    // SkiffOS does not know how to call what only a variable names.
    assert_eq!(ours.remove("SKIFF_CONFIG_NAME_MINE_ARM").as_deref(), Some("mine/arm"));
    assert_eq!(ours, theirs);
}
