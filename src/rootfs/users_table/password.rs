//! Clear-text passwords as crypt(5) hashes.

use std::str::FromStr;

use sha_crypt::{CustomizedPasswordHasher, Params, ShaCrypt};

use super::UsersTableError;
use crate::value::Seed;

/// Hash method of clear-text passwords: crypt(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordMethod {
    /// `$5$`.
    Sha256,
    /// `$6$`.
    Sha512,
}

impl FromStr for PasswordMethod {
    type Err = UsersTableError;

    fn from_str(text: &str) -> Result<PasswordMethod, UsersTableError> {
        match text {
            "sha-256" => Ok(PasswordMethod::Sha256),
            "sha-512" => Ok(PasswordMethod::Sha512),
            _ => Err(UsersTableError::Method(text.into())),
        }
    }
}

impl PasswordMethod {
    /// The crypt(5) hash of `password` with a salt derived from the seed and the user's name.
    pub fn hash(self, password: &str, user: &str, seed: &Seed) -> String {
        let hasher = match self {
            PasswordMethod::Sha256 => ShaCrypt::SHA256,
            PasswordMethod::Sha512 => ShaCrypt::SHA512,
        };
        // Twelve bytes become the sixteen characters of salt that crypt(5) uses at most.
        let salt = &seed.bytes16(&format!("password salt of user {user}"))[..12];
        let hash = hasher
            .hash_password_customized(password.as_bytes(), salt, None, None, Params::RECOMMENDED)
            .expect("a salt of twelve bytes is valid");
        // 5000 rounds are the default of crypt(5) and are left out, as mkpasswd does.
        hash.to_string().replacen("rounds=5000$", "", 1)
    }
}
