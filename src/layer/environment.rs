//! Environment of layers' programs: hooks, commands and the shell, as SkiffOS gives it to them
//! (`scripts/primary_env.sh`, `scripts/check_workspace.sh`, `scripts/enumerate_configs.sh`, `scripts/build_configs.sh`
//! and `scripts/execute_command.sh`).
//!
//! Left out are what only SkiffOS' own scripts read: `SKIFF_*_COMMAND_*`, `SKIFF_PACKAGE_*`, `SKIFF_CONFIG_METADATA_*`,
//! `SKIFF_FILTER_ENVS` and `SKIFF_HAS_ENUMERATED_CONFIGS`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::{Chain, EXTRA_VARIABLE, Layer, LayerName, ORDER_VARIABLE, Order, PATH_PREFIX, Registry};

/// Variables by their names.
pub type Variables = BTreeMap<OsString, OsString>;

/// Facts that the environment of layers' programs is made of.
#[derive(Clone, Copy, Debug)]
pub struct LayerContext<'a> {
    /// The project root, absolute.
    pub root: &'a Path,
    /// The directory that paths of layers are relative to, absolute: the one this process is in.
    pub directory: &'a Path,
    /// Name of the workspace.
    pub workspace: &'a str,
    /// Source tree of Buildroot, if it is known; absolute.
    pub buildroot: Option<&'a Path>,
    /// All layers there are.
    pub registry: &'a Registry,
    /// The layers of the system.
    pub chain: &'a Chain,
    /// The version of the project, and its commit.
    pub version: (&'a str, &'a str),
    /// PATH, which the host programs of Buildroot are put in front of.
    pub path: Option<&'a OsStr>,
}

impl LayerContext<'_> {
    /// Variables that are added to the environment of this process.
    pub fn variables(&self) -> Variables {
        let mut found = self.directories();
        found.extend(self.layers());
        found.extend(self.selection());
        found.insert("PATH".into(), self.search_path());
        found.insert("SKIFF_VERSION".into(), self.version.0.into());
        found.insert("SKIFF_VERSION_COMMIT".into(), self.version.1.into());
        found.insert("SKIFF_WORKSPACE".into(), self.workspace.into());
        found
    }

    /// The workspace, Buildroot's `O=`. SkiffOS calls it `BUILDROOT_DIR`, too.
    pub fn workspace_directory(&self) -> PathBuf {
        self.root.join("workspaces").join(self.workspace)
    }

    fn directories(&self) -> Variables {
        let root = |name: &str| self.root.join(name).into_os_string();
        let workspace = || self.workspace_directory().into_os_string();
        // Their scripts rely on the slash at the end of these two.
        let with_slash = |name: String| root(&(name + "/"));
        let mut found = Variables::from([
            ("ROOT_DIR".into(), self.root.into()),
            ("SKIFF_ROOT_DIR".into(), self.root.into()),
            ("SKIFF_CONFIGS_DIR".into(), root("configs")),
            ("SKIFF_WORKSPACES_DIR".into(), root("workspaces")),
            ("SKIFF_OVERRIDES_DIR".into(), root("overrides")),
            ("SKIFF_RESOURCES_DIR".into(), root("resources")),
            ("SKIFF_BASE_CONFIGS_DIR".into(), root("configs-base")),
            ("SKIFF_SCRIPTS_DIR".into(), root("scripts")),
            ("SKIFF_FINAL_CONFIG_DIR".into(), with_slash(format!("workspaces/.config_{}", self.workspace))),
            ("SKIFF_WS_OVERRIDES_DIR".into(), with_slash(format!("overrides/workspaces/{}", self.workspace))),
            ("WORKSPACE_DIR".into(), workspace()),
            ("BUILDROOT_DIR".into(), workspace()),
            ("SKIFF_BUILDROOT_DIR".into(), workspace()),
            ("SKIFF_WORKSPACE_DIR".into(), workspace()),
        ]);
        found.extend(self.buildroot.map(|path| ("BUILDROOT_DEFAULT_DIR".into(), path.into())));
        found
    }

    /// Directories of all layers. Of two names that share a variable, the one in the chain wins.
    fn layers(&self) -> Variables {
        let mut found = Variables::new();
        let known = self.registry.layers().chain(&self.chain.chosen);
        for (name, layer) in known.filter_map(|layer| Some((layer.name.parse::<LayerName>().ok()?, layer))) {
            found.insert(name.path_variable().into(), self.absolute(&layer.path));
            found.insert(name.name_variable().into(), layer.name.clone().into());
        }
        // A shell takes no other name for a variable.
        let is_word = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        for (variable, path) in self.registry.variables().filter(|(variable, _)| is_word(variable)) {
            found.insert(variable.into(), self.absolute(path));
        }
        found
    }

    /// Chosen layers. Lists have spaces between their entries, whatever is in these.
    fn selection(&self) -> Variables {
        let chosen = &self.chain.chosen;
        if chosen.is_empty() {
            return Variables::new();
        }
        let names: Vec<OsString> = chosen.iter().map(|layer| layer.name.clone().into()).collect();
        let full = |layer: &Layer| variable(layer).trim_start_matches(PATH_PREFIX).to_owned().into();
        let full: Vec<OsString> = chosen.iter().map(full).collect();
        let variables: Vec<OsString> = chosen.iter().map(|layer| variable(layer).into()).collect();
        let paths: Vec<OsString> = chosen.iter().map(|layer| self.absolute(&layer.path)).collect();
        let extra = self.registry.extra().iter().map(|root| self.absolute(root)).collect::<Vec<_>>();
        let mut found = Variables::from([
            ("SKIFF_CONFIG".into(), self.chain.text().into()),
            ("SKIFF_CONFIGS".into(), names.join(OsStr::new(" "))),
            ("SKIFF_CONFIG_FULL".into(), full.join(OsStr::new(" "))),
            ("SKIFF_CONFIG_PATH".into(), paths.join(OsStr::new(" "))),
            ("SKIFF_CONFIG_PATH_VAR".into(), variables.join(OsStr::new(" "))),
        ]);
        if self.chain.order == Order::Skiffos {
            found.insert(ORDER_VARIABLE.into(), "skiffos".into());
        }
        if !extra.is_empty() {
            found.insert(EXTRA_VARIABLE.into(), extra.join(OsStr::new(":")));
        }
        found
    }

    fn search_path(&self) -> OsString {
        let mut found = self.workspace_directory().join("host/bin").into_os_string();
        if let Some(path) = self.path.filter(|path| !path.is_empty()) {
            found.push(":");
            found.push(path);
        }
        found
    }

    fn absolute(&self, path: &Path) -> OsString {
        self.directory.join(path).into()
    }
}

/// Variables about a layer that its own programs get in addition.
pub fn for_layer(layer: &Layer, directory: &Path) -> Variables {
    Variables::from([
        ("SKIFF_CURRENT_CONF_DIR".into(), directory.into()),
        ("SKIFF_CURRENT_CONF_NAME".into(), layer.name.clone().into()),
        ("SKIFF_CURRENT_CONF_NAME_FULL".into(), variable(layer).into()),
    ])
}

/// The variable with the directory of a layer.
fn variable(layer: &Layer) -> String {
    layer.name.parse::<LayerName>().map_or_else(|_| String::new(), |name| name.path_variable())
}
