//! Names in boot texts: of files, and on kernel command lines.

use crate::board::{Board, ContentSource, TextRules};

/// A boot text with its words filled in.
#[derive(Clone, Debug)]
pub struct BootText {
    /// The artifact.
    pub name: String,
    /// Rules of the program that reads it.
    pub rules: TextRules,
    /// The text.
    pub text: String,
    /// Places of the text: index of the partition, and path.
    pub placed: Vec<(usize, String)>,
}

/// A line of the form `key value` or `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<'a> {
    /// In lower case.
    pub key: String,
    /// Without blanks around it.
    pub value: &'a str,
}

impl BootText {
    /// The artifact `name` of the board, which holds `text`.
    pub fn new(board: &Board, name: &str, rules: TextRules, text: String) -> BootText {
        let mut placed = Vec::new();
        for (index, partition) in board.partitions.iter().enumerate() {
            let here = partition
                .files
                .iter()
                .filter(|place| matches!(&place.from, ContentSource::Artifact(a) if a == name));
            placed.extend(here.map(|place| (index, place.to.clone())));
        }
        BootText { name: name.into(), rules, text, placed }
    }

    /// The lines that set something; comments and sections are left out.
    pub fn settings(&self) -> impl Iterator<Item = Setting<'_>> {
        let lines = self.text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '[']));
        lines.filter_map(|line| {
            let end = line.find(|c: char| c == '=' || c.is_whitespace())?;
            let value = line[end..].trim_start_matches(|c: char| c == '=' || c.is_whitespace());
            Some(Setting { key: line[..end].to_ascii_lowercase(), value })
        })
    }

    /// File names in the values of `keys`. What a boot loader's own variable is part of is left out.
    pub fn files_of<'a>(&'a self, keys: &'a [String]) -> impl Iterator<Item = &'a str> {
        let wanted = |setting: &Setting<'_>| keys.contains(&setting.key);
        let values =
            self.settings().filter(wanted).filter_map(|setting| setting.value.split_whitespace().next());
        values.flat_map(|value| value.split(',')).filter(|name| is_literal(name))
    }

    /// Words that end with `suffix`, wherever they stand.
    pub fn words_with<'a>(&'a self, suffix: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let words = lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || "\"';=,()".contains(c)));
        words.filter(move |word| word.len() > suffix.len() && word.ends_with(suffix) && is_literal(word))
    }

    /// The kernel command lines in it.
    pub fn command_lines(&self) -> Vec<&str> {
        let of_key = |key: &str| -> Vec<&str> {
            self.settings().filter(|setting| setting.key == key).map(|setting| setting.value).collect()
        };
        match self.rules {
            TextRules::Cmdline => vec![self.text.trim()],
            TextRules::Extlinux => of_key("append"),
            TextRules::LoaderEntry => of_key("options"),
            TextRules::UbootScript => self.text.lines().filter_map(bootargs).collect(),
            TextRules::Plain | TextRules::RefindLinux => {
                self.text.lines().filter_map(boot_manager_words).collect()
            }
            TextRules::PiConfig => Vec::new(),
        }
    }
}

/// Returns whether a name stands for itself, without a variable of the boot loader or a pattern.
fn is_literal(name: &str) -> bool {
    !name.is_empty() && !name.contains(['$', '{', '}', '*', '%'])
}

/// Returns the words that a U-Boot script gives the kernel.
fn bootargs(line: &str) -> Option<&str> {
    let value = line.trim().strip_prefix("setenv bootargs ")?;
    Some(value.trim().trim_matches(['"', '\'']))
}

/// Returns the words that GRUB (`linux FILE WORDS`) or rEFInd (`"title" "words"`) gives the kernel.
fn boot_manager_words(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.starts_with('"') {
        return line.split('"').nth(3);
    }
    let rest = line.strip_prefix("linux ")?.trim_start();
    Some(rest.split_once(char::is_whitespace).map_or("", |(_, words)| words.trim_start()))
}
