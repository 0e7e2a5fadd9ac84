//! Unit files of a tree: which file a name stands for, and what its `[Install]` section asks for, systemd.unit(5).

use super::files::{configuration_files, read_text};
use super::name::UnitName;
use crate::tree::{Body, ContentError, LastLink, Tree, join};

/// Directories of units, in order of precedence (the parts of the system search path an image can have).
pub(super) const SEARCH_PATH: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
/// Meaning of a unit's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// A unit file at this path of the tree.
    File(Vec<u8>),
    /// A link to a unit of another name.
    Alias,
    /// An empty file or a link to `/dev/null`.
    Masked,
    /// Nothing, or a dangling link.
    Missing,
}

/// Finds the file of a unit; an instance without a file of its own is its template.
pub(super) fn find(tree: &Tree, name: &str) -> Lookup {
    let found = find_exact(tree, name);
    match UnitName::parse(name).and_then(UnitName::template) {
        Some(template) if found == Lookup::Missing => find_exact(tree, &template),
        _ => found,
    }
}

fn find_exact(tree: &Tree, name: &str) -> Lookup {
    let paths = SEARCH_PATH.iter().map(|dir| join(dir.as_bytes(), name.as_bytes()));
    let found = paths.filter_map(|path| {
        let entry = tree.resolve(&path, LastLink::Keep).ok()?;
        Some((entry, path))
    });
    for (entry, path) in found {
        return match &tree.node(entry.id).body {
            Body::File(content) if content.is_empty() => Lookup::Masked,
            Body::File(_) => Lookup::File(entry.path),
            Body::Symlink(target) => find_linked(tree, name, &path, target),
            _ => continue,
        };
    }
    Lookup::Missing
}

/// Resolves a link in the search path.
fn find_linked(tree: &Tree, name: &str, path: &[u8], target: &[u8]) -> Lookup {
    if target == b"/dev/null" {
        return Lookup::Masked;
    }
    if target.rsplit(|byte| *byte == b'/').next() != Some(name.as_bytes()) {
        return Lookup::Alias;
    }
    match tree.resolve(path, LastLink::Follow) {
        Ok(found) if matches!(&tree.node(found.id).body, Body::File(content) if !content.is_empty()) => {
            Lookup::File(found.path)
        }
        Ok(_) => Lookup::Masked,
        Err(_) => Lookup::Missing,
    }
}

/// Names of all units in the search path.
pub(super) fn names(tree: &Tree) -> Vec<String> {
    let mut names = Vec::new();
    for dir in SEARCH_PATH {
        let Ok(dir) = tree.resolve(dir, LastLink::Follow) else { continue };
        for (name, id) in tree.node(dir.id).entries().into_iter().flatten() {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let file = matches!(tree.node(*id).body, Body::File(_) | Body::Symlink(_));
            if file && UnitName::parse(name).is_some() {
                names.push(name.to_owned());
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

/// Requests of the `[Install]` section of a unit; names as they are written, with specifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Install {
    pub(super) alias: Vec<String>,
    pub(super) also: Vec<String>,
    pub(super) wanted_by: Vec<String>,
    pub(super) required_by: Vec<String>,
    pub(super) upheld_by: Vec<String>,
    pub(super) default_instance: Option<String>,
}

impl Install {
    /// Reads the unit file at `path` and the drop-ins for `name`.
    pub(super) fn read(tree: &Tree, name: &str, path: &[u8]) -> Result<Install, ContentError> {
        let mut install = Install::default();
        install.parse(&read_text(tree, path)?.unwrap_or_default());
        let directories = SEARCH_PATH.map(|dir| format!("{dir}/{name}.d"));
        let directories = directories.each_ref().map(String::as_str);
        for (_, _, text) in configuration_files(tree, &directories, ".conf")? {
            install.parse(&text);
        }
        Ok(install)
    }

    fn parse(&mut self, text: &str) {
        let mut section = "";
        let joined = text.replace("\\\n", " ");
        for line in joined.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line;
            } else if section == "[Install]"
                && !line.starts_with(['#', ';'])
                && let Some((key, value)) = line.split_once('=')
            {
                self.assign(key.trim(), value.trim());
            }
        }
    }

    /// One assignment; lists grow, and an empty value empties them.
    fn assign(&mut self, key: &str, value: &str) {
        let list = match key {
            "Alias" => &mut self.alias,
            "Also" => &mut self.also,
            "WantedBy" => &mut self.wanted_by,
            "RequiredBy" => &mut self.required_by,
            "UpheldBy" => &mut self.upheld_by,
            "DefaultInstance" => {
                self.default_instance = (!value.is_empty()).then(|| value.to_owned());
                return;
            }
            _ => return,
        };
        if value.is_empty() {
            list.clear();
        }
        list.extend(value.split_whitespace().map(|word| word.trim_matches('"').to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_install_section_counts() {
        let mut install = Install::default();
        install.parse(
            "[Unit]\nWantedBy=no.target\n[Install]\n# c\nWantedBy=a.target \\\n b.target\nAlias=x.service\nWantedBy=\n\
             WantedBy=c.target\nDefaultInstance=tty1\n",
        );
        assert_eq!(install.wanted_by, ["c.target"]);
        assert_eq!(
            (install.alias, install.default_instance),
            (vec!["x.service".into()], Some("tty1".into()))
        );
    }
}
