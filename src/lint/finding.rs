//! Report of a violation.

use std::fmt;

use serde::Serialize;

use super::check::Violation;
use crate::board::{Rule, RuleSet, Severity};
use crate::error::Diagnostic;

/// A rule that a layout does not keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// `SET/ID`.
    pub rule: String,
    /// Weight of the violation.
    pub severity: Severity,
    /// Found and wanted values.
    pub found: String,
    /// The rule as a sentence.
    pub says: String,
    /// Document that has the rule.
    pub source: String,
    /// Advice: what to change.
    pub hint: String,
}

impl Finding {
    pub(super) fn new(set: &RuleSet, rule: &Rule, violation: Violation) -> Finding {
        let Violation { found, hint } = violation;
        Finding {
            rule: format!("{}/{}", set.name, rule.id),
            severity: rule.severity,
            found,
            says: rule.says.clone(),
            source: rule.source.clone(),
            hint: hint.unwrap_or_else(|| rule.hint.clone()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  rule `{}`: {}\n  source: {}", self.found, self.rule, self.says, self.source)
    }
}

/// Reason why a layout is refused.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(kind = Input)]
pub enum LintError {
    /// It would not boot, or lose data.
    #[error("board `{board}` breaks {}{}", count(findings), all(findings))]
    #[diagnostic(hint = hints(findings))]
    Broken {
        /// The board.
        board: String,
        /// Each violation of a rule that is an error.
        findings: Vec<Finding>,
    },
}

fn count(findings: &[Finding]) -> String {
    match findings.len() {
        1 => "a rule: ".into(),
        several => format!("rules {several} times:\n"),
    }
}

fn all(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n")
}

/// Hint of each finding, once.
fn hints(findings: &[Finding]) -> String {
    let mut hints: Vec<&str> = Vec::new();
    for finding in findings {
        if !hints.contains(&finding.hint.as_str()) {
            hints.push(&finding.hint);
        }
    }
    hints.join("; ")
}

/// Fails if one of the findings is an error, else gives them as warnings.
pub fn refuse(board: &str, findings: Vec<Finding>) -> Result<Vec<String>, LintError> {
    let (errors, warnings): (Vec<Finding>, Vec<Finding>) =
        findings.into_iter().partition(|finding| finding.severity == Severity::Error);
    if errors.is_empty() {
        return Ok(warnings.iter().map(|finding| format!("{finding}\n  hint: {}", finding.hint)).collect());
    }
    Err(LintError::Broken { board: board.into(), findings: errors })
}
