//! The root overlay of a layer, and how it is laid over a tree.
//!
//! The rules follow Buildroot's rsync (`system/system.mk`, `SYSTEM_RSYNC`) with three deliberate differences: modes
//! are not loosened (a secret of mode 0600 stays one), directories that are already there keep their metadata, and
//! a directory over a symbolic link to a directory is an error instead of a silent replacement.
//!
//! # Modes
//! A checkout must give the same bytes under the usual umasks, while the permissions an author took away must
//! stay away:
//!
//! - group and others lose write permission (umask 0002 and 0022 give the same), except on sticky directories,
//!   which no umask makes;
//! - any other missing permission was taken away by the author, and stays so: 0600 stays 0600;
//! - setuid, setgid and sticky stay, except setgid on directories if the root directory has it too (a shared
//!   checkout inherits it).
//!
//! An umask that takes more (0027, 0077) leaves no way to distinguish a secret from any other file: where nothing in
//! the overlay, its root directory included, has what such an umask takes, it is refused.
//!
//! Git records no permissions but the executable bit; a device table line says a mode that always holds.

mod error;

use std::path::Path;

pub use error::OverlayError;

use super::provenance::{Change, OriginId, Provenance};
use super::scan::{HardLinks, HostXattrs, Ownership, ScanOptions, scan};
use super::{Body, LastLink, NodeId, Stat, Tree, display, join};
use crate::error::Error;

/// Names that never leave a source checkout: `RSYNC_VCS_EXCLUSIONS` of Buildroot, its `.empty`, and backups (`~`).
const EXCLUDED: [&[u8]; 6] = [b".svn", b".git", b".hg", b".bzr", b"CVS", b".empty"];
/// Permissions of group and others that reading and executing needs.
const GROUP_OTHER: u32 = 0o055;
/// The mode of an overlay directory that says nothing about the directory it is laid over.
const PLAIN_DIRECTORY: u32 = 0o755;

/// The root overlay of one layer, read and normalised.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// Name of the layer.
    pub layer: String,
    /// Its nodes, owned by root.
    pub tree: Tree,
}

impl Overlay {
    /// Reads the overlay at `dir`.
    pub fn read(layer: impl Into<String>, dir: &Path) -> Result<Overlay, Error> {
        let options = ScanOptions {
            ownership: Ownership::Root,
            xattrs: HostXattrs::Ignore,
            hard_links: HardLinks::Split,
            exclude: &is_excluded,
        };
        Ok(Overlay::from_tree(layer, scan(dir, &options)?)?)
    }

    /// Normalises the modes of a tree, see the module's documentation.
    pub fn from_tree(layer: impl Into<String>, mut tree: Tree) -> Result<Overlay, OverlayError> {
        let layer = layer.into();
        let root = tree.node(Tree::ROOT).stat.mode;
        let ids: Vec<NodeId> = tree.walk().map(|(_, id)| id).collect();
        let hidden = !root & GROUP_OTHER;
        let has_modes = |id: &&NodeId| !matches!(tree.node(**id).body, Body::Symlink(_));
        let all_hidden = |id: &NodeId| tree.node(*id).stat.mode & hidden == 0;
        if hidden != 0 && ids.len() > 1 && ids.iter().filter(has_modes).all(all_hidden) {
            return Err(OverlayError::HiddenModes { layer, mode: root });
        }
        for id in ids {
            let node = tree.node_mut(id);
            node.stat.mode = normal_mode(node.stat.mode, root, &node.body);
        }
        // Where the author closed the root directory alone, the root of the target is not closed by it.
        tree.node_mut(Tree::ROOT).stat.mode |= hidden;
        Ok(Overlay { layer, tree })
    }

    /// Lays the overlay over `tree`. On an error the tree is left half done.
    pub fn apply(
        &self,
        tree: &mut Tree,
        provenance: &mut Provenance,
        origin: OriginId,
    ) -> Result<(), OverlayError> {
        Apply { overlay: self, tree, provenance, origin }.directory(Tree::ROOT, Tree::ROOT, b"")
    }
}

/// Returns whether a path of a checkout is left out.
fn is_excluded(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    EXCLUDED.contains(&name) || name.ends_with(b"~")
}

/// The mode of an overlay node, independent of the umask of the checkout (see the module's documentation).
fn normal_mode(mode: u32, root: u32, body: &Body) -> u32 {
    if matches!(body, Body::Symlink(_)) {
        return 0o777;
    }
    let is_dir = matches!(body, Body::Dir(_));
    let inherited = is_dir && root & 0o2000 != 0;
    let special = mode & if inherited { 0o5000 } else { 0o7000 };
    let shared = if is_dir && special & 0o1000 != 0 { mode & 0o022 } else { 0 };
    special | mode & 0o755 | shared
}

struct Apply<'a> {
    overlay: &'a Overlay,
    tree: &'a mut Tree,
    provenance: &'a mut Provenance,
    origin: OriginId,
}

impl Apply<'_> {
    /// Lays the directory `from` of the overlay over the directory `into` of the tree.
    fn directory(&mut self, from: NodeId, into: NodeId, path: &[u8]) -> Result<(), OverlayError> {
        let overlay = self.overlay;
        let entries = overlay.tree.node(from).entries().into_iter().flatten();
        for (name, child) in entries {
            let path = join(path, name);
            let old = self.tree.child(into, name);
            if overlay.tree.node(*child).entries().is_some() {
                let dir = self.enter(*child, into, name, old, &path)?;
                self.directory(*child, dir, &path)?;
            } else {
                self.ensure_replaceable(*child, old, &path)?;
                self.put(*child, into, name, old, &path);
            }
        }
        Ok(())
    }

    /// The directory of the tree that an overlay directory is merged into.
    fn enter(
        &mut self,
        from: NodeId,
        into: NodeId,
        name: &[u8],
        old: Option<NodeId>,
        path: &[u8],
    ) -> Result<NodeId, OverlayError> {
        match old.map(|id| (id, &self.tree.node(id).body)) {
            Some((id, Body::Dir(_))) => {
                self.merge(from, id, path);
                Ok(id)
            }
            Some((_, Body::Symlink(_))) => {
                self.reject_link_to_directory(path)?;
                Ok(self.put(from, into, name, old, path))
            }
            _ => Ok(self.put(from, into, name, old, path)),
        }
    }

    /// A directory on a directory: the tree's metadata stays, unless the overlay has an unusual mode.
    fn merge(&mut self, from: NodeId, id: NodeId, path: &[u8]) {
        self.provenance.record(path, self.origin, Change::Merged);
        let mode = self.overlay.tree.node(from).stat.mode;
        if mode != PLAIN_DIRECTORY {
            let stat = &mut self.tree.node_mut(id).stat;
            let old = std::mem::replace(stat, Stat { mode, ..*stat });
            let new = *stat;
            self.provenance.record_stat(path, self.origin, old, new);
        }
    }

    /// Copies one node, without the entries of a directory.
    fn put(&mut self, from: NodeId, into: NodeId, name: &[u8], old: Option<NodeId>, path: &[u8]) -> NodeId {
        let mut node = self.overlay.tree.node(from).clone();
        if let Body::Dir(entries) = &mut node.body {
            entries.clear();
        }
        let kind = node.body.kind();
        let change = match old {
            Some(old) => Change::Replaced { old: self.tree.node(old).body.kind(), node: kind },
            None => Change::Created { node: kind },
        };
        self.provenance.record(path, self.origin, change);
        self.tree.insert(into, name, node)
    }

    fn ensure_replaceable(&self, from: NodeId, old: Option<NodeId>, path: &[u8]) -> Result<(), OverlayError> {
        match old.and_then(|old| self.tree.node(old).entries()) {
            Some(entries) if !entries.is_empty() => Err(OverlayError::OverDirectory {
                layer: self.overlay.layer.clone(),
                kind: self.overlay.tree.node(from).body.kind(),
                path: display(path),
                by: self.maker(path),
                entries: entries.len(),
            }),
            _ => Ok(()),
        }
    }

    fn reject_link_to_directory(&self, path: &[u8]) -> Result<(), OverlayError> {
        match self.tree.resolve(path, LastLink::Follow) {
            Ok(found) if self.tree.node(found.id).entries().is_some() => Err(OverlayError::OverLink {
                layer: self.overlay.layer.clone(),
                path: display(path),
                by: self.maker(path),
                target: display(&found.path),
            }),
            _ => Ok(()),
        }
    }

    /// Origin of the node that is at `path` now.
    fn maker(&self, path: &[u8]) -> String {
        let explanation = self.provenance.explain(self.tree, path);
        explanation.winner().map_or_else(|| "the tree".into(), ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::provenance::Origin;
    use super::super::{Content, Node};
    use super::*;
    use crate::error::Diagnostic;

    fn node(mode: u32, body: Body) -> Node {
        Node::new(Stat { mode, uid: 0, gid: 0, mtime: 0 }, body)
    }

    fn file(mode: u32, text: &str) -> Node {
        node(mode, Body::File(Content::bytes(text.as_bytes())))
    }

    /// A tree from paths; parents have the mode 0755.
    fn tree(nodes: Vec<(&str, Node)>) -> Tree {
        let mut tree = Tree::new(Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 });
        for (path, node) in nodes {
            let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
            let stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
            let (dir, _) = tree.create_dirs(dir, stat).unwrap();
            tree.insert(dir.id, name.as_bytes(), node);
        }
        tree
    }

    fn directory(mode: u32) -> Node {
        node(mode, Body::Dir(BTreeMap::new()))
    }

    fn link(target: &str) -> Node {
        node(0o777, Body::Symlink(target.as_bytes().into()))
    }

    fn lay(base: Tree, layers: Vec<(&str, Tree)>) -> Result<(Tree, Provenance), OverlayError> {
        let (mut base, mut provenance) = (base, Provenance::new());
        let source = provenance.origin(Origin::Source { path: "target".into() });
        provenance.record_tree(&base, source);
        for (name, tree) in layers {
            let origin = provenance.origin(Origin::Layer { name: name.into() });
            Overlay::from_tree(name, tree).unwrap().apply(&mut base, &mut provenance, origin)?;
        }
        Ok((base, provenance))
    }

    #[test]
    fn the_last_layer_wins_a_path_and_the_explanation_knows() {
        let base = tree(vec![("etc/issue", file(0o644, "base"))]);
        let one = tree(vec![("etc/issue", file(0o644, "one"))]);
        let two = tree(vec![("etc/issue", link("motd"))]);
        let (tree, provenance) = lay(base, vec![("a/one", one), ("a/two", two)]).unwrap();
        assert_eq!(
            provenance.explain(&tree, "etc/issue").to_string(),
            "/etc/issue: from layer `a/two`, which shadows source `target` and layer `a/one`; mode 0777 from layer \
             `a/two`; owner 0:0 from layer `a/two`\n  \
             symbolic link to `motd`\n  \
             created as file                 by source `target`\n  \
             file replaced by file           by layer `a/one`\n  \
             file replaced by symbolic link  by layer `a/two`\n"
        );
    }

    #[test]
    fn directories_keep_their_metadata_unless_the_overlay_asks() {
        let base = tree(vec![("root", directory(0o700)), ("var/tmp", directory(0o755))]);
        let over = tree(vec![("root/x", file(0o664, "")), ("var/tmp", directory(0o1777))]);
        let (tree, provenance) = lay(base, vec![("a/b", over)]).unwrap();
        let mode = |path: &str| tree.node(tree.get(path).unwrap()).stat.mode;
        assert_eq!((mode("root"), mode("var/tmp"), mode("root/x")), (0o700, 0o1777, 0o644));
        let from = provenance.explain(&tree, "var/tmp").mode_from().unwrap().to_string();
        assert_eq!(from, "layer `a/b`");
    }

    #[test]
    fn a_file_over_a_directory_with_entries_names_both_sides() {
        let first = tree(vec![("etc/x/y", file(0o644, ""))]);
        let second = tree(vec![("etc/x", file(0o644, ""))]);
        let error = lay(tree(vec![]), vec![("a/one", first), ("a/two", second)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "layer `a/two` puts a file at `/etc/x`, where layer `a/one` has a directory that is not empty (entries: 1)"
        );
        assert_eq!(
            error.hint().unwrap(),
            "rename `/etc/x` in the root_overlay of `a/two`, or make it a directory"
        );
        let base = tree(vec![("etc/x", directory(0o755))]);
        let over = tree(vec![("etc/x", file(0o644, ""))]);
        assert!(lay(base, vec![("a/b", over)]).is_ok(), "an empty directory is replaced");
    }

    #[test]
    fn a_directory_over_a_link_to_a_directory_is_refused() {
        let base = || tree(vec![("usr/bin", directory(0o755)), ("bin", link("usr/bin"))]);
        let over = || tree(vec![("bin/tool", file(0o755, ""))]);
        let error = lay(base(), vec![("a/b", over())]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "layer `a/b` puts a directory at `/bin`, where source `target` has a symbolic link to `/usr/bin`"
        );
        assert_eq!(error.hint().unwrap(), "put it under `/usr/bin` in the root_overlay of `a/b`");
        let (tree, _) = lay(tree(vec![("bin", link("nowhere"))]), vec![("a/b", over())]).unwrap();
        assert!(tree.get("bin/tool").is_some(), "a dangling link is replaced");
    }

    #[test]
    fn modes_do_not_depend_on_the_usual_umasks() {
        let modes = [
            ("etc/plain", [0o644, 0o664]),
            ("etc/tool", [0o755, 0o775]),
            ("usr/su", [0o4755, 0o4775]),
            ("etc/key", [0o600, 0o600]),
        ];
        for (umask, root) in [0o755, 0o775].into_iter().enumerate() {
            let mut checkout = tree(modes.map(|(path, modes)| (path, file(modes[umask], ""))).into());
            checkout.node_mut(Tree::ROOT).stat.mode = root;
            let etc = checkout.get("etc").unwrap();
            checkout.node_mut(etc).stat.mode = root;
            let overlay = Overlay::from_tree("a/b", checkout).unwrap();
            let mode = |path: &str| overlay.tree.node(overlay.tree.get(path).unwrap()).stat.mode;
            assert_eq!(
                modes.map(|(path, _)| mode(path)),
                [0o644, 0o755, 0o4755, 0o600],
                "root directory {root:o}"
            );
            assert_eq!(mode("etc"), 0o755);
        }
    }

    #[test]
    fn secrets_stay_secret_and_a_umask_that_hides_them_is_refused() {
        let closed = || {
            let mut tree = tree(vec![("etc/key", file(0o600, "")), ("etc/dir", directory(0o700))]);
            tree.node_mut(Tree::ROOT).stat.mode = 0o700;
            tree
        };
        // The root directory alone is closed: its author meant the files as they are.
        let overlay = Overlay::from_tree("a/b", closed()).unwrap();
        let mode = |path: &str| overlay.tree.node(overlay.tree.get(path).unwrap()).stat.mode;
        assert_eq!((mode("etc/key"), mode("etc/dir"), mode("/")), (0o600, 0o700, 0o755));
        for umask in [0o027, 0o077] {
            let mut hidden = closed();
            for path in ["", "etc"] {
                let id = hidden.get(path).unwrap();
                hidden.node_mut(id).stat.mode = 0o777 & !umask;
            }
            let error = Overlay::from_tree("a/b", hidden).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "the root_overlay of layer `a/b` has mode {:04o} and nothing in it has more: nothing shows \
                     which files are secrets",
                    0o777 & !umask
                )
            );
            assert_eq!(
                error.hint().unwrap(),
                "check the layer out under umask 022, or give back what is no secret: chmod -R go+rX root_overlay, \
                 then chmod go= what is one"
            );
        }
    }

    #[test]
    fn version_control_and_backups_stay_in_the_checkout() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root_overlay");
        for name in ["etc/.git/x", "etc/CVS/x", "etc/a~", "etc/.empty", "etc/.gitkeep", "etc/a"] {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        let overlay = Overlay::read("a/b", &root).unwrap();
        let paths: Vec<_> = overlay.tree.walk().map(|(path, _)| display(&path)).collect();
        assert_eq!(paths, ["/", "/etc", "/etc/.gitkeep", "/etc/a"]);
    }
}
