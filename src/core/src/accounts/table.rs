//! Files of lines with colons: passwd(5), shadow(5), group(5).

/// Lines of such a file, in its order. Lines that are no entry (comments, those of NIS) stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Table {
    lines: Vec<Vec<u8>>,
}

impl Table {
    /// The lines of `bytes`; the last one need not end.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if bytes.is_empty() {
            return Self::default();
        }
        Self { lines: bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect() }
    }

    /// All lines, each with its end.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
    }

    /// Fields of the first entry of this name.
    pub(super) fn get(&self, name: &str) -> Option<Vec<String>> {
        let line = self.lines.iter().find(|line| name_of(line) == name.as_bytes())?;
        Some(fields(line))
    }

    /// Fields of all entries.
    pub(super) fn entries(&self) -> impl Iterator<Item = Vec<String>> {
        self.lines.iter().filter(|line| line.contains(&b':')).map(|line| fields(line))
    }

    /// Puts an entry in the place of the first one of its name, else at the end.
    pub(super) fn set(&mut self, entry: &[String]) {
        let line = entry.join(":").into_bytes();
        match self.lines.iter_mut().find(|known| name_of(known) == entry[0].as_bytes()) {
            Some(known) => *known = line,
            None => self.lines.push(line),
        }
    }

    /// Adds a line without colons, unless it is there.
    pub(super) fn add_line(&mut self, line: &str) {
        if self.lines.iter().all(|known| known != line.as_bytes()) {
            self.lines.push(line.into());
        }
    }

    /// Takes out all entries of this name.
    pub(super) fn remove(&mut self, name: &str) {
        self.lines.retain(|line| name_of(line) != name.as_bytes());
    }
}

fn name_of(line: &[u8]) -> &[u8] {
    match line.iter().position(|byte| *byte == b':') {
        Some(end) => &line[..end],
        None => b"",
    }
}

fn fields(line: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(line).split(':').map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::Table;

    fn entry(text: &str) -> Vec<String> {
        text.split(':').map(Into::into).collect()
    }

    #[test]
    fn a_last_line_without_an_end_stays_a_line() {
        let mut table = Table::parse(b"root:x:0\n# kept\n+::\nlast:x:1");
        table.set(&entry("new:x:2"));
        assert_eq!(table.bytes(), b"root:x:0\n# kept\n+::\nlast:x:1\nnew:x:2\n");
        table.set(&entry("root:y:0"));
        table.remove("last");
        assert_eq!(table.bytes(), b"root:y:0\n# kept\n+::\nnew:x:2\n");
        assert_eq!(table.get("new"), Some(entry("new:x:2")));
        assert_eq!(Table::parse(b"").bytes(), b"");
    }
}
