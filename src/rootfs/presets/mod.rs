//! Does what `systemctl --root=TREE preset-all` does: enables every unit that presets do not disable.
//!
//! Sources: systemd.preset(5), systemd.unit(5) "\[Install\] section options", and the behaviour of `systemctl`, which
//! the tests compare with. Order of work: units that presets disable lose their links in `/etc/systemd/system`
//! first, with the units they name in `Also=`; then the others get theirs. Masked units are left alone.

mod files;
mod links;
mod name;
mod rules;
mod units;

use links::Presets;
use rules::{Decision, Rules};
use units::Lookup;

use crate::error::Diagnostic;
use crate::tree::provenance::Provenance;
use crate::tree::{ContentError, LastLink, LookupError, Tree};
use crate::value::Timestamp;

/// There if systemd is the init system of the tree.
const SYSTEMD: &str = "usr/lib/systemd/systemd";

/// Reason why presets cannot be applied.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum PresetError {
    /// A unit or preset file cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Content(#[from] ContentError),
    /// The directory for links cannot be made.
    #[error("unit `{unit}` cannot be enabled: {source}")]
    #[diagnostic(hint = "remove what an overlay put at that path")]
    Directory {
        /// The unit.
        unit: String,
        /// End of the path.
        source: LookupError,
    },
}

/// Returns whether systemd is in the tree.
pub(in crate::rootfs) fn has_systemd(tree: &Tree) -> bool {
    tree.resolve(SYSTEMD, LastLink::Follow).is_ok()
}

/// Applies the presets of the tree to its units; nodes that are made get `mtime`. Returns what was odd, as sentences
/// without a full stop.
pub fn preset_all(
    tree: &mut Tree,
    provenance: &mut Provenance,
    mtime: Timestamp,
) -> Result<Vec<String>, PresetError> {
    let rules = Rules::read(tree)?;
    let mut presets = Presets { tree, provenance, mtime, notes: rules.notes.clone() };
    let (mut enable, mut disable) = (Vec::new(), Vec::new());
    for unit in units::names(presets.tree) {
        if !matches!(units::find(presets.tree, &unit), Lookup::File(_)) {
            continue;
        }
        let (decision, rule) = rules.decide(&unit);
        match decision {
            Decision::Enable => enable.push((unit, rule)),
            Decision::EnableInstances(instances) => {
                enable.extend(instances.into_iter().map(|instance| (instance, rule.clone())));
            }
            Decision::Disable => disable.push((unit, rule)),
            Decision::Ignore => {}
        }
    }
    presets.disable(disable)?;
    presets.enable(enable)?;
    Ok(presets.notes)
}

#[cfg(test)]
mod tests {
    use super::links::split;
    use super::*;
    use crate::tree::{Body, Content, Node, Stat, display};

    const STAT: Stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: 0 };

    /// A tree of files (text) and links (`-> target`).
    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new(STAT);
        for (path, text) in files {
            let (dir, name) = split(path.as_bytes());
            let (dir, _) = tree.create_dirs(dir, STAT).unwrap();
            let body = match text.strip_prefix("-> ") {
                Some(target) => Body::Symlink(target.as_bytes().into()),
                None => Body::File(Content::bytes(text.as_bytes())),
            };
            tree.insert(dir.id, name, Node::new(STAT, body));
        }
        tree
    }

    /// The links below the configuration directory.
    fn links(tree: &Tree) -> Vec<String> {
        let links = tree.walk().filter_map(|(path, id)| match &tree.node(id).body {
            Body::Symlink(target) => {
                let path = display(&path);
                let name = path.strip_prefix("/etc/systemd/system/")?;
                Some(format!("{name} -> {}", target.escape_ascii()))
            }
            _ => None,
        });
        links.collect()
    }

    fn preset(files: &[(&str, &str)]) -> (Vec<String>, Provenance, Tree, Vec<String>) {
        let (mut tree, mut provenance) = (tree(files), Provenance::new());
        let notes = preset_all(&mut tree, &mut provenance, 5).unwrap();
        (links(&tree), provenance, tree, notes)
    }

    const WANTED: &str = "[Install]\nWantedBy=multi-user.target\n";

    #[test]
    fn units_without_a_rule_are_enabled_and_explained() {
        let (links, provenance, tree, _) = preset(&[
            ("usr/lib/systemd/system/a.service", WANTED),
            ("usr/lib/systemd/system/b.service", "[Service]\nExecStart=/bin/b\n"),
        ]);
        assert_eq!(links, ["multi-user.target.wants/a.service -> /usr/lib/systemd/system/a.service"]);
        let path = "/etc/systemd/system/multi-user.target.wants/a.service";
        let winner = provenance.explain(&tree, path).winner().unwrap().to_string();
        assert_eq!(winner, "preset of unit `a.service` (no rule, so enabled)");
    }

    #[test]
    fn disabled_units_lose_their_links_and_masked_ones_keep_theirs() {
        let (links, provenance, tree, _) = preset(&[
            ("usr/lib/systemd/system-preset/80-x.preset", "disable a.service\nenable *\n"),
            ("usr/lib/systemd/system/a.service", WANTED),
            ("usr/lib/systemd/system/m.service", WANTED),
            ("etc/systemd/system/m.service", "-> /dev/null"),
            ("etc/systemd/system/x.target.wants/a.service", "-> /usr/lib/systemd/system/a.service"),
            ("etc/systemd/system/alias.service", "-> /usr/lib/systemd/system/a.service"),
            ("etc/systemd/system/y.target.wants/alias.service", "-> ../alias.service"),
        ]);
        assert_eq!(links, ["m.service -> /dev/null"]);
        assert!(tree.get("etc/systemd/system/x.target.wants").is_none());
        let gone = provenance.explain(&tree, "etc/systemd/system/x.target.wants/a.service").to_string();
        assert_eq!(
            gone,
            "/etc/systemd/system/x.target.wants/a.service is not in the image: it was removed by preset of unit \
             `a.service` (/usr/lib/systemd/system-preset/80-x.preset:1)\n  symbolic link removed  by preset of \
             unit `a.service` (/usr/lib/systemd/system-preset/80-x.preset:1)\n"
        );
    }

    #[test]
    fn presets_of_etc_come_first_by_name_and_replace_by_name() {
        let (links, ..) = preset(&[
            ("usr/lib/systemd/system-preset/10-x.preset", "disable a.service\n"),
            ("etc/systemd/system-preset/10-x.preset", ""),
            ("usr/lib/systemd/system-preset/05-y.preset", "enable b.service\n"),
            ("etc/systemd/system-preset/90-z.preset", "disable *\n"),
            ("usr/lib/systemd/system/a.service", WANTED),
            ("usr/lib/systemd/system/b.service", WANTED),
        ]);
        assert_eq!(links, ["multi-user.target.wants/b.service -> /usr/lib/systemd/system/b.service"]);
    }

    #[test]
    fn templates_aliases_and_also() {
        let (links, _, _, notes) = preset(&[
            ("usr/lib/systemd/system-preset/80-x.preset", "enable t@.service one\ndisable s.socket\n"),
            (
                "usr/lib/systemd/system/getty@.service",
                "[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\n",
            ),
            ("usr/lib/systemd/system/t@.service", "[Install]\nWantedBy=x.target\n"),
            ("usr/lib/systemd/system/u@.service", "[Install]\nWantedBy=x.target\n"),
            (
                "usr/lib/systemd/system/s.service",
                "[Install]\nAlias=dbus-s.service\nAlso=s.socket\nWantedBy=%H.target\n",
            ),
            ("usr/lib/systemd/system/s.socket", "[Install]\nWantedBy=sockets.target\n"),
        ]);
        assert_eq!(
            links,
            [
                "dbus-s.service -> /usr/lib/systemd/system/s.service",
                "getty.target.wants/getty@tty1.service -> /usr/lib/systemd/system/getty@.service",
                "sockets.target.wants/s.socket -> /usr/lib/systemd/system/s.socket",
                "x.target.wants/t@one.service -> /usr/lib/systemd/system/t@.service",
            ]
        );
        assert_eq!(
            notes,
            ["unit `s.service`: `%H.target` has a specifier that an image cannot know; left out"]
        );
    }

    #[test]
    fn links_that_are_there_stay_and_taken_names_are_reported() {
        let (links, _, _, notes) = preset(&[
            ("usr/lib/systemd/system/a.service", "[Install]\nWantedBy=x.target\nAlias=n.service\n"),
            ("usr/lib/systemd/system/b.service", "[Install]\nAlias=n.service\n"),
            (
                "etc/systemd/system/x.target.wants/a.service",
                "-> ../../../../usr/lib/systemd/system/a.service",
            ),
        ]);
        assert_eq!(
            links,
            [
                "n.service -> /usr/lib/systemd/system/a.service",
                "x.target.wants/a.service -> ../../../../usr/lib/systemd/system/a.service",
            ]
        );
        assert_eq!(
            notes,
            [
                "unit `b.service` wants the name `/etc/systemd/system/n.service`, which is taken by another unit"
            ]
        );
    }

    #[test]
    fn a_file_in_the_way_is_reported() {
        let mut tree = tree(&[
            ("usr/lib/systemd/system/a.service", WANTED),
            ("etc/systemd/system/multi-user.target.wants", "a file"),
        ]);
        let error = preset_all(&mut tree, &mut Provenance::new(), 5).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unit `a.service` cannot be enabled: `/etc/systemd/system/multi-user.target.wants` is a file, not a \
             directory"
        );
        assert_eq!(error.hint().unwrap(), "remove what an overlay put at that path");
    }
}
