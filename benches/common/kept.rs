//! Results that are kept between runs, so that a long bench can be run in parts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Results of one tree by name.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kept<T> {
    #[serde(skip)]
    path: PathBuf,
    tree: String,
    results: BTreeMap<String, T>,
}

impl<T: Serialize + DeserializeOwned> Kept<T> {
    /// What the file keeps for this tree; results of another tree are forgotten.
    pub fn load(path: &Path, tree: &str) -> Kept<T> {
        let kept = std::fs::read(path).ok().and_then(|text| serde_json::from_slice::<Kept<T>>(&text).ok());
        let results = kept.filter(|kept| kept.tree == tree).map_or_else(BTreeMap::new, |kept| kept.results);
        Kept { path: path.into(), tree: tree.into(), results }
    }

    /// What was measured.
    pub fn tree(&self) -> &str {
        &self.tree
    }

    /// Keeps a result, and forgets the one it had under that name.
    pub fn record(&mut self, name: String, result: T) {
        self.results.insert(name, result);
        let text = serde_json::to_vec_pretty(self).expect("results are plain values");
        std::fs::create_dir_all(self.path.parent().expect("a file is in a directory"))
            .expect("target/ is writable");
        std::fs::write(&self.path, text).expect("target/ is writable");
    }

    /// A result.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.results.get(name)
    }

    /// All results.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.results.values()
    }
}
