//! Sessions of users in their containers.
//!
//! ```text
//! sshd, login, su  ->  skiff-shell            as the user; no privilege
//!                        | its three descriptors, terminal size, command, environment
//!                        v
//!                      skiff-core broker      as root; one process for a session
//!                        | user, container and shell: what the configuration says for this uid
//!                        v
//!                      OCI runtime `exec`     the process in the container becomes a child of the broker
//! ```
//!
//! The process in the container has the very descriptors of the session, so that pipes are closed and full exactly as
//! on the host. With a terminal it gets one of its own in the container, whose other end is with `skiff-shell`: the kernel
//! hangs it up when that ends. The broker learns the status of the process from the kernel and passes it on, and ends the
//! process when `skiff-shell` is gone.

mod broker;
mod environment;
mod listen;
mod message;
mod relay;
pub mod routes;
mod runtime;
mod shell;
mod signals;
mod target;

use std::path::PathBuf;

use crate::places::Places;

pub use broker::serve;
pub use listen::listen;
pub use runtime::Runtime;
pub use shell::shell;
pub use target::create_users;

/// Where the broker listens.
pub fn socket(places: &Places) -> PathBuf {
    places.run.join("broker.sock")
}
