//! Public keys of OpenSSH: one a line, as in `authorized_keys` (sshd(8), "AUTHORIZED_KEYS FILE FORMAT").

use std::path::Path;

use base64ct::{Base64, Encoding};

use super::PreSeedError;
use crate::error::{Error, Io};

/// Kinds of keys that sshd takes. DSA is not among them: OpenSSH 10 dropped it.
const KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// The public keys of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKeys {
    /// Name of the file without its ending.
    pub(super) name: String,
    /// The file's text, ending in a newline.
    pub(super) text: String,
}

impl PublicKeys {
    /// Reads a `.pub` file.
    pub fn read(path: &Path) -> Result<PublicKeys, Error> {
        let text = std::fs::read_to_string(path).map_err(Io::on("read", path))?;
        let name = path.file_stem().map_or("key".into(), |stem| stem.to_string_lossy());
        Ok(PublicKeys::parse(&name, &path.display().to_string(), &text)?)
    }

    /// Checks the text of a `.pub` file; `file` is its name in messages.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<PublicKeys, PreSeedError> {
        if text.contains("PRIVATE KEY-----") {
            return Err(PreSeedError::PrivateKey { file: file.into() });
        }
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let keys: Vec<_> = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect();
        if keys.is_empty() {
            return Err(PreSeedError::NoKey { file: file.into() });
        }
        for (line, key) in &keys {
            check(key).map_err(|problem| PreSeedError::Key { file: file.into(), line: *line, problem })?;
        }
        let text = keys.iter().map(|(_, key)| format!("{key}\n")).collect();
        Ok(PublicKeys { name: name.into(), text })
    }
}

/// A key names its kind twice: in the line, and in the encoded key (RFC 4253, section 6.6), so that a line that
/// was cut or mixed up is found. Options may come first.
fn check(line: &str) -> Result<(), String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let Some(at) = words.iter().position(|word| KINDS.contains(word)) else {
        let first = words.first().copied().unwrap_or_default();
        return Err(format!("`{first}` is no kind of key that sshd takes"));
    };
    let (kind, encoded) = (words[at], words.get(at + 1).copied().unwrap_or_default());
    let bytes = Base64::decode_vec(encoded).map_err(|_| "what follows its kind is not base64".to_owned())?;
    let len = bytes.first_chunk().map_or(0, |len| u32::from_be_bytes(*len) as usize);
    let inner = bytes.get(4..4 + len.min(64)).map(String::from_utf8_lossy).unwrap_or_default();
    if inner != kind {
        return Err(format!("its line says `{kind}`, the key itself `{inner}`"));
    }
    Ok(())
}
