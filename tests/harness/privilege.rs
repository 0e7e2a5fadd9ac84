//! What only root can try.

/// Whether this runs as root; if not it is told, and is a failure where nothing may be skipped (in CI).
pub fn root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("CI").is_none(), "{test}: needs root");
        eprintln!("skipped: {test}: needs root");
    }
    root
}
