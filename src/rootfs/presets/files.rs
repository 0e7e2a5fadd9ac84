//! Text files of a tree: presets, units and their drop-ins.

use std::collections::BTreeMap;

use crate::tree::{Body, ContentError, LastLink, Tree, join};

/// A configuration file: its name, its path in the tree, its text.
type ConfigurationFile = (Vec<u8>, Vec<u8>, String);

/// The files with a suffix in several directories, by name; of two with one name the earlier directory's counts.
pub(super) fn configuration_files(
    tree: &Tree,
    directories: &[&str],
    suffix: &str,
) -> Result<Vec<ConfigurationFile>, ContentError> {
    let mut files = BTreeMap::new();
    for dir in directories {
        let Ok(dir) = tree.resolve(dir, LastLink::Follow) else { continue };
        for name in tree.node(dir.id).entries().into_iter().flatten().map(|(name, _)| name) {
            if name.ends_with(suffix.as_bytes()) {
                files.entry(name.to_vec()).or_insert_with(|| join(&dir.path, name));
            }
        }
    }
    let mut read = Vec::new();
    for (name, path) in files {
        let text = read_text(tree, &path)?.unwrap_or_default();
        read.push((name, path, text));
    }
    Ok(read)
}

/// The text of a file of the tree; nothing if there is no file. A link to `/dev/null` counts as empty.
pub(super) fn read_text(tree: &Tree, path: &[u8]) -> Result<Option<String>, ContentError> {
    let Ok(found) = tree.resolve(path, LastLink::Follow) else { return Ok(None) };
    match &tree.node(found.id).body {
        Body::File(content) => Ok(Some(String::from_utf8_lossy(&content.read_all()?).into_owned())),
        _ => Ok(None),
    }
}
