//! Words of a fragment that stand for something else: paths and versions that only the run knows.

use super::value::escaped;

/// The directory of the layer that a fragment belongs to.
pub const LAYER_WORD: &str = "SKIFF_CONFIG_ROOT";

/// Words with what stands for them.
#[derive(Clone, Debug, Default)]
pub struct Words(Vec<(String, String)>);

impl<W: Into<String>, V: Into<String>> FromIterator<(W, V)> for Words {
    fn from_iter<I: IntoIterator<Item = (W, V)>>(words: I) -> Words {
        let mut words: Vec<_> = words.into_iter().map(|(word, value)| (word.into(), value.into())).collect();
        // One word can be the beginning of another.
        words.sort_by_key(|(word, _): &(String, String)| std::cmp::Reverse(word.len()));
        Words(words)
    }
}

impl Words {
    /// These and the directory of the layer, as fragments get it. It must not contain a newline.
    #[must_use]
    pub fn of_layer(&self, root: &str) -> Words {
        self.0.iter().cloned().chain([(LAYER_WORD.into(), root.into())]).collect()
    }

    /// The text with every word replaced. Words stand in quotes, so quotes and `\` of the values get a `\`; every
    /// other character is taken as it is. Words in values are not replaced again.
    pub fn replace(&self, text: &str) -> String {
        let mut replaced = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((at, word, value)) = self.next(rest) {
            replaced.push_str(&rest[..at]);
            replaced.push_str(&escaped(value));
            rest = &rest[at + word.len()..];
        }
        replaced + rest
    }

    /// The first word of the text, the longest of those that begin at the same place.
    fn next(&self, text: &str) -> Option<(usize, &str, &str)> {
        let found = self.0.iter().filter_map(|(word, value)| Some((text.find(word)?, word, value)));
        found
            .min_by_key(|(at, word, _)| (*at, std::cmp::Reverse(word.len())))
            .map(|(at, word, value)| (at, word.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_replaced_by_any_text() {
        let words: Words = [
            ("REPLACEME_SKIFF_VERSION", "1@2#3&4 REPLACEME_SKIFF_VERSION_COMMIT"),
            ("REPLACEME_SKIFF_VERSION_COMMIT", "a\\1\"b$"),
        ]
        .into_iter()
        .collect();
        let text =
            "A=\"REPLACEME_SKIFF_VERSION_COMMIT:REPLACEME_SKIFF_VERSION\"\nB=\"SKIFF_CONFIG_ROOT/x\"\n";
        assert_eq!(
            words.of_layer("/a b/c").replace(text),
            "A=\"a\\\\1\\\"b$:1@2#3&4 REPLACEME_SKIFF_VERSION_COMMIT\"\nB=\"/a b/c/x\"\n"
        );
    }
}
