//! Does what `systemctl --root=TREE preset-all` does: enables every unit that presets do not disable.
//!
//! Sources: systemd.preset(5), systemd.unit(5) "\[Install\] section options", and the behaviour of `systemctl`, which
//! the tests compare with. Order of work: units that presets disable lose their links in `/etc/systemd/system`
//! first, with the units they name in `Also=`; then the others get theirs. Masked units are left alone.

mod rules;
mod units;

use std::collections::BTreeSet;

use rules::{Decision, Rules};
use units::{Install, Lookup, UnitName};

use crate::error::{Diagnostic, ErrorKind};
use crate::tree::provenance::{Change, Origin, Provenance};
use crate::tree::{Body, ContentError, LastLink, LookupError, Node, NodeId, Stat, Tree, display, join};
use crate::value::Timestamp;

/// Directory in which links are made and removed.
const CONFIG: &str = "etc/systemd/system";
/// There if systemd is the init system of the tree.
const SYSTEMD: &str = "usr/lib/systemd/systemd";

/// Why presets cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// A unit or preset file cannot be read.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The directory for links cannot be made.
    #[error("unit `{unit}` cannot be enabled: {source}")]
    Directory {
        /// The unit.
        unit: String,
        /// End of the path.
        source: LookupError,
    },
}

impl Diagnostic for PresetError {
    fn kind(&self) -> ErrorKind {
        match self {
            PresetError::Content(error) => error.kind(),
            PresetError::Directory { .. } => ErrorKind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            PresetError::Content(error) => error.hint(),
            PresetError::Directory { .. } => Some("remove what an overlay put at that path".into()),
        }
    }
}

/// Returns whether systemd is in the tree.
pub fn has_systemd(tree: &Tree) -> bool {
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

/// A unit, and the preset rule that decided about it.
type Decided = (String, String);

struct Presets<'a> {
    tree: &'a mut Tree,
    provenance: &'a mut Provenance,
    mtime: Timestamp,
    notes: Vec<String>,
}

impl Presets<'_> {
    /// The units with all they name in `Also=`, and their `[Install]` sections; masked and missing ones are left out.
    fn with_also(&self, units: Vec<Decided>) -> Result<Vec<(Decided, Install, Vec<u8>)>, PresetError> {
        let mut queue = units;
        queue.reverse();
        let (mut seen, mut complete) = (BTreeSet::new(), Vec::new());
        while let Some((unit, rule)) = queue.pop() {
            let Lookup::File(path) = units::find(self.tree, &unit) else { continue };
            if !seen.insert(unit.clone()) {
                continue;
            }
            let install = Install::read(self.tree, &unit, &path)?;
            for also in install.also.iter().filter_map(|also| expand(also, &unit)) {
                queue.push((also, format!("Also= of `{unit}`, {rule}")));
            }
            complete.push(((unit, rule), install, path));
        }
        Ok(complete)
    }

    /// Removes every link in the configuration directory that has the name of a unit or leads to it.
    fn disable(&mut self, units: Vec<Decided>) -> Result<(), PresetError> {
        let Ok(config) = self.tree.resolve(CONFIG, LastLink::Follow) else { return Ok(()) };
        let mut gone: Vec<Decided> =
            self.with_also(units)?.into_iter().map(|(decided, ..)| decided).collect();
        // A removed alias may itself have been linked, so look again until nothing more goes.
        loop {
            let doomed = self.links_to(&config.path, config.id, &gone);
            if doomed.is_empty() {
                return Ok(());
            }
            for (path, decided) in doomed {
                self.remove_link(&config.path, &path, &decided);
                let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(&path);
                gone.push((String::from_utf8_lossy(name).into_owned(), decided.1));
            }
        }
    }

    /// Paths of the links below a directory that have the name of one of `units` or lead to it.
    fn links_to(&self, path: &[u8], dir: NodeId, units: &[Decided]) -> Vec<(Vec<u8>, Decided)> {
        let mut found = Vec::new();
        let mut stack = vec![(path.to_vec(), dir)];
        while let Some((path, id)) = stack.pop() {
            for (name, child) in self.tree.node(id).entries().into_iter().flatten() {
                let path = join(&path, name);
                match &self.tree.node(*child).body {
                    Body::Dir(_) => stack.push((path, *child)),
                    Body::Symlink(target) => {
                        let last = target.rsplit(|byte| *byte == b'/').next().unwrap_or(target);
                        let named = |(unit, _): &&Decided| [&**name, last].contains(&unit.as_bytes());
                        found.extend(units.iter().find(named).map(|decided| (path, decided.clone())));
                    }
                    _ => {}
                }
            }
        }
        found
    }

    /// Removes a link, and the directories up to `config` that become empty.
    fn remove_link(&mut self, config: &[u8], path: &[u8], (unit, rule): &Decided) {
        let origin = self.provenance.origin(Origin::Preset { unit: unit.clone(), rule: rule.clone() });
        let mut path = path;
        while path.len() > config.len() {
            let (dir, name) = split(path);
            let Some(parent) = self.tree.get(dir) else { return };
            let Some(old) = self.tree.unlink(parent, name) else { return };
            let node = self.tree.node(old).body.kind();
            self.provenance.record(path, origin, Change::Removed { node });
            if self.tree.node(parent).entries().is_some_and(|entries| !entries.is_empty()) {
                return;
            }
            path = dir;
        }
    }

    fn enable(&mut self, units: Vec<Decided>) -> Result<(), PresetError> {
        for (decided, install, path) in self.with_also(units)? {
            let unit = decided.0.clone();
            for alias in &install.alias {
                if let Some(alias) = self.expand(alias, &unit).and_then(|alias| alias_name(&unit, &alias)) {
                    self.link(&decided, &path, "", &alias, OnConflict::Keep)?;
                }
            }
            let Some(linked) = linked_name(self.tree, &unit, &install) else { continue };
            let lists = [
                (&install.wanted_by, "wants"),
                (&install.required_by, "requires"),
                (&install.upheld_by, "upholds"),
            ];
            for (list, kind) in lists {
                for dependent in list {
                    let Some(dependent) = self.expand(dependent, &linked) else { continue };
                    let templates = [&linked, &dependent].map(|name| is_template(name));
                    if UnitName::parse(&dependent).is_some() && templates != [true, false] {
                        self.link(
                            &decided,
                            &path,
                            &format!("{dependent}.{kind}"),
                            &linked,
                            OnConflict::Replace,
                        )?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A name with its specifiers replaced; one that needs the running host is noted and left out.
    fn expand(&mut self, text: &str, unit: &str) -> Option<String> {
        let expanded = expand(text, unit);
        if expanded.is_none() {
            self.notes
                .push(format!("unit `{unit}`: `{text}` has a specifier that an image cannot know; left out"));
        }
        expanded
    }

    /// Makes the link `CONFIG/dir/name` to the unit file at `target`.
    fn link(
        &mut self,
        (unit, rule): &Decided,
        target: &[u8],
        dir: &str,
        name: &str,
        conflict: OnConflict,
    ) -> Result<(), PresetError> {
        let error = |source| PresetError::Directory { unit: unit.clone(), source };
        let stat = Stat { mode: 0o755, uid: 0, gid: 0, mtime: self.mtime };
        let (dir, created) = self.tree.create_dirs(format!("{CONFIG}/{dir}"), stat).map_err(error)?;
        let origin = self.provenance.origin(Origin::Preset { unit: unit.clone(), rule: rule.clone() });
        for path in &created {
            self.provenance.record(path, origin, Change::Created { node: "directory" });
        }
        let path = join(&dir.path, name.as_bytes());
        let old = self.tree.child(dir.id, name.as_bytes());
        let change = match old {
            None => Change::Created { node: "symbolic link" },
            Some(old) => {
                let old = &self.tree.node(old).body;
                let leads = self.tree.resolve(&path, LastLink::Follow).ok();
                if leads.as_ref().is_some_and(|leads| leads.path == target) {
                    return Ok(());
                }
                if !matches!(old, Body::Symlink(_)) || (leads.is_some() && conflict == OnConflict::Keep) {
                    self.notes.push(format!(
                        "unit `{unit}` wants the name `{}`, which is taken by another unit",
                        display(&path)
                    ));
                    return Ok(());
                }
                Change::Replaced { old: old.kind(), node: "symbolic link" }
            }
        };
        self.provenance.record(&path, origin, change);
        let body = Body::Symlink([b"/", target].concat().into());
        self.tree.insert(dir.id, name.as_bytes(), Node::new(Stat { mode: 0o777, ..stat }, body));
        Ok(())
    }
}

/// Treatment of a link of the same name that leads to another unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnConflict {
    /// It stays, unless it is dangling: an alias belongs to whoever has it.
    Keep,
    /// It is replaced.
    Replace,
}

fn is_template(name: &str) -> bool {
    UnitName::parse(name).is_some_and(UnitName::is_template)
}

/// The name under which dependents get a unit: a template with a default instance stands for that instance. Nothing
/// if that instance is masked.
fn linked_name(tree: &Tree, unit: &str, install: &Install) -> Option<String> {
    let name = UnitName::parse(unit)?;
    let Some(instance) = install.default_instance.as_deref().filter(|_| name.is_template()) else {
        return Some(unit.to_owned());
    };
    let instance = name.with_instance(&expand(instance, unit)?);
    (units::find(tree, &instance) != Lookup::Masked).then_some(instance)
}

/// The file name of an alias: of the same kind as the unit, a template's only for a template, with the unit's
/// instance if it has one.
fn alias_name(unit: &str, alias: &str) -> Option<String> {
    let (unit, name) = (UnitName::parse(unit)?, UnitName::parse(alias)?);
    match (unit.instance, name.instance) {
        (Some(instance), Some("")) if !instance.is_empty() => Some(name.with_instance(instance)),
        (Some(""), Some("")) => Some(alias.into()),
        (Some(""), _) | (_, Some("")) => None,
        _ => Some(alias.into()),
    }
}

/// Replaces the specifiers that depend on the unit's name only: `%n %N %p %i %j %%`. Nothing if there is another.
fn expand(text: &str, unit: &str) -> Option<String> {
    let name = UnitName::parse(unit)?;
    let mut expanded = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            expanded.push(char);
            continue;
        }
        match chars.next()? {
            'n' => expanded.push_str(unit),
            'N' => expanded.push_str(unit.rsplit_once('.')?.0),
            'p' => expanded.push_str(name.prefix),
            'i' => expanded.push_str(name.instance.unwrap_or("")),
            'j' => expanded.push_str(name.prefix.rsplit('-').next()?),
            '%' => expanded.push('%'),
            _ => return None,
        }
    }
    Some(expanded)
}

/// Directory and last component of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Content;

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
