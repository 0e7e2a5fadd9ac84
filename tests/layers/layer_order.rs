//! Which layers a chain has, where they are found, and in which order: ours, and that of SkiffOS on request.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::project::{Project, expect_failure, json, run, succeed};
use serde_json::json as value;
use skiff_image::layer::{Environment, LayerError, Order, Registry, Roots, discover, displaced};

/// Layers with the text of their dependencies, below `root`.
fn add_layers(project: &Project, root: &str, layers: &[(&str, &str)]) {
    for (name, dependencies) in layers {
        project.write(&format!("{root}/{name}/metadata/dependencies"), dependencies);
    }
}

fn project(layers: &[(&str, &str)]) -> Project {
    let project = Project::new();
    add_layers(&project, "configs", layers);
    project
}

/// Names of the layers of a chain.
fn resolved(command: &mut Command) -> Vec<String> {
    let rows = json(command);
    let name = |row: &serde_json::Value| row["name"].as_str().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(name).collect()
}

fn resolve(project: &Project, more: &[&str]) -> Command {
    project.command(&[&["layers", "resolve"], more].concat())
}

#[test]
fn both_orders_are_shown_with_what_makes_the_difference() {
    let project = project(&[("t/phone", "t/common t/modules"), ("t/common", "t/modules"), ("t/modules", "")]);
    let compat = |chain: &str| resolve(&project, &["--compat", "--config", chain]);
    assert_eq!(
        succeed(&mut compat("t/phone")).0,
        "ours       skiffos\n\
         t/modules  t/common\n\
         t/common   t/modules\n\
         t/phone    t/phone\n\
         skiffos has `t/modules` behind `t/common`, which depends on it\n"
    );
    assert_eq!(
        succeed(&mut compat("t/common")).0,
        "ours       skiffos\nt/modules  t/modules\nt/common   t/common\nboth orders are the same\n"
    );
    assert_eq!(
        json(&mut compat("t/phone")),
        value!({
            "ours": ["t/modules", "t/common", "t/phone"],
            "skiffos": ["t/common", "t/modules", "t/phone"],
            "displaced": [{ "dependency": "t/modules", "dependent": "t/common" }],
        })
    );
}

#[test]
fn the_order_of_skiffos_is_taken_by_every_verb_that_takes_layers() {
    let project = project(&[("t/core", "t/docker"), ("t/docker", "")]);
    for layer in ["core", "docker"] {
        project.write(&format!("configs/t/{layer}/root_overlay/etc/winner"), layer);
    }
    let chain = ["--config", "t/core,t/docker"];
    assert_eq!(resolved(&mut resolve(&project, &chain)), ["t/docker", "t/core"]);
    let theirs = [&chain[..], &["--skiffos-order"]].concat();
    assert_eq!(resolved(&mut resolve(&project, &theirs)), ["t/core", "t/docker"]);
    assert_eq!(resolved(resolve(&project, &chain).env("SKIFF_ORDER", "skiffos")), ["t/core", "t/docker"]);
    for ours in ["", "dependencies"] {
        assert_eq!(resolved(resolve(&project, &chain).env("SKIFF_ORDER", ours)), ["t/docker", "t/core"]);
    }
    let winner = |flags: &[&str]| {
        let args = ["explain", "/etc/winner", "--source", "output", "--config", "t/core,t/docker"];
        json(&mut project.command(&[&args, flags].concat()))["winner"]["name"].clone()
    };
    assert_eq!((winner(&[]), winner(&["--skiffos-order"])), ("t/core".into(), "t/docker".into()));
    let (_, stderr, code) = run(resolve(&project, &chain).env("SKIFF_ORDER", "theirs"));
    assert!(stderr.contains("SKIFF_ORDER is `skiffos` or `dependencies`") && code == 2, "{stderr}");
}

#[test]
fn a_circle_is_an_error_and_in_the_order_of_skiffos_a_warning() {
    let project = project(&[("t/a", "t/b"), ("t/b", "\nt/a")]);
    expect_failure(
        &mut resolve(&project, &["--config", "t/a"]),
        1,
        "error: layers depend on each other: t/a -> t/b -> t/a\nhint: remove the dependency in \
         `configs/t/b/metadata/dependencies:2`, or take SkiffOS' order with `--skiffos-order`",
    );
    let (stdout, stderr) = succeed(&mut resolve(&project, &["--config", "t/a", "--skiffos-order"]));
    assert_eq!(stdout, "t/b\nt/a\n");
    assert_eq!(stderr, "warning: layers depend on each other: t/a -> t/b -> t/a\n");
}

#[test]
fn the_base_of_skiffos_is_around_everything() {
    let project = project(&[("t/a", "")]);
    project.write("configs-base/pre/metadata/description", "Defaults\n");
    project.write("configs-base/post/buildroot/config", "");
    project.write("overrides/workspaces/w/buildroot/own", "");
    let expected = ["configs-base/pre", "t/a", "overrides", "overrides/workspaces/w", "configs-base/post"];
    let w = ["--config", "t/a", "--workspace", "w"];
    assert_eq!(resolved(&mut resolve(&project, &w)), expected);
    let rows = json(&mut resolve(&project, &w));
    assert_eq!((&rows[0]["found"], &rows[0]["description"]), (&"configs-base".into(), &"Defaults".into()));
}

#[test]
fn layers_are_found_where_variables_say_relative_to_the_project() {
    let project = project(&[("t/a", ""), ("t/c", "")]);
    add_layers(&project, "extra", &[("t/a", ""), ("my_ns/x-y", "t/a")]);
    add_layers(&project, "one", &[("t/c", "")]);
    let variables = [
        ("SKIFF_EXTRA_CONFIGS_PATH", "extra"),
        ("SKIFF_CONFIG_PATH_T_C", "one/t/c"),
        // What programs of layers are given is no layer, and what says nothing new changes nothing.
        ("SKIFF_CONFIG_PATH_VAR", "SKIFF_CONFIG_PATH_T_C"),
        ("SKIFF_CONFIG_PATH", "one/t/c"),
        ("SKIFF_CONFIG_PATH_T_A", "extra/t/a"),
    ];
    let elsewhere = tempfile::tempdir().unwrap();
    let root = project.path("").canonicalize().unwrap();
    let mut command = resolve(&project, &["--config", "my_ns/x-y,t/c", "--root", root.to_str().unwrap()]);
    command.current_dir(elsewhere.path()).envs(variables);
    let rows = json(&mut command);
    let column = |name: &str| -> Vec<String> {
        let cell =
            |row: &serde_json::Value| row[name].as_str().unwrap().replace(root.to_str().unwrap(), "ROOT");
        rows.as_array().unwrap().iter().map(cell).collect()
    };
    assert_eq!(column("name"), ["t/a", "my_ns/x-y", "t/c"]);
    assert_eq!(column("path"), ["ROOT/extra/t/a", "ROOT/extra/my_ns/x-y", "ROOT/one/t/c"]);
    assert_eq!(column("found"), ["ROOT/extra", "ROOT/extra", "SKIFF_CONFIG_PATH_T_C"]);
    let mut here = resolve(&project, &["--config", "t/a t/c"]);
    assert_eq!(
        succeed(here.envs(variables)).0,
        "t/a   (replaces `configs/t/a`)\nt/c   (replaces `configs/t/c`)\n"
    );
    expect_failure(
        resolve(&project, &["--config", "t/a"]).env("SKIFF_EXTRA_CONFIGS_PATH", "extra:/none"),
        1,
        "error: `SKIFF_EXTRA_CONFIGS_PATH` names `/none`, which is not a directory\nhint: correct \
         `SKIFF_EXTRA_CONFIGS_PATH`, or make the directory",
    );
}

#[test]
fn names_are_found_as_written_then_whatever_their_case() {
    let project = project(&[("t/c", "T/D"), ("t/d", ""), ("t/D2", ""), ("t/d2", "")]);
    let (stdout, stderr) = succeed(&mut resolve(&project, &["--config", "T/C,t/c,t/d2"]));
    assert_eq!(stdout, "t/d\nt/c\nt/d2\n");
    assert_eq!(
        stderr,
        "`T/C` in `--config` is the layer `t/c`\n\
         `T/D` in `configs/t/c/metadata/dependencies:1` is the layer `t/d`\n"
    );
    let stderr = run(&mut resolve(&project, &["--config", "T/D2"])).1;
    assert!(stderr.starts_with("error: unknown layer `T/D2`, asked for by `--config`\n"), "{stderr}");
}

#[test]
fn names_that_share_a_variable_are_told() {
    let project = project(&[("a_b/c", ""), ("a/b_c", ""), ("a/b-c", "")]);
    let (_, stderr) = succeed(&mut project.command(&["layers", "list"]));
    assert_eq!(
        stderr,
        "`SKIFF_CONFIG_PATH_A_B_C` is the variable of `a/b-c` and of `a/b_c` and of `a_b/c`: SkiffOS knows only one of \
         them\n"
    );
    assert_eq!(
        resolved(&mut resolve(&project, &["--config", "a/b-c,a_b/c,a/b_c"])),
        ["a/b-c", "a_b/c", "a/b_c"]
    );
    expect_failure(
        project.command(&["layers", "list"]).env("SKIFF_CONFIG_PATH_A_B_C", "configs"),
        1,
        "error: `SKIFF_CONFIG_PATH_A_B_C` is the variable of `a/b-c` and of `a/b_c` and of `a_b/c`\nhint: unset it, and \
         add the directory that holds the layer to SKIFF_EXTRA_CONFIGS_PATH",
    );
}

#[test]
fn what_skiffos_passes_over_in_silence_is_told() {
    let project = project(&[("t/latin", ""), ("t/long", ""), ("t/wrong", "t/latin,\n core"), ("t/dir", "")]);
    project.write("configs/t/latin/metadata/dependencies", b"t/long\n\nt/\xe4\n");
    project.write("configs/t/file", "");
    project.write("configs/t/part/root_overlay", "");
    project.write("configs/t/meta/metadata", "");
    fs::remove_file(project.path("configs/t/dir/metadata/dependencies")).unwrap();
    fs::create_dir(project.path("configs/t/dir/metadata/dependencies")).unwrap();
    let fails = |chain: &str, stderr: &str| {
        expect_failure(&mut resolve(&project, &["--config", chain]), 1, stderr);
    };
    fails(
        "t/latin",
        "error: `configs/t/latin/metadata/dependencies:3` is not UTF-8\nhint: write the names of layers in it, with \
         commas, spaces or line ends between them",
    );
    fails(
        "t/wrong",
        "error: `core` is not the name of a layer: expected NAMESPACE/NAME of letters, digits, `_` and `-` (asked for \
         by `configs/t/wrong/metadata/dependencies:2`)\nhint: separate layers by commas or spaces, for example \
         `pi/4,util/rootlogin`",
    );
    fails("t/lomg", "error: unknown layer `t/lomg`, asked for by `--config`\nhint: did you mean `t/long`?");
    fails(
        "t/file",
        "error: layer `t/file` is not a directory: `configs/t/file`\nhint: a layer is a directory NAMESPACE/NAME: rename \
         what is there",
    );
    fails(
        "t/part",
        "error: `configs/t/part/root_overlay` of layer `t/part` is not a directory\nhint: make it a directory with the \
         file in it, or rename it",
    );
    fails(
        "t/meta",
        "error: `configs/t/meta/metadata` of layer `t/meta` is not a directory\nhint: make it a directory with the file \
         in it, or rename it",
    );
    fails("t/dir", "error: cannot read `configs/t/dir/metadata/dependencies`: Is a directory (os error 21)");
    project.write("overrides", "");
    fails(
        "t/long",
        "error: layer `overrides` is not a directory: `overrides`\nhint: a layer is a directory NAMESPACE/NAME: rename \
         what is there",
    );
}

#[test]
fn any_path_will_do() {
    let parent = tempfile::tempdir().unwrap();
    let project = Project::below(&parent.path().join("a b@c#d&e'f"));
    add_layers(&project, "my layers @#&", &[("t/a", "demo/site")]);
    let mut command = resolve(&project, &["--config", "t/a"]);
    assert_eq!(resolved(command.env("SKIFF_EXTRA_CONFIGS_PATH", "my layers @#&")), ["demo/site", "t/a"]);
    let root = project.path("");
    let mut command = resolve(&project, &["--config", "t/a", "--root", root.to_str().unwrap()]);
    command.env("SKIFF_EXTRA_CONFIGS_PATH", "my layers @#&").current_dir("/");
    assert_eq!(resolved(&mut command), ["demo/site", "t/a"]);
}

/// Layers `t/a` to `t/g`, each of which depends on some of those behind it, as a number says; and a list of them.
fn random_layers(root: &Path, mut seed: u64) -> (Registry, String) {
    let mut next = move |below: usize| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as usize % below
    };
    let names = ["t/a", "t/b", "t/c", "t/d", "t/e", "t/f", "t/g"];
    for (index, name) in names.iter().enumerate() {
        let among = &names[index + 1..];
        let count = if among.is_empty() { 0 } else { next(4) };
        let dependencies: Vec<&str> = (0..count).map(|_| among[next(among.len())]).collect();
        let metadata = root.join("configs").join(name).join("metadata");
        fs::create_dir_all(&metadata).unwrap();
        fs::write(metadata.join("dependencies"), dependencies.join(" ")).unwrap();
    }
    let list: Vec<&str> = (0..1 + next(4)).map(|_| names[next(names.len())]).collect();
    (discover(&Environment::default(), &Roots::for_project(root)).unwrap(), list.join(","))
}

#[test]
fn dependencies_come_first_and_every_difference_to_skiffos_has_its_reason() {
    let root = tempfile::tempdir().unwrap();
    let mut differ = 0;
    for seed in 0..400 {
        let (registry, list) = random_layers(root.path(), seed);
        let names = |order| -> Result<Vec<String>, LayerError> {
            Ok(registry.chain(&list, "the test", order)?.chosen.into_iter().map(|layer| layer.name).collect())
        };
        let (ours, theirs) = (names(Order::Dependencies).unwrap(), names(Order::Skiffos).unwrap());
        for (index, name) in ours.iter().enumerate() {
            let file = root.path().join("configs").join(name).join("metadata/dependencies");
            for dependency in fs::read_to_string(file).unwrap().split_whitespace() {
                assert!(ours[..index].iter().any(|before| before == dependency), "{seed}: {ours:?}");
            }
        }
        assert_eq!(ours.iter().collect::<BTreeSet<_>>(), theirs.iter().collect());
        let reasons = displaced(&registry, &list, "the test").unwrap();
        assert_eq!(ours == theirs, reasons.is_empty(), "{seed} {list}: {ours:?} {theirs:?} {reasons:?}");
        differ += usize::from(!reasons.is_empty());
    }
    assert!(differ > 50, "{differ}");
}
