//! Messages of Buildroot at the beginning of a step: `>>> PACKAGE VERSION TEXT` (`support/misc/utils.mk`), in the
//! letters of the terminal if it has one. Steps of no package leave the first two words empty.

use std::borrow::Cow;
use std::fmt;

/// A step that begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Message {
    /// The package; empty for steps of the whole system.
    pub package: String,
    /// Its version; empty for virtual packages.
    pub version: String,
    /// Text of the step, for example `Building`.
    pub text: String,
}

impl Message {
    /// Reads a line; nothing if it is no such message.
    pub fn parse(line: &str) -> Option<Message> {
        let plain = plain(line);
        let mut words = plain.strip_prefix(">>> ")?.splitn(3, ' ');
        let mut word = || words.next().map(|word| word.trim().to_owned());
        let (package, version, text) = (word()?, word()?, word()?);
        Some(Message { package, version, text }).filter(|message| !message.text.is_empty())
    }

    /// The directory of the package in `build/`.
    pub fn directory(&self) -> String {
        match self.version.as_str() {
            "" => self.package.clone(),
            version => format!("{}-{version}", self.package),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.package.as_str(), self.version.as_str()) {
            ("", _) => f.write_str(&self.text),
            (package, "") => write!(f, "{package}: {}", self.text),
            (package, version) => write!(f, "{package} {version}: {}", self.text),
        }
    }
}

/// A line as a terminal would show it: without control sequences, and what was written over.
pub fn plain(line: &str) -> Cow<'_, str> {
    let shown = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
    if !shown.contains(|c: char| c.is_control() && c != '\t') {
        return Cow::Borrowed(shown);
    }
    let mut text = String::with_capacity(shown.len());
    let mut chars = shown.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => skip_sequence(&mut chars),
            '\t' => text.push(c),
            _ if c.is_control() => {}
            _ => text.push(c),
        }
    }
    Cow::Owned(text)
}

/// Behind an escape (ECMA-48): `[`, parameters and a last letter; or bytes up to `/` and a last one.
fn skip_sequence(chars: &mut std::str::Chars<'_>) {
    let is_csi = chars.as_str().starts_with('[');
    if is_csi {
        chars.next();
    }
    let more = |c: char| if is_csi { !('@'..='~').contains(&c) } else { (' '..='/').contains(&c) };
    while chars.next().is_some_and(more) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_whatever_the_terminal_is() {
        let parse = |line| Message::parse(line).map(|m| (m.directory(), m.text.clone(), m.to_string()));
        let expected = |a: &str, b: &str, c: &str| Some((a.into(), b.into(), c.into()));
        let built = expected("linux-6.12", "Building", "linux 6.12: Building");
        assert_eq!(parse("\x1b[7m>>> linux 6.12 Building\x1b[27m"), built);
        assert_eq!(parse("\x1b[3m>>> linux 6.12 Building\x1b(B\x1b[m"), built);
        assert_eq!(
            parse(">>> toolchain  Building"),
            expected("toolchain", "Building", "toolchain: Building")
        );
        let finalizing = "Finalizing target directory";
        assert_eq!(parse(">>>   Finalizing target directory"), expected("", finalizing, finalizing));
        for other in [">>>", ">>> a 1 ", "compiling >>> a 1 b", ">> a 1 b", ""] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn lines_are_shown_as_a_terminal_shows_them() {
        assert_eq!(plain("10%\r50%\r100%\r"), "100%");
        assert_eq!(plain("\x1b[01m\x1b[Kx.c:1:\x1b[m\x1b[K bad\x07\tu\u{fffd}"), "x.c:1: bad\tu\u{fffd}");
    }
}
