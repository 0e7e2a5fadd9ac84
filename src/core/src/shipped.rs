//! The configuration of the image, beside one of the user.
//!
//! That of the user counts, and so a new image's own never has an effect. What the image had when the user's was applied first is
//! kept on persist; when a new image has another one, that is said until somebody has looked at it.

use crate::failure::{Failure, Result, read_if_there};
use crate::places::Places;
use crate::replace::replace;

/// What the image had, beside the states on persist.
const NAME: &str = "shipped.yaml";

/// Keeps what the image has, the first time. Returns what is to be said if it has another one by now.
///
/// # Errors
///
/// A file cannot be read or written.
pub fn look(places: &Places) -> Result<Option<String>> {
    let path = places.state.join(NAME);
    let shipped = match places.user_config().exists() {
        true => read_if_there(&places.image_config())?,
        // Nobody hides it.
        false => None,
    };
    let Some(shipped) = shipped else { return Ok(None) };
    match read_if_there(&path)? {
        Some(known) if known == shipped => Ok(None),
        Some(_) => Ok(Some(format!(
            "the image has another configuration than when yours, `{}`, was applied first\nhint: compare `{}`, which it was, with `{}`, \
             which it is; take over what you want, and remove the former",
            places.user_config().display(),
            path.display(),
            places.image_config().display()
        ))),
        None => {
            std::fs::create_dir_all(&places.state)
                .map_err(|error| Failure::file("make the directory", &places.state, error))?;
            replace(&path, &shipped, 0o644).map(|_| None)
        }
    }
}
