//! Who gets where: for the broker, written when the accounts are made.

use serde_json::{Map, Value, json};

use crate::config::{Config, Login};
use crate::failure::{Failure, Result, read_if_there};
use crate::places::Places;
use crate::replace::replace;

const NAME: &str = "users.json";

/// Where a user of the host gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Name on the host.
    pub name: String,
    /// Container.
    pub container: String,
    /// User in it; that of the image if there is none.
    pub user: Option<String>,
    /// Program and arguments; the shell of the user in the container if there are none.
    pub shell: Vec<String>,
}

/// Writes the routes of all users that have an account and a container.
///
/// # Errors
///
/// The file cannot be written.
pub fn write(config: &Config, uids: &[(String, u32)], places: &Places) -> Result<()> {
    std::fs::create_dir_all(&places.run)
        .map_err(|error| Failure::file("make the directory", &places.run, error))?;
    let mut routes = Map::new();
    for (name, uid) in uids {
        let Some(user) = config.user(name) else { continue };
        if let Login::Container { container, user, shell, .. } = &user.to {
            let route = json!({"name": name, "container": container.value, "user": user, "shell": shell});
            routes.insert(uid.to_string(), route);
        }
    }
    replace(&places.run.join(NAME), Value::Object(routes).to_string().as_bytes(), 0o600).map(drop)
}

/// Where the user of this number gets; nothing if it is in no container.
///
/// # Errors
///
/// The file cannot be read.
pub fn find(uid: u32, places: &Places) -> Result<Option<Route>> {
    let text = read_if_there(&places.run.join(NAME))?.unwrap_or_default();
    let routes: Value = serde_json::from_slice(&text).unwrap_or_default();
    let route = &routes[uid.to_string()];
    let text = |key: &str| route[key].as_str().map(str::to_string);
    let (Some(name), Some(container)) = (text("name"), text("container")) else { return Ok(None) };
    let words = route["shell"].as_array().into_iter().flatten();
    let shell = words.filter_map(|word| word.as_str().map(Into::into)).collect();
    Ok(Some(Route { name, container, user: text("user"), shell }))
}
