//! What `apply` would do with a container, and what would be lost.

use serde_json::Value;

use crate::config::Container;
use crate::engine::settings::settings;
use crate::engine::{self, Engine};
use crate::failure::Result;
use crate::held::Held;
use crate::places::Places;

/// What a container needs.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// It is as the configuration wants it.
    Nothing,
    /// It is, but does not run.
    Start,
    /// It is not there.
    Create,
    /// It was made of other settings or another image.
    Recreate {
        /// What is different, one line each.
        differences: Vec<String>,
        /// Paths that were written in it beside its mounts.
        lost: Vec<String>,
    },
    /// It was rolled back from just this, and stays.
    Held {
        /// Why it was rolled back.
        reason: String,
    },
}

/// What `container` needs. `image` is the id of its image, if that is here.
///
/// # Errors
///
/// The engine does not answer.
pub fn action(
    container: &Container,
    image: Option<&str>,
    engine: &Engine,
    places: &Places,
) -> Result<Action> {
    let name = &container.name.value;
    let Some(found) = engine.container(name)? else { return Ok(Action::Create) };
    let wanted = settings(container);
    let differences = differences(&found, &wanted, image);
    if differences.is_empty() {
        let start = container.start_after_create && !found.running;
        return Ok(if start { Action::Start } else { Action::Nothing });
    }
    if let Some(held) = Held::read(name, places)?.filter(|held| held.is_of(&wanted, image)) {
        return Ok(Action::Held { reason: held.reason });
    }
    Ok(Action::Recreate { differences, lost: engine.changes(name)? })
}

/// What is different between a container and the settings that it should have.
fn differences(found: &engine::Container, wanted: &Value, image: Option<&str>) -> Vec<String> {
    if found.settings.is_null() {
        return vec!["it was not made by this program, so its settings are not known".into()];
    }
    let mut lines = Vec::new();
    compare(&found.settings, wanted, &mut lines);
    if let Some(image) = image.filter(|image| *image != found.image) {
        let short = |id: &str| id.chars().take(12).collect::<String>();
        lines.push(format!("image: {} is now {}", short(&found.image), short(image)));
    }
    lines
}

/// Names of the configuration for those of the engine.
const NAMES: [(&str, &str); 36] = [
    ("Image", "image"),
    ("Tty", "tty"),
    ("WorkingDir", "workingDirectory"),
    ("Entrypoint", "entrypoint"),
    ("Cmd", "cmd"),
    ("Env", "env"),
    ("StopSignal", "stopSignal"),
    ("Hostname", "hostname"),
    ("Labels", "labels"),
    ("Healthcheck", "health"),
    ("ExposedPorts", "ports"),
    ("Privileged", "privileged"),
    ("CapAdd", "capAdd"),
    ("CapDrop", "capDrop"),
    ("IpcMode", "hostIPC"),
    ("PidMode", "hostPID"),
    ("UTSMode", "hostUTS"),
    ("NetworkMode", "hostNetwork"),
    ("SecurityOpt", "securityOpt"),
    ("Sysctls", "sysctls"),
    ("ReadonlyRootfs", "readOnly"),
    ("Devices", "devices"),
    ("Memory", "memory"),
    ("NanoCpus", "cpus"),
    ("PidsLimit", "pids"),
    ("ShmSize", "shmSize"),
    ("Ulimits", "ulimits"),
    ("Dns", "dns"),
    ("DnsSearch", "dnsSearch"),
    ("ExtraHosts", "hosts"),
    ("PortBindings", "ports"),
    ("Init", "disableInit"),
    ("Binds", "mounts"),
    ("Tmpfs", "tmpFs"),
    ("RestartPolicy", "restartPolicy"),
    ("HostConfig", ""),
];

fn compare(before: &Value, after: &Value, lines: &mut Vec<String>) {
    let none = serde_json::Map::new();
    let [before, after] = [before, after].map(|value| value.as_object().unwrap_or(&none));
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let [old, new] = [before, after].map(|object| object.get(key).unwrap_or(&Value::Null));
        if old == new {
            continue;
        }
        let name = NAMES.iter().find(|(known, _)| known == key).map_or(key.as_str(), |(_, name)| name);
        if name.is_empty() {
            compare(old, new, lines);
        } else if let (Value::Array(old), Value::Array(new)) = (old, new) {
            let missing = |these: &[Value], those: &[Value]| {
                these
                    .iter()
                    .filter(|value| !those.contains(value))
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
            };
            let (gone, added) = (missing(old, new), missing(new, old));
            let mut parts: Vec<String> = gone.iter().map(|value| format!("without {value}")).collect();
            parts.extend(added.iter().map(|value| format!("with {value}")));
            if parts.is_empty() {
                parts.push("in another order".into());
            }
            lines.push(format!("{name}: {}", parts.join(", ")));
        } else {
            let word = |value: &Value| if value.is_null() { "not set".into() } else { value.to_string() };
            lines.push(format!("{name}: {} is now {}", word(old), word(new)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::compare;

    #[test]
    fn differences_have_the_names_of_the_configuration() {
        let before = json!({"Image": "a:1", "Env": ["A=1", "B=2"], "HostConfig": {"Binds": ["/a:/b", "/c:/d"], "Init": true}});
        let after = json!({"Image": "a:2", "Env": ["B=2", "A=1"], "HostConfig": {"Binds": ["/c:/d", "/e:/f"]}, "Tty": true});
        let mut lines = Vec::new();
        compare(&before, &after, &mut lines);
        assert_eq!(
            lines,
            [
                "env: in another order",
                "mounts: without \"/a:/b\", with \"/e:/f\"",
                "disableInit: true is now not set",
                "image: \"a:1\" is now \"a:2\"",
                "tty: not set is now true",
            ]
        );
    }
}
