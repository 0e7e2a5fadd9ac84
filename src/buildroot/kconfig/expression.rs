//! Conditions of Kconfig: `A && (B || !C) && D = "x"`.

use std::fmt;

/// Condition of `depends on` and `if`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    /// A symbol, or a bare word that stands for itself.
    Symbol(String),
    /// A text in quotes, or something that only Kconfig can expand (`$(...)`).
    Text(String),
    /// `!a`.
    Not(Box<Expression>),
    /// `a && b`.
    And(Box<Expression>, Box<Expression>),
    /// `a || b`.
    Or(Box<Expression>, Box<Expression>),
    /// `a = b` and the like.
    Compare(Box<Expression>, &'static str, Box<Expression>),
}

/// Known values of symbols.
pub(crate) trait Values {
    /// The value of a symbol, `n` or nothing for one that has none; `None` if it is not known.
    fn value(&self, symbol: &str) -> Option<String>;
}

/// A part of a condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unmet {
    /// The part.
    pub part: String,
    /// Its first symbol.
    pub symbol: String,
    /// All its symbols, in order.
    pub symbols: Vec<String>,
    /// The value of that.
    pub value: String,
}

impl Expression {
    /// Parses a condition; nothing if it is none.
    pub fn parse(text: &str) -> Option<Expression> {
        let words = words(text);
        let mut parser = Parser { words: &words };
        let expression = parser.or()?;
        parser.words.is_empty().then_some(expression)
    }

    /// Returns whether it holds; what is not known is taken to hold.
    pub fn holds(&self, values: &impl Values) -> bool {
        self.state(values) != Some(false)
    }

    /// The first part that does not hold.
    pub fn unmet(&self, values: &impl Values) -> Option<Unmet> {
        match self {
            Expression::And(a, b) => a.unmet(values).or_else(|| b.unmet(values)),
            _ if self.holds(values) => None,
            _ => {
                let mut symbols = Vec::new();
                self.collect(&mut symbols);
                let symbol = symbols.first().cloned().unwrap_or_default();
                let value = values.value(&symbol).filter(|value| !value.is_empty()).unwrap_or("n".into());
                Some(Unmet { part: self.to_string(), symbol, symbols, value })
            }
        }
    }

    fn state(&self, values: &impl Values) -> Option<bool> {
        match self {
            Expression::Symbol(name) if matches!(name.as_str(), "y" | "m" | "n") => Some(name != "n"),
            Expression::Symbol(name) => values.value(name).map(|value| matches!(value.as_str(), "y" | "m")),
            Expression::Text(text) if text.contains('$') => None,
            Expression::Text(text) => Some(text == "y" || text == "m"),
            Expression::Not(a) => a.state(values).map(|state| !state),
            Expression::And(a, b) => match (a.state(values), b.state(values)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (a, b) => Some(a? && b?),
            },
            Expression::Or(a, b) => match (a.state(values), b.state(values)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (a, b) => Some(a? || b?),
            },
            Expression::Compare(a, operator, b) => compare(&a.text(values)?, operator, &b.text(values)?),
        }
    }

    fn text(&self, values: &impl Values) -> Option<String> {
        match self {
            Expression::Symbol(name) if name.starts_with(|c: char| c.is_ascii_uppercase()) => {
                values.value(name)
            }
            Expression::Symbol(word) => Some(word.clone()),
            Expression::Text(text) => (!text.contains('$')).then(|| text.clone()),
            _ => None,
        }
    }

    fn collect(&self, symbols: &mut Vec<String>) {
        match self {
            Expression::Symbol(name) => symbols.push(name.clone()),
            Expression::Text(_) => {}
            Expression::Not(a) => a.collect(symbols),
            Expression::And(a, b) | Expression::Or(a, b) | Expression::Compare(a, _, b) => {
                a.collect(symbols);
                b.collect(symbols);
            }
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nested = |inner: &Expression| match inner {
            Expression::And(..) | Expression::Or(..) | Expression::Compare(..) => format!("({inner})"),
            _ => inner.to_string(),
        };
        let below_and = |inner: &Expression| match inner {
            Expression::Or(..) => format!("({inner})"),
            _ => inner.to_string(),
        };
        match self {
            Expression::Symbol(name) => f.write_str(name),
            Expression::Text(text) => write!(f, "\"{text}\""),
            Expression::Not(a) => write!(f, "!{}", nested(a)),
            Expression::And(a, b) => write!(f, "{} && {}", below_and(a), below_and(b)),
            Expression::Or(a, b) => write!(f, "{a} || {b}"),
            Expression::Compare(a, operator, b) => write!(f, "{a} {operator} {b}"),
        }
    }
}

fn compare(a: &str, operator: &str, b: &str) -> Option<bool> {
    use std::cmp::Ordering::{Greater, Less};
    let order = match (number(a), number(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.cmp(b),
    };
    Some(match operator {
        "=" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order == Less,
        ">" => order == Greater,
        "<=" => order != Greater,
        _ => order != Less,
    })
}

/// A number as Kconfig writes it, decimal or with `0x`.
pub(in crate::buildroot) fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[derive(Debug)]
enum Word<'a> {
    Symbol(&'a str),
    Text(&'a str),
    Operator(&'static str),
}

const OPERATORS: [&str; 11] = ["&&", "||", "!=", "<=", ">=", "=", "<", ">", "!", "(", ")"];

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, length) = word(rest);
        words.push(word);
        rest = rest[length..].trim_start();
    }
    words
}

/// The first word with its length in bytes.
fn word(rest: &str) -> (Word<'_>, usize) {
    if let Some(operator) = OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
        return (Word::Operator(operator), operator.len());
    }
    if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let end = rest[1..].find(quote).map_or(rest.len(), |end| end + 1);
        return (Word::Text(&rest[1..end]), (end + 1).min(rest.len()));
    }
    if rest.starts_with("$(") {
        let end = end_of_macro(rest);
        return (Word::Text(&rest[..end]), end);
    }
    let end = rest.find(|c: char| c.is_whitespace() || "&|!=<>()".contains(c)).unwrap_or(rest.len());
    let end = if end == 0 { rest.chars().next().map_or(1, char::len_utf8) } else { end };
    (Word::Symbol(&rest[..end]), end)
}

fn end_of_macro(rest: &str) -> usize {
    let mut depth = 0;
    for (at, c) in rest.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return at + 1,
            ')' => depth -= 1,
            _ => {}
        }
    }
    rest.len()
}

struct Parser<'w, 'a> {
    words: &'w [Word<'a>],
}

impl Parser<'_, '_> {
    fn take(&mut self, operator: &str) -> bool {
        let found = matches!(self.words.first(), Some(Word::Operator(first)) if *first == operator);
        if found {
            self.words = &self.words[1..];
        }
        found
    }

    fn or(&mut self) -> Option<Expression> {
        let mut left = self.and()?;
        while self.take("||") {
            left = Expression::Or(left.into(), self.and()?.into());
        }
        Some(left)
    }

    fn and(&mut self) -> Option<Expression> {
        let mut left = self.not()?;
        while self.take("&&") {
            left = Expression::And(left.into(), self.not()?.into());
        }
        Some(left)
    }

    fn not(&mut self) -> Option<Expression> {
        if self.take("!") {
            return Some(Expression::Not(self.not()?.into()));
        }
        if self.take("(") {
            let inner = self.or()?;
            return self.take(")").then_some(inner);
        }
        let left = self.operand()?;
        match ["=", "!=", "<=", ">=", "<", ">"].into_iter().find(|operator| self.take(operator)) {
            Some(operator) => Some(Expression::Compare(left.into(), operator, self.operand()?.into())),
            None => Some(left),
        }
    }

    fn operand(&mut self) -> Option<Expression> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        match first {
            Word::Symbol(name) => Some(Expression::Symbol((*name).into())),
            Word::Text(text) => Some(Expression::Text((*text).into())),
            Word::Operator(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known(&'static [(&'static str, &'static str)]);

    impl Values for Known {
        fn value(&self, symbol: &str) -> Option<String> {
            if symbol == "ENV" {
                return None;
            }
            let found = self.0.iter().find(|(name, _)| *name == symbol);
            Some(found.map_or("", |(_, value)| value).into())
        }
    }

    #[test]
    fn the_first_part_that_does_not_hold_is_found() {
        let values = Known(&[("A", "y"), ("S", "glibc"), ("N", "16")]);
        let unmet = |text: &str| {
            let unmet = Expression::parse(text).expect(text).unmet(&values)?;
            Some((unmet.part, unmet.symbol, unmet.value))
        };
        for met in
            ["A && (B || !C)", "S = \"glibc\"", "N >= 0x10 && N<20", "ENV = \"x\" && $(cc-option,-m)", "A!=n"]
        {
            assert_eq!(unmet(met), None, "{met}");
        }
        let is = |part: &str, symbol: &str, value: &str| Some((part.into(), symbol.into(), value.into()));
        assert_eq!(unmet("A && (B || C) && D"), is("B || C", "B", "n"));
        assert_eq!(unmet("!A || B"), is("!A || B", "A", "y"));
        assert_eq!(unmet("A && !(A || B)"), is("!(A || B)", "A", "y"));
        assert_eq!(unmet("S=\"musl\""), is("S = \"musl\"", "S", "glibc"));
        assert_eq!((Expression::parse("A &&"), Expression::parse("A B")), (None, None));
    }
}
