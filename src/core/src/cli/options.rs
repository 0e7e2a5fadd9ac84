//! Arguments of the program.

use std::ffi::OsString;
use std::path::PathBuf;

use skiff_core::failure::{Failure, Result};

/// Commands, and whether each takes an operand.
const COMMANDS: [(&str, bool); 3] = [("help", false), ("check", true), ("accounts", false)];

/// What the arguments say.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) command: String,
    pub(crate) operand: Option<PathBuf>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) root: PathBuf,
}

impl Options {
    /// Reads arguments, without the name of the program.
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self> {
        let mut options =
            Self { command: String::new(), operand: None, config: None, root: PathBuf::from("/") };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy().into_owned();
            let (name, inline) = match text.split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    (name.to_string(), Some(OsString::from(value)))
                }
                _ => (text.clone(), None),
            };
            let mut value = || {
                let value = inline.clone().or_else(|| arguments.next());
                value.map(PathBuf::from).ok_or_else(|| usage(format!("`{name}` needs a value")))
            };
            match name.as_str() {
                "--help" | "-h" => options.command = "help".into(),
                "--config" => options.config = Some(value()?),
                "--root" => options.root = value()?,
                _ if name.starts_with('-') => return Err(usage(format!("unknown option `{name}`"))),
                _ if options.command.is_empty() => options.command = name,
                _ if options.operand.is_none() => options.operand = Some(argument.into()),
                _ => return Err(usage(format!("`{text}` is one argument too many"))),
            }
        }
        let known = COMMANDS.iter().find(|(name, _)| *name == options.command);
        match known {
            _ if options.command.is_empty() => Err(usage("there is no command")),
            None => Err(usage(format!("unknown command `{}`", options.command))),
            Some((name, false)) if options.operand.is_some() && *name != "help" => {
                Err(usage(format!("`{name}` takes no argument")))
            }
            Some(_) => Ok(options),
        }
    }
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(message).hint("`skiff-core help` lists what there is")
}
