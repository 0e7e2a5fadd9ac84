//! Containers of a configuration as units of podman's own generator for systemd, for those who go on without this program.
//!
//! Settings are options of podman (`PodmanArgs=`), which every version of the generator passes on; newer ones have keys
//! for some of them. Source: [podman-systemd.unit(5)](https://docs.podman.io/en/latest/markdown/podman-systemd.unit.5.html).

use crate::config::{Config, Container, Device, Image, Login, Mount, Port, RestartPolicy};

/// The unit of a container: the contents of `NAME.container`, below `/etc/containers/systemd`.
pub fn unit(container: &Container, config: &Config) -> String {
    let mut text = format!("# {}.container\n", container.name.value);
    remarks(container, config).iter().for_each(|remark| text.push_str(&format!("# {remark}\n")));
    text.push_str(&format!("[Container]\nContainerName={}\n", container.name.value));
    text.push_str(&format!("Image={}\n", quoted(&reference(container, config))));
    if !container.process.command.is_empty() {
        text.push_str(&format!("Exec={}\n", joined(&container.process.command)));
    }
    for arguments in arguments(container) {
        text.push_str(&format!("PodmanArgs={}\n", joined(&arguments)));
    }
    text.push_str(&service(&container.restart_policy));
    if container.start_after_create {
        text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    }
    text
}

/// What a unit cannot say.
fn remarks(container: &Container, config: &Config) -> Vec<String> {
    let name = &container.name.value;
    let users = config
        .users
        .iter()
        .filter(|user| matches!(&user.to, Login::Container { container, .. } if container.value == *name));
    let mut remarks: Vec<String> = users
        .map(|user| format!("user `{}` logs in to it; by hand: `podman exec -it {name} sh`", user.name.value))
        .collect();
    let Some(image) = config.image(&container.image.value) else { return remarks };
    let reference = &image.reference.value;
    if let Some(build) = &image.build {
        remarks.push(format!(
            "before it: `podman build -t {reference} -f {} {}`",
            build.dockerfile, build.source
        ));
    }
    if let Some(archive) = &image.archive {
        remarks.push(format!("before it: `podman load -i {archive}`"));
    }
    if let Some(archive) = &image.import {
        remarks.push(format!("before it: `podman import {archive} {reference}`"));
    }
    remarks
}

/// The image as podman has it, which knows of no registry of its own for it.
fn reference(container: &Container, config: &Config) -> String {
    let reference = &container.image.value;
    let pull = config.image(reference).and_then(|image: &Image| image.pull.as_ref());
    match pull.and_then(|pull| pull.registry.as_ref()) {
        Some(registry) => format!("{registry}/{reference}"),
        None => reference.clone(),
    }
}

/// Options of `podman create`, each with its value.
pub fn arguments(container: &Container) -> Vec<Vec<String>> {
    let mut options = Options::default();
    process(container, &mut options);
    isolation(container, &mut options);
    limits(container, &mut options);
    network(container, &mut options);
    options.each("volume", container.mounts.iter().map(volume));
    options.each("tmpfs", container.tmpfs.iter().map(|(path, options)| pair(path, ":", options)));
    options.each("label", container.labels.iter().map(|(name, value)| format!("{name}={value}")));
    options.0
}

#[derive(Default)]
struct Options(Vec<Vec<String>>);

impl Options {
    fn flag(&mut self, name: &str, is_set: bool) {
        if is_set {
            self.0.push(vec![format!("--{name}")]);
        }
    }

    fn each(&mut self, name: &str, values: impl IntoIterator<Item = impl ToString>) {
        self.0.extend(values.into_iter().map(|value| vec![format!("--{name}={}", value.to_string())]));
    }
}

fn process(container: &Container, options: &mut Options) {
    let process = &container.process;
    options.flag("tty", process.tty);
    options.flag("init", !process.disable_init);
    options.each("workdir", &process.working_directory);
    options.each("env", &process.environment);
    options.each("stop-signal", &process.stop_signal);
    let list = serde_json::json!(process.entrypoint).to_string();
    options.each("entrypoint", Some(list).filter(|_| !process.entrypoint.is_empty()));
    let Some(health) = &container.health else { return };
    let test = match health.test.as_slice() {
        [kind, text] if kind == "CMD-SHELL" => text.clone(),
        words => serde_json::json!(words).to_string(),
    };
    options.each("health-cmd", [test]);
    options.each("health-retries", [health.retries]);
    let times = [
        ("health-interval", health.interval),
        ("health-timeout", health.timeout),
        ("health-start-period", health.start_period),
    ];
    times.iter().for_each(|(name, time)| options.each(name, [format!("{}ms", time.as_millis())]));
}

fn isolation(container: &Container, options: &mut Options) {
    let isolation = &container.isolation;
    options.flag("privileged", isolation.privileged);
    options.flag("read-only", isolation.read_only);
    options.each("cap-add", &isolation.add_capabilities);
    options.each("cap-drop", &isolation.drop_capabilities);
    for (name, is_host) in
        [("ipc", isolation.host_ipc), ("pid", isolation.host_pid), ("uts", isolation.host_uts)]
    {
        options.each(name, Some("host").filter(|_| is_host));
    }
    options.each("security-opt", &isolation.security);
    let device = |device: &Device| format!("{}:{}:{}", device.host, device.container, device.access);
    options.each("device", isolation.devices.iter().map(device));
    options.each("sysctl", isolation.sysctls.iter().map(|(name, value)| format!("{name}={value}")));
}

fn limits(container: &Container, options: &mut Options) {
    let limits = &container.limits;
    options.each("memory", limits.memory.map(|bytes| format!("{bytes}b")));
    options.each("cpus", limits.nano_cpus.map(|cpus| cpus as f64 / 1e9));
    options.each("pids-limit", limits.pids);
    options.each("shm-size", limits.shm_size.map(|bytes| format!("{bytes}b")));
    let ulimits = limits.ulimits.iter();
    options.each("ulimit", ulimits.map(|limit| format!("{}={}:{}", limit.name, limit.soft, limit.hard)));
}

fn network(container: &Container, options: &mut Options) {
    let network = &container.network;
    options.each("network", Some("host").filter(|_| network.host));
    options.each("hostname", &network.hostname);
    // In the network of the host a port is open as it is.
    options.each("publish", network.ports.iter().filter(|_| !network.host).map(publish));
    options.each("dns", &network.dns);
    options.each("dns-search", &network.dns_search);
    options.each("add-host", &network.hosts);
}

fn publish(port: &Port) -> String {
    let ports = format!("{}:{}/{}", port.host, port.container, port.protocol);
    match port.address {
        Some(std::net::IpAddr::V6(address)) => format!("[{address}]:{ports}"),
        Some(address) => format!("{address}:{ports}"),
        None => ports,
    }
}

fn volume(mount: &Mount) -> String {
    pair(&format!("{}:{}", mount.source, mount.target), ":", &mount.options.join(","))
}

fn pair(first: &str, separator: &str, second: &str) -> String {
    if second.is_empty() { first.into() } else { format!("{first}{separator}{second}") }
}

/// Systemd starts it again, in the place of the engine.
fn service(policy: &RestartPolicy) -> String {
    match policy {
        RestartPolicy::No => String::new(),
        RestartPolicy::Always | RestartPolicy::UnlessStopped => "\n[Service]\nRestart=always\n".into(),
        RestartPolicy::OnFailure(None) => "\n[Service]\nRestart=on-failure\n".into(),
        RestartPolicy::OnFailure(Some(times)) => format!(
            "\n[Unit]\nStartLimitBurst={}\nStartLimitIntervalSec=infinity\n\n[Service]\nRestart=on-failure\n",
            times + 1
        ),
    }
}

fn joined(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word as systemd.syntax(7) and systemd.service(5) have it, with nothing in it that is replaced.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@+[]".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.into();
    }
    let mut text = String::from("\"");
    for letter in word.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            '\n' => text.push_str("\\n"),
            '%' | '$' => text.extend([letter, letter]),
            _ => text.push(letter),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_unit_has_all_that_the_configuration_says() {
        let text = "containers:\n  box:\n    image: a/b:1\n    cmd: [sh, -c, \"echo $HOME 100%; \\\"x\\\"\"]\n    entrypoint: [/init, --x]\n    \
                    ports: [\"127.0.0.1:80:8080\"]\n    mounts: [/mnt/a:/a:ro, data:/b]\n    disableInit: true\n    cpus: 1.5\n    \
                    startAfterCreate: true\n    restartPolicy: on-failure:2\n    env: [A=b c]\n    health: {test: [CMD, /x], interval: 5s}\n\
                    users:\n  core: {container: box}\nimages:\n  a/b:1:\n    pull: {registry: quay.io}\n    build: {source: /src}\n";
        let (config, _) = Config::parse(text, Path::new("x")).expect("it is right");
        let unit = unit(&config.containers[0], &config);
        assert_eq!(
            unit,
            "# box.container\n# user `core` logs in to it; by hand: `podman exec -it box sh`\n\
             # before it: `podman build -t a/b:1 -f Dockerfile /src`\n[Container]\nContainerName=box\nImage=quay.io/a/b:1\n\
             Exec=sh -c \"echo $$HOME 100%%; \\\"x\\\"\"\nPodmanArgs=\"--env=A=b c\"\n\
             PodmanArgs=\"--entrypoint=[\\\"/init\\\",\\\"--x\\\"]\"\nPodmanArgs=\"--health-cmd=[\\\"CMD\\\",\\\"/x\\\"]\"\n\
             PodmanArgs=--health-retries=3\nPodmanArgs=--health-interval=5000ms\nPodmanArgs=--health-timeout=30000ms\n\
             PodmanArgs=--health-start-period=0ms\nPodmanArgs=--cpus=1.5\nPodmanArgs=--publish=127.0.0.1:80:8080/tcp\n\
             PodmanArgs=--volume=/mnt/a:/a:ro\nPodmanArgs=--volume=data:/b\n\n[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=infinity\n\n\
             [Service]\nRestart=on-failure\n\n[Install]\nWantedBy=multi-user.target\n"
        );
    }
}
