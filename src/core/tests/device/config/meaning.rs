//! What a file means.

use std::time::Duration;

use skiff_core::config::{Login, Password, PullPolicy, RestartPolicy};

use super::loaded;

const WHOLE: &str = r#"
version: 1
containers:
  core:
    image: quay.io/example/debian:12
    tty: yes
    workingDirectory: /srv//data/
    mounts:
      - /mnt/persist/home:/home
      - cache:/var/cache:nocopy,nosuid
    disableInit: true
    capAdd: [CAP_SYS_ADMIN, net_admin]
    capDrop: [mknod]
    hostPID: true
    securityOpt: ["seccomp=unconfined", no-new-privileges]
    tmpFs:
      /run: rw,size=64m
      /tmp:
    entrypoint: ["/sbin/init", "--log"]
    cmd: ["5"]
    env: ["A=b=c", "E=", ""]
    ports:
      - hostPort: 8080
        containerPort: 80
      - "127.0.0.1:53:53/udp"
    dns: [1.1.1.1, "::1"]
    dnsSearch: [example.org]
    hosts: ["db:10.0.0.2"]
    restartPolicy: on-failure:3
    startAfterCreate: on
    stopSignal: SIGRTMIN+3
    devices: ["/dev/ttyS0", "/dev/ttyUSB0:/dev/gps:r"]
    memory: 512m
    cpus: 1.5
    pids: 200
    ulimits: {nofile: "1024:4096", core: 0, memlock: unlimited}
    sysctls: {net.ipv4.ip_forward: 1}
    shmSize: 64MiB
    hostname: box
    labels: {owner: me}
    health: {test: "true", interval: 1m30s, retries: 2}
    readOnly: true
users:
  core:
    container: core
    containerUser: "1000:100"
    auth:
      copyRootKeys: true
      sshKeys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0m5mcjLZ0gk7kqM8B8nNqZ9d7q4kS1r1kVQ2X3Y4Z5 me@here"]
      locked: true
  admin:
    host: true
    auth: {password: "$6$saltsalt$0123456789012345678901234567890123456789"}
images:
  quay.io/example/debian:12:
    pull: {pullPolicy: always, registry: "mirror.local:5000", retries: 0}
    build: {source: /opt/skiff/coreenv/base, buildArgs: {ARCH: arm64, EMPTY: }, squash: true}
    archive: /mnt/persist/skiff/core/images/debian.tar
"#;

#[test]
fn every_setting_is_read() {
    let (config, notes) = loaded(WHOLE);
    assert_eq!(notes, ["21:26: `env` of container `core`: an empty entry"]);
    let core = config.container("core").expect("it is there");
    assert_eq!(core.process.working_directory.as_deref(), Some("/srv/data"));
    assert_eq!(core.process.environment, ["A=b=c", "E="]);
    assert_eq!((core.process.entrypoint.len(), &*core.process.command), (2, &["5".to_string()][..]));
    assert_eq!(core.process.stop_signal.as_deref(), Some("RTMIN+3"));
    assert!(core.process.tty && core.process.disable_init && core.start_after_create);
    let isolation = &core.isolation;
    assert_eq!(isolation.add_capabilities, ["SYS_ADMIN", "NET_ADMIN"]);
    assert_eq!(isolation.drop_capabilities, ["MKNOD"]);
    assert_eq!(isolation.security, ["seccomp=unconfined", "no-new-privileges"]);
    assert_eq!((isolation.host_pid, isolation.host_ipc, isolation.read_only), (true, false, true));
    assert_eq!(isolation.sysctls["net.ipv4.ip_forward"], "1");
    let gps = &isolation.devices[1];
    assert_eq!((&*gps.host, &*gps.container, &*gps.access), ("/dev/ttyUSB0", "/dev/gps", "r"));
    assert_eq!(core.mounts[1].options, ["nocopy", "nosuid"]);
    assert_eq!((&*core.tmpfs["/run"], &*core.tmpfs["/tmp"]), ("rw,size=64m", ""));
    let network = &core.network;
    assert_eq!(
        (network.ports[0].host, network.ports[0].container, &*network.ports[0].protocol),
        (8080, 80, "tcp")
    );
    assert_eq!((network.ports[1].host, &*network.ports[1].protocol), (53, "udp"));
    assert_eq!(network.ports[1].address.map(|address| address.to_string()).as_deref(), Some("127.0.0.1"));
    assert_eq!((network.dns.join(" "), &*network.hosts[0]), ("1.1.1.1 ::1".into(), "db:10.0.0.2"));
    assert_eq!(network.hostname.as_deref(), Some("box"));
    assert_eq!(core.restart_policy, RestartPolicy::OnFailure(Some(3)));
    let limits = &core.limits;
    assert_eq!((limits.memory, limits.nano_cpus), (Some(512 << 20), Some(1_500_000_000)));
    assert_eq!((limits.pids, limits.shm_size), (Some(200), Some(64 << 20)));
    let ulimits: Vec<_> = limits.ulimits.iter().map(|limit| (&*limit.name, limit.soft, limit.hard)).collect();
    assert_eq!(ulimits, [("nofile", 1024, 4096), ("core", 0, 0), ("memlock", -1, -1)]);
    let health = core.health.as_ref().expect("it is there");
    assert_eq!((health.test.join(" "), health.interval), ("CMD-SHELL true".into(), Duration::from_secs(90)));
    assert_eq!((health.retries, health.timeout), (2, Duration::from_secs(30)));
    assert_eq!(core.labels["owner"], "me");

    let Login::Container { container, user, shell, create } = &config.user("core").expect("it is there").to
    else {
        panic!("`core` logs in to a container");
    };
    assert_eq!(
        (&*container.value, user.as_deref(), shell.len(), create),
        ("core", Some("1000:100"), 0, &false)
    );
    let auth = &config.user("core").expect("it is there").auth;
    assert_eq!((auth.copy_root_keys, auth.ssh_keys.len(), &auth.password), (true, 1, &Password::None));
    let admin = config.user("admin").expect("it is there");
    assert_eq!(admin.to, Login::Host);
    assert!(matches!(&admin.auth.password, Password::Hash(hash) if hash.starts_with("$6$")));

    let image = config.image("quay.io/example/debian:12").expect("it is there");
    let pull = image.pull.as_ref().expect("it is there");
    assert_eq!((pull.policy, pull.registry.as_deref()), (PullPolicy::Always, Some("mirror.local:5000")));
    assert_eq!(pull.retries, 0);
    let build = image.build.as_ref().expect("it is there");
    assert_eq!(
        (&*build.source, &*build.dockerfile, build.squash),
        ("/opt/skiff/coreenv/base", "Dockerfile", true)
    );
    assert_eq!(build.arguments, [("ARCH".into(), "arm64".into()), ("EMPTY".into(), String::new())]);
    assert_eq!(image.archive.as_deref(), Some("/mnt/persist/skiff/core/images/debian.tar"));
}

/// A file with one container, image and user, and `settings` of the container.
fn with(settings: &str) -> String {
    format!("containers:\n  core:\n    image: base:1\n{settings}\nimages:\n  base:1: {{pull: {{}}}}\n")
}

#[test]
fn a_machine_is_what_the_layers_repeat() {
    let long = r#"
    entrypoint: ["/lib/systemd/systemd"]
    env: ["container=docker"]
    stopSignal: RTMIN+3
    tty: true
    disableInit: true
    workingDirectory: /
    mounts:
      - /dev:/dev
      - /etc/hostname:/etc/hostname:ro
      - /lib/modules:/lib/modules:ro
      - /mnt:/mnt
      - /run/udev:/run/udev
    privileged: true
    startAfterCreate: true
    restartPolicy: "always"
    capAdd: [ALL]
    hostIPC: true
    hostUTS: true
    hostNetwork: true
    securityOpt: [seccomp=unconfined]
    tmpFs:
      /run: rw,noexec,nosuid,size=65536k
      /run/lock: rw,noexec,nosuid,size=65536k"#;
    let (long, short) = (loaded(&with(long)).0, loaded(&with("    machine: true")).0);
    assert_eq!(long.containers, short.containers);
}

#[test]
fn what_stands_beside_machine_wins() {
    let text = with(
        "    machine: true\n    tty: false\n    entrypoint: [/init]\n    hostname: box\n    restartPolicy: no\n    \
         mounts: [/srv:/mnt, /a:/b]\n    env: [container=podman, A=1]\n    ports: [\"80:80\"]",
    );
    let (config, notes) = loaded(&text);
    assert_eq!(notes, Vec::<String>::new());
    let core = &config.containers[0];
    assert_eq!((core.process.tty, &*core.process.entrypoint[0]), (false, "/init"));
    assert_eq!((core.isolation.host_uts, core.network.host, core.isolation.privileged), (false, false, true));
    assert_eq!(core.restart_policy, RestartPolicy::No);
    assert_eq!(core.process.environment, ["container=podman", "A=1"]);
    let mounts: Vec<_> =
        core.mounts.iter().map(|mount| format!("{}:{}", mount.source, mount.target)).collect();
    let expected =
        ["/srv:/mnt", "/a:/b", "/dev:/dev", "/etc/hostname:/etc/hostname", "/lib/modules:/lib/modules"];
    assert_eq!(mounts, [&expected[..], &["/run/udev:/run/udev"]].concat());
}

#[test]
fn words_that_files_use_wrongly_are_understood_with_a_note() {
    let text = "containers:\n  core: {image: 'base:1', restartPolicy: never, hostNetwork: yes, ports: ['80:80']}\n\
                images:\n  base:1:\n    pull:\n      policy: ifnotexists\n\
                users:\n  core:\n    container: core\n    auth: {password: secret}\n";
    let (config, notes) = loaded(text);
    assert_eq!(config.images[0].pull.as_ref().map(|pull| pull.policy), Some(PullPolicy::IfNotPresent));
    assert_eq!(
        notes,
        [
            "2:42: `restartPolicy` of container `core`: `never` is called `no`",
            "2:67: `ports` of container `core`: in the network of the host they are open as they are",
            "6:7: `policy` of `pull` of image `base:1`: it is called `pullPolicy`, and Skiff Core took no notice of \
             it; now it counts",
            "6:15: `policy` of `pull` of image `base:1`: `ifnotexists` is called `ifnotpresent`",
            "10:22: `password` of `auth` of user `core`: it is readable in this file\n    hint: write its hash, which \
             `openssl passwd -6` prints",
        ]
    );
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "containers:\n  one: &one\n    image: base:1\n    env: &env [A=1]\n  two:\n    <<: *one\n    tty: true\n    \
                env: *env\nimages:\n  base:1: {pull: {}}\n";
    let (config, _) = loaded(text);
    assert_eq!(config.containers[1].process.environment, ["A=1"]);
    assert_eq!(config.containers[1].image.value, "base:1");
    assert!(config.containers[1].process.tty && !config.containers[0].process.tty);
}

#[test]
fn an_empty_file_asks_for_nothing() {
    for text in ["", "# nothing\n", "---\n", "containers:\nusers:\nimages:\n"] {
        assert_eq!(loaded(text), Default::default(), "{text:?}");
    }
}

#[test]
fn an_equal_key_twice_is_told_with_both_places() {
    let text = with("    entrypoint: [/init]\n    tty: true\n    entrypoint: ['/init']");
    assert_eq!(
        loaded(&text).1,
        ["6:5: `entrypoint` of container `core` is here and at 4:5, with the same value"]
    );
}
