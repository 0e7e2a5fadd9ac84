//! Test of whether a container works.

use std::time::Duration;

use super::number;
use super::remark::Reason;
use super::section::Section;
use super::yaml::{Body, Node};

/// A command in the container that tells whether it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Program and arguments; one text for the container's shell is `["CMD-SHELL", TEXT]`, else `["CMD", ...]`.
    pub test: Vec<String>,
    /// Time between two tests.
    pub interval: Duration,
    /// Time after which a test has failed.
    pub timeout: Duration,
    /// Time after the start in which failures do not count.
    pub start_period: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}

pub(super) fn read(section: &mut Section<'_>) -> Option<Health> {
    let what = format!("`health` of {}", section.what);
    let (_, node) = section.take("health")?;
    let mut section = Section::open(what, node.place, node, section.log)?;
    let test = match section.take("test") {
        Some((_, Node { body: Body::Scalar(text), .. })) => vec!["CMD-SHELL".into(), text.clone()],
        Some(_) => {
            let words = section.words("test");
            let prefixed = words.first().is_some_and(|word| ["CMD", "CMD-SHELL"].contains(&word.as_str()));
            if prefixed { words } else { ["CMD".to_string()].into_iter().chain(words).collect() }
        }
        None => Vec::new(),
    };
    if test.len() < 2 {
        let hint = "a command that ends with 0 when the container works";
        section.refuse(node.place, "test", Reason::new("it is missing").hint(hint));
    }
    let interval = section.parsed("interval", number::duration);
    let timeout = section.parsed("timeout", number::duration);
    let start_period = section.parsed("startPeriod", number::duration);
    let retries = section.parsed("retries", number::count);
    section.close(&[]);
    // What both engines take if nothing is said.
    let half_a_minute = Duration::from_secs(30);
    Some(Health {
        test,
        interval: interval.unwrap_or(half_a_minute),
        timeout: timeout.unwrap_or(half_a_minute),
        start_period: start_period.unwrap_or_default(),
        retries: retries.unwrap_or(3),
    })
}
