//! Where files of this program are.

use std::path::{Path, PathBuf};

/// Socket of the engine that is used unless another is given: podman's, for root.
pub const SOCKET: &str = "/run/podman/podman.sock";
/// The configuration of the user, below what persists.
pub const USER_CONFIG: &str = "skiff/core/config.yaml";
/// Directory of archives of images, below what persists. An image of the configuration that is in none of its ways on
/// the device is loaded from the archive of its name.
pub const IMAGES: &str = "skiff/core/images";
/// The configuration of the image, below its root.
pub const IMAGE_CONFIG: &str = "opt/skiff/coreenv/defconfig.yaml";
/// Where what persists is mounted, below the root.
pub const PERSIST: &str = "mnt/persist";

/// Name of the archive of an image in [`IMAGES`].
pub fn archive_name(reference: &str) -> String {
    format!("{}.tar", reference.replace('/', "+"))
}

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
            state: root.join(PERSIST).join("skiff/core/state"),
            run: root.join("run/skiff-core"),
            engine: SOCKET.into(),
            root: root.to_path_buf(),
        }
    }

    /// The configuration of the user.
    pub fn user_config(&self) -> PathBuf {
        self.root.join(PERSIST).join(USER_CONFIG)
    }

    /// The configuration of the image.
    pub fn image_config(&self) -> PathBuf {
        self.root.join(IMAGE_CONFIG)
    }

    /// The archive from which an image is loaded that is on no other way, if it is there.
    pub fn archive(&self, reference: &str) -> PathBuf {
        self.root.join(PERSIST).join(IMAGES).join(archive_name(reference))
    }

    /// The one of both that counts: that of the user, if there is one. Nothing is copied to persist, so a device on which nobody
    /// wrote a configuration gets that of the next image.
    pub fn config(&self) -> PathBuf {
        let user = self.user_config();
        if user.exists() { user } else { self.image_config() }
    }
}
