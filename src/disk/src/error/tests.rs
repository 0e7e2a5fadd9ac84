//! Answers of derived diagnostics.

use super::*;

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("inner")]
#[diagnostic(kind = Fit, hint = "less", code = "full", exit_code = 9)]
struct Inner;

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("all")]
#[diagnostic(kind = Input, hint = "hint of the enum")]
enum Outer {
    Plain,
    #[diagnostic(hint = "give {_0} bytes", kind = Corrupt, code = "short")]
    Captured(u64),
    #[diagnostic(hint("at `{}`", place.display()))]
    Arguments {
        place: std::path::PathBuf,
    },
    #[diagnostic(hint = None, code = code.as_deref().map(|_| "given"))]
    Silent {
        code: Option<String>,
    },
    #[diagnostic(kind = *kind, hint = longest(words))]
    Computed {
        kind: ErrorKind,
        words: Vec<String>,
    },
    #[diagnostic(suggestion = nearest, hint = "list them")]
    Misspelt {
        nearest: Option<String>,
    },
    #[diagnostic(transparent)]
    Inner(#[source] Inner),
    #[diagnostic(transparent, hint = "other words")]
    Reworded(#[from] Box<Inner>),
    #[diagnostic(forward(cause))]
    Named {
        name: &'static str,
        cause: Error,
    },
    #[diagnostic(transparent)]
    Marked {
        name: &'static str,
        source: Inner,
    },
}

fn longest(words: &[String]) -> Option<String> {
    words.iter().max_by_key(|word| word.len()).cloned()
}

fn hint(error: Outer) -> Option<String> {
    error.hint()
}

#[test]
fn keys_of_a_variant_come_before_those_of_the_enum() {
    assert_eq!((Outer::Plain.kind(), Outer::Plain.code()), (ErrorKind::Input, None));
    assert_eq!(hint(Outer::Plain).as_deref(), Some("hint of the enum"));
    let error = Outer::Captured(7);
    assert_eq!((error.kind(), error.code(), error.exit_code()), (ErrorKind::Corrupt, Some("short"), 1));
    assert_eq!(error.hint().as_deref(), Some("give 7 bytes"));
}

#[test]
fn hints_take_fields_arguments_and_expressions() {
    assert_eq!(hint(Outer::Arguments { place: "/a".into() }).as_deref(), Some("at `/a`"));
    assert_eq!(hint(Outer::Silent { code: None }), None);
    assert_eq!(Outer::Silent { code: Some(String::new()) }.code(), Some("given"));
    let error = Outer::Computed { kind: ErrorKind::Refused, words: vec!["a".into(), "bc".into()] };
    assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Refused, 4));
    assert_eq!(error.hint().as_deref(), Some("bc"));
}

#[test]
fn suggestions_come_before_the_hint() {
    assert_eq!(hint(Outer::Misspelt { nearest: None }).as_deref(), Some("list them"));
    assert_eq!(hint(Outer::Misspelt { nearest: Some("xz".into()) }).as_deref(), Some("did you mean `xz`?"));
}

#[test]
fn transparent_variants_forward_everything_that_they_do_not_say() {
    let cause = || Error::from(Inner);
    let forwarded = [
        Outer::Inner(Inner),
        Outer::Marked { name: "", source: Inner },
        Outer::Named { name: "", cause: cause() },
    ];
    for error in forwarded {
        assert_eq!((error.kind(), error.code(), error.exit_code()), (ErrorKind::Fit, Some("full"), 9));
        assert_eq!(error.hint().as_deref(), Some("less"));
    }
    assert_eq!(hint(Outer::from(Box::new(Inner))).as_deref(), Some("other words"));
}

#[test]
fn structs_have_one_set_of_keys() {
    let error = Io::on("read", "/etc")(std::io::ErrorKind::NotFound.into());
    assert_eq!((error.kind(), error.code()), (ErrorKind::Io, None));
    assert_eq!(error.hint().as_deref(), Some("check the name and the directory it is in"));
}
