//! Commands of layers: targets of `extensions/Makefile`, which are described in `metadata/commands`.
//!
//! A line of `metadata/commands` is a target and a text. SkiffOS reads it only if there is an `extensions/`, and leaves
//! out what has no text and the text of what has a `-` in it.

use std::path::PathBuf;
use std::str::FromStr;

use super::registry::read_if_there;
use super::{AskedBy, Layer, LayerError, LayerName, ParseLayerNameError, Registry};

/// A command of a layer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Command {
    /// As it is asked for: `NAMESPACE/NAME/TARGET`.
    pub command: String,
    /// Description, if the layer has one.
    pub description: Option<String>,
}

/// Name of a command: a layer and a target of its Makefile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandName {
    /// The layer.
    pub layer: LayerName,
    /// The target.
    pub target: String,
}

/// Reason why a text is not the name of a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a command: expected NAMESPACE/NAME/TARGET, as `skiff-image cmd` lists them")]
pub struct ParseCommandError(String);

impl FromStr for CommandName {
    type Err = ParseCommandError;

    fn from_str(text: &str) -> Result<CommandName, ParseCommandError> {
        let wrong = || ParseCommandError(text.into());
        let (layer, target) = text.rsplit_once('/').ok_or_else(wrong)?;
        let layer = layer.parse().map_err(|ParseLayerNameError(_)| wrong())?;
        match is_target(target) {
            true => Ok(CommandName { layer, target: target.into() }),
            false => Err(wrong()),
        }
    }
}

/// Returns whether make would take it for a target: neither a flag nor a variable nor a rule's pattern.
fn is_target(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

impl Registry {
    /// The layer of a command and its `extensions/`.
    pub fn command(&self, name: &CommandName) -> Result<(Layer, PathBuf), LayerError> {
        let layer = self.find(&name.layer, &AskedBy::User("cmd".into()))?;
        let extensions = layer.path.join("extensions");
        if extensions.join("Makefile").is_file() {
            return Ok((layer, extensions));
        }
        Err(LayerError::NoCommands { layer: layer.name, path: extensions.join("Makefile") })
    }
}

impl Layer {
    /// Its commands: those it describes in their order, then those it does not.
    pub fn commands(&self) -> Result<Vec<Command>, LayerError> {
        let Some(makefile) = read_if_there(&self.path.join("extensions/Makefile"))? else {
            return Ok(Vec::new());
        };
        let described = read_if_there(&self.path.join("metadata/commands"))?.unwrap_or_default();
        let mut found: Vec<(String, Option<String>)> = Vec::new();
        let all = String::from_utf8_lossy(&described).lines().map(described_command).collect::<Vec<_>>();
        let targets = targets(&String::from_utf8_lossy(&makefile));
        let undescribed = targets.into_iter().map(|target| (target, None));
        for (target, text) in all.into_iter().flatten().chain(undescribed) {
            if found.iter().all(|(known, _)| *known != target) {
                found.push((target, text));
            }
        }
        let commands = found.into_iter();
        Ok(commands
            .map(|(target, description)| Command { command: format!("{}/{target}", self.name), description })
            .collect())
    }
}

/// A line of `metadata/commands`.
fn described_command(line: &str) -> Option<(String, Option<String>)> {
    let line = line.trim();
    let (target, text) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let text = Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    is_target(target).then(|| (target.to_owned(), text))
}

/// Targets that stand in a Makefile as they are; what it includes or computes is not seen.
fn targets(makefile: &str) -> Vec<String> {
    let rules = makefile.lines().filter(|line| !line.starts_with(['\t', ' ', '#', '.']));
    rules.flat_map(rule_targets).filter(|target| is_target(target)).map(str::to_owned).collect()
}

/// Words before the colon of a rule; none for other lines.
fn rule_targets(line: &str) -> impl Iterator<Item = &str> {
    let (targets, rest) = line.split_once(':').unwrap_or_default();
    let is_rule = !rest.trim_start_matches(':').starts_with('=') && !targets.contains(['=', '$', '%']);
    targets.split_whitespace().filter(move |_| is_rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_from_variables_patterns_and_recipes() {
        let makefile =
            "A := b\nB::=c\nall: run\n.PHONY: run\nrun exec::\n\t@echo a:b\n%.o: %.c\n$(X): y\nX=a:b\n";
        assert_eq!(targets(makefile), ["all", "run", "exec"]);
    }

    #[test]
    fn commands_have_three_parts_and_are_no_flags() {
        let parsed: CommandName = "pi/common/build-image".parse().unwrap();
        assert_eq!((parsed.layer.as_str(), parsed.target.as_str()), ("pi/common", "build-image"));
        for bad in ["run", "pi/run", "pi/4/-f", "pi/4/A=b", "pi/4/", "a/b/c/d", "pi/4/a b"] {
            assert_eq!(
                bad.parse::<CommandName>().unwrap_err().to_string(),
                format!(
                    "`{bad}` is not a command: expected NAMESPACE/NAME/TARGET, as `skiff-image cmd` lists them"
                )
            );
        }
    }
}
