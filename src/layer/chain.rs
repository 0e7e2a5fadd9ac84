//! Layers in the order in which they are applied: later ones win.
//!
//! SkiffOS' order (`scripts/build_configs.sh`): the base in front, what the user chose with its dependencies, the
//! user's overrides, those of the workspace, the base behind. A project without `configs-base/` has no base.

use super::{Layer, LayerError};

/// Order of the chosen layers and their dependencies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Dependencies before dependents, otherwise as asked for.
    #[default]
    Dependencies,
    /// As `scripts/enumerate_configs.sh` of SkiffOS, which leaves what is in the list already where it is, even behind
    /// what depends on it.
    Skiffos,
}

/// The layers of a system.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// `configs-base/pre`, if there is one: the defaults.
    pub pre: Option<Layer>,
    /// Layers that were asked for with all they depend on.
    pub chosen: Vec<Layer>,
    /// `overrides/` and the workspace's overrides, as far as they exist.
    pub overrides: Vec<Layer>,
    /// `configs-base/post`, if there is one: what no layer can set.
    pub post: Option<Layer>,
    /// Order of `chosen`.
    pub order: Order,
    /// Names that were understood otherwise than they are written, as sentences without a full stop.
    pub notes: Vec<String>,
    /// Changes that the user should make, as sentences without a full stop.
    pub warnings: Vec<String>,
}

impl Chain {
    /// All layers, in order.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.pre.iter().chain(&self.chosen).chain(&self.overrides).chain(&self.post)
    }

    /// All layers, in order.
    pub(crate) fn into_layers(self) -> Vec<Layer> {
        self.pre.into_iter().chain(self.chosen).chain(self.overrides).chain(self.post).collect()
    }

    /// The chosen layers as SkiffOS remembers and exports them: names with commas between them.
    pub fn text(&self) -> String {
        self.chosen.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Fails if a layer cannot be used: by its own word, or because a part of it is no directory, which has no effect in SkiffOS,
    /// and nothing reports it.
    pub(super) fn ensure_usable(&self) -> Result<(), LayerError> {
        self.layers().try_for_each(Layer::reject_refused)?;
        self.layers().try_for_each(Layer::ensure_parts_are_directories)
    }
}
