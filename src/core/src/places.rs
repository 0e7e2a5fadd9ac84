//! Where files of this program are.

use std::path::{Path, PathBuf};

/// Files and directories of a system.
#[derive(Clone, Debug)]
pub struct Places {
    /// Root of the system.
    pub root: PathBuf,
    /// What must survive the next start: on persist.
    pub state: PathBuf,
    /// What need not: gone with the power.
    pub run: PathBuf,
    /// Socket of the engine.
    pub engine: PathBuf,
}

impl Places {
    /// Those of SkiffOS in a system whose root is at `root`.
    pub fn below(root: &Path) -> Self {
        Self {
            state: root.join("mnt/persist/skiff/core/state"),
            run: root.join("run/skiff-core"),
            engine: crate::engine::SOCKET.into(),
            root: root.to_path_buf(),
        }
    }

    /// The configuration of the user.
    pub fn user_config(&self) -> PathBuf {
        self.root.join("mnt/persist/skiff/core/config.yaml")
    }

    /// The configuration of the image.
    pub fn image_config(&self) -> PathBuf {
        self.root.join("opt/skiff/coreenv/defconfig.yaml")
    }

    /// The one of both that counts: that of the user, if there is one. Nothing is copied to persist, so a device on which nobody
    /// wrote a configuration gets that of the next image.
    pub fn config(&self) -> PathBuf {
        let user = self.user_config();
        if user.exists() { user } else { self.image_config() }
    }
}
