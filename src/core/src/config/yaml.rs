//! Tree of a YAML file in which each value and key knows its line and column.
//!
//! The parser gives events; the tree is our own, because those of YAML libraries keep one of two equal keys, or end at the
//! first error. Anchors, aliases and merge keys (`<<`) work as in YAML 1.1, which Skiff Core's files are written in.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput};

use super::remark::{Log, Place};

/// Bytes that a configuration may have: the largest one that SkiffOS ships has 2 KiB.
const LARGEST: usize = 1 << 20;
/// Values in a tree, with what aliases repeat: a short file can otherwise stand for gigabytes.
const MOST_NODES: usize = 100_000;
/// Values in each other.
const DEEPEST: usize = 32;

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) body: Body,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Nothing, `~` or `null`.
    Null,
    /// A word, number or text.
    Scalar(String),
    List(Vec<Node>),
    /// Keys in the order of the file; there can be equal ones.
    Map(Vec<(Key, Node)>),
}

/// Key of a map.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) place: Place,
}

impl Node {
    /// What the value is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match &self.body {
            Body::Null => "nothing",
            Body::Scalar(_) => "a text",
            Body::List(_) => "a list",
            Body::Map(_) => "a map",
        }
    }

    /// Whether two values are the same, wherever they stand.
    pub(super) fn same(&self, other: &Node) -> bool {
        match (&self.body, &other.body) {
            (Body::Null, Body::Null) => true,
            (Body::Scalar(left), Body::Scalar(right)) => left == right,
            (Body::List(left), Body::List(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.same(right))
            }
            (Body::Map(left), Body::Map(right)) => {
                let pairs = left.iter().zip(right);
                left.len() == right.len()
                    && pairs
                        .into_iter()
                        .all(|(left, right)| left.0.name == right.0.name && left.1.same(&right.1))
            }
            _ => false,
        }
    }

    /// Number of values in it, itself included.
    fn count(&self) -> usize {
        match &self.body {
            Body::Null | Body::Scalar(_) => 1,
            Body::List(entries) => 1 + entries.iter().map(Node::count).sum::<usize>(),
            Body::Map(entries) => 1 + entries.iter().map(|(_, node)| node.count()).sum::<usize>(),
        }
    }
}

/// The document in `text`; `None` after an error, which is in the log.
pub(super) fn read(text: &str, log: &mut Log) -> Option<Node> {
    if text.len() > LARGEST {
        let message = format!("the file has {} bytes, more than {LARGEST}", text.len());
        log.error(
            Place { line: 1, column: 1 },
            message,
            Some("is this a configuration of Skiff Core?".into()),
        );
        return None;
    }
    let mut builder = Builder { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    match builder.document() {
        Ok(node) => Some(node),
        Err(Fault { place, message, hint }) => {
            log.error(place, message, hint);
            None
        }
    }
}

/// What ends the reading of a file.
struct Fault {
    place: Place,
    message: String,
    hint: Option<String>,
}

impl Fault {
    fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), hint: None }
    }
}

struct Builder<'text> {
    parser: Parser<'text, StrInput<'text>>,
    /// Values that aliases repeat, by the number of the anchor.
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'text> Builder<'text> {
    fn document(&mut self) -> Result<Node, Fault> {
        let root = loop {
            let (event, place) = self.event()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) => {}
                Event::StreamEnd => return Ok(Node { place, body: Body::Null }),
                event => break self.node(event, place, 0)?,
            }
        };
        loop {
            match self.event()? {
                (Event::StreamEnd, _) => return Ok(root),
                (Event::DocumentStart(_), place) => {
                    let mut fault = Fault::new(place, "a second document begins here");
                    fault.hint = Some("join both, and take out the line `---`".into());
                    return Err(fault);
                }
                _ => {}
            }
        }
    }

    fn event(&mut self) -> Result<(Event<'text>, Place), Fault> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, place(&span.start))),
            Some(Err(error)) => {
                let mut fault =
                    Fault::new(place(error.marker()), format!("this is not YAML: {}", error.info()));
                if error.info().contains("tab") {
                    fault.hint = Some("indent with spaces".into());
                }
                Err(fault)
            }
            None => Err(Fault::new(Place { line: 1, column: 1 }, "the file ends too early")),
        }
    }

    fn node(&mut self, event: Event<'text>, place: Place, depth: usize) -> Result<Node, Fault> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(Fault::new(place, format!("there are more than {MOST_NODES} values before this")));
        }
        if depth > DEEPEST {
            return Err(Fault::new(place, format!("this is in more than {DEEPEST} lists and maps")));
        }
        let (anchor, body) = match event {
            Event::Alias(anchor) => return self.alias(anchor, place, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let text_is_meant = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let null = style == ScalarStyle::Plain
                    && !text_is_meant
                    && ["", "~", "null", "Null", "NULL"].contains(&&*text);
                (anchor, if null { Body::Null } else { Body::Scalar(text.into_owned()) })
            }
            Event::SequenceStart(anchor, _) => (anchor, Body::List(self.list(depth)?)),
            Event::MappingStart(anchor, _) => (anchor, Body::Map(self.map(depth)?)),
            _ => return Err(Fault::new(place, "a value is missing")),
        };
        let node = Node { place, body };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// The value of an anchor, at the place of the anchor: that is where it can be corrected.
    fn alias(&mut self, anchor: usize, place: Place, depth: usize) -> Result<Node, Fault> {
        let node = match self.anchors.get(&anchor) {
            Some(node) => node.clone(),
            None => return Err(Fault::new(place, "this alias is inside the value that it stands for")),
        };
        self.nodes += node.count();
        if self.nodes > MOST_NODES || depth + height(&node) > DEEPEST {
            return Err(Fault::new(
                place,
                format!("with this alias there are more than {MOST_NODES} values"),
            ));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        let mut entries = Vec::new();
        loop {
            match self.event()? {
                (Event::SequenceEnd, _) => return Ok(entries),
                (event, place) => entries.push(self.node(event, place, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(Key, Node)>, Fault> {
        let (mut entries, mut merged) = (Vec::new(), Vec::new());
        loop {
            let (event, place) = self.event()?;
            if event == Event::MappingEnd {
                break;
            }
            let plain = matches!(&event, Event::Scalar(_, ScalarStyle::Plain, ..));
            let name = match self.node(event, place, depth + 1)?.body {
                Body::Scalar(name) => name,
                Body::Null => "null".into(),
                Body::List(_) | Body::Map(_) => return Err(Fault::new(place, "a key must be a text")),
            };
            let (event, value_place) = self.event()?;
            let value = self.node(event, value_place, depth + 1)?;
            if plain && name == "<<" {
                merge(value, place, &mut merged)?;
            } else {
                entries.push((Key { name, place }, value));
            }
        }
        // What is given beside a merge key wins over what it brings; the first of several merged maps wins.
        let mut names: HashSet<String> = entries.iter().map(|(key, _)| key.name.clone()).collect();
        entries.extend(merged.into_iter().filter(|(key, _)| names.insert(key.name.clone())));
        Ok(entries)
    }
}

/// Takes over the entries of the map, or list of maps, behind a merge key.
fn merge(value: Node, place: Place, merged: &mut Vec<(Key, Node)>) -> Result<(), Fault> {
    match value.body {
        Body::Map(entries) => merged.extend(entries),
        Body::List(maps) if maps.iter().all(|map| matches!(map.body, Body::Map(_))) => {
            for map in maps {
                merge(map, place, merged)?;
            }
        }
        _ => return Err(Fault::new(place, "`<<` takes a map or a list of maps")),
    }
    Ok(())
}

fn height(node: &Node) -> usize {
    match &node.body {
        Body::Null | Body::Scalar(_) => 0,
        Body::List(entries) => 1 + entries.iter().map(height).max().unwrap_or(0),
        Body::Map(entries) => 1 + entries.iter().map(|(_, node)| height(node)).max().unwrap_or(0),
    }
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}
