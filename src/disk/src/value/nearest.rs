//! Suggestions for misspelt names.

use std::fmt;

/// The candidate most like `name`, if one is like it at all.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = candidates.into_iter().map(|candidate| (strsim::jaro_winkler(name, candidate), candidate));
    scored
        .filter(|(score, _)| *score > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

/// The question that hints ask about a misspelt name.
pub fn did_you_mean(nearest: Option<impl fmt::Display>) -> Option<String> {
    nearest.map(|name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_near_names_only() {
        let boards = ["odroid/xu", "orangepi/zero", "pi/4"];
        assert_eq!(nearest("odroid/xu4", boards), Some("odroid/xu"));
        assert_eq!(nearest("orange/zero", boards), Some("orangepi/zero"));
        assert_eq!(nearest("toaster", boards), None);
    }
}
