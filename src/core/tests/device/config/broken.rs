//! What is wrong with files, word for word.

use std::path::Path;

use skiff_core::config::Config;

/// Errors of a file as they are printed, without the line that counts them.
fn errors(text: &str) -> String {
    match Config::parse(text, Path::new("config.yaml")) {
        Ok(_) => "none".into(),
        Err(broken) => broken.errors.iter().map(|error| format!("{error}\n")).collect(),
    }
}

/// A file whose only container has these settings beside its image, on line 3.
fn container(settings: &str) -> String {
    format!("containers:\n  core:\n    {settings}\n    image: base:1\nimages:\n  base:1: {{pull: {{}}}}\n")
}

/// A file whose only user has these settings, on line 6.
fn user(settings: &str) -> String {
    format!(
        "containers:\n  core: {{image: 'base:1'}}\nimages: {{'base:1': {{pull: {{}}}}}}\nusers:\n  me:\n    {settings}\n"
    )
}

/// A file whose only image has these settings, on line 3.
fn image(settings: &str) -> String {
    format!("images:\n  base:1:\n    {settings}\n")
}

/// Files and their errors.
fn check(cases: &[(String, &str)]) {
    let mut wrong = String::new();
    for (text, expected) in cases {
        let found = errors(text);
        if found.trim_end() != *expected {
            wrong.push_str(&format!("--- of\n{text}--- wanted\n{expected}\n--- found\n{found}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn wrong_settings_of_containers() {
    check(&[
        (
            container("privilege: true"),
            "3:5: unknown key `privilege` of container `core`\n    hint: did you mean `privileged`?",
        ),
        (
            container("volumes: [a]"),
            "3:5: unknown key `volumes` of container `core`\n    hint: directories of the host are `mounts`",
        ),
        (container("tty: maybe"), "3:10: `tty` of container `core`: `maybe` is neither `true` nor `false`"),
        (container("tty: [yes]"), "3:10: `tty` of container `core`: a text is wanted, and this is a list"),
        (
            container("env: A=1"),
            "3:10: `env` of container `core`: a list is wanted, and this is a text\n    hint: write `[\"...\"]`, or one line with `- ` for each entry",
        ),
        (
            container("env: [A]"),
            "3:11: `env` of container `core`: `A` has no value\n    hint: write `A=` for an empty one",
        ),
        (
            container("mounts: [/a]"),
            "3:14: `mounts` of container `core`: `/a` is no mount\n    hint: write `HOST:CONTAINER` or `HOST:CONTAINER:ro`, or the name of a volume in place of HOST",
        ),
        (
            container("mounts: ['../a:/b']"),
            "3:14: `mounts` of container `core`: `../a` of `../a:/b` is neither an absolute path nor the name of a volume\n    hint: write `HOST:CONTAINER` or `HOST:CONTAINER:ro`, or the name of a volume in place of HOST",
        ),
        (
            container("mounts: ['/a/../b:/b']"),
            "3:14: `mounts` of container `core`: `/a/../b` has `..` in it\n    hint: write where it leads to",
        ),
        (
            container("mounts: ['/a:/b:rO']"),
            "3:14: `mounts` of container `core`: `rO` of `/a:/b:rO` is no option of a mount\n    hint: did you mean `ro`?",
        ),
        (
            container("mounts: ['/a:/']"),
            "3:14: `mounts` of container `core`: `/a:/` would hide the container's whole filesystem",
        ),
        (
            container("mounts: ['/a:/b', '/c:/b/']"),
            "3:23: `mounts` of container `core`: `/b` is the target at 3:14 too\n    hint: keep one of them",
        ),
        (
            container("capAdd: [SYS_ADMN]"),
            "3:14: `capAdd` of container `core`: `SYS_ADMN` is no capability of Linux\n    hint: did you mean `SYS_ADMIN`?",
        ),
        (
            container("securityOpt: [secomp=unconfined]"),
            "3:19: `securityOpt` of container `core`: `secomp=unconfined` is no security option\n    hint: did you mean `seccomp`?",
        ),
        (
            container("securityOpt: [seccomp]"),
            "3:19: `securityOpt` of container `core`: `seccomp` has no value\n    hint: write `seccomp=VALUE`",
        ),
        (
            container("restartPolicy: allways"),
            "3:20: `restartPolicy` of container `core`: `allways` is no restart policy\n    hint: did you mean `always`?",
        ),
        (
            container("stopSignal: RTMIN+99"),
            "3:17: `stopSignal` of container `core`: `RTMIN+99` is no signal\n    hint: possible are `ABRT`, `ALRM`, `BUS`, `CHLD`, `CONT`, `FPE`, `HUP`, `ILL`, `INT`, `IO`, `KILL`, `PIPE`, `PROF`, `PWR`, `QUIT`, `SEGV`, `STKFLT`, `STOP`, `SYS`, `TERM`, `TRAP`, `TSTP`, `TTIN`, `TTOU`, `URG`, `USR1`, `USR2`, `VTALRM`, `WINCH`, `XCPU`, `XFSZ`",
        ),
        (
            container("ports: ['80']"),
            "3:13: `ports` of container `core`: `80` is no port\n    hint: write `HOST:CONTAINER`, `ADDRESS:HOST:CONTAINER` or `HOST:CONTAINER/udp`",
        ),
        (container("ports: ['0:80']"), "3:13: `ports` of container `core`: `0` is no number from 1 to 65535"),
        (
            container("ports: [{hostPort: 80}]"),
            "3:13: `containerPort` of a port of container `core`: it is missing",
        ),
        (
            container("ports: [{hostPort: 80, containerPort: 8080}]\n    hostNetwork: true"),
            "3:5: `ports` of container `core`: port 80 cannot lead to 8080 in the network of the host\n    hint: take out `hostNetwork: true`, or the port: what the container listens at is open",
        ),
        (container("dns: [one]"), "3:11: `dns` of container `core`: `one` is no IP address"),
        (
            container("hosts: [db]"),
            "3:13: `hosts` of container `core`: `db` is no host\n    hint: write `NAME:ADDRESS`",
        ),
        (
            container("devices: ['/dev/a:x']"),
            "3:15: `devices` of container `core`: `/dev/a:x` is no device\n    hint: write `/dev/NAME`, `/dev/NAME:/dev/OTHER` or `/dev/NAME:/dev/OTHER:rw`",
        ),
        (
            container("memory: lots"),
            "3:13: `memory` of container `core`: `lots` is no number of bytes\n    hint: write `512m` or `2g`",
        ),
        (
            container("memory: 99999999999t"),
            "3:13: `memory` of container `core`: `99999999999t` is no number of bytes\n    hint: write `512m` or `2g`",
        ),
        (
            container("cpus: 0"),
            "3:11: `cpus` of container `core`: `0` is no number of processors\n    hint: write `2` or `0.5`",
        ),
        (container("pids: -1"), "3:11: `pids` of container `core`: `-1` is no number from 1 to 2147483647"),
        (
            container("ulimits: {nofiles: 10}"),
            "3:24: `ulimits` of container `core`: `nofiles` is no limit of a process\n    hint: did you mean `nofile`?",
        ),
        (
            container("ulimits: {nofile: '10:5'}"),
            "3:23: `ulimits` of container `core`: `nofile` begins at 10, above its highest value 5",
        ),
        (container("hostname: a_b"), "3:15: `hostname` of container `core`: `a_b` is no host name"),
        (
            container("hostname: box\n    hostUTS: true"),
            "3:5: `hostname` of container `core`: the container shares the name of the host\n    hint: keep it or `hostUTS`",
        ),
        (
            container("capAdd: [KILL]\n    capDrop: [CAP_KILL]"),
            "4:5: `capDrop` of container `core`: `KILL` is in `capAdd` too",
        ),
        (
            container("mounts: ['/a:/run']\n    tmpFs: {/run: ''}"),
            "4:5: `tmpFs` of container `core`: `/run` is the target of a mount too",
        ),
        (
            container("labels: {skiff.core.hash: 1}"),
            "3:14: `labels` of container `core`: `skiff.core.hash`: labels that begin with `skiff.core.` are our own",
        ),
        (
            container("health: {interval: 5x}"),
            "3:13: `test` of `health` of container `core`: it is missing\n    hint: a command that ends with 0 when the container works\n3:24: `interval` of `health` of container `core`: `5x` is no time\n    hint: write `30s` or `1m30s`",
        ),
        (
            "containers:\n  core:\n".into(),
            "2:3: `image` of container `core`: it is missing\n    hint: write `image: NAME:TAG`, and the same name below `images`",
        ),
        (
            "containers:\n  c.previous: {image: a}\n".into(),
            "2:3: container `c.previous`: names with this end are for what `apply` replaces",
        ),
        (
            "containers:\n  c: {image: a}\n".into(),
            "2:3: `c` is no name for a container\n    hint: two or more of the letters a to z, A to Z, digits, `_`, `.` and `-`; the first is a letter or digit",
        ),
        (
            "containers:\n  core: {image: 'A:1'}\n".into(),
            "2:17: `image` of container `core`: `A:1` is no reference of an image: a name has letters a to z, digits, `_`, `.`, `-` and `/`\n    hint: write it as `quay.io/NAME/IMAGE:latest`, with `@sha256:DIGEST` to pin it",
        ),
    ]);
}

#[test]
fn wrong_settings_of_users() {
    check(&[
        (
            user("container: cor"),
            "6:16: user `me`: there is no container `cor`\n    hint: did you mean `core`?",
        ),
        (
            user("container: other"),
            "6:16: user `me`: there is no container `other`\n    hint: there are `core`",
        ),
        (
            user("auth: {}"),
            "5:3: `container` of user `me`: it is missing\n    hint: write `container: NAME`, or `host: true` for a shell of the host",
        ),
        (
            user("container: core\n    host: true"),
            "6:16: `host` of user `me`: there is `container` too\n    hint: keep one of them",
        ),
        (
            user("host: true\n    containerShell: [/bin/sh]"),
            "7:5: `containerShell` of user `me`: this user has a shell of the host, by `host: true`",
        ),
        (
            user("container: core\n    createContainerUser: true"),
            "7:5: `createContainerUser` of user `me`: there is no `containerUser` to make\n    hint: name it",
        ),
        (
            user("container: core\n    containerUser: 'a b'"),
            "7:20: `containerUser` of user `me`: `a b` is no user of a container\n    hint: write a name, a number, or `USER:GROUP`",
        ),
        (
            user("container: core\n    auth: {locked: true, password: x}"),
            "7:12: `locked` of `auth` of user `me`: there is `password` too, and only one of them can be\n    hint: keep one of them; keys work with each",
        ),
        (
            user("container: core\n    auth: {sshKeys: [ssh-rsa abc]}"),
            "7:22: `sshKeys` of `auth` of user `me`: `ssh-rsa abc...` is no public key of OpenSSH\n    hint: take the line of a file such as `~/.ssh/id_ed25519.pub`",
        ),
        (
            user("container: core\n    allowRoot: true"),
            "7:5: `allowRoot` of user `me`: it is for the user `root`\n    hint: take it out",
        ),
        (
            "users:\n  root: {container: core}\ncontainers: {core: {image: 'a:1'}}\n".into(),
            "2:3: user `root` would have no shell of the host any more\n    hint: write `allowRoot: true` if there is another way to a shell of the host",
        ),
        (
            "users:\n  Me: {host: true}\n".into(),
            "2:3: `Me` is no name for a user\n    hint: at most 32 of the letters a to z, digits, `_` and `-`; the first is a letter or `_`",
        ),
    ]);
}

#[test]
fn wrong_settings_of_images() {
    check(&[
        (
            "images:\n  base:1:\n".into(),
            "2:3: image `base:1` has none of `pull`, `build`, `archive` and `import`\n    hint: `pull: {}` asks its registry for it",
        ),
        (
            image("pull: {pullPolicy: allways}"),
            "3:24: `pullPolicy` of `pull` of image `base:1`: `allways` is no pull policy\n    hint: did you mean `always`?",
        ),
        (
            image("pull: {pullPolicy: always, policy: always}"),
            "3:32: `policy` of `pull` of image `base:1` and `pullPolicy` at 3:12 are the same\n    hint: take out `policy`",
        ),
        (
            image("pull: {registry: 'https://quay.io'}"),
            "3:22: `registry` of `pull` of image `base:1`: `https://quay.io` is an address\n    hint: write the name alone, as `quay.io`",
        ),
        (
            image("build: {}"),
            "3:12: `source` of `build` of image `base:1`: it is missing\n    hint: the directory with the Dockerfile, such as `/opt/skiff/coreenv/base`",
        ),
        (
            image("build: {source: /a, root: /b}"),
            "3:25: unknown key `root` of `build` of image `base:1`\n    hint: Skiff Core never used it: take it out, and let `source` name the directory",
        ),
        (
            image("build: {source: 'https://example.org/a.git'}"),
            "3:21: `source` of `build` of image `base:1`: `https://example.org/a.git`: repositories of git are not cloned on devices\n    hint: give the address of a `.tar.gz` of a version of it",
        ),
        (
            image("build: {source: /a, dockerfile: ../Dockerfile}"),
            "3:37: `dockerfile` of `build` of image `base:1`: `../Dockerfile` leads out of the source",
        ),
        (
            image("build: {source: /a, scratchBuild: true}"),
            "3:25: `scratchBuild` of `build` of image `base:1`: images are not rebased any more\n    hint: take it out: images for several architectures have replaced it",
        ),
        (
            image("archive: a.tar"),
            "3:14: `archive` of image `base:1`: `a.tar` is no absolute path\n    hint: it must begin with `/`",
        ),
        (
            image("archive: /a\n    import: /b"),
            "4:5: `import` of image `base:1`: there is an `archive` too\n    hint: keep one of them",
        ),
        (
            "images:\n  base@sha256:12: {pull: {}}\n".into(),
            "2:3: `base@sha256:12` is no reference of an image: a digest is `sha256:` and 64 hexadecimal digits in lower case\n    hint: write it as `quay.io/NAME/IMAGE:latest`, with `@sha256:DIGEST` to pin it",
        ),
    ]);
}

#[test]
fn wrong_files() {
    check(&[
        (
            "containrs: {}\n".into(),
            "1:1: unknown key `containrs` of the file\n    hint: did you mean `containers`?",
        ),
        ("- a\n".into(), "1:1: the file must be a map, and this is a list"),
        (
            "version: 2\n".into(),
            "1:10: `version` of the file: `2` is not known, only 1 is\n    hint: this program may be too old for the file",
        ),
        (
            "users: {}\n---\nusers: {}\n".into(),
            "2:1: a second document begins here\n    hint: join both, and take out the line `---`",
        ),
        (
            "users:\n  a: {host: yes}\n  a: {host: no}\n".into(),
            "3:3: `a` of `users` is here and at 2:3\n    hint: keep one of them",
        ),
        ("users: [a\n".into(), "2:1: this is not YAML: while parsing a flow sequence, expected ',' or ']'"),
        ("a: *b\n".into(), "1:4: this is not YAML: while parsing node, found unknown anchor"),
        ("a: &a [*a]\n".into(), "1:8: this alias is inside the value that it stands for"),
        (
            format!("a: {}{}\n", "[".repeat(40), "]".repeat(40)),
            "1:36: this is in more than 32 lists and maps",
        ),
        ("<<: 5\n".into(), "1:1: `<<` takes a map or a list of maps"),
        ("? [a]\n: b\n".into(), "1:3: a key must be a text"),
    ]);
}

#[test]
fn aliases_cannot_make_a_short_file_large() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_string();
    for level in 1..10 {
        let entries = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{entries}]\n"));
    }
    let found = errors(&text);
    assert!(found.starts_with("5:45: with this alias there are more than 100000 values\n"), "{found}");
    let found = errors(&"#".repeat((1 << 20) + 1));
    assert!(found.starts_with("1:1: the file has 1048577 bytes, more than 1048576\n"), "{found}");
}

#[test]
fn all_errors_are_told_at_once_in_the_order_of_the_file() {
    let text = "users:\n  me: {container: core, shell: x}\ncontainers:\n  core:\n    image: base:1\n    tty: 5\n    capAdd: [NONE]\n";
    let broken = Config::parse(text, Path::new("/etc/config.yaml")).expect_err("it is broken");
    let text = broken.to_string();
    let lines: Vec<_> = text.lines().filter(|line| !line.contains("hint:")).collect();
    assert_eq!(
        lines,
        [
            "`/etc/config.yaml` has 3 errors:",
            "  2:25: unknown key `shell` of user `me`",
            "  6:10: `tty` of container `core`: `5` is neither `true` nor `false`",
            "  7:14: `capAdd` of container `core`: `NONE` is no capability of Linux",
        ]
    );
}
