//! What `apply` is doing, for those who log in meanwhile.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde_json::{Value, json};

use crate::failure::{Failure, Result, read_if_there};
use crate::places::Places;
use crate::replace::replace;

const NAME: &str = "status.json";
const LOCK: &str = "apply.lock";

/// What is known of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// `apply` has not come to it yet, or works on it.
    Working {
        /// What is done.
        step: String,
    },
    /// It is there and runs, or is not to run.
    Ready {
        /// Its id.
        id: String,
    },
    /// `apply` could not do it.
    Failed {
        /// Why.
        reason: String,
    },
}

/// The states of all containers, kept in a file that is whole at any time.
#[derive(Debug)]
pub struct Status {
    path: PathBuf,
    states: BTreeMap<String, State>,
}

impl Status {
    /// A new one for these containers.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or the file not written.
    pub fn begin(places: &Places, names: impl Iterator<Item = String>) -> Result<Self> {
        let before = Self::read(places)?.states;
        let states = names.map(|name| {
            // Those who are in it can go on while it is looked at.
            let state = match before.get(&name) {
                Some(State::Ready { id }) => State::Ready { id: id.clone() },
                _ => State::Working { step: "waiting for its turn".into() },
            };
            (name, state)
        });
        let status = Self { path: places.run.join(NAME), states: states.collect() };
        status.save()?;
        Ok(status)
    }

    /// What the last `apply` wrote; nothing if none did.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read(places: &Places) -> Result<Self> {
        let path = places.run.join(NAME);
        let text = read_if_there(&path)?.unwrap_or_default();
        let value: Value = serde_json::from_slice(&text).unwrap_or_default();
        let mut states = BTreeMap::new();
        for (name, state) in value.as_object().into_iter().flatten() {
            let text = |key: &str| state[key].as_str().map(Into::into);
            let state = match (text("id"), text("failed"), text("step")) {
                (Some(id), ..) => State::Ready { id },
                (_, Some(reason), _) => State::Failed { reason },
                (.., Some(step)) => State::Working { step },
                _ => continue,
            };
            states.insert(name.clone(), state);
        }
        Ok(Self { path, states })
    }

    /// What is known of a container.
    pub fn of(&self, name: &str) -> Option<&State> {
        self.states.get(name)
    }

    /// Changes what is known of a container. A file that cannot be written is no reason to stop.
    pub fn set(&mut self, name: &str, state: State) {
        self.states.insert(name.into(), state);
        if let Err(failure) = self.save() {
            eprintln!("note: {}", failure.message);
        }
    }

    fn save(&self) -> Result<()> {
        let states = self.states.iter().map(|(name, state)| {
            let value = match state {
                State::Working { step } => json!({ "step": step }),
                State::Ready { id } => json!({ "id": id }),
                State::Failed { reason } => json!({ "failed": reason }),
            };
            (name.clone(), value)
        });
        let text = Value::Object(states.collect()).to_string();
        replace(&self.path, text.as_bytes(), 0o600).map(drop)
    }
}

/// Held by `apply` while it runs.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File);

impl Lock {
    /// Takes it.
    ///
    /// # Errors
    ///
    /// Another `apply` runs.
    pub fn take(places: &Places) -> Result<Self> {
        std::fs::create_dir_all(&places.run)
            .map_err(|error| Failure::file("make the directory", &places.run, error))?;
        let path = places.run.join(LOCK);
        let file = open(&path).map_err(|error| Failure::file("open", &path, error))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(Failure::new("another `skiff-core` changes containers").hint("wait until it has ended"))
            }
            Err(error) => Err(Failure::file("lock", &path, error)),
        }
    }

    /// Whether somebody holds it.
    pub fn is_held(places: &Places) -> bool {
        let held = |file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err();
        File::open(places.run.join(LOCK)).is_ok_and(held)
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}
