//! Plain texts of layers: compiler flags (`cflags/`) and users (`users/`).

use std::path::Path;
use std::sync::Arc;

use super::{FragmentError, files, text};
use crate::layer::Layer;

/// The part of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Name of the layer.
    pub layer: String,
    /// The file.
    pub file: Arc<Path>,
    /// Text that it adds, never empty.
    pub text: String,
}

/// The compiler flags of the layers: all lines that are no remarks (`#`), on one line. Joined with spaces they are the
/// value of `BR2_TARGET_OPTIMIZATION`.
pub fn cflags(layers: &[Layer]) -> Result<Vec<Plain>, FragmentError> {
    read(layers, "cflags", |text| {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.collect::<Vec<_>>().join(" ")
    })
}

/// The users tables of the layers; each ends with a newline, so that they can be put one behind the other.
pub fn users(layers: &[Layer]) -> Result<Vec<Plain>, FragmentError> {
    read(layers, "users", |text| {
        let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        text + newline
    })
}

fn read(
    layers: &[Layer],
    directory: &str,
    part: impl Fn(String) -> String,
) -> Result<Vec<Plain>, FragmentError> {
    let mut parts = Vec::new();
    for layer in layers {
        for file in files(layer, directory)? {
            let text = part(text(&file)?);
            if !text.is_empty() {
                parts.push(Plain { layer: layer.name.clone(), file: file.into(), text });
            }
        }
    }
    Ok(parts)
}
