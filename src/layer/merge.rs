//! The merge of fragments: one text for Kconfig, and for each symbol who set it, where, and who won.
//!
//! The last assignment of a symbol wins. As with the kernel's `merge_config.sh`, an assignment of a `CONFIG_` symbol
//! takes the earlier ones of other fragments out of the text. Those of `BR2_` symbols all stay, in order: Buildroot
//! reads the text at once, and of a choice the member wins that was set last, which may be one that is set to `n`
//! later.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::fragment::{Fragment, Ignored, Value, lines};

/// Request of all fragments together.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    parts: Vec<Part>,
    settings: BTreeMap<String, Setting>,
    /// The part that set a symbol last.
    last: BTreeMap<String, usize>,
    ignored: Vec<Ignored>,
    text: String,
}

/// The text of one fragment, or of what was appended.
#[derive(Clone, Debug)]
struct Part {
    title: String,
    lines: Vec<(Option<String>, String)>,
}

/// A symbol that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The symbol.
    pub symbol: String,
    /// The assignment that counts.
    pub winner: Assignment,
    /// Those before it, in order.
    pub overridden: Vec<Assignment>,
}

impl Setting {
    /// All assignments in order; the last one counts.
    pub fn assignments(&self) -> impl Iterator<Item = &Assignment> {
        self.overridden.iter().chain([&self.winner])
    }
}

/// A line that sets a symbol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assignment {
    /// Value of the symbol; `n` if it "is not set".
    pub value: Value,
    /// Name of the layer, or who else appended the line.
    pub layer: String,
    /// The fragment; nothing if the line was appended.
    #[serde(serialize_with = "shown_if_any")]
    pub file: Option<Arc<Path>>,
    /// From 1; for what was appended that of the appended text.
    pub line: usize,
}

impl Assignment {
    /// `FILE:LINE`, or who appended the line.
    pub fn place(&self) -> String {
        match &self.file {
            Some(file) => format!("{}:{}", file.display(), self.line),
            None => self.layer.clone(),
        }
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.value, self.place())
    }
}

#[expect(clippy::ref_option, reason = "what serde calls")]
fn shown_if_any<S: Serializer>(path: &Option<Arc<Path>>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.display().to_string()).serialize(serializer)
}

impl Merged {
    /// Merges fragments in their order.
    pub fn from_fragments(fragments: &[Fragment]) -> Merged {
        let mut merged = Merged::default();
        for fragment in fragments {
            let title = format!("{}: {}", fragment.layer, short(&fragment.file));
            merged.add(title, &fragment.layer, Some(&fragment.file), &fragment.text);
        }
        merged.text = merged.render();
        merged
    }

    /// Adds settings that do not come from a layer; `who` stands in place of its name.
    pub fn append(&mut self, who: &str, text: &str) {
        self.add(who.into(), who, None, text);
        self.text = self.render();
    }

    /// Text for Kconfig.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Setting of a symbol, if a fragment sets it.
    pub fn setting(&self, symbol: &str) -> Option<&Setting> {
        self.settings.get(symbol)
    }

    /// All symbols that are set, by name.
    pub fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.settings.values()
    }

    /// Lines of fragments that set nothing, in order.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    fn add(&mut self, title: String, layer: &str, file: Option<&Arc<Path>>, text: &str) {
        let mut part = Part { title, lines: text.lines().map(|line| (None, line.to_owned())).collect() };
        for line in lines(text) {
            let Some(symbol) = line.symbol else {
                self.ignore(layer, file, line.number, line.column, text);
                continue;
            };
            part.lines[line.number - 1].0 = Some(symbol.into());
            self.last.insert(symbol.into(), self.parts.len());
            let (layer, file) = (layer.into(), file.cloned());
            self.set(symbol, Assignment { value: line.value, layer, file, line: line.number });
        }
        self.parts.push(part);
    }

    fn set(&mut self, symbol: &str, assignment: Assignment) {
        if let Some(setting) = self.settings.get_mut(symbol) {
            setting.overridden.push(std::mem::replace(&mut setting.winner, assignment));
            return;
        }
        let setting = Setting { symbol: symbol.into(), winner: assignment, overridden: Vec::new() };
        self.settings.insert(symbol.into(), setting);
    }

    fn ignore(&mut self, layer: &str, file: Option<&Arc<Path>>, line: usize, column: usize, text: &str) {
        let file = file.cloned().unwrap_or_else(|| Path::new("").into());
        let text = text.lines().nth(line - 1).unwrap_or_default().trim().to_owned();
        self.ignored.push(Ignored { layer: layer.into(), file, line, column, text });
    }

    fn render(&self) -> String {
        let mut text = String::new();
        for (index, part) in self.parts.iter().enumerate() {
            text += &format!("\n# {}\n", part.title);
            for (symbol, line) in &part.lines {
                if symbol.as_ref().is_none_or(|symbol| self.stays(symbol, index)) {
                    text += line;
                    text.push('\n');
                }
            }
        }
        text
    }

    fn stays(&self, symbol: &str, part: usize) -> bool {
        !symbol.starts_with("CONFIG_") || self.last[symbol] == part
    }
}

/// Text that `who` appended as the last part of a text that [`Merged::text`] returned.
pub(crate) fn appended<'a>(text: &'a str, who: &str) -> Option<&'a str> {
    text.rsplit_once(&format!("\n# {who}\n")).map(|(_, part)| part)
}

/// The last two names of a path: the directory of the layer and the file.
fn short(file: &Path) -> String {
    let names: Vec<_> = file.iter().rev().take(2).map(|name| name.to_string_lossy()).collect();
    names.into_iter().rev().collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(layer: &str, text: &str) -> Fragment {
        let file = Path::new("configs").join(layer).join("kernel/base");
        Fragment { layer: layer.into(), file: file.into(), text: text.into() }
    }

    #[test]
    fn a_later_fragment_takes_the_place_of_an_earlier_one() {
        let mut merged = Merged::from_fragments(&[
            fragment("a/b", "# about CONFIG_X = this\nCONFIG_X=y\nCONFIG_Y=m\nCONFIG_X=m\nBR2_Z=\"1\"\n"),
            fragment("a/c", "# CONFIG_X is not set\nBR2_Z=\"2\""),
        ]);
        merged.append("skiff-image", "CONFIG_Y=y\nstray\n");
        assert_eq!(
            merged.text(),
            "\n# a/b: kernel/base\n# about CONFIG_X = this\nBR2_Z=\"1\"\n\n# a/c: kernel/base\n# CONFIG_X is not set\n\
             BR2_Z=\"2\"\n\n# skiff-image\nCONFIG_Y=y\nstray\n"
        );
        let shown = |symbol: &str| {
            let setting = merged.setting(symbol).unwrap();
            setting.assignments().map(Assignment::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            shown("CONFIG_X"),
            [
                "y (configs/a/b/kernel/base:2)",
                "m (configs/a/b/kernel/base:4)",
                "n (configs/a/c/kernel/base:1)"
            ]
        );
        assert_eq!(shown("CONFIG_Y"), ["m (configs/a/b/kernel/base:3)", "y (skiff-image)"]);
        let symbols: Vec<_> = merged.settings().map(|setting| setting.symbol.as_str()).collect();
        assert_eq!(symbols, ["BR2_Z", "CONFIG_X", "CONFIG_Y"]);
        assert_eq!(merged.ignored().len(), 1);
        assert_eq!(appended(merged.text(), "skiff-image"), Some("CONFIG_Y=y\nstray\n"));
        assert_eq!(appended(merged.text(), "image"), None);
    }
}
