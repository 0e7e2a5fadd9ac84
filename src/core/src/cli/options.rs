//! Arguments of the program.

use std::ffi::OsString;
use std::path::PathBuf;

use skiff_core::failure::{Failure, Result};

/// Commands, and whether each takes an operand.
const COMMANDS: [(&str, bool); 8] = [
    ("help", false),
    ("check", true),
    ("accounts", false),
    ("plan", false),
    ("apply", true),
    ("rollback", true),
    ("broker", false),
    ("quadlet", true),
];

/// What the arguments say.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) command: String,
    pub(crate) operand: Option<PathBuf>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) root: PathBuf,
    pub(crate) engine: Option<PathBuf>,
    pub(crate) recreate: bool,
    pub(crate) listen: bool,
}

impl Options {
    /// Reads arguments, without the name of the program.
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self> {
        let mut options = Self {
            command: String::new(),
            operand: None,
            config: None,
            root: PathBuf::from("/"),
            engine: None,
            recreate: false,
            listen: false,
        };
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
                "--engine" => options.engine = Some(value()?),
                "--recreate" => options.recreate = true,
                "--listen" => options.listen = true,
                _ if name.starts_with('-') => return Err(usage(format!("unknown option `{name}`"))),
                _ if options.command.is_empty() => options.command = name,
                _ if options.operand.is_none() => options.operand = Some(argument.into()),
                _ => return Err(usage(format!("`{text}` is one argument too many"))),
            }
        }
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<()> {
        let command = self.command.as_str();
        let Some((_, operand)) = COMMANDS.iter().find(|(name, _)| *name == command) else {
            let message = match command {
                "" => "there is no command".into(),
                _ => format!("unknown command `{command}`"),
            };
            return Err(usage(message));
        };
        match &self.operand {
            None if command == "rollback" => Err(usage("`rollback` needs the name of a container")),
            Some(_) if !operand => Err(usage(format!("`{command}` takes no argument"))),
            Some(_) if command == "apply" && !self.recreate => {
                Err(usage("`apply` takes the name of a container only with `--recreate`"))
            }
            _ if self.listen && command != "broker" => Err(usage("`--listen` is for `broker`")),
            _ if self.recreate && command != "apply" => Err(usage("`--recreate` is for `apply`")),
            _ => Ok(()),
        }
    }
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(message).hint("`skiff-core help` lists what there is")
}
