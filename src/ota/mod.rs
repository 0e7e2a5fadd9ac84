//! Updates over the air, from the host: the keys that devices trust, and signatures.
//! What a bundle is, and what a device does with it, is in `skiff_update`.
//!
//! ```text
//! public keys -> RootFile         who may sign; the next one is signed by this one
//! Signers + text -> signatures    by ssh-keygen: with a key in a file, in an agent or in hardware
//! ```

mod error;
mod root;
mod sign;

pub use error::OtaError;
pub use root::{RootFile, new_root, next_root, read_key};
pub use sign::Signers;
