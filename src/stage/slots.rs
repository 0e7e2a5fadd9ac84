//! What the system of a medium with two slots knows about them.

use std::path::Path;

use skiff_update::keys::Root;

use super::{Inputs, StageError};
use crate::board::Slots;
use crate::error::{Error, Io};
use crate::tree::{Body, Content, Node, Stat, Tree, display};

/// Directory of the two files.
const DIRECTORY: &str = "/etc/skiff";
/// Name of the file that says what the device is.
const CONFIG: &[u8] = b"update.conf";
/// Name of the file with the keys that may sign updates.
const ROOT: &[u8] = b"update.root";

/// Slots of a medium, and what comes with them.
#[derive(Clone, Debug)]
pub struct SlotInputs {
    /// How a system is started from one of them.
    pub slots: Slots,
    /// The keys that may sign updates, where not the layers bring them.
    pub root: Option<Vec<u8>>,
}

impl SlotInputs {
    /// Reads a file of keys. Fails if a device could not read it.
    pub fn read_root(path: &Path) -> Result<Vec<u8>, Error> {
        let bytes = std::fs::read(path).map_err(Io::on("read", path))?;
        Root::parse(&bytes)?;
        Ok(bytes)
    }

    /// Adds the files that `skiff-update` reads on the device; returns what the user should know.
    pub(super) fn add_to(&self, root: &mut Tree, inputs: &Inputs) -> Result<Option<String>, StageError> {
        let stat = |mode| Stat { mode, uid: 0, gid: 0, mtime: inputs.timestamp };
        let in_the_way = |path: Vec<u8>| StageError::SlotsInTheWay { path: display(&path) };
        let (directory, _) =
            root.create_dirs(DIRECTORY, stat(0o755)).map_err(|_| in_the_way(DIRECTORY.into()))?;
        let mut put = |name: &[u8], bytes: Vec<u8>| {
            root.unlink(directory.id, name);
            root.insert(directory.id, name, Node::new(stat(0o644), Body::File(Content::bytes(bytes))));
        };
        put(CONFIG, self.slots.config(&inputs.board, inputs.arch).into_bytes());
        if let Some(bytes) = &self.root {
            put(ROOT, bytes.clone());
        }
        let has_root = root.child(directory.id, ROOT).is_some();
        Ok((!has_root).then(|| {
            "no keys: the device will take no update; name them, or put them at `/etc/skiff/update.root` of a layer"
                .into()
        }))
    }
}
