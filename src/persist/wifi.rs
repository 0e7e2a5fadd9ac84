//! A wireless network as a connection of NetworkManager: a keyfile (nm-settings-keyfile(5)), which is a GKeyFile.

use super::PreSeedError;
use crate::value::Seed;

/// Longest name of a network in bytes (IEEE 802.11-2020, section 9.4.2.2).
const SSID_MAX: usize = 32;

/// A network with WPA2 or WPA3 and a password, or an open one.
#[derive(Clone, PartialEq, Eq)]
pub struct Wifi {
    ssid: String,
    password: Option<String>,
}

/// Never the password.
impl std::fmt::Debug for Wifi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wifi").field("ssid", &self.ssid).finish_non_exhaustive()
    }
}

impl Wifi {
    /// A network of this name and, unless it is open, password: 8 to 63 printable characters, or the 64
    /// hexadecimal digits of the key (IEEE 802.11-2020, annex J.4).
    pub fn new(ssid: &str, password: Option<&str>) -> Result<Wifi, PreSeedError> {
        if ssid.is_empty() || ssid.len() > SSID_MAX {
            return Err(PreSeedError::Ssid { len: ssid.len() });
        }
        if let Some(password) = password {
            let phrase =
                (8..=63).contains(&password.len()) && password.bytes().all(|b| (0x20..0x7f).contains(&b));
            let key = password.len() == 64 && password.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !phrase && !key {
                return Err(PreSeedError::Password { ssid: ssid.into(), len: password.len() });
            }
        }
        Ok(Wifi { ssid: ssid.into(), password: password.map(str::to_owned) })
    }

    /// Name of the network.
    pub fn ssid(&self) -> &str {
        &self.ssid
    }

    /// Returns whether it is not open.
    pub(super) fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Name of the keyfile: NetworkManager wants this ending; a `/` cannot be in it.
    pub(super) fn file_name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_ .".contains(c) { c } else { '_' };
        let name: String = self.ssid.chars().map(plain).collect();
        format!("{}.nmconnection", name.trim_start_matches('.'))
    }

    /// The keyfile.
    pub(super) fn keyfile(&self, seed: &Seed) -> String {
        let uuid = seed.uuid(&format!("wifi {}", self.ssid));
        let id = escaped(&self.ssid);
        let mut text = format!("[connection]\nid={id}\nuuid={uuid}\ntype=wifi\n\n");
        text += &format!("[wifi]\nmode=infrastructure\nssid={}\n\n", self.ssid_value());
        if let Some(password) = &self.password {
            text += &format!("[wifi-security]\nkey-mgmt=wpa-psk\npsk={}\n\n", escaped(password));
        }
        text + "[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n"
    }

    /// The name as text, or as a list of bytes where NetworkManager could take the text for something else.
    fn ssid_value(&self) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_ .:".contains(&byte);
        let at_edge = self.ssid.starts_with(' ') || self.ssid.ends_with(' ');
        // Digits alone would be taken for such a list.
        let digits = self.ssid.bytes().all(|byte| byte.is_ascii_digit());
        if self.ssid.bytes().all(plain) && !at_edge && !digits {
            return self.ssid.clone();
        }
        self.ssid.bytes().map(|byte| format!("{byte};")).collect()
    }
}

/// A value of a GKeyFile: what would be lost at its ends, and backslashes, are escaped.
fn escaped(value: &str) -> String {
    let text = value.replace('\\', "\\\\");
    let spaces = text.len() - text.trim_start_matches(' ').len();
    let text = format!("{}{}", "\\s".repeat(spaces), &text[spaces..]);
    text.chars().map(|c| if c.is_control() { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_spaces_and_backslashes() {
        assert_eq!(escaped("  a\\b c"), "\\s\\sa\\\\b c");
    }

    #[test]
    fn a_name_that_could_be_a_list_of_bytes_is_one() {
        let ssid = |name| Wifi::new(name, None).expect("a name").ssid_value();
        assert_eq!(ssid("Quick Net"), "Quick Net");
        assert_eq!(ssid("1;2"), "49;59;50;");
        assert_eq!(ssid("é"), "195;169;");
        assert_eq!(ssid(" a"), "32;97;");
        assert_eq!(ssid("12"), "49;50;");
    }

    #[test]
    fn debug_output_has_no_password() {
        let wifi = Wifi::new("net", Some("very secret")).expect("a network");
        assert!(!format!("{wifi:?}").contains("secret"));
    }
}
