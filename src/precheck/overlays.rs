//! Overlays of layers that cannot be laid over the root filesystem which Buildroot makes.

use super::{Foreseen, Subject};
use crate::buildroot::config::Config;
use crate::error::{Error, Result};
use crate::tree::overlay::Overlay;
use crate::tree::provenance::{Origin, Provenance};
use crate::tree::{Body, Node, NodeId, Stat, Tree};

/// Links of Buildroot's skeleton to other directories (`system/system.mk`, `SYSTEM_USR_SYMLINKS_OR_DIRS`).
const MERGED_USR: [(&str, &str); 3] = [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib")];

/// One for each layer whose overlay does not fit; overlays behind it are laid as if it were not there.
pub(super) fn over_links(subject: &Subject<'_>) -> Result<Vec<Foreseen>> {
    let mut tree = skeleton(subject.config);
    let mut provenance = Provenance::new();
    let skeleton = provenance.origin(Origin::Package { name: "skeleton".into() });
    provenance.record_tree(&tree, skeleton);
    let mut found = Vec::new();
    for layer in subject.layers {
        let Some(directory) = layer.root_overlay() else { continue };
        let laid = Overlay::read(layer.name.as_str(), &directory).and_then(|overlay| {
            let (mut next, mut known) = (tree.clone(), provenance.clone());
            let origin = known.origin(Origin::Layer { name: layer.name.clone() });
            overlay.apply(&mut next, &mut known, origin).map_err(Error::from)?;
            Ok((next, known))
        });
        match laid {
            Ok(laid) => (tree, provenance) = laid,
            Err(error) => found.push(Foreseen::from_error(&error)),
        }
    }
    Ok(found)
}

/// The directories and links that are there before anything is installed.
fn skeleton(config: &Config) -> Tree {
    let stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
    let directory = || Node::new(stat, Body::Dir(Default::default()));
    let mut tree = Tree::new(stat);
    let usr = tree.insert(Tree::ROOT, b"usr", directory());
    let is_merged = config.is_set("BR2_ROOTFS_MERGED_USR");
    let link = |tree: &mut Tree, at: NodeId, name: &str, target: &str| {
        tree.insert(at, name.as_bytes(), Node::new(stat, Body::Symlink(target.as_bytes().into())));
    };
    for name in ["bin", "lib"] {
        tree.insert(usr, name.as_bytes(), directory());
    }
    match config.is_set("BR2_ROOTFS_MERGED_BIN") {
        true => link(&mut tree, usr, "sbin", "bin"),
        false => _ = tree.insert(usr, b"sbin", directory()),
    }
    for (name, target) in MERGED_USR {
        match is_merged {
            true => link(&mut tree, Tree::ROOT, name, target),
            false => _ = tree.insert(Tree::ROOT, name.as_bytes(), directory()),
        }
    }
    tree
}
