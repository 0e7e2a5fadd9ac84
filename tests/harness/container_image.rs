//! An image of a container, made without a registry: an [OCI layout](https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md)
//! in a tar archive, with one layer.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::tools::{command, run};

/// An image that is not in an archive yet.
pub struct Layout {
    directory: PathBuf,
}

impl Layout {
    /// The layout of an image of this name and architecture, below `directory`, whose root filesystem is the archive `layer`.
    pub fn make(directory: &Path, name: &str, architecture: &str, layer: &[u8]) -> Layout {
        let layout = Layout { directory: directory.to_owned() };
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory.join("blobs/sha256")).expect("a directory");
        let diff = digest(layer);
        let layer = layout.blob("application/vnd.oci.image.layer.v1.tar", layer);
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [diff]},
        });
        let config = layout.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let media = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": media, "config": config, "layers": [layer]});
        let mut manifest = layout.blob(media, manifest.to_string().as_bytes());
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        layout.file("index.json", index.to_string().as_bytes());
        layout.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        layout
    }

    /// A path of the layout.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes the archive.
    pub fn archive(&self, to: &Path) {
        run(command("tar").arg("-C").arg(&self.directory).arg("-cf").arg(to).arg("."));
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a file");
    }

    /// Adds a blob; its descriptor.
    fn blob(&self, media: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        self.file(&digest.replace("sha256:", "blobs/sha256/"), bytes);
        json!({"mediaType": media, "digest": digest, "size": bytes.len()})
    }
}

/// SHA-256 as an image names its parts.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
