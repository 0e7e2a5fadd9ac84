//! Settings that are numbers, or have some in them.

use std::net::IpAddr;
use std::time::Duration;

use super::remark::Reason;

/// Limits of processes that the engines know.
const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A port of the host that leads to one of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Address of the host that it listens at; all if there is none.
    pub address: Option<IpAddr>,
    /// Port of the host.
    pub host: u16,
    /// Port of the container.
    pub container: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// Limits of a resource of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// Name, such as `nofile`.
    pub name: String,
    /// What counts; -1 is no limit.
    pub soft: i64,
    /// What it can be raised to; -1 is no limit.
    pub hard: i64,
}

/// An address.
pub(super) fn address(text: &str) -> Result<IpAddr, Reason> {
    text.parse().map_err(|_| Reason::new(format!("`{text}` is no IP address")))
}

/// `NAME:ADDRESS`.
pub(super) fn host(text: &str) -> Result<String, Reason> {
    let Some((name, to)) = text.split_once(':').filter(|(name, _)| !name.is_empty()) else {
        return Err(Reason::new(format!("`{text}` is no host")).hint("write `NAME:ADDRESS`"));
    };
    if to != "host-gateway" {
        address(to).map_err(|_| Reason::new(format!("`{to}` of `{name}` is no IP address")))?;
    }
    Ok(text.into())
}

/// A port in the form `[ADDRESS:]HOST:CONTAINER[/PROTOCOL]`.
pub(super) fn port(text: &str) -> Result<Port, Reason> {
    let form = "write `HOST:CONTAINER`, `ADDRESS:HOST:CONTAINER` or `HOST:CONTAINER/udp`";
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let no_port = || Reason::new(format!("`{text}` is no port")).hint(form);
    let (rest, container) = ports.rsplit_once(':').ok_or_else(no_port)?;
    let (listen, host) = match rest.rsplit_once(':') {
        Some((listen, host)) => (Some(address(listen.trim_matches(['[', ']']))?), host),
        None => (None, rest),
    };
    let (host, container) = (port_number(host)?, port_number(container)?);
    Ok(Port { address: listen, host, container, protocol: transport(protocol)? })
}

/// A number of a port, from 1.
pub(super) fn port_number(text: &str) -> Result<u16, Reason> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Reason::new(format!("`{text}` is no number from 1 to 65535")))
}

/// A protocol with ports.
pub(super) fn transport(text: &str) -> Result<String, Reason> {
    const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];
    match PROTOCOLS.contains(&text) {
        true => Ok(text.into()),
        false => Err(Reason::new(format!("`{text}` is no protocol with ports")).among(text, &PROTOCOLS)),
    }
}

/// Bytes: a number, with `k`, `m`, `g` or `t` for powers of 1024, and `b` or `ib` behind them.
pub(super) fn bytes(text: &str) -> Result<u64, Reason> {
    let lower = text.to_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match &lower[digits.len()..] {
        "" | "b" => Some(1u64),
        "k" | "kb" | "kib" => Some(1 << 10),
        "m" | "mb" | "mib" => Some(1 << 20),
        "g" | "gb" | "gib" => Some(1 << 30),
        "t" | "tb" | "tib" => Some(1 << 40),
        _ => None,
    };
    let number = digits.parse::<u64>().ok().filter(|number| *number > 0);
    let bytes = factor.zip(number).and_then(|(factor, number)| number.checked_mul(factor));
    bytes
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| Reason::new(format!("`{text}` is no number of bytes")).hint("write `512m` or `2g`"))
}

/// Processors, in thousand millionths of one.
pub(super) fn nano_cpus(text: &str) -> Result<u64, Reason> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let wrong = || Reason::new(format!("`{text}` is no number of processors")).hint("write `2` or `0.5`");
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 9 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().ok().filter(|whole| *whole <= 100_000).ok_or_else(wrong)?;
    let nano = whole * 1_000_000_000 + format!("{part:0<9}").parse::<u64>().map_err(|_| wrong())?;
    if nano == 0 { Err(wrong()) } else { Ok(nano) }
}

/// A count from 1.
pub(super) fn count(text: &str) -> Result<u32, Reason> {
    let number = text.parse().ok().filter(|number| *number > 0 && *number <= i32::MAX as u32);
    number.ok_or_else(|| Reason::new(format!("`{text}` is no number from 1 to {}", i32::MAX)))
}

/// `NAME` and `SOFT` or `SOFT:HARD`.
pub(super) fn ulimit(name: &str, text: &str) -> Result<Ulimit, Reason> {
    if !ULIMITS.contains(&name) {
        return Err(Reason::new(format!("`{name}` is no limit of a process")).among(name, &ULIMITS));
    }
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    let limit = |text: &str| match text {
        "unlimited" => Ok(-1),
        _ => text.parse::<i64>().ok().filter(|limit| *limit >= -1).ok_or_else(|| {
            Reason::new(format!("`{text}` is no limit for `{name}`"))
                .hint("write a number, `unlimited`, or two of them as `SOFT:HARD`")
        }),
    };
    let (soft, hard) = (limit(soft)?, limit(hard)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(Reason::new(format!("`{name}` begins at {soft}, above its highest value {hard}")));
    }
    Ok(Ulimit { name: name.into(), soft, hard })
}

/// `1h2m3s`, `500ms`, or seconds.
pub(super) fn duration(text: &str) -> Result<Duration, Reason> {
    let wrong = || Reason::new(format!("`{text}` is no time")).hint("write `30s` or `1m30s`");
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let (mut total, mut rest) = (0u64, text);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
        let after = &rest[digits..];
        let unit = after.len() - after.trim_start_matches(|letter: char| letter.is_ascii_alphabetic()).len();
        let milliseconds = match &after[..unit] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        total += u64::from(number) * milliseconds;
        rest = &after[unit..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(total)) }
}
