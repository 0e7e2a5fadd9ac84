//! The root filesystem of an image: a Buildroot output and layers, in the order of Buildroot's `fs/common.mk`.
//!
//! 1. read `target/` (owned by root, without its marker) or `images/rootfs.tar`;
//! 2. lay the root overlays of the layers over it, in order;
//! 3. add users, then owners, modes and nodes of the device table, unless a `rootfs.tar` has them already;
//! 4. enable systemd units by preset, those of overlays too, if systemd is there;
//! 5. empty `/run` and `/tmp`;
//! 6. set every time to the epoch. Buildroot does so for `BR2_REPRODUCIBLE`; here always, because two builds and two
//!    checkouts have different times, and nothing in an image should depend on them.
//!
//! Not repeated for `target/`: `systemd-tmpfiles --create`, removal of message catalogs and hwdb sources, SELinux
//! labels. A `rootfs.tar` has them; [`RootTree::notes`] says so where it matters.

use std::path::Path;

use super::output::{MARKER, Output, RootSource};
use super::presets;
use super::users_table::{PasswordMethod, UsersOptions};
use crate::error::Result;
use crate::layer::Layer;
use crate::tree::archive::read_archive;
use crate::tree::overlay::Overlay;
use crate::tree::provenance::{Change, Origin, Provenance};
use crate::tree::scan::{HardLinks, HostXattrs, Ownership, ScanOptions, scan};
use crate::tree::{LastLink, NodeId, Tree, join};
use crate::value::{Seed, Timestamp};

/// Directories whose content is made at boot.
const EMPTIED: [&str; 2] = ["run", "tmp"];

/// Sources of a root filesystem.
#[derive(Clone, Copy, Debug)]
pub struct RootInputs<'a> {
    /// The Buildroot output.
    pub output: &'a Output,
    /// The layers, in order; later ones win.
    pub layers: &'a [Layer],
    /// Seed of the salts of passwords.
    pub seed: &'a Seed,
    /// Time of every node (`SOURCE_DATE_EPOCH`).
    pub epoch: Timestamp,
    /// Extended attributes that are taken from `target/`. An archive has those of its system.
    pub host_xattrs: HostXattrs,
}

/// A root filesystem, ready to be formatted.
#[derive(Clone, Debug)]
pub struct RootTree {
    /// The filesystem.
    pub tree: Tree,
    /// Origins of each path.
    pub provenance: Provenance,
    /// Notes for the user, as sentences without a full stop.
    pub notes: Vec<String>,
    /// Things that the source has and the tree has not, see [`Tree::omitted`].
    pub left_out: Vec<String>,
}

/// Makes the root filesystem. The same inputs give the same tree, wherever the checkout is and whoever runs this.
pub fn root_tree(inputs: &RootInputs) -> Result<RootTree> {
    let mut root = read_source(inputs)?;
    root.lay_overlays(inputs.layers)?;
    root.apply_tables(inputs)?;
    root.apply_presets(inputs)?;
    root.empty_volatile();
    root.set_times(inputs.epoch);
    Ok(root)
}

fn read_source(inputs: &RootInputs) -> Result<RootTree> {
    let output = inputs.output;
    let (tree, path) = match &output.source {
        RootSource::Target { dir, .. } => (scan_target(dir, inputs.host_xattrs)?, dir),
        RootSource::Tar { path } => (read_archive(path)?, path),
    };
    let left_out = tree.omitted().to_vec();
    let mut root = RootTree { tree, provenance: Provenance::new(), notes: Vec::new(), left_out };
    root.record_source(output, path)?;
    Ok(root)
}

fn scan_target(dir: &Path, xattrs: HostXattrs) -> Result<Tree> {
    let options = ScanOptions {
        ownership: Ownership::Root,
        xattrs,
        hard_links: HardLinks::Keep,
        exclude: &|path| path == MARKER.as_bytes(),
    };
    Ok(scan(dir, &options)?)
}

impl RootTree {
    /// Notes for each path the package that installed it, else the source.
    fn record_source(&mut self, output: &Output, path: &Path) -> Result<()> {
        let source = self.provenance.origin(Origin::Source { path: path.into() });
        let packages = output.packages()?;
        let mut origins = std::collections::BTreeMap::new();
        for (path, id) in self.tree.walk() {
            let origin = packages.get(&path).map(|name| {
                *origins
                    .entry(name)
                    .or_insert_with(|| self.provenance.origin(Origin::Package { name: name.clone() }))
            });
            let node = self.tree.node(id).body.kind();
            self.provenance.record(&path, origin.unwrap_or(source), Change::Created { node });
        }
        Ok(())
    }

    fn lay_overlays(&mut self, layers: &[Layer]) -> Result<()> {
        for layer in layers {
            let Some(dir) = layer.root_overlay() else { continue };
            let overlay = Overlay::read(&layer.name, &dir)?;
            let origin = self.provenance.origin(Origin::Layer { name: layer.name.clone() });
            overlay.apply(&mut self.tree, &mut self.provenance, origin)?;
        }
        Ok(())
    }

    fn apply_tables(&mut self, inputs: &RootInputs) -> Result<()> {
        let RootSource::Target { users, devices, .. } = &inputs.output.source else { return Ok(()) };
        let method = match users.has_clear_text() {
            true => inputs.output.password_method()?,
            false => PasswordMethod::Sha256,
        };
        let options = UsersOptions { method, seed: inputs.seed, mtime: inputs.epoch };
        users.apply(&mut self.tree, &mut self.provenance, &options)?;
        devices.apply(&mut self.tree, &mut self.provenance, inputs.epoch)?;
        Ok(())
    }

    fn apply_presets(&mut self, inputs: &RootInputs) -> Result<()> {
        if !inputs.output.has_systemd() && !presets::has_systemd(&self.tree) {
            return Ok(());
        }
        let mut notes = presets::preset_all(&mut self.tree, &mut self.provenance, inputs.epoch)?;
        self.notes.append(&mut notes);
        if matches!(inputs.output.source, RootSource::Target { .. }) {
            self.notes.push(
                "paths that systemd-tmpfiles makes are made at boot; images/rootfs.tar has them from the start".into(),
            );
        }
        Ok(())
    }

    fn empty_volatile(&mut self) {
        for dir in EMPTIED {
            let Ok(found) = self.tree.resolve(dir, LastLink::Follow) else { continue };
            let Some(entries) = self.tree.node(found.id).entries() else { continue };
            let names: Vec<_> = entries.keys().cloned().collect();
            let origin = self.provenance.origin(Origin::Step { name: format!("empty /{dir}") });
            for name in names {
                self.remove_below(found.id, &found.path, &name, origin);
            }
        }
    }

    /// Removes an entry, and notes it for everything below.
    fn remove_below(
        &mut self,
        dir: NodeId,
        path: &[u8],
        name: &[u8],
        origin: crate::tree::provenance::OriginId,
    ) {
        let Some(id) = self.tree.unlink(dir, name) else { return };
        let mut stack = vec![(join(path, name), id)];
        while let Some((path, id)) = stack.pop() {
            let node = self.tree.node(id);
            self.provenance.record(&path, origin, Change::Removed { node: node.body.kind() });
            let entries = node.entries().into_iter().flatten();
            stack.extend(entries.map(|(name, child)| (join(&path, name), *child)));
        }
    }

    fn set_times(&mut self, epoch: Timestamp) {
        let ids: Vec<NodeId> = self.tree.walk().map(|(_, id)| id).collect();
        ids.into_iter().for_each(|id| self.tree.node_mut(id).stat.mtime = epoch);
    }
}
