//! Sources of board descriptors: directories given by the user, then those built into the program.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Board, BoardError, DescriptorSource, Families, Refusal, RuleSet};
use crate::error::{Error, Io};
use crate::layer::Layer;

include!(concat!(env!("OUT_DIR"), "/boards.rs"));

/// All descriptors by board name; parsed when they are asked for.
#[derive(Clone, Debug)]
pub struct Registry {
    boards: BTreeMap<String, Descriptor>,
    families: BTreeMap<String, Descriptor>,
    rules: BTreeMap<String, Descriptor>,
}

#[derive(Clone, Debug)]
struct Descriptor {
    file: String,
    /// Its text, or why that cannot be read: a problem of this descriptor and of no other.
    text: Result<String, String>,
}

/// Directory of the descriptors that boards extend; none of them is a board.
const FAMILIES: &str = "family";
/// Directory of the sets of rules.
const RULES: &str = "rules";

impl Registry {
    /// The descriptors built into the program.
    pub fn built_in() -> Registry {
        let mut registry =
            Registry { boards: BTreeMap::new(), families: BTreeMap::new(), rules: BTreeMap::new() };
        for (space, name, text) in BUILT_IN {
            let file = format!("boards/{space}/{name}.toml");
            let descriptor = Descriptor { file, text: Ok((*text).into()) };
            registry.insert(space, name, descriptor);
        }
        registry
    }

    /// Adds the descriptors of a directory (`namespace/name.toml`), which win over those already there.
    pub fn add_directory(&mut self, directory: &Path) -> Result<(), Error> {
        let read = |path: &Path| -> Result<Vec<std::path::PathBuf>, Io> {
            let entries = std::fs::read_dir(path).map_err(Io::on("read the directory", path))?;
            let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
            paths.map_err(Io::on("read the directory", path))
        };
        for namespace in read(directory)?.into_iter().filter(|path| path.is_dir()) {
            for path in read(&namespace)? {
                let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".toml"))
                else {
                    continue;
                };
                let Some(space) = namespace.file_name().and_then(|space| space.to_str()) else { continue };
                self.insert(space, name, Descriptor::read(&path));
            }
        }
        Ok(())
    }

    /// Adds the board of a descriptor, `namespace/name.toml`, over one of that name; returns the name.
    pub fn add_file(&mut self, path: &Path) -> String {
        let part = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let (space, stem) = (path.parent().and_then(Path::file_name), path.file_stem());
        let name = [part(space), part(stem)].into_iter().flatten().collect::<Vec<_>>().join("/");
        self.boards.insert(name.clone(), Descriptor::read(path));
        name
    }

    fn insert(&mut self, space: &str, name: &str, descriptor: Descriptor) {
        match space {
            FAMILIES => self.families.insert(name.into(), descriptor),
            RULES => self.rules.insert(name.into(), descriptor),
            _ => self.boards.insert(format!("{space}/{name}"), descriptor),
        };
    }

    /// Names of the boards that media can be composed for, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let refused = |name: &&str| matches!(self.refusal(name), Ok(Some(_)));
        self.all_names().filter(move |name| !refused(name))
    }

    /// Names of all boards in order, of those too for which there is no medium.
    pub fn all_names(&self) -> impl Iterator<Item = &str> {
        self.boards.keys().map(String::as_str)
    }

    /// Reason why there is no medium for this board, if so.
    pub fn refusal(&self, name: &str) -> Result<Option<Refusal>, BoardError> {
        Refusal::read(self.descriptor(name)?.source()?)
    }

    /// Names of all sets of rules in order.
    pub fn rule_set_names(&self) -> impl Iterator<Item = &str> {
        self.rules.keys().map(String::as_str)
    }

    /// Returns whether there is a board of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.boards.contains_key(name)
    }

    /// The last of these layers that is called as a board.
    pub fn layer_with_board<'l>(
        &self,
        layers: impl DoubleEndedIterator<Item = &'l Layer>,
    ) -> Option<&'l Layer> {
        layers.rev().find(|layer| self.contains(&layer.name))
    }

    /// The board that these layers are for, if there is one and a medium for it.
    pub fn board_of<'l>(
        &self,
        layers: impl DoubleEndedIterator<Item = &'l Layer>,
    ) -> Result<Option<Board>, BoardError> {
        match self.layer_with_board(layers) {
            Some(layer) if self.refusal(&layer.name)?.is_none() => self.board(&layer.name).map(Some),
            _ => Ok(None),
        }
    }

    /// The descriptor of this name, as its text.
    pub fn source(&self, name: &str) -> Result<DescriptorSource<'_>, BoardError> {
        self.descriptor(name)?.source()
    }

    /// The descriptor as text, and behind it the family it extends.
    pub fn text(&self, name: &str) -> Result<String, BoardError> {
        let own = self.source(name)?;
        if self.refusal(name)?.is_some() {
            return Ok(own.text.into());
        }
        let Some(family) = self.board(name)?.extends else { return Ok(own.text.into()) };
        let family = self.family(&family)?.expect("the board was made with it");
        Ok(format!("# {}\n{}\n# {}\n{}", own.file, own.text, family.file, family.text))
    }

    /// The board of this name.
    pub fn board(&self, name: &str) -> Result<Board, BoardError> {
        if let Some(Refusal { refused, hint, .. }) = self.refusal(name)? {
            return Err(BoardError::Refused { board: name.into(), reason: refused, instead: hint });
        }
        Board::parse(name, self.descriptor(name)?.source()?, self)
    }

    fn descriptor(&self, name: &str) -> Result<&Descriptor, BoardError> {
        self.boards.get(name).ok_or_else(|| BoardError::Unknown {
            name: name.into(),
            suggestion: crate::value::nearest(name, self.all_names()).map(str::to_owned),
        })
    }
}

impl Descriptor {
    fn read(path: &Path) -> Descriptor {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        Descriptor { file: path.display().to_string(), text }
    }

    fn source(&self) -> Result<DescriptorSource<'_>, BoardError> {
        match &self.text {
            Ok(text) => Ok(DescriptorSource { file: &self.file, text }),
            Err(problem) => Err(BoardError::Unreadable { file: self.file.clone(), problem: problem.clone() }),
        }
    }
}

impl Families for Registry {
    fn family(&self, name: &str) -> Result<Option<DescriptorSource<'_>>, BoardError> {
        self.families.get(name).map(Descriptor::source).transpose()
    }

    fn nearest(&self, name: &str) -> Option<String> {
        crate::value::nearest(name, self.families.keys().map(String::as_str)).map(str::to_owned)
    }

    fn rule_set(&self, name: &str) -> Result<Option<RuleSet>, BoardError> {
        self.rules.get(name).map(|set| RuleSet::parse(name, set.source()?)).transpose()
    }

    fn nearest_rule_set(&self, name: &str) -> Option<String> {
        crate::value::nearest(name, self.rules.keys().map(String::as_str)).map(str::to_owned)
    }
}
