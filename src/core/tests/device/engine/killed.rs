//! `apply` is killed at any moment.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{config, names};
use crate::sandbox::on_a_machine;

/// Moments, spread over the time that a whole run takes; the variable `SKIFF_KILL_MOMENTS` asks for more.
const MOMENTS: u32 = 12;

#[test]
fn a_killed_apply_is_made_good_by_the_next_and_loses_nothing() {
    on_a_machine(|machine| {
        machine.configure(&config(machine, "    env: [A=0]"));
        machine.skiff_core(&["apply"]);
        machine.podman(&["exec", "box", "/bin/sh", "-c", "echo 0 >/home/core/file"]);
        let mut duration = Duration::from_secs(1);
        let moments =
            std::env::var("SKIFF_KILL_MOMENTS").map_or(MOMENTS, |text| text.parse().expect("a number"));
        for moment in 0..=moments {
            machine.configure(&config(machine, &format!("    env: [A={}]", moment + 1)));
            let start = Instant::now();
            let mut child =
                machine.command(&["apply", "--recreate"]).stdout(Stdio::null()).spawn().expect("it starts");
            if moment > 0 {
                std::thread::sleep(duration * moment / moments);
                child.kill().expect("it can be killed");
                child.wait().expect("it ends");
            } else {
                assert!(child.wait().expect("it ends").success());
                duration = start.elapsed();
            }
            // What was in use is still there, under one of its names.
            let names_now = names(machine);
            let holders = ["box", "box.previous"].iter().filter(|name| names_now.contains(&(**name).into()));
            assert!(holders.count() > 0, "{names_now:?} at {moment}");
            let again = machine.skiff_core(&["apply", "--recreate"]);
            assert!(again.starts_with('0'), "killed at {moment} of {moments}: {again}");
            assert_eq!(names(machine), ["box", "box.previous"], "killed at {moment} of {moments}");
            let value = |name: &str| {
                machine.podman(&["inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", name])
            };
            assert!(value("box").contains(&format!("A={}\n", moment + 1)), "{}", value("box"));
            assert!(value("box.previous").contains(&format!("A={moment}\n")), "{}", value("box.previous"));
            // The data of what was in use before is in the container that was kept.
            let mounted = machine.podman(&["mount", "box.previous"]);
            let kept =
                std::fs::read_to_string(format!("{mounted}/home/core/file")).expect("the file was kept");
            assert_eq!(kept.trim(), moment.to_string());
            machine.podman(&["unmount", "box.previous"]);
            let write = format!("echo {} >/home/core/file", moment + 1);
            machine.podman(&["exec", "box", "/bin/sh", "-c", &write]);
        }
    });
}
