//! Values of settings: what each may be, and why another one is not.

use super::number::count;
use super::remark::Reason;

/// Capabilities of Linux, without `CAP_`: `include/uapi/linux/capability.h` of Linux 6.12.
const CAPABILITIES: [&str; 42] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Signals of Linux, without `SIG`.
const SIGNALS: [&str; 31] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "KILL", "PIPE", "PROF", "PWR",
    "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2",
    "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// Options of a mount that the engines know.
const MOUNT_OPTIONS: [&str; 27] = [
    "ro",
    "rw",
    "z",
    "Z",
    "U",
    "O",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "private",
    "rprivate",
    "unbindable",
    "runbindable",
    "bind",
    "rbind",
    "exec",
    "noexec",
    "dev",
    "nodev",
    "suid",
    "nosuid",
    "nocopy",
    "copy",
    "consistent",
    "cached",
    "delegated",
];

/// A directory of the host, or a volume of the engine, in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path on the host, or name of a volume.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Options, such as `ro`.
    pub options: Vec<String>,
}

/// A device of the host in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Path on the host.
    pub host: String,
    /// Path in the container.
    pub container: String,
    /// What the container may do: letters of `rwm` (read, write, make the node).
    pub access: String,
}

/// When the engine starts a container again that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Always.
    Always,
    /// Always, unless somebody stopped it.
    UnlessStopped,
    /// When its status is not 0; at most so many times, if a number is given.
    OnFailure(Option<u32>),
}

/// An absolute path without `.`, `..` and double slashes.
pub(super) fn path(text: &str) -> Result<String, Reason> {
    if !text.starts_with('/') {
        return Err(Reason::new(format!("`{text}` is no absolute path")).hint("it must begin with `/`"));
    }
    if text.split('/').any(|part| part == "..") {
        return Err(Reason::new(format!("`{text}` has `..` in it")).hint("write where it leads to"));
    }
    let parts: Vec<_> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    Ok(format!("/{}", parts.join("/")))
}

/// `SOURCE:TARGET` or `SOURCE:TARGET:OPTIONS`.
pub(super) fn mount(text: &str) -> Result<Mount, Reason> {
    let form = "write `HOST:CONTAINER` or `HOST:CONTAINER:ro`, or the name of a volume in place of HOST";
    let mut parts = text.splitn(3, ':');
    let (Some(source), Some(target), options) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Reason::new(format!("`{text}` is no mount")).hint(form));
    };
    let source = match source.starts_with('/') {
        true => path(source)?,
        false if engine_name(source).is_ok() => source.to_string(),
        false => {
            let message =
                format!("`{source}` of `{text}` is neither an absolute path nor the name of a volume");
            return Err(Reason::new(message).hint(form));
        }
    };
    let target = path(target)?;
    if target == "/" {
        return Err(Reason::new(format!("`{text}` would hide the container's whole filesystem")));
    }
    let options: Vec<String> = options.into_iter().flat_map(|text| text.split(',')).map(Into::into).collect();
    for option in &options {
        if !MOUNT_OPTIONS.contains(&option.as_str()) {
            return Err(Reason::new(format!("`{option}` of `{text}` is no option of a mount"))
                .among(option, &MOUNT_OPTIONS));
        }
    }
    Ok(Mount { source, target, options })
}

/// Name of a container or volume, as the engines have it.
pub(super) fn engine_name(text: &str) -> Result<String, Reason> {
    let letter = |letter: u8| letter.is_ascii_alphanumeric();
    let rest = |byte: u8| letter(byte) || b"_.-".contains(&byte);
    let bytes = text.as_bytes();
    if bytes.len() >= 2 && letter(bytes[0]) && bytes.iter().all(|byte| rest(*byte)) {
        return Ok(text.to_string());
    }
    let hint =
        "two or more of the letters a to z, A to Z, digits, `_`, `.` and `-`; the first is a letter or digit";
    Err(Reason::new(format!("`{text}` is no name for a container")).hint(hint))
}

/// A capability, with or without `CAP_`; the result is without.
pub(super) fn capability(text: &str) -> Result<String, Reason> {
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    match CAPABILITIES.contains(&name) {
        true => Ok(name.into()),
        false => Err(Reason::new(format!("`{text}` is no capability of Linux")).among(name, &CAPABILITIES)),
    }
}

/// `KEY=VALUE` with one of the words that the engines know.
pub(super) fn security_option(text: &str) -> Result<String, Reason> {
    const WORDS: [&str; 8] =
        ["seccomp", "apparmor", "label", "no-new-privileges", "mask", "unmask", "systempaths", "proc-opts"];
    let word = text.split(['=', ':']).next().unwrap_or_default();
    match WORDS.contains(&word) && (word != text || word == "no-new-privileges") {
        true => Ok(text.into()),
        false if WORDS.contains(&word) => {
            Err(Reason::new(format!("`{text}` has no value")).hint(format!("write `{word}=VALUE`")))
        }
        false => Err(Reason::new(format!("`{text}` is no security option")).among(word, &WORDS)),
    }
}

/// `NAME=VALUE`; the value may be empty.
pub(super) fn variable(text: &str) -> Result<String, Reason> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.into()),
        Some(_) => Err(Reason::new(format!("`{text}` has no name before the `=`"))),
        None => {
            Err(Reason::new(format!("`{text}` has no value"))
                .hint(format!("write `{text}=` for an empty one")))
        }
    }
}

/// `HOST[:CONTAINER][:rwm]`.
pub(super) fn device(text: &str) -> Result<Device, Reason> {
    let mut parts: Vec<&str> = text.split(':').collect();
    let access = match parts.last() {
        Some(last) if parts.len() > 1 && !last.starts_with('/') => parts.pop(),
        _ => None,
    };
    let access = access.unwrap_or("rwm");
    let known = !access.is_empty() && access.bytes().all(|letter| b"rwm".contains(&letter));
    if !known || parts.len() > 2 {
        let hint = "write `/dev/NAME`, `/dev/NAME:/dev/OTHER` or `/dev/NAME:/dev/OTHER:rw`";
        return Err(Reason::new(format!("`{text}` is no device")).hint(hint));
    }
    let host = path(parts[0])?;
    let container = parts.get(1).map_or(Ok(host.clone()), |text| path(text))?;
    Ok(Device { host, container, access: access.into() })
}

/// A word of the engines.
pub(super) fn restart_policy(text: &str) -> Result<RestartPolicy, Reason> {
    const WORDS: [&str; 4] = ["no", "always", "on-failure", "unless-stopped"];
    Ok(match text {
        "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => RestartPolicy::OnFailure(None),
        _ => match text.strip_prefix("on-failure:") {
            Some(times) => RestartPolicy::OnFailure(Some(count(times)?)),
            None => return Err(Reason::new(format!("`{text}` is no restart policy")).among(text, &WORDS)),
        },
    })
}

/// Name or number of a signal; the result is without `SIG`.
pub(super) fn signal(text: &str) -> Result<String, Reason> {
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = |text: &str, highest: u32| text.parse::<u32>().is_ok_and(|number| number <= highest);
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => rest.is_empty() || rest.strip_prefix('+').is_some_and(|rest| number(rest, 30)),
        (_, Some(rest)) => rest.is_empty() || rest.strip_prefix('-').is_some_and(|rest| number(rest, 30)),
        _ => false,
    };
    match real_time || SIGNALS.contains(&name) || (name != "0" && number(name, 64)) {
        true => Ok(name.into()),
        false => Err(Reason::new(format!("`{text}` is no signal")).among(name, &SIGNALS)),
    }
}

/// Name of a user of the host, as `useradd` takes it.
pub(super) fn user_name(text: &str) -> Result<String, Reason> {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if first && text.len() <= 32 && text.bytes().all(rest) {
        return Ok(text.into());
    }
    let hint = "at most 32 of the letters a to z, digits, `_` and `-`; the first is a letter or `_`";
    Err(Reason::new(format!("`{text}` is no name for a user")).hint(hint))
}

/// User of a container: name or number, `USER:GROUP` too.
pub(super) fn container_user(text: &str) -> Result<String, Reason> {
    let part = |text: &str| {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        first && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-$".contains(&byte))
    };
    let (user, group) = text.split_once(':').unwrap_or((text, "0"));
    match part(user) && part(group) {
        true => Ok(text.into()),
        false => Err(Reason::new(format!("`{text}` is no user of a container"))
            .hint("write a name, a number, or `USER:GROUP`")),
    }
}

/// A name of a host.
pub(super) fn host_name(text: &str) -> Result<String, Reason> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    match text.len() <= 64 && text.split('.').all(label) {
        true => Ok(text.into()),
        false => Err(Reason::new(format!("`{text}` is no host name"))),
    }
}
