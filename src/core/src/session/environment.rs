//! Variables of a session.

use std::collections::BTreeMap;

/// Variables of the host's session that the one in the container has too. Others tell of the host's files and programs, or
/// change what programs do.
const NAMES: [&str; 9] = [
    "COLORTERM",
    "LANG",
    "LANGUAGE",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_ORIGINAL_COMMAND",
    "SSH_TTY",
    "TERM",
    "TZ",
];
/// Bytes of one of them.
const LONGEST: usize = 4096;

/// Whether a variable goes into the container.
pub(super) fn passes(variable: &[u8]) -> bool {
    let name = variable.split(|byte| *byte == b'=').next().unwrap_or_default();
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let locale =
        name.strip_prefix("LC_").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_uppercase()));
    variable.len() <= LONGEST && variable.contains(&b'=') && (locale || NAMES.contains(&name))
}

/// The variables of a process in the container: those that the container's first process began with, then those of the
/// session, then those of the user.
pub(super) fn merge<'a>(
    container: impl Iterator<Item = &'a str>,
    session: &[Vec<u8>],
    user: &[(&str, &str)],
) -> Vec<String> {
    let mut variables = BTreeMap::new();
    let session: Vec<String> = session
        .iter()
        .filter(|variable| passes(variable))
        .filter_map(|variable| String::from_utf8(variable.clone()).ok())
        .collect();
    let user = user.iter().map(|(name, value)| format!("{name}={value}"));
    let container = container.map(str::to_string);
    for variable in container.chain(session).chain(user) {
        if let Some((name, value)) = variable.split_once('=') {
            variables.insert(name.to_string(), value.to_string());
        }
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{merge, passes};

    #[test]
    fn only_what_is_harmless_passes() {
        for variable in ["TERM=xterm", "LC_ALL=C", "LANG=", "SSH_TTY=/dev/pts/1"] {
            assert!(passes(variable.as_bytes()), "{variable}");
        }
        for variable in
            ["LD_PRELOAD=/x", "PATH=/x", "HOME=/x", "LC_ALL", "LC_x=1", "TERMX=1", "BASH_ENV=/x", "\u{e9}=1"]
        {
            assert!(!passes(variable.as_bytes()), "{variable}");
        }
        assert!(!passes(format!("TERM={}", "x".repeat(5000)).as_bytes()));
    }

    #[test]
    fn the_user_wins_over_the_session_and_that_over_the_container() {
        let session = [b"TERM=vt100".to_vec(), b"HOME=/host".to_vec()];
        let merged = merge(["TERM=x", "PATH=/bin", "HOME=/"].into_iter(), &session, &[("HOME", "/home/me")]);
        assert_eq!(merged, ["HOME=/home/me", "PATH=/bin", "TERM=vt100"]);
    }
}
