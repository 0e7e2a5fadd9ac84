//! A container of the configuration as the engine's API wants it.
//!
//! What is not set is left out: settings that a later version of this program knows do not make a container another one.

use serde_json::{Map, Value, json};

use crate::config::{Container, Health, Mount, Port, RestartPolicy};

/// Label with the settings that a container was made from.
pub const LABEL: &str = "skiff.core.settings";

/// The body of the call that makes `container`.
pub fn settings(container: &Container) -> Value {
    let mut body = Fields::default();
    let process = &container.process;
    body.set("Image", json!(container.image.value));
    body.set_if("Tty", process.tty, json!(true));
    body.set_some("WorkingDir", process.working_directory.as_deref());
    body.set_list("Entrypoint", &process.entrypoint);
    body.set_list("Cmd", &process.command);
    body.set_list("Env", &process.environment);
    body.set_some("StopSignal", process.stop_signal.as_deref());
    body.set_some("Hostname", container.network.hostname.as_deref());
    body.set_if("Labels", !container.labels.is_empty(), json!(container.labels));
    body.set_some("Healthcheck", container.health.as_ref().map(health));
    let ports: Map<_, _> = container.network.ports.iter().map(|port| (port_name(port), json!({}))).collect();
    // In the network of the host a port is open as it is.
    let published = !ports.is_empty() && !container.network.host;
    body.set_if("ExposedPorts", published, Value::Object(ports));
    let mut host = Fields::default();
    isolation(container, &mut host);
    limits(container, &mut host);
    network(container, &mut host);
    host.set_if("Init", !process.disable_init, json!(true));
    host.set_list("Binds", &container.mounts.iter().map(bind).collect::<Vec<_>>());
    host.set_if("Tmpfs", !container.tmpfs.is_empty(), json!(container.tmpfs));
    host.set_some("RestartPolicy", restart_policy(&container.restart_policy));
    body.set("HostConfig", host.into());
    body.into()
}

/// An object of which only what is set has a key.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, key: &str, value: Value) {
        self.0.insert(key.into(), value);
    }

    fn set_if(&mut self, key: &str, wanted: bool, value: Value) {
        if wanted {
            self.set(key, value);
        }
    }

    fn set_some(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value.into());
        }
    }

    fn set_list(&mut self, key: &str, values: &[String]) {
        self.set_if(key, !values.is_empty(), json!(values));
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Value::Object(fields.0)
    }
}

fn isolation(container: &Container, host: &mut Fields) {
    let isolation = &container.isolation;
    host.set_if("Privileged", isolation.privileged, json!(true));
    host.set_list("CapAdd", &isolation.add_capabilities);
    host.set_list("CapDrop", &isolation.drop_capabilities);
    host.set_if("IpcMode", isolation.host_ipc, json!("host"));
    host.set_if("PidMode", isolation.host_pid, json!("host"));
    host.set_if("UTSMode", isolation.host_uts, json!("host"));
    host.set_list("SecurityOpt", &isolation.security);
    host.set_if("Sysctls", !isolation.sysctls.is_empty(), json!(isolation.sysctls));
    host.set_if("ReadonlyRootfs", isolation.read_only, json!(true));
    let device = |device: &crate::config::Device| {
        json!({
            "PathOnHost": device.host,
            "PathInContainer": device.container,
            "CgroupPermissions": device.access,
        })
    };
    let devices: Vec<Value> = isolation.devices.iter().map(device).collect();
    host.set_if("Devices", !devices.is_empty(), json!(devices));
}

fn limits(container: &Container, host: &mut Fields) {
    let limits = &container.limits;
    host.set_some("Memory", limits.memory);
    host.set_some("NanoCpus", limits.nano_cpus);
    host.set_some("PidsLimit", limits.pids);
    host.set_some("ShmSize", limits.shm_size);
    let ulimits = limits.ulimits.iter();
    let ulimits: Vec<Value> =
        ulimits.map(|limit| json!({"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard})).collect();
    host.set_if("Ulimits", !ulimits.is_empty(), json!(ulimits));
}

fn network(container: &Container, host: &mut Fields) {
    let network = &container.network;
    host.set_if("NetworkMode", network.host, json!("host"));
    host.set_list("Dns", &network.dns);
    host.set_list("DnsSearch", &network.dns_search);
    host.set_list("ExtraHosts", &network.hosts);
    let mut bindings: Map<String, Value> = Map::new();
    for port in &network.ports {
        let address = port.address.map(|address| address.to_string()).unwrap_or_default();
        let binding = json!({"HostIp": address, "HostPort": port.host.to_string()});
        let bound = bindings.entry(port_name(port)).or_insert_with(|| json!([]));
        bound.as_array_mut().expect("it was made as a list").push(binding);
    }
    host.set_if("PortBindings", !bindings.is_empty() && !network.host, Value::Object(bindings));
}

fn port_name(port: &Port) -> String {
    format!("{}/{}", port.container, port.protocol)
}

fn bind(mount: &Mount) -> String {
    let options = mount.options.join(",");
    let separator = if options.is_empty() { "" } else { ":" };
    format!("{}:{}{separator}{options}", mount.source, mount.target)
}

fn restart_policy(policy: &RestartPolicy) -> Option<Value> {
    match policy {
        RestartPolicy::No => None,
        RestartPolicy::Always => Some(json!({"Name": "always"})),
        RestartPolicy::UnlessStopped => Some(json!({"Name": "unless-stopped"})),
        RestartPolicy::OnFailure(None) => Some(json!({"Name": "on-failure"})),
        RestartPolicy::OnFailure(Some(times)) => {
            Some(json!({"Name": "on-failure", "MaximumRetryCount": times}))
        }
    }
}

/// Times are thousand millionths of a second.
fn health(health: &Health) -> Value {
    let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "Test": health.test,
        "Interval": nanoseconds(health.interval),
        "Timeout": nanoseconds(health.timeout),
        "StartPeriod": nanoseconds(health.start_period),
        "Retries": health.retries,
    })
}
