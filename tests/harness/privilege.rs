//! What only root can try.

use super::skip::skip;

/// Whether this runs as root; if not it is told, and is a failure where nothing may be skipped (in CI).
pub fn root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(test, "needs root");
    }
    root
}
