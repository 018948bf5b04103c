//! Names of organizations and repositories, in the grammar of the distribution specification.

use std::fmt;
use std::sync::Arc;

use crate::text::{quoted, text_type};

/// The longest name, the organization and its slash included, in bytes (N3).
pub const MAX_NAME_BYTES: usize = 255;

/// First components that are paths of the API itself (N3).
const RESERVED: [&str; 2] = ["auth", "_catalog"];

/// Why a text is no name (`NAME_INVALID`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A component is empty or has characters, or separators in places, that the grammar lacks.
    #[error(
        "name {0} is invalid: components are lower-case letters and digits, joined by one '.', one or two '_', or any number of '-'"
    )]
    Grammar(String),
    /// The name has more than [`MAX_NAME_BYTES`] bytes.
    #[error("name {0} is longer than {MAX_NAME_BYTES} bytes")]
    TooLong(String),
    /// The organization's name is a path of the API.
    #[error("{0} is a reserved name, no organization can have it")]
    Reserved(String),
    /// There is an organization and no repository behind it.
    #[error("name {0} has one component: images are named <organization>/<repository>")]
    NoRepository(String),
}

/// The name of an organization: the first component of every image name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrganizationName(Arc<str>);

text_type!(OrganizationName, NameError);

impl OrganizationName {
    /// Reads one component that is not reserved (N3).
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if RESERVED.contains(&text) {
            return Err(NameError::Reserved(quoted(text)));
        }
        if text.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong(quoted(text)));
        }
        if !is_component(text) {
            return Err(NameError::Grammar(quoted(text)));
        }
        Ok(Self(text.into()))
    }
}

/// The name of a repository: one or more components, without the organization.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(Arc<str>);

text_type!(RepositoryName, NameError);

impl RepositoryName {
    /// Reads one or more components joined by `/` (N3).
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong(quoted(text)));
        }
        if !text.split('/').all(is_component) {
            return Err(NameError::Grammar(quoted(text)));
        }
        Ok(Self(text.into()))
    }

    /// The components, at least one.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// This repository inside `namespace`: `nginx` inside `library` is `library/nginx`.
    ///
    /// Two names joined are a name, so this cannot fail; the result may be longer than
    /// [`MAX_NAME_BYTES`], which binds what clients ask for ([`FullName`]).
    #[must_use]
    pub fn inside(&self, namespace: &Self) -> Self {
        Self(format!("{namespace}/{self}").into())
    }
}

/// An organization and a repository in it, at most [`MAX_NAME_BYTES`] bytes together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullName {
    /// The first component.
    pub organization: OrganizationName,
    /// The others, at least one.
    pub repository: RepositoryName,
}

impl FullName {
    /// Reads `organization/repository` (N1, N3).
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong(quoted(text)));
        }
        let Some((organization, repository)) = text.split_once('/') else {
            // A name that is wrong in itself is told so before it is told to be incomplete.
            OrganizationName::parse(text)?;
            return Err(NameError::NoRepository(quoted(text)));
        };
        Ok(Self {
            organization: OrganizationName::parse(organization).map_err(|error| match error {
                NameError::Grammar(_) => NameError::Grammar(quoted(text)),
                other => other,
            })?,
            repository: RepositoryName::parse(repository).map_err(|_| NameError::Grammar(quoted(text)))?,
        })
    }
}

impl fmt::Display for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.organization, self.repository)
    }
}

impl std::str::FromStr for FullName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let mut rest = text.as_bytes();
    loop {
        let word = rest.iter().take_while(|byte| alphanumeric(**byte)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let separator = rest.iter().take_while(|byte| !alphanumeric(**byte)).count();
        match &rest[..separator] {
            b"." | b"_" | b"__" => {}
            dashes if dashes.iter().all(|byte| *byte == b'-') => {}
            _ => return false,
        }
        rest = &rest[separator..];
    }
}

#[cfg(test)]
mod tests;
