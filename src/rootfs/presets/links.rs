//! Links of units in `/etc/systemd/system`: removed for disabled units, made for enabled ones.

use std::collections::BTreeSet;

use super::PresetError;
use super::name::{UnitName, alias_name, expand, is_template};
use super::units::{self, Install, Lookup};
use crate::tree::provenance::{Change, Origin, Provenance};
use crate::tree::{Body, LastLink, Node, NodeId, Stat, Tree, display, join};
use crate::value::Timestamp;

/// Directory in which links are made and removed.
const CONFIG: &str = "etc/systemd/system";

/// A unit, and the preset rule that decided about it.
pub(super) type Decided = (String, String);

pub(super) struct Presets<'a> {
    pub(super) tree: &'a mut Tree,
    pub(super) provenance: &'a mut Provenance,
    pub(super) mtime: Timestamp,
    pub(super) notes: Vec<String>,
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
    pub(super) fn disable(&mut self, units: Vec<Decided>) -> Result<(), PresetError> {
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

    /// Makes the links that the `[Install]` sections of units ask for.
    pub(super) fn enable(&mut self, units: Vec<Decided>) -> Result<(), PresetError> {
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

/// Directory and last component of a path.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}
