//! Second field of shadow(5).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha_crypt::{CustomizedPasswordHasher, Params, PasswordVerifier, ShaCrypt};

use crate::config::Password;
use crate::failure::{Failure, Result};

/// What no password gives. Not `!`, with which sshd without PAM refuses keys too.
const NONE: &str = "*";

/// The field for a password. A clear one keeps the field that it had, if that is a hash of it.
pub(super) fn field(password: &Password, before: Option<&str>) -> Result<String> {
    match password {
        Password::None => Ok(NONE.into()),
        Password::Empty => Ok(String::new()),
        Password::Hash(hash) => Ok(hash.clone()),
        Password::Clear(text) => match before.filter(|hash| is_hash_of(hash, text)) {
            Some(hash) => Ok(hash.into()),
            None => hash(text),
        },
    }
}

fn is_hash_of(hash: &str, text: &str) -> bool {
    ShaCrypt::SHA512.verify_password(text.as_bytes(), hash).is_ok()
}

/// A hash of SHA-512 with a salt of chance, as crypt(5) has it.
fn hash(text: &str) -> Result<String> {
    let random = Path::new("/dev/urandom");
    let mut salt = [0; 12];
    File::open(random)
        .and_then(|mut file| file.read_exact(&mut salt))
        .map_err(|error| Failure::file("read", random, error))?;
    let hash =
        ShaCrypt::SHA512.hash_password_customized(text.as_bytes(), &salt, None, None, Params::RECOMMENDED);
    let hash = hash.map_err(|error| Failure::new(format!("cannot hash a password: {error}")))?;
    Ok(hash.to_string())
}
