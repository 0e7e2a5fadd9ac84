//! Graph of the layers that a list names, with all they depend on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use super::registry::read_if_there;
use super::{AskedBy, Layer, LayerError, LayerName, Registry};

/// A name and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub name: LayerName,
    asked_by: AskedBy,
}

#[derive(Debug)]
struct Node {
    layer: Layer,
    dependencies: Vec<Wanted>,
}

/// Layers that were asked for, and all they depend on.
#[derive(Debug)]
pub(super) struct Graph {
    list: Vec<Wanted>,
    nodes: BTreeMap<LayerName, Node>,
    pub notes: Vec<String>,
}

impl Graph {
    /// Reads the layers of a list, and what they depend on.
    pub fn load(registry: &Registry, list: &str, asked_by: &str) -> Result<Graph, LayerError> {
        let asked_by = AskedBy::User(asked_by.into());
        let mut graph = Graph { list: Vec::new(), nodes: BTreeMap::new(), notes: Vec::new() };
        graph.list = graph.as_known(registry, parse_names(list, |_| asked_by.clone())?);
        let mut unseen = VecDeque::from(graph.list.clone());
        while let Some(Wanted { name, asked_by }) = unseen.pop_front() {
            if graph.nodes.contains_key(&name) {
                continue;
            }
            let layer = registry.find(&name, &asked_by)?;
            let dependencies = graph.as_known(registry, dependencies(&layer.path)?);
            unseen.extend(dependencies.iter().cloned());
            graph.nodes.insert(name, Node { layer, dependencies });
        }
        Ok(graph)
    }

    /// The same names as the layers that they mean are called.
    fn as_known(&mut self, registry: &Registry, names: Vec<Wanted>) -> Vec<Wanted> {
        let mut known = Vec::with_capacity(names.len());
        for mut wanted in names {
            let name = registry.known(&wanted.name);
            if *name != wanted.name {
                self.notes.push(format!("`{}` in {} is the layer `{name}`", wanted.name, wanted.asked_by));
                wanted.name = name.clone();
            }
            known.push(wanted);
        }
        known
    }

    /// Names that were asked for, in order.
    pub fn list(&self) -> impl Iterator<Item = &LayerName> {
        self.list.iter().map(|wanted| &wanted.name)
    }

    /// Dependencies of a layer, in order.
    pub fn dependencies(&self, name: &LayerName) -> impl Iterator<Item = &LayerName> {
        self.nodes[name].dependencies.iter().map(|wanted| &wanted.name)
    }

    /// The layer of a name.
    pub fn layer(&self, name: &LayerName) -> Layer {
        self.nodes[name].layer.clone()
    }

    /// A depth-first walk of the list: each layer stands right after those of its dependencies that were not needed
    /// before.
    pub fn dependencies_first(&self) -> Result<Vec<LayerName>, LayerError> {
        let mut walk = Walk { graph: self, done: BTreeSet::new(), open: Vec::new(), ordered: Vec::new() };
        self.list.iter().try_for_each(|wanted| walk.visit(wanted))?;
        Ok(walk.ordered)
    }
}

struct Walk<'a> {
    graph: &'a Graph,
    done: BTreeSet<&'a LayerName>,
    /// Layers whose dependencies are being visited.
    open: Vec<&'a LayerName>,
    ordered: Vec<LayerName>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, Wanted { name, asked_by }: &'a Wanted) -> Result<(), LayerError> {
        if self.done.contains(name) {
            return Ok(());
        }
        if let Some(start) = self.open.iter().position(|open| *open == name) {
            let cycle = self.open[start..].iter().chain([&name]).map(|name| name.to_string()).collect();
            return Err(LayerError::Cycle { cycle, asked_by: asked_by.clone() });
        }
        self.open.push(name);
        self.graph.nodes[name].dependencies.iter().try_for_each(|wanted| self.visit(wanted))?;
        self.open.pop();
        self.ordered.push(name.clone());
        self.done.insert(name);
        Ok(())
    }
}

fn dependencies(layer: &Path) -> Result<Vec<Wanted>, LayerError> {
    let file = layer.join("metadata/dependencies");
    let bytes = read_if_there(&file)?.unwrap_or_default();
    let text = str::from_utf8(&bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        LayerError::NoText { file: file.clone(), line }
    })?;
    parse_names(text, |line| AskedBy::Dependencies { file: file.clone(), line })
}

/// Names separated by commas, spaces or newlines; `asked_by` is given the line, from 1.
fn parse_names(text: &str, asked_by: impl Fn(usize) -> AskedBy) -> Result<Vec<Wanted>, LayerError> {
    let mut names = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words = line.split(|c: char| c == ',' || c.is_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            let asked_by = asked_by(index + 1);
            match word.parse() {
                Ok(name) => names.push(Wanted { name, asked_by }),
                Err(source) => return Err(LayerError::Name { source, asked_by }),
            }
        }
    }
    Ok(names)
}
