//! Plan, apply and rollback, on podman.

mod images;
mod killed;
mod settings;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::sandbox::{Machine, on_a_machine};

/// A configuration with one container of busybox, with more settings of it.
fn config(machine: &Machine, settings: &str) -> String {
    format!(
        "containers:\n  box:\n    image: base:1\n    entrypoint: [/bin/sh, -c, \"trap 'exit 0' TERM; while :; do sleep 0.1; \
         done\"]\n    hostNetwork: true\n    disableInit: true\n    startAfterCreate: true\n{settings}\nimages:\n  base:1:\n    \
         import: {}\n",
        machine.base().display()
    )
}

#[test]
fn a_container_is_made_once_and_replaced_only_if_nothing_is_lost() {
    on_a_machine(|machine| {
        machine.configure(&config(machine, "    env: [A=1]"));
        let plan = machine.skiff_core(&["plan"]);
        assert_eq!(plan, "0\nimage `base:1`: is loaded from its archive\ncontainer `box`: is made\n");
        let applied = machine.skiff_core(&["apply"]);
        assert!(applied.ends_with("container `box`: was made\n"), "{applied}");
        let id = machine.podman(&["inspect", "--format", "{{.Id}} {{.State.Running}}", "box"]);
        assert!(id.ends_with(" true"), "{id}");
        assert_eq!(machine.skiff_core(&["apply"]), "0\ncontainer `box`: is as it should be\n");
        assert_eq!(machine.podman(&["inspect", "--format", "{{.Id}} {{.State.Running}}", "box"]), id);

        // Nothing was written in it: replaced without being asked.
        machine.configure(&config(machine, "    env: [A=2]"));
        let plan = machine.skiff_core(&["plan"]);
        let expected = "container `box`: is made anew\n    env: without \"A=1\", with \"A=2\"\n    nothing would be lost\n";
        assert!(plan.ends_with(expected), "{plan}");
        let applied = machine.skiff_core(&["apply"]);
        assert!(
            applied.ends_with("container `box`: was made anew; the old one is `box.previous`\n"),
            "{applied}"
        );

        // Now there is.
        machine.podman(&["exec", "box", "/bin/sh", "-c", "echo precious >/home/core/file; echo x >/var/x"]);
        machine.configure(&config(machine, "    env: [A=3]\n    memory: 64m"));
        let plan = machine.skiff_core(&["plan"]);
        let expected = "container `box`: is made anew\n    env: without \"A=2\", with \"A=3\"\n    memory: not set is now \
                        67108864\n    2 paths in it would be left behind, so only with `--recreate`:\n      \
                        /home/core/file\n      /var/x\n";
        assert!(plan.ends_with(expected), "{plan}");
        let kept = "3\nerror: container `box` must be made anew, and 2 paths in it would be left behind: `/home/core/file`, \
                    `/var/x`\nhint: `skiff-core apply --recreate box` does it, and keeps the old one as `box.previous`\n";
        assert_eq!(machine.skiff_core(&["apply"]), kept);
        assert_eq!(machine.podman(&["exec", "box", "cat", "/home/core/file"]), "precious");
        let applied = machine.skiff_core(&["apply", "--recreate", "box"]);
        assert!(applied.ends_with("the old one is `box.previous`\n"), "{applied}");
        assert_eq!(machine.podman(&["inspect", "--format", "{{.HostConfig.Memory}}", "box"]), "67108864");

        // The old one comes back with what is in it, and is not replaced again by itself.
        assert_eq!(
            machine.skiff_core(&["rollback", "box"]),
            "0\ncontainer `box`: the previous one is back\n"
        );
        assert_eq!(machine.podman(&["exec", "box", "cat", "/home/core/file"]), "precious");
        let held = "3\nerror: container `box` was rolled back from this: somebody asked for it\nhint: `skiff-core apply \
                    --recreate box` tries it again\n";
        assert_eq!(machine.skiff_core(&["apply"]), held);
        assert_eq!(
            machine.skiff_core(&["rollback", "box"]),
            "0\ncontainer `box`: the previous one is back\n"
        );
        assert_eq!(machine.skiff_core(&["apply"]), "0\ncontainer `box`: is as it should be\n");
        assert_eq!(names(machine), ["box", "box.previous"]);

        // Stopped by somebody: started again.
        machine.podman(&["stop", "--time=0", "box"]);
        assert!(machine.skiff_core(&["plan"]).contains("container `box`: is started, in place\n"));
        assert!(machine.skiff_core(&["apply"]).ends_with("container `box`: runs\n"));
        // Removed by somebody: made again.
        machine.podman(&["rm", "--force", "--time=0", "box"]);
        assert!(machine.skiff_core(&["apply"]).ends_with("container `box`: was made\n"));
    });
}

/// Names of all containers.
fn names(machine: &Machine) -> Vec<String> {
    let names = machine.podman(&["ps", "--all", "--format", "{{.Names}}"]);
    let mut names: Vec<String> = names.lines().map(Into::into).collect();
    names.sort();
    names
}

#[test]
fn a_new_container_that_fails_makes_place_for_the_old_one() {
    on_a_machine(|machine| {
        machine.configure(&config(machine, ""));
        machine.skiff_core(&["apply"]);
        machine.podman(&["exec", "box", "/bin/sh", "-c", "echo precious >/home/core/file"]);
        let broken = config(machine, "")
            .replace("trap 'exit 0' TERM; while :; do sleep 0.1; done", "echo cannot go on; exit 3");
        machine.configure(&broken);
        let applied = machine.skiff_core(&["apply", "--recreate"]);
        let expected = "error: container `box` ended with status 3 after its start; it wrote: cannot go on; the previous one is \
                        back\nhint: correct the configuration; `skiff-core apply --recreate box` tries the same again\n";
        assert!(applied.starts_with('1') && applied.ends_with(expected), "{applied}");
        assert_eq!(machine.podman(&["exec", "box", "cat", "/home/core/file"]), "precious");
        assert_eq!(names(machine), ["box"]);
        // It is not tried at each start.
        let applied = machine.skiff_core(&["apply"]);
        assert!(
            applied
                .contains("container `box` was rolled back from this: container `box` ended with status 3"),
            "{applied}"
        );

        let sick = config(machine, "    health: {test: [/bin/cat, /nothing], interval: 1s, retries: 2}");
        machine.configure(&sick);
        let applied = machine.skiff_core(&["apply", "--recreate"]);
        let expected =
            "container `box` runs, but its test fails: `CMD /bin/cat /nothing`; the previous one is back";
        assert!(applied.contains(expected), "{applied}");
        assert_eq!(machine.podman(&["exec", "box", "cat", "/home/core/file"]), "precious");
        machine.configure(&sick.replace("/nothing", "/etc/passwd"));
        let applied = machine.skiff_core(&["apply", "--recreate"]);
        assert!(
            applied.ends_with("container `box`: was made anew; the old one is `box.previous`\n"),
            "{applied}"
        );
    });
}

#[test]
fn without_an_engine_accounts_are_made_and_the_reason_is_told() {
    on_a_machine(|machine| {
        machine.configure(&format!("{}users: {{core: {{container: box}}}}\n", config(machine, "")));
        let socket = machine.directory().join("other");
        std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let socket = socket.display().to_string();
        let applied = machine.skiff_core(&["apply", "--engine", &socket]);
        assert!(applied.contains("user `core`: set up\n"), "{applied}");
        let expected = format!("error: no container engine answers at `{socket}`: ");
        assert!(applied.contains(&expected), "{applied}");
        assert!(Path::new("/home/core").is_dir());
    });
}

#[test]
fn a_directory_of_persist_begins_with_what_the_image_has_and_then_belongs_to_the_user() {
    on_a_machine(|machine| {
        let mounts =
            "    mounts: [/mnt/persist/skiff/core/home:/home, /mnt/persist/none:/none, /mnt/other:/usr]";
        machine.configure(&config(machine, mounts));
        // What a run left that was killed while it copied.
        std::fs::create_dir_all("/mnt/persist/skiff/core/.home.unfinished/home/core/half")
            .expect("a directory");
        let applied = machine.skiff_core(&["apply"]);
        assert!(applied.ends_with("container `box`: was made\n"), "{applied}");
        let owner = |path: &str| std::fs::metadata(path).expect("it is there").uid();
        assert_eq!(
            (owner("/mnt/persist/skiff/core/home"), owner("/mnt/persist/skiff/core/home/core")),
            (0, 1000)
        );
        let listed = |path: &str| -> Vec<String> {
            let entries = std::fs::read_dir(path).expect("it can be listed").flatten();
            let mut names: Vec<String> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(listed("/mnt/persist/skiff/core/home"), ["core"]);
        assert_eq!(listed("/mnt/persist/skiff/core/home/core"), Vec::<String>::new());
        // The image has nothing there; and beside persist nothing is copied.
        assert_eq!(listed("/mnt/persist/none"), Vec::<String>::new());
        assert_eq!(listed("/mnt/other"), Vec::<String>::new());
        assert_eq!(listed("/mnt/persist/skiff/core"), ["config.yaml", "home", "state", "uids"]);
        assert_eq!(names(machine), ["box"]);
        // What is there is not touched.
        std::fs::write("/mnt/persist/skiff/core/home/core/mine", "x").expect("a file");
        machine.configure(&config(machine, &format!("{mounts}\n    env: [A=2]")));
        let applied = machine.skiff_core(&["apply", "--recreate"]);
        assert!(applied.ends_with("the old one is `box.previous`\n"), "{applied}");
        assert_eq!(machine.podman(&["exec", "box", "cat", "/home/core/mine"]), "x");
    });
}

#[test]
fn a_new_configuration_of_the_image_is_told_until_somebody_has_looked() {
    on_a_machine(|machine| {
        let root = machine.directory().join("root");
        for path in ["etc", "opt/skiff/coreenv", "mnt/persist/skiff/core"] {
            std::fs::create_dir_all(root.join(path)).expect("a directory");
        }
        let [image, user] = ["opt/skiff/coreenv/defconfig.yaml", "mnt/persist/skiff/core/config.yaml"]
            .map(|path| root.join(path));
        let apply = || machine.skiff_core(&["apply", "--root", root.to_str().expect("a plain name")]);
        let write = |path: &Path, text: &str| std::fs::write(path, text).expect("a file");
        write(&image, "users: {}\n");
        assert_eq!(apply(), "0\n");
        write(&image, "users: {} # 2\n");
        assert_eq!(apply(), "0\n", "it is in use itself");
        write(&user, "containers: {}\n");
        assert_eq!(apply(), "0\n");
        write(&image, "users: {} # 3\n");
        let state = root.join("mnt/persist/skiff/core/state/shipped.yaml");
        let told = format!(
            "0\nnote: the image has another configuration than when yours, `{}`, was applied first\nhint: compare `{}`, which it \
             was, with `{}`, which it is; take over what you want, and remove the former\n",
            user.display(),
            state.display(),
            image.display()
        );
        assert_eq!(apply(), told);
        assert_eq!(apply(), told);
        assert_eq!(std::fs::read_to_string(&state).expect("it is kept"), "users: {} # 2\n");
        std::fs::remove_file(&state).expect("it is there");
        assert_eq!((apply(), apply()), ("0\n".into(), "0\n".into()));
    });
}
