//! Settings of containers.

use std::collections::BTreeMap;

use super::health::Health;
use super::number::{self, Port, Ulimit};
use super::remark::{Log, Place, Reason};
use super::section::{Section, Text};
use super::value::{self, Device, Mount, RestartPolicy};
use super::yaml::{Body, Key, Node};
use super::{health, image, machine};

/// A container, as the file wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Name, for the engine too.
    pub name: Text,
    /// Reference of its image, as the file has it.
    pub image: Text,
    /// Its processes and how they are run.
    pub process: Process,
    /// What it may do and see of the host.
    pub isolation: Isolation,
    /// What it may use.
    pub limits: Limits,
    /// Its network.
    pub network: Network,
    /// Directories of the host and volumes.
    pub mounts: Vec<Mount>,
    /// Filesystems in memory: path in the container and options.
    pub tmpfs: BTreeMap<String, String>,
    /// Labels for the engine.
    pub labels: BTreeMap<String, String>,
    /// When the engine starts it again.
    pub restart_policy: RestartPolicy,
    /// Started after it was made, and whenever `apply` finds it stopped.
    pub start_after_create: bool,
    /// Test of whether it works.
    pub health: Option<Health>,
}

/// The first process.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Process {
    /// Has a terminal.
    pub tty: bool,
    /// Directory that it starts in; the image's if there is none.
    pub working_directory: Option<String>,
    /// In place of the image's entry point.
    pub entrypoint: Vec<String>,
    /// In place of the image's command.
    pub command: Vec<String>,
    /// Variables, as `NAME=VALUE`.
    pub environment: Vec<String>,
    /// No small init before it that collects dead processes.
    pub disable_init: bool,
    /// Signal that stops it, without `SIG`; the image's if there is none.
    pub stop_signal: Option<String>,
}

/// What a container may do and see of the host.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Isolation {
    /// All devices, all capabilities.
    pub privileged: bool,
    /// Capabilities that it has more than the engine gives.
    pub add_capabilities: Vec<String>,
    /// Capabilities that it has less.
    pub drop_capabilities: Vec<String>,
    /// System V IPC of the host.
    pub host_ipc: bool,
    /// Processes of the host.
    pub host_pid: bool,
    /// Name of the host.
    pub host_uts: bool,
    /// Options of seccomp, AppArmor and SELinux.
    pub security: Vec<String>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Settings of the kernel.
    pub sysctls: BTreeMap<String, String>,
    /// Its own filesystem cannot be written.
    pub read_only: bool,
}

/// What a container may use; the engine's defaults if there is nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Processors, in thousand millionths of one.
    pub nano_cpus: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Limits of each process.
    pub ulimits: Vec<Ulimit>,
    /// Bytes of `/dev/shm`.
    pub shm_size: Option<u64>,
}

/// Network of a container.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Network {
    /// That of the host.
    pub host: bool,
    /// Its name in it.
    pub hostname: Option<String>,
    /// Ports of the host that lead to it.
    pub ports: Vec<Port>,
    /// Name servers.
    pub dns: Vec<String>,
    /// Domains to search names in.
    pub dns_search: Vec<String>,
    /// More hosts, as `NAME:ADDRESS`.
    pub hosts: Vec<String>,
}

/// Hints for keys that people know from Compose.
const FOREIGN: [(&str, &str); 5] = [
    ("volumes", "directories of the host are `mounts`"),
    ("environment", "it is called `env` here"),
    ("command", "it is called `cmd` here"),
    ("restart", "it is called `restartPolicy` here"),
    ("network_mode", "write `hostNetwork: true` for the network of the host"),
];

pub(super) fn read(key: &Key, node: &Node, log: &mut Log) -> Option<Container> {
    let name = Text { value: key.name.clone(), place: key.place };
    check_name(&name, log);
    let mut section = Section::open(format!("container `{}`", key.name), key.place, node, log)?;
    let image = section.text("image");
    match &image {
        Some(text) => {
            section.understand("image", text, image::reference);
        }
        None if !section.has("image") => {
            let hint = "write `image: NAME:TAG`, and the same name below `images`";
            section.refuse(key.place, "image", Reason::new("it is missing").hint(hint));
        }
        None => {}
    }
    let machine = section.flag("machine").unwrap_or_default();
    let restart_policy = restart_policy(&mut section);
    let start_after_create = section.flag("startAfterCreate");
    let mut container = Container {
        name,
        process: process(&mut section),
        isolation: isolation(&mut section),
        limits: limits(&mut section),
        network: network(&mut section),
        mounts: mounts(&mut section),
        tmpfs: tmpfs(&mut section),
        labels: labels(&mut section),
        restart_policy: restart_policy.clone().unwrap_or_default(),
        start_after_create: start_after_create.unwrap_or_default(),
        health: health::read(&mut section),
        image: image.unwrap_or(Text { value: String::new(), place: key.place }),
    };
    if machine {
        let given = machine::Given { restart_policy, start_after_create, section: &section };
        machine::complete(&mut container, &given);
    }
    agree(&container, &mut section);
    section.close(&FOREIGN);
    Some(container)
}

fn check_name(name: &Text, log: &mut Log) {
    if let Err(reason) = value::engine_name(&name.value) {
        log.error(name.place, reason.message, reason.hint);
    }
    if [".previous", ".next", ".failed", ".swap", ".seed"].iter().any(|end| name.value.ends_with(end)) {
        let message =
            format!("container `{}`: names with this end are for what `apply` replaces", name.value);
        log.error(name.place, message, None);
    }
}

fn restart_policy(section: &mut Section<'_>) -> Option<RestartPolicy> {
    let text = section.text("restartPolicy")?;
    if text.value == "never" {
        let message = format!("`restartPolicy` of {}: `never` is called `no`", section.what);
        section.log.note(text.place, message, None);
        return Some(RestartPolicy::No);
    }
    section.understand("restartPolicy", &text, value::restart_policy)
}

fn process(section: &mut Section<'_>) -> Process {
    Process {
        tty: section.flag("tty").unwrap_or_default(),
        working_directory: section.parsed("workingDirectory", value::path),
        entrypoint: section.words("entrypoint"),
        command: section.words("cmd"),
        environment: environment(section),
        disable_init: section.flag("disableInit").unwrap_or_default(),
        stop_signal: section.parsed("stopSignal", value::signal),
    }
}

/// Variables, of which the engine gets empty entries not at all: Skiff Core left them out.
fn environment(section: &mut Section<'_>) -> Vec<String> {
    let mut variables = Vec::new();
    for text in section.texts("env") {
        if text.value.is_empty() {
            section.log.note(text.place, format!("`env` of {}: an empty entry", section.what), None);
        } else {
            variables.extend(section.understand("env", &text, value::variable));
        }
    }
    variables
}

fn isolation(section: &mut Section<'_>) -> Isolation {
    let values = |list: Vec<(String, Place)>| list.into_iter().map(|(value, _)| value).collect();
    let sysctls = section.pairs("sysctls").into_iter();
    Isolation {
        sysctls: sysctls.map(|(name, value)| (name.value, value.value)).collect(),
        privileged: section.flag("privileged").unwrap_or_default(),
        add_capabilities: values(section.list("capAdd", value::capability)),
        drop_capabilities: values(section.list("capDrop", value::capability)),
        host_ipc: section.flag("hostIPC").unwrap_or_default(),
        host_pid: section.flag("hostPID").unwrap_or_default(),
        host_uts: section.flag("hostUTS").unwrap_or_default(),
        security: values(section.list("securityOpt", value::security_option)),
        devices: section.list("devices", value::device).into_iter().map(|(device, _)| device).collect(),
        read_only: section.flag("readOnly").unwrap_or_default(),
    }
}

fn limits(section: &mut Section<'_>) -> Limits {
    let ulimits = section.pairs("ulimits").into_iter();
    let read = |(name, text): (Text, Text)| {
        section.understand("ulimits", &text, |limit| number::ulimit(&name.value, limit))
    };
    Limits {
        ulimits: ulimits.filter_map(read).collect(),
        memory: section.parsed("memory", number::bytes),
        nano_cpus: section.parsed("cpus", number::nano_cpus),
        pids: section.parsed("pids", number::count),
        shm_size: section.parsed("shmSize", number::bytes),
    }
}

fn network(section: &mut Section<'_>) -> Network {
    let search = section.list("dnsSearch", |text| match text {
        "." => Ok(text.to_string()),
        _ => value::host_name(text),
    });
    let dns = section.list("dns", number::address);
    Network {
        host: section.flag("hostNetwork").unwrap_or_default(),
        hostname: section.parsed("hostname", value::host_name),
        ports: ports(section),
        dns: dns.into_iter().map(|(address, _)| address.to_string()).collect(),
        dns_search: search.into_iter().map(|(domain, _)| domain).collect(),
        hosts: section.list("hosts", number::host).into_iter().map(|(host, _)| host).collect(),
    }
}

/// Ports as `HOST:CONTAINER`, or as maps with `hostPort` and `containerPort`.
fn ports(section: &mut Section<'_>) -> Vec<Port> {
    let Some((_, node)) = section.take("ports") else { return Vec::new() };
    let Body::List(entries) = &node.body else {
        let reason = Reason::new(format!("a list is wanted, and this is {}", node.kind()));
        section.refuse(node.place, "ports", reason.hint("write `[\"8080:80\"]`"));
        return Vec::new();
    };
    let mut ports = Vec::new();
    for entry in entries {
        match &entry.body {
            Body::Scalar(text) => {
                let text = Text { value: text.clone(), place: entry.place };
                ports.extend(section.understand("ports", &text, number::port));
            }
            _ => ports.extend(port(&section.what, entry, section.log)),
        }
    }
    ports
}

fn port(container: &str, node: &Node, log: &mut Log) -> Option<Port> {
    let mut section = Section::open(format!("a port of {container}"), node.place, node, log)?;
    let mut number = |key: &'static str| {
        if !section.has(key) {
            section.refuse(node.place, key, Reason::new("it is missing"));
        }
        section.parsed(key, number::port_number)
    };
    let (host, inside) = (number("hostPort"), number("containerPort"));
    let protocol = section.parsed("protocol", number::transport);
    let address = section.parsed("hostIP", number::address);
    section.close(&[]);
    Some(Port {
        address,
        host: host?,
        container: inside?,
        protocol: protocol.unwrap_or_else(|| "tcp".into()),
    })
}

fn mounts(section: &mut Section<'_>) -> Vec<Mount> {
    let mut mounts: Vec<(Mount, Place)> = Vec::new();
    for (mount, place) in section.list("mounts", value::mount) {
        match mounts.iter().find(|(known, _)| known.target == mount.target) {
            Some((_, before)) => {
                let message = format!("`{}` is the target at {before} too", mount.target);
                section.refuse(place, "mounts", Reason::new(message).hint("keep one of them"));
            }
            None => mounts.push((mount, place)),
        }
    }
    mounts.into_iter().map(|(mount, _)| mount).collect()
}

fn tmpfs(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let entries = section.pairs("tmpFs").into_iter();
    entries
        .filter_map(|(path, options)| Some((section.understand("tmpFs", &path, value::path)?, options.value)))
        .collect()
}

fn labels(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (name, value) in section.pairs("labels") {
        if name.value.starts_with(crate::LABELS) {
            let message = format!("`{}`: labels that begin with `{}` are our own", name.value, crate::LABELS);
            section.refuse(name.place, "labels", Reason::new(message));
        }
        labels.insert(name.value, value.value);
    }
    labels
}

/// Settings that cannot both be: the engine would refuse them, or one would have no effect.
fn agree(container: &Container, section: &mut Section<'_>) {
    let (network, isolation) = (&container.network, &container.isolation);
    let other_port = network.ports.iter().find(|port| port.host != port.container);
    let place = section.place_of("ports");
    if let Some(port) = other_port.filter(|_| network.host) {
        let message =
            format!("port {} cannot lead to {} in the network of the host", port.host, port.container);
        let hint = "take out `hostNetwork: true`, or the port: what the container listens at is open";
        section.refuse(place, "ports", Reason::new(message).hint(hint));
    } else if network.host && !network.ports.is_empty() {
        let message =
            format!("`ports` of {}: in the network of the host they are open as they are", section.what);
        section.log.note(place, message, None);
    }
    if network.hostname.is_some() && isolation.host_uts {
        let place = section.place_of("hostname");
        let reason = Reason::new("the container shares the name of the host").hint("keep it or `hostUTS`");
        section.refuse(place, "hostname", reason);
    }
    let both = isolation.add_capabilities.iter().find(|name| isolation.drop_capabilities.contains(name));
    if let Some(name) = both {
        let place = section.place_of("capDrop");
        section.refuse(place, "capDrop", Reason::new(format!("`{name}` is in `capAdd` too")));
    }
    let hidden = container.mounts.iter().find(|mount| container.tmpfs.contains_key(&mount.target));
    if let Some(mount) = hidden {
        let place = section.place_of("tmpFs");
        section.refuse(
            place,
            "tmpFs",
            Reason::new(format!("`{}` is the target of a mount too", mount.target)),
        );
    }
}
