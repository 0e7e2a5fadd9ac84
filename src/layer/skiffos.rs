//! SkiffOS' order of layers, exactly as `scripts/enumerate_configs.sh` makes it, and where it differs from ours.
//!
//! It goes through the list again and again. In one pass each dependency that is nowhere in the list goes right before
//! its dependent; one that is in it stays, wherever that is. What was named twice stays at its first place. It ends
//! with the first pass that has nothing to add, and so ends for cycles too.

use std::collections::BTreeSet;

use super::graph::Graph;
use super::{LayerError, LayerName, Registry};

/// A layer that stands before one that it depends on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Displaced {
    /// Layer that is behind its dependent.
    pub dependency: String,
    /// Layer that depends on it.
    pub dependent: String,
}

pub(super) fn ordered(graph: &Graph) -> Vec<LayerName> {
    let mut list: Vec<LayerName> = graph.list().cloned().collect();
    loop {
        let longer = pass(graph, &list);
        // A pass also takes out what is named twice, so the length says nothing.
        let added = longer.iter().any(|name| !list.contains(name));
        list = longer;
        if !added {
            return list;
        }
    }
}

fn pass(graph: &Graph, list: &[LayerName]) -> Vec<LayerName> {
    let present: BTreeSet<&LayerName> = list.iter().collect();
    let mut found = Vec::new();
    for name in list {
        if found.contains(name) {
            continue;
        }
        found.extend(graph.dependencies(name).filter(|dependency| !present.contains(dependency)).cloned());
        found.push(name.clone());
    }
    found
}

/// The dependencies of a list of layers that stand behind their dependents in SkiffOS' order. It differs from ours
/// only where there are some.
pub fn displaced(registry: &Registry, list: &str, asked_by: &str) -> Result<Vec<Displaced>, LayerError> {
    let graph = Graph::load(registry, list, asked_by)?;
    let order = ordered(&graph);
    let place = |wanted: &LayerName| order.iter().position(|name| name == wanted);
    let mut displaced = Vec::new();
    for dependent in &order {
        let behind = graph.dependencies(dependent).filter(|name| place(name) > place(dependent));
        displaced.extend(behind.map(|dependency| Displaced {
            dependency: dependency.to_string(),
            dependent: dependent.to_string(),
        }));
    }
    Ok(displaced)
}
