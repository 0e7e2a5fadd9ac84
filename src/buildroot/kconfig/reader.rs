//! Follows `source` lines and keeps what encloses each symbol.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::statement::{Prompt, Statement, statements};
use super::{Definition, Definitions, Expression, LEGACY, Selector};

pub(super) struct Reader<'a> {
    directory: &'a Path,
    /// Values for paths behind `source`; texts that are defaults of symbols are added on the way.
    variables: BTreeMap<String, String>,
    definitions: &'a mut Definitions,
    /// Blocks around the line that is read: `if`, `menu` and `choice`, from the outermost.
    open: Vec<Block>,
    entry: Entry,
    /// Files that are being read: one that reads itself is passed over.
    reading: BTreeSet<PathBuf>,
}

#[derive(Default)]
struct Block {
    conditions: Vec<Rc<Expression>>,
    choice: Option<usize>,
}

/// Owner of the next `depends on`.
enum Entry {
    /// The innermost block.
    Block,
    /// The definition of this symbol that was added last.
    Symbol(String),
    /// Something without a symbol.
    Comment,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        directory: &'a Path,
        variables: BTreeMap<String, String>,
        definitions: &'a mut Definitions,
    ) -> Reader<'a> {
        let (open, reading) = (Vec::new(), BTreeSet::new());
        Reader { directory, variables, definitions, open, entry: Entry::Comment, reading }
    }

    pub(super) fn read(&mut self, source: &str) {
        let path = self.directory.join(self.expanded(source));
        if !self.reading.insert(path.clone()) {
            return;
        }
        match fs::read(&path) {
            Ok(bytes) => {
                self.definitions.files += 1;
                let legacy = path.file_name().is_some_and(|name| name == LEGACY);
                let text = joined(String::from_utf8_lossy(&bytes));
                for statement in statements(&text) {
                    self.take(statement, legacy);
                }
            }
            Err(_) => self.definitions.missing.push(path.clone()),
        }
        self.reading.remove(&path);
    }

    /// Replaces `$NAME` and `$(NAME)`; what has no value stays as it is.
    fn expanded(&self, text: &str) -> String {
        let mut parts = text.split('$');
        let mut expanded = String::from(parts.next().unwrap_or_default());
        for part in parts {
            let bare = part.strip_prefix('(').unwrap_or(part);
            let end = bare.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(bare.len());
            let rest =
                if bare.len() < part.len() { bare[end..].strip_prefix(')') } else { Some(&bare[end..]) };
            match (self.variables.get(&bare[..end]), rest) {
                (Some(value), Some(rest)) => expanded.extend([value, rest]),
                _ => expanded.extend(["$", part]),
            }
        }
        expanded
    }

    fn take(&mut self, statement: Statement<'_>, legacy: bool) {
        match statement {
            Statement::Config(name) => self.config(name, legacy),
            Statement::Choice => {
                self.definitions.choices.push(Vec::new());
                self.open(None, Some(self.definitions.choices.len() - 1));
            }
            Statement::Menu => self.open(None, None),
            Statement::If(condition) => self.open(Expression::parse(condition), None),
            Statement::End => {
                self.open.pop();
                self.entry = Entry::Comment;
            }
            Statement::Comment => self.entry = Entry::Comment,
            Statement::Source(source) => {
                self.entry = Entry::Comment;
                self.read(source);
            }
            Statement::Depends(condition) => self.depends(condition),
            Statement::Select(name, condition) => self.select(name, condition),
            Statement::Type(kind, prompt) => {
                self.with(|definition| definition.kind = Some(kind));
                self.prompt(prompt);
            }
            Statement::Prompt(prompt) => self.prompt(Some(prompt)),
            Statement::Default(text) => self.default(text),
            Statement::Environment => self.with(|definition| definition.environment = true),
        }
    }

    fn open(&mut self, condition: Option<Expression>, choice: Option<usize>) {
        let conditions = condition.into_iter().map(Rc::new).collect();
        self.open.push(Block { conditions, choice });
        self.entry = Entry::Block;
    }

    fn config(&mut self, name: &str, legacy: bool) {
        let symbol = self.definitions.named(name);
        let conditions = self.open.iter().flat_map(|block| block.conditions.iter().cloned()).collect();
        let choice = self.open.iter().rev().find_map(|block| block.choice);
        if let Some(choice) = choice {
            self.definitions.choices[choice].push(symbol.clone());
        }
        let definition = Definition { conditions, choice, legacy, ..Definition::default() };
        self.definitions.symbols.entry(symbol.clone()).or_default().push(definition);
        self.entry = Entry::Symbol(symbol);
    }

    fn depends(&mut self, condition: &str) {
        let Some(condition) = Expression::parse(condition).map(Rc::new) else { return };
        match &self.entry {
            Entry::Block => self.open.last_mut().expect("a block is open").conditions.push(condition),
            Entry::Symbol(_) => self.with(|definition| definition.conditions.push(condition)),
            Entry::Comment => {}
        }
    }

    fn select(&mut self, name: &str, condition: Option<&str>) {
        let Entry::Symbol(symbol) = &self.entry else { return };
        let (symbol, selected) = (symbol.clone(), self.definitions.named(name));
        let condition = condition.and_then(Expression::parse);
        self.with(|definition| definition.selects.push(selected.clone()));
        self.definitions.selectors.entry(selected).or_default().push(Selector { symbol, condition });
    }

    /// Paths of external trees are defaults of symbols.
    fn default(&mut self, text: &str) {
        if let Entry::Symbol(symbol) = &self.entry {
            self.variables.entry(symbol.clone()).or_insert_with(|| text.into());
        }
    }

    fn prompt(&mut self, prompt: Option<Prompt<'_>>) {
        let Some(prompt) = prompt else { return };
        self.with(|definition| {
            definition.prompt = Some(prompt.text.into());
            definition.conditions.extend(prompt.condition.and_then(Expression::parse).map(Rc::new));
        });
    }

    /// Changes the definition that is being read.
    fn with(&mut self, change: impl FnOnce(&mut Definition)) {
        let Entry::Symbol(symbol) = &self.entry else { return };
        let definitions = self.definitions.symbols.get_mut(symbol).expect("it was added");
        change(definitions.last_mut().expect("it was added"));
    }
}

/// The text with lines that end in `\` joined with the next.
fn joined(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains("\\\n") { text.replace("\\\n", " ").into() } else { text }
}
