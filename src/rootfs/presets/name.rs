//! Names of units: their parts, their aliases, and the specifiers that stand for parts of them, systemd.unit(5).

const SUFFIXES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

/// The parts of a unit's name: `prefix@instance.suffix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnitName<'a> {
    pub(super) prefix: &'a str,
    /// Nothing for a plain unit, empty for a template.
    pub(super) instance: Option<&'a str>,
    suffix: &'a str,
}

impl<'a> UnitName<'a> {
    /// Nothing if the text is not a unit's name.
    pub(super) fn parse(text: &'a str) -> Option<UnitName<'a>> {
        let is_allowed = text.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c));
        let (stem, suffix) = text.rsplit_once('.')?;
        if !SUFFIXES.contains(&suffix) || stem.is_empty() || !is_allowed {
            return None;
        }
        let (prefix, instance) = match stem.split_once('@') {
            Some((prefix, instance)) => (prefix, Some(instance)),
            None => (stem, None),
        };
        (!prefix.is_empty()).then_some(UnitName { prefix, instance, suffix })
    }

    pub(super) fn is_template(self) -> bool {
        self.instance == Some("")
    }

    /// The template of an instance.
    pub(super) fn template(self) -> Option<String> {
        self.instance.filter(|instance| !instance.is_empty())?;
        Some(self.with_instance(""))
    }

    /// The same unit with another instance.
    pub(super) fn with_instance(self, instance: &str) -> String {
        format!("{}@{instance}.{}", self.prefix, self.suffix)
    }
}

/// Returns whether a name is that of a template.
pub(super) fn is_template(name: &str) -> bool {
    UnitName::parse(name).is_some_and(UnitName::is_template)
}

/// The file name of an alias: of the same kind as the unit, a template's only for a template, with the unit's
/// instance if it has one.
pub(super) fn alias_name(unit: &str, alias: &str) -> Option<String> {
    let (unit, name) = (UnitName::parse(unit)?, UnitName::parse(alias)?);
    match (unit.instance, name.instance) {
        (Some(instance), Some("")) if !instance.is_empty() => Some(name.with_instance(instance)),
        (Some(""), Some("")) => Some(alias.into()),
        (Some(""), _) | (_, Some("")) => None,
        _ => Some(alias.into()),
    }
}

/// Replaces the specifiers that depend on the unit's name only: `%n %N %p %i %j %%`. Nothing if there is another.
pub(super) fn expand(text: &str, unit: &str) -> Option<String> {
    let name = UnitName::parse(unit)?;
    let mut expanded = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            expanded.push(char);
            continue;
        }
        match chars.next()? {
            'n' => expanded.push_str(unit),
            'N' => expanded.push_str(unit.rsplit_once('.')?.0),
            'p' => expanded.push_str(name.prefix),
            'i' => expanded.push_str(name.instance.unwrap_or("")),
            'j' => expanded.push_str(name.prefix.rsplit('-').next()?),
            '%' => expanded.push('%'),
            _ => return None,
        }
    }
    Some(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_known_suffix() {
        let template = UnitName::parse("getty@.service").unwrap();
        assert!(template.is_template());
        assert_eq!(template.with_instance("tty1"), "getty@tty1.service");
        let instance = UnitName::parse("getty@tty1.service").unwrap();
        assert_eq!(instance.template().as_deref(), Some("getty@.service"));
        assert!(UnitName::parse("README").is_none() && UnitName::parse("x.conf").is_none());
    }
}
