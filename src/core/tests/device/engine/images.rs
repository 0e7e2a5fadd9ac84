//! Where images come from.

use std::fs;

use super::config;
use crate::sandbox::on_a_machine;

#[test]
fn a_registry_that_does_not_answer_is_asked_again_and_told() {
    on_a_machine(|machine| {
        let text = config(machine, "");
        let (text, _) = text.split_once("    import:").expect("it has one");
        machine.configure(&format!("{text}    pull: {{registry: '127.0.0.1:1', retries: 1}}\n"));
        let applied = machine.skiff_core(&["apply"]);
        assert!(applied.contains("container `box`: image `base:1` is pulled\n"), "{applied}");
        assert!(applied.contains("; trying again in 1 s, 1 times more\n"), "{applied}");
        assert!(applied.contains("error: cannot pull image `127.0.0.1:1/base:1`: "), "{applied}");
        assert!(applied.contains("connection refused"), "{applied}");
    });
}

#[test]
fn an_archive_is_loaded_and_a_new_one_makes_the_container_anew() {
    on_a_machine(|machine| {
        let archive = machine.directory().join("image.tar");
        let path = archive.display().to_string();
        let save = |name: &str| {
            machine.podman(&[
                "import",
                "--change",
                &format!("ENV BUILD={name}"),
                &machine.base().display().to_string(),
                name,
            ]);
            let _ = fs::remove_file(&archive);
            machine.podman(&["save", "--format", "oci-archive", "--output", &path, name]);
            machine.podman(&["rmi", "--force", name]);
        };
        let text = config(machine, "");
        let (text, _) = text.split_once("    import:").expect("it has one");
        machine.configure(&format!("{text}    archive: {path}\n"));
        let applied = machine.skiff_core(&["apply"]);
        let expected = format!(
            "error: image `base:1`: there is no `{path}`\nhint: put the archive there, or pull the image\n"
        );
        assert!(applied.ends_with(&expected), "{applied}");
        save("localhost/other:one");
        let applied = machine.skiff_core(&["apply"]);
        assert!(applied.ends_with("container `box`: was made\n"), "{applied}");
        let build = || machine.podman(&["exec", "box", "/bin/sh", "-c", "echo $BUILD"]);
        assert_eq!(build(), "localhost/other:one");
        assert_eq!(machine.skiff_core(&["apply"]), "0\ncontainer `box`: is as it should be\n");
        save("localhost/other:two");
        assert!(machine.skiff_core(&["plan"]).contains("image `base:1`: is loaded from its archive\n"));
        let applied = machine.skiff_core(&["apply"]);
        assert!(
            applied.ends_with("container `box`: was made anew; the old one is `box.previous`\n"),
            "{applied}"
        );
        assert_eq!(build(), "localhost/other:two");
    });
}

#[test]
fn an_image_is_built_from_a_directory() {
    on_a_machine(|machine| {
        let source = machine.directory().join("context");
        fs::create_dir_all(source.join("files")).expect("a directory");
        fs::copy(machine.base(), source.join("base.tar")).expect("a copy");
        fs::write(source.join("files/mark"), "built\n").expect("a file");
        let dockerfile = "FROM scratch\nARG WHAT\nADD base.tar /\nCOPY files/mark /mark\nENV WHAT=$WHAT\n";
        fs::write(source.join("Containerfile"), dockerfile).expect("a file");
        let text = config(machine, "");
        let (text, _) = text.split_once("    import:").expect("it has one");
        let build = format!(
            "build: {{source: {}, dockerfile: Containerfile, buildArgs: {{WHAT: this}}}}",
            source.display()
        );
        machine.configure(&format!("{text}    {build}\n"));
        let applied = machine.skiff_core(&["apply"]);
        assert!(applied.ends_with("container `box`: was made\n"), "{applied}");
        assert_eq!(machine.podman(&["exec", "box", "/bin/sh", "-c", "cat /mark; echo $WHAT"]), "built\nthis");
    });
}
