//! External trees of Buildroot (`BR2_EXTERNAL`): the project's own `buildroot/`, and `buildroot_ext/` of each layer.

use std::fs;
use std::path::{Path, PathBuf};

use super::ConfigureError;
use super::paths::Located;
use crate::error::Io;
use crate::workspace::Workspace;

const DESCRIPTION: &str = "external.desc";
const PARTS: [&str; 3] = [DESCRIPTION, "external.mk", "Config.in"];

/// An external tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Its name, which must be its own.
    pub name: String,
    /// Directory, as it is passed to Buildroot.
    pub path: PathBuf,
}

impl External {
    /// Those of a project and its layers, in order.
    pub(super) fn all(workspace: &Workspace, layers: &[Located]) -> Result<Vec<External>, ConfigureError> {
        let own = workspace.root().join("buildroot");
        let own = [own].into_iter().filter(|path| path.join(DESCRIPTION).exists());
        let of_layers = layers.iter().map(|layer| layer.path.join("buildroot_ext"));
        // Links to layers are not made yet.
        let real =
            layers.iter().map(|layer| layer.target.as_ref().unwrap_or(&layer.path).join("buildroot_ext"));
        let own = own.map(|path| (path.clone(), path));
        let mut found: Vec<External> = Vec::new();
        for (path, real) in own.chain(of_layers.zip(real).filter(|(_, real)| real.is_dir())) {
            let name = name(&real)?;
            if let Some(first) = found.iter().find(|external| external.name == name) {
                let (first, second) = (first.path.clone(), path);
                return Err(ConfigureError::SameName { name, first, second });
            }
            found.push(External { name, path });
        }
        Ok(found)
    }

    /// Hashes all that Kconfig reads of it.
    pub(super) fn hash(&self, layers: &[Located], hasher: &mut blake3::Hasher) -> Result<(), Io> {
        hasher.update(self.name.as_bytes()).update(b"\0").update(self.path.as_os_str().as_encoded_bytes());
        let through = layers.iter().find(|layer| self.path.starts_with(&layer.path));
        let target = through.and_then(|layer| Some(layer.target.as_ref()?.join("buildroot_ext")));
        hash_definitions(&target.unwrap_or_else(|| self.path.clone()), hasher)
    }
}

/// Checks the tree, and says its name.
fn name(path: &Path) -> Result<String, ConfigureError> {
    if let Some(missing) = PARTS.into_iter().find(|part| !path.join(part).is_file()) {
        return Err(ConfigureError::NoExternal { path: path.into(), missing });
    }
    let path = path.join(DESCRIPTION);
    let text = fs::read(&path).map_err(Io::on("read", &path))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    // As `support/scripts/br2-external` reads it.
    let name = text.lines().find_map(|line| line.strip_prefix("name: ")).map_or("", str::trim);
    match !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        true => Ok(name.into()),
        false => Err(ConfigureError::Nameless { path }),
    }
}

/// The files with definitions of symbols, by the names that they have in all such trees.
fn hash_definitions(directory: &Path, hasher: &mut blake3::Hasher) -> Result<(), Io> {
    let entries = fs::read_dir(directory).map_err(Io::on("list", directory))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(Io::on("list", directory))?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if path.is_dir() && !path.is_symlink() && !name.starts_with(b".") {
            hash_definitions(&path, hasher)?;
        } else if name.starts_with(b"Config.") {
            let bytes = fs::read(&path).map_err(Io::on("read", &path))?;
            hasher.update(name).update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        }
    }
    Ok(())
}
