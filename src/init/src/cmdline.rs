//! The kernel's command line, split by the kernel's own rules (`next_arg` in its `lib/cmdline.c`): words are separated
//! by white space, double quotes protect it, and `NAME="VALUE"` and `"NAME=VALUE"` lose their quotes.

/// One word: `NAME` or `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    pub name: String,
    pub value: Option<String>,
}

/// Splits a command line of any length.
pub fn parse(text: &str) -> Vec<Argument> {
    words(text).into_iter().map(argument).collect()
}

/// The value of the last argument of this name, which is the one that counts for the kernel too.
pub fn last<'a>(arguments: &'a [Argument], name: &str) -> Option<&'a str> {
    arguments.iter().rev().find(|argument| argument.name == name)?.value.as_deref()
}

fn words(text: &str) -> Vec<&str> {
    let mut quoted = false;
    let outside = |letter: char| {
        quoted ^= letter == '"';
        letter.is_ascii_whitespace() && !quoted
    };
    text.split(outside).filter(|word| !word.is_empty()).collect()
}

fn argument(word: &str) -> Argument {
    let word = unquoted(word);
    match word.split_once('=') {
        Some((name, value)) => Argument { name: name.into(), value: Some(unquoted(value).into()) },
        None => Argument { name: word.into(), value: None },
    }
}

/// Without the quotes around it. The last one may be missing: a quote lasts until the end of the line.
fn unquoted(word: &str) -> &str {
    match word.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or(rest),
        None => word,
    }
}
