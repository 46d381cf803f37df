//! Expansion of `${name}` in values.

use alloc::borrow::ToOwned;
use alloc::string::String;

use thiserror::Error;

/// What values may refer to in addition to other properties.
pub trait Variables {
    /// For `${env.NAME}`.
    fn environment(&self, name: &str) -> Option<String>;
    /// For `${name}` where Java has a system property with that name, such as `user.name`.
    fn system_property(&self, name: &str) -> Option<String>;
}

/// No variables but other properties.
pub struct NoVariables;

impl Variables for NoVariables {
    fn environment(&self, _name: &str) -> Option<String> {
        None
    }

    fn system_property(&self, _name: &str) -> Option<String> {
        None
    }
}

/// Why a value cannot be expanded.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SubstitutionError {
    /// Hadoop throws an `IllegalStateException` when the property is read.
    #[error("more than {MOST_ROUNDS} variables to expand")]
    TooDeep,
}

const MOST_ROUNDS: usize = 20;

/// Expands leftmost variables first. An unknown variable ends the expansion; a value that contains its own variable
/// yields the original text.
pub(super) fn expand<'s>(
    text: &'s str,
    property: impl Fn(&str) -> Option<&'s str>,
    variables: &dyn Variables,
) -> Result<String, SubstitutionError> {
    let mut expanded = text.to_owned();
    for _ in 0..MOST_ROUNDS {
        let Some((start, end)) = find_variable(&expanded) else {
            return Ok(expanded);
        };
        let name = &expanded[start..end];
        let value = outside(name, variables).or_else(|| property(name).map(str::to_owned));
        let Some(value) = value else {
            return Ok(expanded);
        };
        let (start, end) = (start - "${".len(), end + "}".len());
        if value.contains(&expanded[start..end]) {
            return Ok(text.to_owned());
        }
        expanded.replace_range(start..end, &value);
    }
    Err(SubstitutionError::TooDeep)
}

fn outside(name: &str, variables: &dyn Variables) -> Option<String> {
    match name.strip_prefix("env.") {
        Some(name) if !name.is_empty() => environment(name, variables),
        _ => variables.system_property(name),
    }
}

/// `NAME`, `NAME:-default` (also for an empty value) or `NAME-default` (for no value only).
fn environment(text: &str, variables: &dyn Variables) -> Option<String> {
    let Some((name, default)) = text.split_once('-') else {
        return variables.environment(text);
    };
    let value = match name.strip_suffix(':') {
        Some(name) => variables.environment(name).filter(|value| !value.is_empty()),
        None => variables.environment(name),
    };
    value.or_else(|| Some(default.to_owned()))
}

/// The range of the leftmost `NAME` within `${NAME}`; a name contains no space, `$` or `}`.
fn find_variable(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(found) = text[from..].find("${") {
        let start = from + found + "${".len();
        let end = start + text[start..].find([' ', '$', '}'].as_slice())?;
        if text[end..].starts_with('}') && end > start {
            return Some((start, end));
        }
        // A `$` may begin the next variable; a space or an early `}` cannot.
        from = end;
    }
    None
}
