//! Hadoop's `*-site.xml` files as its `Configuration` reads them: later files override earlier ones unless a
//! property is final, includes are inlined, and `${variables}` are expanded.
//!
//! Files may be in UTF-8, UTF-16 or Latin-1, as they declare. Deprecated keys are not translated, and there are no
//! built-in defaults: load the default files first if they matter.

mod encoding;
mod list;
mod parser;
mod substitution;

#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use thiserror::Error;

pub use list::trimmed_strings;
pub use substitution::{NoVariables, SubstitutionError, Variables};

/// Loads included files.
pub trait Includes {
    /// The bytes at `href`; None if there are none, so that a fallback applies. `base` is the name of the file that
    /// was loaded: relative names are relative to its directory, even within included files.
    fn load(&self, href: &str, base: &str) -> Option<Vec<u8>>;
}

/// For files that include nothing.
pub struct NoIncludes;

impl Includes for NoIncludes {
    fn load(&self, _href: &str, _base: &str) -> Option<Vec<u8>> {
        None
    }
}

/// Why a file cannot be loaded; Hadoop's daemons and clients do not start with such a file. `line` counts
/// from one, in `file`.
#[derive(Debug, Error)]
pub enum SiteError {
    #[error("{file} is not in the encoding that it declares, at line {line}")]
    Encoding { file: String, line: u32 },
    #[error("{file} is not well-formed XML at line {line}")]
    Xml {
        file: String,
        line: u32,
        #[source]
        cause: roxmltree::Error,
    },
    #[error("{file} includes {href} at line {line}, which does not exist and has no fallback")]
    IncludeNotFound { file: String, line: u32, href: String },
    #[error("{file} includes {href} at line {line}, more than {} levels deep", parser::MOST_INCLUDES)]
    IncludesTooDeep { file: String, line: u32, href: String },
    #[error(
        "{file} includes {href} at line {line}, exceeding {} files or {} bytes",
        parser::MOST_FILES,
        parser::MOST_BYTES
    )]
    IncludesTooLarge { file: String, line: u32, href: String },
    #[error("the entities of {file} expand to more than {} bytes", parser::MOST_BYTES)]
    EntitiesTooLarge { file: String, line: u32 },
}

impl SiteError {
    /// Counted from one.
    pub fn line(&self) -> u32 {
        match self {
            Self::Encoding { line, .. }
            | Self::Xml { line, .. }
            | Self::IncludeNotFound { line, .. }
            | Self::IncludesTooDeep { line, .. }
            | Self::IncludesTooLarge { line, .. }
            | Self::EntitiesTooLarge { line, .. } => *line,
        }
    }
}

/// A property after the files loaded so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// As written, whitespace included, variables not expanded.
    pub value: String,
    /// Where the value comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file name given to [`Site::load`], or the `href` of an include.
    pub file: String,
    /// Of the property's opening tag, counted from one.
    pub line: u32,
}

/// Several files, loaded in order.
#[derive(Clone, Debug, Default)]
pub struct Site {
    properties: BTreeMap<String, Property>,
    finals: BTreeSet<String>,
}

impl Site {
    /// A site without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loads a file over those already loaded. On an error, nothing of the file is kept.
    pub fn load(&mut self, file: &str, bytes: &[u8], includes: &dyn Includes) -> Result<(), SiteError> {
        for item in parser::parse(file, bytes, includes)? {
            self.take(item);
        }
        Ok(())
    }

    /// The property before expansion, and where it comes from.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.get(name)
    }

    /// Every value with its variables expanded. A property whose expansion fails is left out
    /// and listed among the faults: Hadoop too fails only when such a property is read.
    pub fn resolve(&self, variables: &dyn Variables) -> Resolved {
        let mut resolved = Resolved::default();
        for (name, property) in &self.properties {
            let other = |name: &str| self.property(name).map(|other| other.value.as_str());
            match substitution::expand(&property.value, other, variables) {
                Ok(value) => {
                    resolved.values.insert(name.clone(), value);
                }
                Err(fault) => resolved.faults.push((name.clone(), fault)),
            }
        }
        resolved
    }

    fn take(&mut self, item: parser::Item) {
        let is_free = !self.finals.contains(&item.name);
        if item.is_final {
            self.finals.insert(item.name.clone());
        }
        let Some(value) = item.value else {
            return;
        };
        if is_free {
            let origin = item.origin;
            self.properties.insert(item.name, Property { value, origin });
        }
    }
}

/// Values as Hadoop's own code sees them.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    values: BTreeMap<String, String>,
    faults: Vec<(String, SubstitutionError)>,
}

impl Resolved {
    /// All values by name, whitespace kept.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// The properties that could not be expanded, by name.
    pub fn faults(&self) -> &[(String, SubstitutionError)] {
        &self.faults
    }

    /// The value, whitespace kept.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value without leading and trailing spaces and control characters.
    pub fn trimmed(&self, name: &str) -> Option<&str> {
        self.get(name).map(list::trim)
    }

    /// Hadoop's `getTrimmedStrings`; empty if absent.
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.get(name).map(trimmed_strings).unwrap_or_default()
    }

    /// `true` or `false` in any case; None if absent or anything else, for which Hadoop uses its default.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        let value = self.trimmed(name)?;
        if value.eq_ignore_ascii_case("true") {
            return Some(true);
        }
        value.eq_ignore_ascii_case("false").then_some(false)
    }
}
