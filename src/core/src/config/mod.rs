//! Configuration of Skiff Core: images, containers made from them, and users who log in to those.
//!
//! The file is SkiffOS' `skiff-core.yaml`, at `skiff/core/config.yaml` of persist; `/opt/skiff/coreenv/defconfig.yaml` of
//! the image is what a device begins with. Source of the schema: `config/config.go` of
//! [skiff-core](https://github.com/skiffos/skiff-core), with keys of our own for what engines can do beyond it.
//!
//! Reading is strict: a key that nothing uses is an error, with the nearest one that exists, and all errors of a file are
//! told at once, with line and column. What shipped files write otherwise than it was meant is a note.

mod container;
mod health;
mod image;
mod machine;
mod number;
mod remark;
mod section;
mod user;
mod value;
mod yaml;

use std::path::Path;

pub use container::{Container, Isolation, Limits, Network, Process};
pub use health::Health;
pub use image::{Build, Image, Pull, PullPolicy};
pub use number::{Port, Ulimit};
pub use remark::{Broken, Place, Remark};
pub use section::Text;
pub use user::{Auth, Login, Password, User};
pub use value::{Device, Mount, RestartPolicy};

use remark::{Log, nearest, quoted};
use section::{Section, entries};
use yaml::{Key, Node};

/// What a file says, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Config {
    /// Images, each reference once.
    pub images: Vec<Image>,
    /// Containers, each name once.
    pub containers: Vec<Container>,
    /// Users, each name once.
    pub users: Vec<User>,
}

impl Config {
    /// What `text` says, and notes about what it says otherwise than it should.
    ///
    /// # Errors
    ///
    /// All errors in the text; `path` is what they call it.
    pub fn parse(text: &str, path: &Path) -> Result<(Self, Vec<Remark>), Broken> {
        let mut log = Log::default();
        let config = yaml::read(text, &mut log).and_then(|root| read(&root, &mut log));
        log.result(path, config)
    }

    /// What the file at `path` says, as [`Config::parse`] does.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is no UTF-8, or has errors.
    pub fn load(path: &Path) -> Result<(Self, Vec<Remark>), LoadError> {
        let read = |source| LoadError::Read { path: path.to_path_buf(), source };
        let bytes = std::fs::read(path).map_err(read)?;
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => {
                let before = bytes.iter().take(error.valid_up_to());
                let line = 1 + before.filter(|byte| **byte == b'\n').count();
                return Err(LoadError::NotText { path: path.to_path_buf(), line });
            }
        };
        Ok(Self::parse(text, path)?)
    }

    /// The container of this name.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name.value == name)
    }

    /// The section of this reference.
    pub fn image(&self, reference: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.reference.value == reference)
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name.value == name)
    }
}

/// Why a file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not UTF-8.
    #[error("`{}` is no text in UTF-8: line {line} has other bytes", path.display())]
    NotText {
        /// The file.
        path: std::path::PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// It has errors.
    #[error(transparent)]
    Broken(#[from] Broken),
}

fn read(root: &Node, log: &mut Log) -> Option<Config> {
    let mut section = Section::open("the file", root.place, root, log)?;
    if let Some(text) = section.text("version").filter(|text| text.value != "1") {
        let reason = remark::Reason::new(format!("`{}` is not known, only 1 is", text.value));
        section.refuse(text.place, "version", reason.hint("this program may be too old for the file"));
    }
    let containers = named(&mut section, "containers", container::read);
    let images = named(&mut section, "images", image::read);
    let users = named(&mut section, "users", user::read);
    section.close(&[]);
    let config = Config { images, containers, users };
    refer(&config, root, log);
    Some(config)
}

/// Entries of a map by name. An entry without settings is read too: it lacks what an entry needs.
fn named<T>(
    section: &mut Section<'_>,
    key: &'static str,
    read: fn(&Key, &Node, &mut Log) -> Option<T>,
) -> Vec<T> {
    let Some((_, node)) = section.take(key) else { return Vec::new() };
    let entries = entries(&format!("`{key}`"), node, section.log).unwrap_or_default();
    entries.into_iter().filter_map(|(name, node)| read(name, node, section.log)).collect()
}

/// What names something must name something that is there.
fn refer(config: &Config, root: &Node, log: &mut Log) {
    // A container with errors is there too, only not in `config`.
    let names = names_of(root, "containers");
    for user in &config.users {
        let Login::Container { container, .. } = &user.to else { continue };
        if names.contains(&container.value.as_str()) {
            continue;
        }
        let message = format!("user `{}`: there is no container `{}`", user.name.value, container.value);
        let hint = match nearest(&container.value, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None if names.is_empty() => "describe it below `containers`".into(),
            None => format!("there are {}", quoted(&names)),
        };
        log.error(container.place, message, Some(hint));
    }
    let images = names_of(root, "images");
    for container in &config.containers {
        let image = &container.image;
        if image.value.is_empty() || images.contains(&image.value.as_str()) {
            continue;
        }
        let message = format!(
            "container `{}`: image `{}` is not below `images`, so it must be on the device already",
            container.name.value, image.value
        );
        let hint =
            nearest(&image.value, images.iter().copied()).map(|name| format!("did you mean `{name}`?"));
        log.note(image.place, message, hint);
    }
}

fn names_of<'a>(root: &'a Node, key: &str) -> Vec<&'a str> {
    let yaml::Body::Map(sections) = &root.body else { return Vec::new() };
    let node = sections.iter().find(|(known, _)| known.name == key).map(|(_, node)| &node.body);
    match node {
        Some(yaml::Body::Map(entries)) => entries.iter().map(|(key, _)| key.name.as_str()).collect(),
        _ => Vec::new(),
    }
}
