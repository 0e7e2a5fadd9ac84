//! Statements of a Kconfig file, one for each line that matters; help texts are passed over.

use super::Type;

/// A line that opens, closes or describes an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statement<'a> {
    /// `config NAME` or `menuconfig NAME`.
    Config(&'a str),
    /// `choice`.
    Choice,
    /// `menu "..."`.
    Menu,
    /// `comment "..."`.
    Comment,
    /// `if CONDITION`.
    If(&'a str),
    /// `endif`, `endmenu`, `endchoice`.
    End,
    /// `source "..."`.
    Source(&'a str),
    /// `depends on CONDITION`.
    Depends(&'a str),
    /// `bool`, `string` and so on, with a prompt and its condition, if there are.
    Type(Type, Option<Prompt<'a>>),
    /// `prompt "..."`.
    Prompt(Prompt<'a>),
    /// `select NAME if CONDITION`.
    Select(&'a str, Option<&'a str>),
    /// `default "..."` without a condition.
    Default(&'a str),
    /// `option env=...`: the value comes from the environment.
    Environment,
}

/// Question to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prompt<'a> {
    pub text: &'a str,
    pub condition: Option<&'a str>,
}

/// The statements of a file. `text` must have no continued lines.
pub(super) fn statements(text: &str) -> impl Iterator<Item = Statement<'_>> {
    // Indentation of the help that is being passed over: unknown until its first line.
    let mut help: Option<Option<usize>> = None;
    text.lines().filter_map(move |line| {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            return None;
        }
        if let Some(first) = help {
            let indent = indent(line);
            if indent >= first.unwrap_or(1) {
                help = Some(first.or(Some(indent)));
                return None;
            }
            help = None;
        }
        if matches!(trimmed, "help" | "---help---") {
            help = Some(None);
            return None;
        }
        statement(without_remark(trimmed))
    })
}

/// Columns before the text; a tab goes to the next multiple of eight.
fn indent(line: &str) -> usize {
    let spaces = line.chars().take_while(|c| c.is_whitespace());
    spaces.fold(0, |column, c| if c == '\t' { (column / 8 + 1) * 8 } else { column + 1 })
}

fn without_remark(line: &str) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, '#') => return line[..at].trim_end(),
            _ => {}
        }
    }
    line
}

fn statement(line: &str) -> Option<Statement<'_>> {
    let end = line.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(line.len());
    let (keyword, rest) = (&line[..end], line[end..].trim());
    Some(match keyword {
        "config" | "menuconfig" => Statement::Config(rest),
        "choice" => Statement::Choice,
        "menu" => Statement::Menu,
        "comment" => Statement::Comment,
        "if" => Statement::If(rest),
        "endif" | "endmenu" | "endchoice" => Statement::End,
        "source" | "rsource" | "osource" | "orsource" => Statement::Source(rest.trim_matches('"')),
        "depends" => Statement::Depends(rest.strip_prefix("on")?.trim()),
        "prompt" => Statement::Prompt(prompt(rest)?),
        "select" => {
            let (name, condition) = conditional(rest);
            Statement::Select(name, condition)
        }
        "default" => Statement::Default(rest.strip_prefix('"')?.strip_suffix('"')?),
        "option" if rest.starts_with("env") => Statement::Environment,
        "def_bool" => Statement::Type(Type::Bool, None),
        "def_tristate" => Statement::Type(Type::Tristate, None),
        _ => Statement::Type(Type::from_keyword(keyword)?, prompt(rest)),
    })
}

fn prompt(rest: &str) -> Option<Prompt<'_>> {
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let end = rest[1..].find(quote)? + 1;
    let condition = rest[end + 1..].trim().strip_prefix("if").map(str::trim);
    Some(Prompt { text: &rest[1..end], condition })
}

fn conditional(rest: &str) -> (&str, Option<&str>) {
    match rest.split_once(" if ") {
        Some((name, condition)) => (name.trim(), Some(condition.trim())),
        None => (rest, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_from_help() {
        let text = "config A # a\n\tbool \"the \\ # A\" if B\n\thelp\n\t  select C\n\n\t  config X\n\tselect D if E\n\
                    config F\n\thelp\nsource \"$X/Config.in\"\n  string\n";
        let prompt = Prompt { text: "the \\ # A", condition: Some("B") };
        assert_eq!(
            statements(text).collect::<Vec<_>>(),
            [
                Statement::Config("A"),
                Statement::Type(Type::Bool, Some(prompt)),
                Statement::Select("D", Some("E")),
                Statement::Config("F"),
                Statement::Source("$X/Config.in"),
                Statement::Type(Type::String, None),
            ]
        );
    }
}
