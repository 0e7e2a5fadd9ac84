//! Families: what several boards have in common, said once, in `boards/family/NAME.toml`.
//!
//! A board with `extends = "NAME"` is its own descriptor laid over the family's, by rules that do not depend on
//! what the keys mean:
//!
//! - words, numbers and lists of words: the board's replace the family's;
//! - `[table]` and `[vars]`: key by key, and so are the words of one architecture;
//! - `[[artifact]]`, `[[blob]]`, `[[environment]]` and `[[partition]]`: an entry with the `name` of one of the
//!   family's is laid over it key by key, others are added behind; `drop = true` beside a name takes the family's
//!   entry away;
//! - `file` lists are joined, the family's first; `file-only` replaces the family's.
//!
//! There is one level: a family does not extend another. Both texts are parsed into one space of positions, so
//! that an error in the joined descriptor still points at the file, line and column that is wrong.

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::{suggestion, toml_error_at};
use super::raw::RawBoard;
use super::{BoardError, Registry, RuleSet};

/// Lists whose entries are told apart by `name`.
pub(super) const NAMED: [&str; 5] = ["artifact", "blob", "environment", "supplied", "partition"];
/// Tables that are joined key by key.
const JOINED: [&str; 2] = ["table", "vars"];

/// A descriptor as text, and its file for messages.
#[derive(Clone, Copy, Debug)]
pub struct DescriptorSource<'a> {
    /// Name of the file.
    pub file: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// Source of the files a descriptor names: families and sets of rules.
pub trait Families {
    /// The family of this name.
    fn family(&self, name: &str) -> Result<Option<DescriptorSource<'_>>, BoardError>;

    /// The existing name nearest to one that does not exist.
    fn nearest(&self, name: &str) -> Option<String>;

    /// The set of rules of this name.
    fn rule_set(&self, name: &str) -> Result<Option<RuleSet>, BoardError>;

    /// The existing set nearest to one that does not exist.
    fn nearest_rule_set(&self, name: &str) -> Option<String>;
}

/// No families, and the sets of rules that are built into the program.
pub struct NoFamilies;

impl Families for NoFamilies {
    fn family(&self, _: &str) -> Result<Option<DescriptorSource<'_>>, BoardError> {
        Ok(None)
    }

    fn nearest(&self, _: &str) -> Option<String> {
        None
    }

    fn rule_set(&self, name: &str) -> Result<Option<RuleSet>, BoardError> {
        Registry::built_in().rule_set(name)
    }

    fn nearest_rule_set(&self, name: &str) -> Option<String> {
        Registry::built_in().nearest_rule_set(name)
    }
}

/// Reads a descriptor and the family it extends.
pub fn read(own: DescriptorSource<'_>, families: &dyn Families) -> Result<RawBoard, BoardError> {
    let mut table = DeTable::parse(own.text).map_err(|error| located(own, None, &error))?;
    let Some(extends) = table.get_mut().remove("extends") else {
        return parse(table).map_err(|error| located(own, None, &error));
    };
    let at = extends.span().start;
    let Some(name) = extends.get_ref().as_str() else {
        return Err(toml_error_at(own, at, "`extends` is the name of one family", None));
    };
    let Some(family) = families.family(name)? else {
        let message = format!("there is no family `{name}`");
        return Err(toml_error_at(own, at, &message, families.nearest(name)));
    };
    // The family's text begins behind the board's: a position shows which of the two it belongs to.
    let shifted = format!("{}\n{}", " ".repeat(own.text.len()), family.text);
    let located = |error: &toml::de::Error| located(own, Some(family), error);
    let mut base = DeTable::parse(&shifted).map_err(|error| located(&error))?;
    if let Some(further) = base.get_ref().get("extends") {
        let at = further.span().start - own.text.len() - 1;
        let message = format!("family `{name}` extends another: there is one level of families");
        return Err(toml_error_at(family, at, &message, None));
    }
    join(base.get_mut(), std::mem::take(table.get_mut()))
        .map_err(|(at, message)| toml_error_at(own, at, &message, None))?;
    let whole = Spanned::new(table.span(), std::mem::take(base.get_mut()));
    let mut raw = parse(whole).map_err(|error| located(&error))?;
    raw.extends = Some(name.into());
    Ok(raw)
}

fn parse(table: Spanned<DeTable<'_>>) -> Result<RawBoard, toml::de::Error> {
    RawBoard::deserialize(toml::de::Deserializer::from(table))
}

/// The error in the file it belongs to.
fn located(
    own: DescriptorSource<'_>,
    family: Option<DescriptorSource<'_>>,
    error: &toml::de::Error,
) -> BoardError {
    let start = error.span().map_or(0, |span| span.start);
    let (source, start) = match family {
        Some(family) if start > own.text.len() => (family, start - own.text.len() - 1),
        _ => (own, start),
    };
    toml_error_at(source, start, error.message(), suggestion(error.message()))
}

/// Byte in the board's text, and the fault there.
type Wrong = (usize, String);

fn join<'i>(base: &mut DeTable<'i>, own: DeTable<'i>) -> Result<(), Wrong> {
    for (key, value) in own {
        let word = key.get_ref().to_string();
        match (base.get_mut(word.as_str()).map(Spanned::get_mut), value.into_inner_with_span()) {
            (Some(DeValue::Table(base)), (_, DeValue::Table(own))) if JOINED.contains(&&*word) => {
                join_words(base, own);
            }
            (Some(DeValue::Array(base)), (_, DeValue::Array(own))) if NAMED.contains(&&*word) => {
                *base = join_entries(std::mem::replace(base, DeArray::new()), own, &word)?;
            }
            (_, (span, value)) => {
                base.insert(key, Spanned::new(span, value));
            }
        }
    }
    Ok(())
}

fn join_words<'i>(base: &mut DeTable<'i>, own: DeTable<'i>) {
    for (key, value) in own {
        let word = key.get_ref().to_string();
        match (base.get_mut(word.as_str()).map(Spanned::get_mut), value.into_inner_with_span()) {
            (Some(DeValue::Table(base)), (_, DeValue::Table(own))) => join_words(base, own),
            (_, (span, value)) => {
                base.insert(key, Spanned::new(span, value));
            }
        }
    }
}

fn join_entries<'i>(base: DeArray<'i>, own: DeArray<'i>, kind: &str) -> Result<DeArray<'i>, Wrong> {
    let mut joined: Vec<Spanned<DeValue<'i>>> = base.into_iter().collect();
    for entry in own {
        let (span, value) = entry.into_inner_with_span();
        let DeValue::Table(mut table) = value else {
            joined.push(Spanned::new(span, value));
            continue;
        };
        let name = table.get("name").and_then(|name| name.get_ref().as_str()).map(str::to_owned);
        let named = |other: &Spanned<DeValue<'_>>| {
            name.is_some()
                && other.get_ref().get("name").and_then(|name| name.get_ref().as_str()) == name.as_deref()
        };
        let place = joined.iter().position(named);
        let shown = name.as_deref().unwrap_or_default();
        match (table.remove("drop"), place) {
            (None, None) => joined.push(Spanned::new(span, DeValue::Table(table))),
            (None, Some(place)) => {
                if let DeValue::Table(base) = joined[place].get_mut() {
                    join_entry(base, table);
                }
            }
            (Some(drop), Some(place)) if drop.get_ref().as_bool() == Some(true) && table.len() == 1 => {
                joined.remove(place);
            }
            (Some(drop), Some(_)) => {
                let message = format!("{kind} `{shown}`: beside `drop = true` stands only the name");
                return Err((drop.span().start, message));
            }
            (Some(drop), None) => {
                let message = format!("{kind} `{shown}` is not of the family, so it cannot be dropped");
                return Err((drop.span().start, message));
            }
        }
    }
    Ok(joined.into_iter().collect())
}

fn join_entry<'i>(base: &mut DeTable<'i>, mut own: DeTable<'i>) {
    if let Some(files) = own.remove("file-only") {
        base.remove("file");
        own.insert(Spanned::new(files.span(), "file".into()), files);
    }
    for (key, value) in own {
        let files = key.get_ref() == "file";
        match (base.get_mut(&**key.get_ref()).map(Spanned::get_mut), value.into_inner_with_span()) {
            (Some(DeValue::Array(base)), (_, DeValue::Array(own))) if files => {
                own.into_iter().for_each(|file| base.push(file));
            }
            (_, (span, value)) => {
                base.insert(key, Spanned::new(span, value));
            }
        }
    }
}

/// A value and where it stands.
trait WithSpan<T> {
    fn into_inner_with_span(self) -> (std::ops::Range<usize>, T);
}

impl<T> WithSpan<T> for Spanned<T> {
    fn into_inner_with_span(self) -> (std::ops::Range<usize>, T) {
        (self.span(), self.into_inner())
    }
}
