//! `machine: true`: what a container needs that runs a whole system with its own init.
//!
//! It is what each `core/*` layer of SkiffOS repeats. Settings beside it win; entries of lists are added to it.

use super::container::Container;
use super::section::Section;
use super::value::{Mount, RestartPolicy};

/// Directories of the host that the system in the container works on.
const MOUNTS: [(&str, &[&str]); 5] =
    [("/dev", &[]), ("/etc/hostname", &["ro"]), ("/lib/modules", &["ro"]), ("/mnt", &[]), ("/run/udev", &[])];
const TMPFS: [&str; 2] = ["/run", "/run/lock"];
const TMPFS_OPTIONS: &str = "rw,noexec,nosuid,size=65536k";

/// What the file says itself.
pub(super) struct Given<'section, 'a> {
    pub(super) restart_policy: Option<RestartPolicy>,
    pub(super) start_after_create: Option<bool>,
    pub(super) section: &'section Section<'a>,
}

/// Fills in what the file does not say.
pub(super) fn complete(container: &mut Container, given: &Given<'_, '_>) {
    let unset = |key: &str| !given.section.has(key);
    let process = &mut container.process;
    if unset("entrypoint") && unset("cmd") {
        process.entrypoint = vec!["/lib/systemd/systemd".into()];
    }
    process.tty |= unset("tty");
    process.disable_init |= unset("disableInit");
    process.stop_signal.get_or_insert_with(|| "RTMIN+3".into());
    process.working_directory.get_or_insert_with(|| "/".into());
    // systemd looks for this variable to learn that it is in a container.
    if !process.environment.iter().any(|variable| variable.starts_with("container=")) {
        process.environment.push("container=docker".into());
    }
    let isolation = &mut container.isolation;
    isolation.privileged |= unset("privileged");
    isolation.host_ipc |= unset("hostIPC");
    isolation.host_uts |= unset("hostUTS") && unset("hostname");
    if unset("capAdd") && unset("capDrop") {
        isolation.add_capabilities.push("ALL".into());
    }
    if !isolation.security.iter().any(|option| option.starts_with("seccomp")) {
        isolation.security.push("seccomp=unconfined".into());
    }
    container.network.host |= unset("hostNetwork") && unset("ports");
    container.restart_policy = given.restart_policy.clone().unwrap_or(RestartPolicy::Always);
    container.start_after_create = given.start_after_create.unwrap_or(true);
    for (path, options) in MOUNTS {
        let free = |mount: &Mount| mount.target != path;
        if container.mounts.iter().all(free) && !container.tmpfs.contains_key(path) {
            let options = options.iter().map(|option| (*option).into()).collect();
            container.mounts.push(Mount { source: path.into(), target: path.into(), options });
        }
    }
    for path in TMPFS {
        if container.mounts.iter().all(|mount| mount.target != path) {
            container.tmpfs.entry(path.into()).or_insert_with(|| TMPFS_OPTIONS.into());
        }
    }
}
