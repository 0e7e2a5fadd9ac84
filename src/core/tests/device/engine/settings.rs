//! Settings arrive in the container.

use std::path::Path;

use skiff_core::config::Config;
use skiff_core::quadlet;

use super::config;
use crate::sandbox::on_a_machine;

const SETTINGS: &str = "    workingDirectory: /srv\n    mounts: [/mnt/persist/new/data:/data:ro, /mnt/persist/new/home:/home]\n    \
                        capDrop: [MKNOD, KILL]\n    securityOpt: [seccomp=unconfined]\n    tmpFs: {/scratch: 'rw,size=1m'}\n    \
                        env: [A=b c]\n    hosts: ['db:10.0.0.2']\n    stopSignal: RTMIN+3\n    devices: ['/dev/null:/dev/extra:r']\n    \
                        memory: 64m\n    cpus: 0.5\n    pids: 50\n    ulimits: {nofile: '100:200', nproc: 1000}\n    shmSize: 4m\n    \
                        hostname: inner\n    labels: {owner: me}\n    readOnly: true\n    restartPolicy: on-failure:3";

/// Podman's command line makes the same of what a unit says as its interface makes of the configuration.
#[test]
fn a_unit_of_podman_makes_the_same_container() {
    on_a_machine(|machine| {
        machine.configure(&config(machine, SETTINGS));
        let applied = machine.skiff_core(&["apply"]);
        assert!(applied.ends_with("container `box`: was made\n"), "{applied}");
        let (config, _) =
            Config::load(Path::new("/mnt/persist/skiff/core/config.yaml")).expect("it is right");
        let options = quadlet::arguments(&config.containers[0]);
        let options = options.iter().flatten().map(String::as_str);
        let create: Vec<&str> =
            ["create", "--name", "other"].into_iter().chain(options).chain(["base:1"]).collect();
        machine.podman(&create);
        let [ours, other] = ["box", "other"].map(|name| -> serde_json::Value {
            serde_json::from_str(&machine.podman(&["inspect", name])).expect("JSON")
        });
        for key in [
            "Memory",
            "NanoCpus",
            "PidsLimit",
            "ShmSize",
            "Ulimits",
            "Binds",
            "CapDrop",
            "Devices",
            "Tmpfs",
            "ExtraHosts",
            "NetworkMode",
            "ReadonlyRootfs",
            "Privileged",
            "SecurityOpt",
            "IpcMode",
        ] {
            assert_eq!(ours[0]["HostConfig"][key], other[0]["HostConfig"][key], "{key}");
        }
        for key in ["Entrypoint", "WorkingDir", "StopSignal", "Hostname"] {
            assert_eq!(ours[0]["Config"][key], other[0]["Config"][key], "{key}");
        }
        assert_eq!(other[0]["Config"]["Labels"]["owner"], "me");
        let unit = machine.skiff_core(&["quadlet", "box"]);
        assert!(unit.starts_with("0\n# box.container\n"), "{unit}");
        assert_eq!(
            machine.skiff_core(&["quadlet", "none"]),
            "1\nerror: the configuration has no container `none`\n"
        );
    });
}

#[test]
fn settings_are_what_podman_has_and_what_the_container_sees() {
    on_a_machine(|machine| {
        machine.configure(&config(machine, SETTINGS));
        let applied = machine.skiff_core(&["apply"]);
        assert!(applied.ends_with("container `box`: was made\n"), "{applied}");
        let see = |command: &str| machine.podman(&["exec", "box", "/bin/sh", "-c", command]);
        assert_eq!(see("pwd; echo $A; cat /proc/sys/kernel/hostname"), "/srv\nb c\ninner");
        assert_eq!(
            see("cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max"),
            "67108864\n50"
        );
        assert_eq!(
            see("cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us"),
            "50000\n100000"
        );
        assert_eq!(see("ulimit -Sn; ulimit -Hn"), "100\n200");
        let table = see("cat /proc/mounts");
        let mount = |path: &str| {
            table.lines().find(|line| line.split(' ').nth(1) == Some(path)).expect("a mount").to_string()
        };
        assert!(mount("/data").contains(" ro,") && mount("/home").contains(" rw,"), "{table}");
        assert!(mount("/").contains(" ro,") && mount("/scratch").contains("size=1024k"), "{table}");
        assert!(mount("/dev/shm").contains("size=4096k"), "{table}");
        assert!(see("cat /etc/hosts").contains("10.0.0.2"));
        assert_eq!(see("test -c /dev/extra && cat /dev/extra && echo there"), "there");
        assert!(Path::new("/mnt/persist/new/home").is_dir());
        // Bits 5 (KILL) and 27 (MKNOD) of the bounding set.
        let status = see("cat /proc/1/status");
        let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("a line");
        let bounding = u64::from_str_radix(bounding.trim(), 16).expect("a number");
        assert_eq!(bounding & (1 << 5 | 1 << 27), 0, "{bounding:x}");
        let format = "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}} {{.Config.StopSignal}} \
                      {{index .Config.Labels \"owner\"}}";
        assert_eq!(machine.podman(&["inspect", "--format", format, "box"]), "on-failure:3 37 me");
    });
}
