//! Notes on persist about containers: a change that is not finished, and one that was taken back.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::failure::{Failure, Result, read_if_there};
use crate::places::Places;
use crate::replace::replace;

/// Settings that a container was rolled back from. They are not tried again until they change, or somebody asks for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    settings: Value,
    image: String,
    pub(crate) reason: String,
}

impl Held {
    pub(crate) fn new(settings: &Value, image: &str, reason: &str) -> Self {
        Self { settings: settings.clone(), image: image.into(), reason: reason.into() }
    }

    pub(crate) fn read(name: &str, places: &Places) -> Result<Option<Self>> {
        let Some(text) = read_if_there(&path(name, places))? else { return Ok(None) };
        // A note that is not understood holds nothing.
        let value: Value = serde_json::from_slice(&text).unwrap_or_default();
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_string();
        Ok(Some(Self { settings: value["settings"].clone(), image: text("image"), reason: text("reason") }))
    }

    pub(crate) fn is_of(&self, settings: &Value, image: Option<&str>) -> bool {
        self.settings == *settings && image.is_none_or(|image| image == self.image)
    }

    pub(crate) fn save(&self, name: &str, places: &Places) -> Result<()> {
        let value = json!({"settings": self.settings, "image": self.image, "reason": self.reason});
        write(&path(name, places), &value)
    }

    pub(crate) fn forget(name: &str, places: &Places) -> Result<()> {
        remove(&path(name, places))
    }
}

fn path(name: &str, places: &Places) -> PathBuf {
    places.state.join(format!("{name}.held"))
}

/// A container that was replaced and has not shown yet that it works.
#[derive(Debug)]
pub(crate) struct Unproven {
    path: PathBuf,
}

impl Unproven {
    pub(crate) fn of(name: &str, places: &Places) -> Self {
        Self { path: places.state.join(format!("{name}.unproven")) }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.path.exists()
    }

    pub(crate) fn set(&self) -> Result<()> {
        write(&self.path, &json!({}))
    }

    pub(crate) fn clear(&self) -> Result<()> {
        remove(&self.path)
    }
}

fn write(path: &std::path::Path, value: &Value) -> Result<()> {
    let directory = path.parent().unwrap_or(std::path::Path::new("/"));
    fs::create_dir_all(directory).map_err(|error| Failure::file("make the directory", directory, error))?;
    replace(path, value.to_string().as_bytes(), 0o600).map(drop)
}

fn remove(path: &std::path::Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::file("remove", path, error))
        }
        _ => Ok(()),
    }
}
