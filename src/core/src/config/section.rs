//! A map of the file, read key by key: what was not asked for is unknown.

use super::remark::{Log, Place, Reason, nearest, quoted};
use super::yaml::{Body, Key, Node};

/// A text and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub value: String,
    /// Where it begins.
    pub place: Place,
}

/// A map, of which each key is asked for once.
pub(super) struct Section<'a> {
    /// What it describes, as it is called in messages: "container `core`".
    pub(super) what: String,
    pub(super) place: Place,
    entries: Vec<(&'a Key, &'a Node)>,
    asked: Vec<&'static str>,
    pub(super) log: &'a mut Log,
}

impl<'a> Section<'a> {
    /// The map in `node`; anything else is an error. Nothing is an empty map.
    pub(super) fn open(
        what: impl Into<String>,
        place: Place,
        node: &'a Node,
        log: &'a mut Log,
    ) -> Option<Self> {
        let what = what.into();
        let entries = entries(&what, node, log)?;
        Some(Self { what, place, entries, asked: Vec::new(), log })
    }

    /// The value of a key; none if it is not there or is `null`.
    pub(super) fn take(&mut self, key: &'static str) -> Option<(&'a Key, &'a Node)> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let found = self.entries.iter().find(|(known, _)| known.name == key)?;
        (!matches!(found.1.body, Body::Null)).then_some(*found)
    }

    /// The value of a key that files also write as `alias`, with a note about it.
    pub(super) fn take_or(
        &mut self,
        key: &'static str,
        alias: &'static str,
        note: &str,
    ) -> Option<(&'a Key, &'a Node)> {
        let proper = self.take(key);
        let other = self.entries.iter().find(|(known, _)| known.name == alias).copied();
        let (written, _) = match other {
            Some(other) => other,
            None => return proper,
        };
        self.asked.push(alias);
        if let Some((key, _)) = proper {
            let message =
                format!("`{alias}` of {} and `{}` at {} are the same", self.what, key.name, key.place);
            self.log.error(written.place, message, Some(format!("take out `{alias}`")));
            return proper;
        }
        self.log.note(written.place, format!("`{alias}` of {}: {note}", self.what), None);
        other.filter(|(_, node)| !matches!(node.body, Body::Null))
    }

    /// Where a key stands, if it does, else where the section begins.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let found = self.entries.iter().find(|(known, _)| known.name == key);
        found.map_or(self.place, |(key, _)| key.place)
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(known, node)| known.name == key && !matches!(node.body, Body::Null))
    }

    /// An error about the value of a key.
    pub(super) fn refuse(&mut self, place: Place, key: &str, reason: Reason) {
        let message = format!("`{key}` of {}: {}", self.what, reason.message);
        self.log.error(place, message, reason.hint);
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<Text> {
        let (_, node) = self.take(key)?;
        self.scalar(key, node)
    }

    /// A text that a function understands.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Reason>,
    ) -> Option<T> {
        let text = self.text(key)?;
        self.understand(key, &text, parse)
    }

    /// What a function makes of a text; an error otherwise.
    pub(super) fn understand<T>(
        &mut self,
        key: &str,
        text: &Text,
        parse: impl FnOnce(&str) -> Result<T, Reason>,
    ) -> Option<T> {
        parse(&text.value).map_err(|reason| self.refuse(text.place, key, reason)).ok()
    }

    /// A switch. Skiff Core reads YAML 1.1, in which `yes` and `on` are true.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.parsed(key, |text| match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(true),
            "false" | "no" | "off" | "n" => Ok(false),
            _ => Err(Reason::new(format!("`{text}` is neither `true` nor `false`"))),
        })
    }

    /// Texts of a list.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<Text> {
        let Some((_, node)) = self.take(key) else { return Vec::new() };
        match &node.body {
            Body::List(entries) => entries.iter().filter_map(|entry| self.scalar(key, entry)).collect(),
            _ => {
                let message = format!("a list is wanted, and this is {}", node.kind());
                let hint = "write `[\"...\"]`, or one line with `- ` for each entry";
                self.refuse(node.place, key, Reason::new(message).hint(hint));
                Vec::new()
            }
        }
    }

    /// Texts of a list, without their places.
    pub(super) fn words(&mut self, key: &'static str) -> Vec<String> {
        self.texts(key).into_iter().map(|text| text.value).collect()
    }

    /// Texts of a list that a function understands.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Reason>,
    ) -> Vec<(T, Place)> {
        let texts = self.texts(key);
        let understood = texts.iter().map(|text| Some((self.understand(key, text, &parse)?, text.place)));
        understood.flatten().collect()
    }

    /// Names and texts of a map; `null` is an empty text.
    pub(super) fn pairs(&mut self, key: &'static str) -> Vec<(Text, Text)> {
        let Some((_, node)) = self.take(key) else { return Vec::new() };
        let what = format!("`{key}` of {}", self.what);
        let entries = entries(&what, node, self.log).unwrap_or_default();
        let pairs = entries.into_iter().filter_map(|(name, node)| {
            let value = match &node.body {
                Body::Null => Text { value: String::new(), place: node.place },
                _ => self.scalar(key, node)?,
            };
            Some((Text { value: name.name.clone(), place: name.place }, value))
        });
        pairs.collect()
    }

    /// Tells of each key that nothing asked for. `foreign` has the reasons for keys of other programs.
    pub(super) fn close(self, foreign: &[(&str, &str)]) {
        for (key, _) in &self.entries {
            if self.asked.contains(&key.name.as_str()) {
                continue;
            }
            let hint = match foreign.iter().find(|(name, _)| *name == key.name) {
                Some((_, hint)) => (*hint).to_string(),
                None => match nearest(&key.name, self.asked.iter().copied()) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("possible are {}", quoted(&self.asked)),
                },
            };
            self.log.error(key.place, format!("unknown key `{}` of {}", key.name, self.what), Some(hint));
        }
    }

    fn scalar(&mut self, key: &str, node: &Node) -> Option<Text> {
        match &node.body {
            Body::Scalar(value) if value.contains('\0') => {
                self.refuse(node.place, key, Reason::new("there is a zero byte in this text"));
                None
            }
            Body::Scalar(value) => Some(Text { value: value.clone(), place: node.place }),
            _ => {
                let message = format!("a text is wanted, and this is {}", node.kind());
                self.refuse(node.place, key, Reason::new(message));
                None
            }
        }
    }
}

/// Entries of a map, each name once. Two that say the same are a note: files of SkiffOS have such.
pub(super) fn entries<'a>(what: &str, node: &'a Node, log: &mut Log) -> Option<Vec<(&'a Key, &'a Node)>> {
    let entries = match &node.body {
        Body::Null => return Some(Vec::new()),
        Body::Map(entries) => entries,
        _ => {
            log.error(node.place, format!("{what} must be a map, and this is {}", node.kind()), None);
            return None;
        }
    };
    let mut kept: Vec<(&Key, &Node)> = Vec::with_capacity(entries.len());
    let mut places = std::collections::HashMap::new();
    for (key, value) in entries {
        let first = *places.entry(key.name.as_str()).or_insert(kept.len());
        let Some((known, before)) = kept.get(first) else {
            kept.push((key, value));
            continue;
        };
        let twice = format!("`{}` of {what} is here and at {}", key.name, known.place);
        if before.same(value) {
            log.note(key.place, format!("{twice}, with the same value"), None);
        } else {
            log.error(key.place, twice, Some("keep one of them".into()));
        }
    }
    Some(kept)
}
