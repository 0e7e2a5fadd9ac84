//! Scripts of layers that use a program which no selected package brings.
//!
//! Only programs that come with one package are looked for, and only where a shell script begins a command with one.
//! What busybox may have as well is left to the tests of a layer.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Foreseen, Subject};
use crate::error::{Io, Result};
use crate::tree::overlay::Overlay;
use crate::tree::{Body, display};

/// Programs by the symbol of Buildroot that brings them.
const PROGRAMS: [(&str, &str); 42] = [
    ("avahi-daemon", "BR2_PACKAGE_AVAHI_DAEMON"),
    ("bash", "BR2_PACKAGE_BASH"),
    ("bluetoothctl", "BR2_PACKAGE_BLUEZ5_UTILS_CLIENT"),
    ("btrfs", "BR2_PACKAGE_BTRFS_PROGS"),
    ("cryptsetup", "BR2_PACKAGE_CRYPTSETUP"),
    ("curl", "BR2_PACKAGE_LIBCURL_CURL"),
    ("docker", "BR2_PACKAGE_DOCKER_CLI"),
    ("dockerd", "BR2_PACKAGE_DOCKER_ENGINE"),
    ("e2fsck", "BR2_PACKAGE_E2FSPROGS"),
    ("ethtool", "BR2_PACKAGE_ETHTOOL"),
    ("fsck.fat", "BR2_PACKAGE_DOSFSTOOLS_FSCK_FAT"),
    ("git", "BR2_PACKAGE_GIT"),
    ("gpioset", "BR2_PACKAGE_LIBGPIOD2_TOOLS"),
    ("hostapd", "BR2_PACKAGE_HOSTAPD"),
    ("htop", "BR2_PACKAGE_HTOP"),
    ("iptables", "BR2_PACKAGE_IPTABLES"),
    ("iw", "BR2_PACKAGE_IW"),
    ("journalctl", "BR2_INIT_SYSTEMD"),
    ("jq", "BR2_PACKAGE_JQ"),
    ("lua", "BR2_PACKAGE_LUA"),
    ("mkfs.ext4", "BR2_PACKAGE_E2FSPROGS"),
    ("mkfs.fat", "BR2_PACKAGE_DOSFSTOOLS_MKFS_FAT"),
    ("modemmanager", "BR2_PACKAGE_MODEM_MANAGER"),
    ("mosquitto_pub", "BR2_PACKAGE_MOSQUITTO"),
    ("nft", "BR2_PACKAGE_NFTABLES"),
    ("nmcli", "BR2_PACKAGE_NETWORK_MANAGER_CLI"),
    ("openssl", "BR2_PACKAGE_LIBOPENSSL_BIN"),
    ("parted", "BR2_PACKAGE_PARTED"),
    ("perl", "BR2_PACKAGE_PERL"),
    ("podman", "BR2_PACKAGE_PODMAN"),
    ("python3", "BR2_PACKAGE_PYTHON3"),
    ("resize2fs", "BR2_PACKAGE_E2FSPROGS_RESIZE2FS"),
    ("rsync", "BR2_PACKAGE_RSYNC"),
    ("sfdisk", "BR2_PACKAGE_UTIL_LINUX_BINARIES"),
    ("ssh-keygen", "BR2_PACKAGE_OPENSSH"),
    ("strace", "BR2_PACKAGE_STRACE"),
    ("sudo", "BR2_PACKAGE_SUDO"),
    ("systemctl", "BR2_INIT_SYSTEMD"),
    ("tmux", "BR2_PACKAGE_TMUX"),
    ("tune2fs", "BR2_PACKAGE_E2FSPROGS"),
    ("wpa_cli", "BR2_PACKAGE_WPA_SUPPLICANT_CLI"),
    ("zramctl", "BR2_PACKAGE_UTIL_LINUX_ZRAMCTL"),
];
/// A script is no longer than this.
const LONGEST: u64 = 256 << 10;

/// One for each program and layer, with the first script that uses it.
pub(super) fn without_programs(subject: &Subject<'_>) -> Result<Vec<Foreseen>> {
    let mut found = Vec::new();
    for layer in subject.layers {
        let Some(directory) = layer.root_overlay() else { continue };
        let mut first: BTreeMap<&str, (String, bool)> = BTreeMap::new();
        for path in scripts(&layer.name, &directory)? {
            let shown = path.strip_prefix(&layer.path).unwrap_or(&path).display().to_string();
            let bytes = fs::read(&path).map_err(Io::on("read", &path))?;
            let text = String::from_utf8_lossy(&bytes);
            for (program, is_interpreter) in used(&text) {
                first.entry(program).or_insert_with(|| (shown.clone(), is_interpreter));
            }
        }
        for (program, (script, is_interpreter)) in first {
            let Some((_, symbol)) = PROGRAMS.iter().find(|(name, _)| *name == program) else { continue };
            if subject.config.is_set(symbol) {
                continue;
            }
            let uses = if is_interpreter { "is a script for" } else { "calls" };
            found.push(Foreseen::new(
                format!(
                    "`{script}` of layer `{}` {uses} `{program}`, which the system does not have",
                    layer.name
                ),
                format!("set `{symbol}` in `buildroot/` of the layer"),
            ));
        }
    }
    Ok(found)
}

/// Files of an overlay that may be scripts, in byte order. What is wrong with the overlay is told elsewhere.
fn scripts(layer: &str, directory: &Path) -> Result<Vec<PathBuf>> {
    let Ok(overlay) = Overlay::read(layer, directory) else { return Ok(Vec::new()) };
    let files = overlay.tree.walk().filter_map(|(path, id)| match &overlay.tree.node(id).body {
        Body::File(content) if content.len() <= LONGEST => Some(display(&path)),
        _ => None,
    });
    Ok(files.map(|path| directory.join(path.trim_start_matches('/'))).collect())
}

/// Programs of the list that a script needs, and whether it is their text.
fn used(text: &str) -> Vec<(&'static str, bool)> {
    let Some(interpreter) = text.lines().next().and_then(|line| line.strip_prefix("#!")) else {
        return Vec::new();
    };
    let mut words = interpreter.split_whitespace().map(base_name);
    let interpreter = words.find(|word| *word != "env").unwrap_or_default();
    let mut found: Vec<(&str, bool)> =
        known(interpreter).map(|program| (program, true)).into_iter().collect();
    if !["sh", "bash", "ash", "dash"].contains(&interpreter) {
        return found;
    }
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let commands = commands(line).into_iter().filter_map(known);
        // A script that asks for a program, or brings it, does without it.
        found.extend(commands.filter(|program| !is_asked_for(text, program)).map(|program| (program, false)));
    }
    found
}

fn known(name: &str) -> Option<&'static str> {
    PROGRAMS.iter().find(|(program, _)| *program == name).map(|(program, _)| *program)
}

fn is_asked_for(text: &str, program: &str) -> bool {
    let asks = [
        format!("command -v {program}"),
        format!("which {program}"),
        format!("type {program}"),
        format!("{program}()"),
    ];
    asks.iter().any(|asked| text.contains(asked)) || text.contains(&format!("-x /usr/bin/{program}"))
}

/// The words of a line of a shell script that begin a command.
fn commands(line: &str) -> Vec<&str> {
    const BEFORE: [&str; 12] =
        ["if", "then", "else", "elif", "do", "while", "until", "!", "exec", "time", "nohup", "{"];
    let mut found = Vec::new();
    for part in line.split([';', '|', '&', '(', '`']) {
        let is_assignment = |word: &str| {
            word.split_once('=').is_some_and(|(name, _)| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            })
        };
        let mut words =
            part.split_whitespace().skip_while(|word| BEFORE.contains(word) || is_assignment(word));
        // The rest of a text in quotes begins no command, and nothing but a plain name is looked up.
        found.extend(words.next().map(base_name));
    }
    found
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_where_a_command_begins() {
        let text = "#!/bin/bash\n# curl\nset -e\nurl=$(curl -s \"$1\") && jq .x <<<\"$url\"\nif ! /usr/bin/nmcli -t; then\n\
            echo \"use tmux; or not\"\nX=1 rsync a b | sudo tee c\nfi\ncommand -v git >/dev/null && git pull\n";
        let mut found: Vec<_> = used(text).into_iter().map(|(program, _)| program).collect();
        found.sort();
        assert_eq!(found, ["bash", "curl", "jq", "nmcli", "rsync", "sudo"]);
        assert_eq!(used("#!/usr/bin/env python3\nimport curl\n"), [("python3", true)]);
        assert_eq!(used("curl is no script\n"), []);
    }
}
