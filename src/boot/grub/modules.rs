//! Modules a core image needs, in the order in which the kernel has to meet them.

use std::collections::BTreeMap;
use std::path::Path;

use super::{GrubError, read};
use crate::error::Error;

/// The list of dependencies of GRUB's build: `name: needed needed`, one module a line.
const DEPENDENCIES: &str = "moddep.lst";

/// `wanted` and all they need, each once and behind what it needs. What a module needs comes in the reverse order
/// of its line, as `grub-mkimage` has it, so that the same modules give the same image.
pub fn load_order(directory: &Path, wanted: &[String]) -> Result<Vec<String>, Error> {
    let text = String::from_utf8_lossy(&read(directory, DEPENDENCIES)?).into_owned();
    let mut resolver = Resolver { needs: parse(directory, &text)?, under_way: Vec::new(), order: Vec::new() };
    for module in wanted {
        resolver.add(module)?;
    }
    Ok(resolver.order)
}

/// The bytes of a module.
pub(super) fn load(directory: &Path, module: &str) -> Result<Vec<u8>, Error> {
    read(directory, &format!("{module}.mod")).map_err(|error| with_suggestion(error, directory, module))
}

fn parse<'t>(directory: &Path, text: &'t str) -> Result<BTreeMap<&'t str, Vec<&'t str>>, GrubError> {
    let line = |(index, line): (usize, &'t str)| match line.split_once(':') {
        Some((module, needs)) => Ok((module, needs.split_whitespace().collect())),
        None => Err(GrubError::Dependency { file: directory.join(DEPENDENCIES), line: index + 1 }),
    };
    text.lines().enumerate().map(line).collect()
}

struct Resolver<'t> {
    needs: BTreeMap<&'t str, Vec<&'t str>>,
    under_way: Vec<String>,
    order: Vec<String>,
}

impl Resolver<'_> {
    fn add(&mut self, module: &str) -> Result<(), GrubError> {
        if self.order.iter().any(|known| known == module) {
            return Ok(());
        }
        if self.under_way.iter().any(|known| known == module) {
            return Err(GrubError::Cycle { module: module.into() });
        }
        self.under_way.push(module.into());
        for needed in self.needs.get(module).cloned().unwrap_or_default().into_iter().rev() {
            self.add(needed)?;
        }
        self.under_way.pop();
        self.order.push(module.into());
        Ok(())
    }
}

/// Names a module that the list knows, if the missing one may be that.
fn with_suggestion(error: Error, directory: &Path, module: &str) -> Error {
    let Ok(list) = read(directory, DEPENDENCIES) else { return error };
    let list = String::from_utf8_lossy(&list).into_owned();
    let known = list.lines().filter_map(|line| line.split(':').next()).filter(|known| *known != module);
    match (error.downcast::<GrubError>(), crate::value::nearest(module, known)) {
        (Ok(GrubError::Missing { name, directory, .. }), suggestion) => {
            GrubError::Missing { name, directory, suggestion: suggestion.map(str::to_owned) }.into()
        }
        (Ok(error), _) => error.into(),
        (Err(error), _) => error,
    }
}
