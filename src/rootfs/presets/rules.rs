//! Preset files: `enable PATTERN [INSTANCE...]` and `disable PATTERN`, systemd.preset(5).

use super::files::configuration_files;
use crate::tree::{ContentError, Tree, display};

/// Directories in order of precedence; a file in an earlier one replaces a file of the same name in a later one.
const DIRECTORIES: [&str; 5] = [
    "etc/systemd/system-preset",
    "run/systemd/system-preset",
    "usr/local/lib/systemd/system-preset",
    "usr/lib/systemd/system-preset",
    "lib/systemd/system-preset",
];

/// Decision of presets about a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Enable,
    /// Enable these instances of a template.
    EnableInstances(Vec<String>),
    Disable,
    /// Leave as it is.
    Ignore,
}

#[derive(Clone, Debug)]
struct Rule {
    decision: Decision,
    pattern: String,
    /// `FILE:LINE`, for explanations.
    place: String,
}

/// All rules in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    pub(super) notes: Vec<String>,
}

impl Rules {
    /// Reads the preset files of a tree: by file name over all directories.
    pub(super) fn read(tree: &Tree) -> Result<Rules, ContentError> {
        let mut rules = Rules::default();
        for (_, path, text) in configuration_files(tree, &DIRECTORIES, ".preset")? {
            rules.parse(&display(&path), &text);
        }
        Ok(rules)
    }

    fn parse(&mut self, file: &str, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let place = format!("{file}:{}", index + 1);
            match parse_rule(line) {
                Some((decision, pattern)) => self.rules.push(Rule { decision, pattern, place }),
                None => self.notes.push(format!("`{place}`: `{line}` is not a preset rule and was ignored")),
            }
        }
    }

    /// The first rule that matches a unit, and where it stands; units without a rule are enabled.
    pub(super) fn decide(&self, unit: &str) -> (Decision, String) {
        let found = self.rules.iter().find_map(|rule| Some((rule.matches(unit)?, rule.place.clone())));
        found.unwrap_or_else(|| (Decision::Enable, "no rule, so enabled".into()))
    }
}

fn parse_rule(line: &str) -> Option<(Decision, String)> {
    let mut words = line.split_whitespace();
    let (verb, pattern) = (words.next()?, words.next()?);
    let instances: Vec<String> = words.map(str::to_owned).collect();
    let decision = match verb {
        "enable" if instances.is_empty() => Decision::Enable,
        "enable" => Decision::EnableInstances(instances),
        "disable" if instances.is_empty() => Decision::Disable,
        "ignore" if instances.is_empty() => Decision::Ignore,
        _ => return None,
    };
    Some((decision, pattern.into()))
}

impl Rule {
    /// Decision of the rule about a unit; nothing if it does not match. A rule with instances matches its template,
    /// for which it names the instances, and each of the instances itself.
    fn matches(&self, unit: &str) -> Option<Decision> {
        let Decision::EnableInstances(instances) = &self.decision else {
            return glob(self.pattern.as_bytes(), unit.as_bytes()).then(|| self.decision.clone());
        };
        let (prefix, suffix) = self.pattern.split_once("@.")?;
        let instance = |instance: &String| format!("{prefix}@{instance}.{suffix}");
        if unit == self.pattern {
            return Some(Decision::EnableInstances(instances.iter().map(instance).collect()));
        }
        instances.iter().any(|name| instance(name) == unit).then_some(Decision::Enable)
    }
}

/// fnmatch(3) with `FNM_NOESCAPE`: `*`, `?` and `[...]`. Only the last star is tried with more of the text, because what
/// stands before it has matched; so the time is at most that of all bytes of one for all bytes of the other.
fn glob<'a>(mut pattern: &'a [u8], mut text: &'a [u8]) -> bool {
    let mut star = None;
    loop {
        if let Some((b'*', rest)) = pattern.split_first() {
            (star, pattern) = (Some((rest, text)), rest);
        } else if let Some(rest) = match_byte(pattern, text) {
            (pattern, text) = rest;
        } else if pattern.is_empty() && text.is_empty() {
            return true;
        } else {
            let Some((rest, [_, longer @ ..])) = star else { return false };
            (star, pattern, text) = (Some((rest, longer)), rest, longer);
        }
    }
}

/// What is left of a pattern and a text when the first byte of the text matches.
fn match_byte<'a>(pattern: &'a [u8], text: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (byte, tail) = text.split_first()?;
    let (first, rest) = pattern.split_first()?;
    let (matches, rest) = match (first, bracket(rest)) {
        (b'?', _) => (true, rest),
        (b'[', Some((set, rest))) => (set.contains(*byte), rest),
        _ => (first == byte, rest),
    };
    matches.then_some((rest, tail))
}

/// The members of a bracket expression.
struct Set<'a> {
    negated: bool,
    members: &'a [u8],
}

/// Splits `abc]rest`; nothing without a closing bracket. A `]` in the first place is a member.
fn bracket(pattern: &[u8]) -> Option<(Set<'_>, &[u8])> {
    let negated = matches!(pattern.first(), Some(b'!' | b'^'));
    let body = &pattern[usize::from(negated)..];
    let end = 1 + body.get(1..)?.iter().position(|byte| *byte == b']')?;
    Some((Set { negated, members: &body[..end] }, &body[end + 1..]))
}

impl Set<'_> {
    fn contains(&self, byte: u8) -> bool {
        let mut rest = self.members;
        let mut found = false;
        while let [first, tail @ ..] = rest {
            rest = tail;
            if let [b'-', last, tail @ ..] = tail {
                found |= (*first..=*last).contains(&byte);
                rest = tail;
            } else {
                found |= *first == byte;
            }
        }
        found != self.negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_fnmatch() {
        for (pattern, text, expected) in [
            ("*", "a.service", true),
            ("systemd-*.service", "systemd-networkd.service", true),
            ("systemd-*.service", "systemd-networkd.socket", false),
            ("get?y@.service", "getty@.service", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[x", "[x", true),
            ("a*[b-c]*d", "aabcbd", true),
            ("a*[b-c]*d", "aabdbc", false),
            // Each star tried with each length would take longer than anybody waits.
            ("*************************.x", "a-unit-with-a-long-name-as-there-are-many.service", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_rule_decides() {
        let mut rules = Rules::default();
        let text = "# x\nenable a.service\nenable t@.service one two\ndisable *\nnonsense\n";
        rules.parse("/p.preset", text);
        assert_eq!(rules.decide("a.service"), (Decision::Enable, "/p.preset:2".into()));
        assert_eq!(rules.decide("b.service"), (Decision::Disable, "/p.preset:4".into()));
        let instances = vec!["t@one.service".into(), "t@two.service".into()];
        assert_eq!(rules.decide("t@.service").0, Decision::EnableInstances(instances));
        assert_eq!(rules.decide("t@two.service").0, Decision::Enable);
        assert_eq!(rules.decide("t@three.service").0, Decision::Disable);
        assert_eq!(rules.notes, ["`/p.preset:5`: `nonsense` is not a preset rule and was ignored"]);
        assert_eq!(Rules::default().decide("x.service").0, Decision::Enable);
    }
}
