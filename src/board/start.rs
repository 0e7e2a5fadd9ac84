//! A descriptor to start from: that of another board, with what each key means above its first use.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::toml_error;
use super::family::NAMED;
use super::{BoardError, DescriptorSource, Families, Registry, schema};

/// Keys of a board that are its own, or claims that only the tests of this project can make.
const OWN: [&str; 3] = ["description", "status", "proof"];

/// Reason why there is no such start.
#[derive(Debug, thiserror::Error, crate::error::Diagnostic)]
#[diagnostic(kind = Input)]
pub enum StartError {
    /// The name is none.
    #[error("`{0}` is not the name of a board: expected NAMESPACE/NAME of letters, digits, `_` and `-`")]
    #[diagnostic(hint = "give a name such as `acme/widget`")]
    Name(String),
    /// The other board has no medium.
    #[error("board `{0}` has no medium whose layout could be taken over")]
    #[diagnostic(hint = "`skiff-image boards list` shows all boards")]
    Refused(String),
    /// The other board is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Board(#[from] BoardError),
}

/// Text of a descriptor for the board `name`, which is like `like`.
pub fn start(registry: &Registry, name: &str, like: &str) -> Result<String, StartError> {
    if name.parse::<crate::layer::LayerName>().is_err() || is_reserved(name) {
        return Err(StartError::Name(name.into()));
    }
    if registry.refusal(like)?.is_some() {
        return Err(StartError::Refused(like.into()));
    }
    // Only a right descriptor is worth starting from.
    let extends = registry.board(like)?.extends;
    let source = registry.source(like)?;
    let mut text = commented(source)?;
    let mut head = format!(
        "# The board `{name}`, begun as a copy of `{like}`. `skiff-image boards check` tries it; boards/README.md explains\n\
         # the keys. For an editor that knows JSON Schema: `skiff-image boards schema`.\n\n\
         # What the board is, its SoC and its medium: one line for lists.\n\
         description = \"{name}: like {like}\"\n\
         # What has been tried and what is inferred, in plain text.\n\
         status = \"not yet tried on hardware\"\n"
    );
    if let Some(family) = extends {
        text += &inherited(registry, &family)?;
    }
    head += &text;
    Ok(head)
}

/// Directories of descriptors that are none of boards.
fn is_reserved(name: &str) -> bool {
    ["family/", "rules/"].iter().any(|space| name.starts_with(space))
}

/// A change of a text.
struct Edit {
    at: Range<usize>,
    text: String,
}

/// The text without the keys that are the board's own, and with comments.
fn commented(source: DescriptorSource<'_>) -> Result<String, BoardError> {
    let DescriptorSource { file, text } = source;
    let table = DeTable::parse(text).map_err(|error| toml_error(file, text, &error))?;
    let schema = schema();
    let (mut edits, mut seen) = (Vec::new(), BTreeSet::new());
    for (key, value) in table.get_ref() {
        let word = key.get_ref().as_ref();
        if OWN.contains(&word) {
            edits.push(Edit {
                at: line(text, key.span().start).start..line(text, value.span().end).end,
                text: String::new(),
            });
            continue;
        }
        comment(text, (&key.span(), "extension", word), &schema, &mut seen, &mut edits);
        for (entry_key, _) in entries(value) {
            comment(text, (&entry_key.span(), word, entry_key.get_ref()), &schema, &mut seen, &mut edits);
        }
    }
    Ok(apply(text, edits))
}

/// Keys and values of a table, or of all tables of a list.
fn entries<'t, 'i>(
    value: &'t Spanned<DeValue<'i>>,
) -> Vec<(&'t Spanned<std::borrow::Cow<'i, str>>, &'t Spanned<DeValue<'i>>)> {
    match value.get_ref() {
        DeValue::Table(table) => table.iter().collect(),
        DeValue::Array(all) => all.iter().flat_map(entries).collect(),
        _ => Vec::new(),
    }
}

/// Puts what the schema says of a key above its first use, where that is at the start of a line.
fn comment<'w>(
    text: &str,
    (at, of, key): (&Range<usize>, &'w str, &'w str),
    schema: &Value,
    seen: &mut BTreeSet<(String, String)>,
    edits: &mut Vec<Edit>,
) {
    let start = line(text, at.start).start;
    let is_first_of_line = text[start..at.start].trim_matches(['[', ' ']).is_empty();
    let said = schema["$defs"][of]["properties"][key]["description"].as_str();
    let Some(said) = said.filter(|_| is_first_of_line && seen.insert((of.into(), key.into()))) else {
        return;
    };
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    edits.push(Edit { at: start..start, text: format!("# {said}\n") });
}

/// The line that byte `at` is on, with its end.
fn line(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    start..text[at..].find('\n').map_or(text.len(), |end| at + end + 1)
}

fn apply(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|edit| edit.at.start);
    let mut text = text.to_owned();
    edits.iter().rev().for_each(|edit| text.replace_range(edit.at.clone(), &edit.text));
    text
}

/// Comment on what the family says, and how to change it.
fn inherited(registry: &Registry, name: &str) -> Result<String, BoardError> {
    let family = registry.family(name)?.expect("the board was made with it");
    let table = DeTable::parse(family.text).map_err(|error| toml_error(family.file, family.text, &error))?;
    let mut text = format!(
        "\n# The family `{name}` ({}) says all else. An entry with one of these names changes its entry key by key, with\n\
         # `drop = true` it leaves it out, and another name adds an entry:\n",
        family.file
    );
    for list in NAMED {
        let Some(DeValue::Array(all)) = table.get_ref().get(list).map(Spanned::get_ref) else { continue };
        let names = all.iter().filter_map(|entry| entry.get_ref().get("name")?.get_ref().as_str());
        let names = names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        text += &format!("#   [[{list}]] {names}\n");
    }
    Ok(text)
}
