//! Variables of a fragment: words that stand for something else: paths and versions that only the run knows.

use super::value::escaped;

/// The directory of the layer that a fragment belongs to.
const LAYER_VARIABLE: &str = "SKIFF_CONFIG_ROOT";

/// Variables with their values.
#[derive(Clone, Debug, Default)]
pub struct FragmentVariables(Vec<(String, String)>);

impl<W: Into<String>, V: Into<String>> FromIterator<(W, V)> for FragmentVariables {
    fn from_iter<I: IntoIterator<Item = (W, V)>>(variables: I) -> FragmentVariables {
        let mut variables: Vec<_> =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        // One name can be the beginning of another.
        variables.sort_by_key(|(name, _): &(String, String)| std::cmp::Reverse(name.len()));
        FragmentVariables(variables)
    }
}

impl FragmentVariables {
    /// These and the directory of the layer, as fragments get it. It must not contain a newline.
    #[must_use]
    pub fn with_layer(&self, root: &str) -> FragmentVariables {
        self.0.iter().cloned().chain([(LAYER_VARIABLE.into(), root.into())]).collect()
    }

    /// The text with every variable replaced. They stand in quotes, so quotes and `\` of the values get a `\`; every
    /// other character is taken as it is. Variables in values are not replaced again.
    pub fn replace(&self, text: &str) -> String {
        let mut replaced = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((at, name, value)) = self.next(rest) {
            replaced.push_str(&rest[..at]);
            replaced.push_str(&escaped(value));
            rest = &rest[at + name.len()..];
        }
        replaced + rest
    }

    /// The first variable in the text, the longest of those that begin at the same place.
    fn next(&self, text: &str) -> Option<(usize, &str, &str)> {
        let found = self.0.iter().filter_map(|(name, value)| Some((text.find(name)?, name, value)));
        found
            .min_by_key(|(at, name, _)| (*at, std::cmp::Reverse(name.len())))
            .map(|(at, name, value)| (at, name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_replaced_by_any_text() {
        let variables: FragmentVariables = [
            ("REPLACEME_SKIFF_VERSION", "1@2#3&4 REPLACEME_SKIFF_VERSION_COMMIT"),
            ("REPLACEME_SKIFF_VERSION_COMMIT", "a\\1\"b$"),
        ]
        .into_iter()
        .collect();
        let text =
            "A=\"REPLACEME_SKIFF_VERSION_COMMIT:REPLACEME_SKIFF_VERSION\"\nB=\"SKIFF_CONFIG_ROOT/x\"\n";
        assert_eq!(
            variables.with_layer("/a b/c").replace(text),
            "A=\"a\\\\1\\\"b$:1@2#3&4 REPLACEME_SKIFF_VERSION_COMMIT\"\nB=\"/a b/c/x\"\n"
        );
    }
}
