//! What somebody types for an image, with or without our host (O5).

use std::fmt;

use quayside_oci::{FullName, NameError, Reference, RouteError, Tag};

/// An image name without a tag means this one, as every client has it.
const LATEST: &str = "latest";
/// What some tools put before an image name.
const TRANSPORTS: [&str; 3] = ["docker://", "https://", "http://"];

/// Why a text is no image of ours.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// What names the repository is not in the grammar, or no repository is named.
    #[error("read the image {0:?}")]
    Name(String, #[source] NameError),
    /// The tag or the digest is not in the grammar.
    #[error("read the image {0:?}")]
    Reference(String, #[source] RouteError),
}

/// An image in an organization, as somebody asks about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The host that was typed, whichever it is.
    pub host: Option<String>,
    /// Organization and repository, as they were typed.
    pub name: FullName,
    /// The tag or the digest; a digest wins over a tag before it.
    pub reference: Reference,
}

impl Image {
    /// Reads `[host/]organization/repository[:tag][@digest]`.
    ///
    /// The first component is a host if it is `ours` (with or without the port), `localhost`, or has a port: an
    /// organization may have a dot in its name.
    pub fn parse(text: &str, ours: &str) -> Result<Self, ImageError> {
        let typed = TRANSPORTS
            .iter()
            .find_map(|transport| text.strip_prefix(transport))
            .unwrap_or(text);
        let (named, digest) = match typed.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (typed, None),
        };
        let (host, path) = match named.split_once('/') {
            Some((first, rest)) if is_host(first, ours) => (Some(first.to_owned()), rest),
            _ => (None, named),
        };
        let (name, tag) = match path.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (path, None),
        };
        let name = FullName::parse(name).map_err(|source| ImageError::Name(text.to_owned(), source))?;
        let invalid = |source| ImageError::Reference(text.to_owned(), source);
        let tag = tag.unwrap_or(LATEST);
        let tag = Tag::parse(tag).map_err(|error| invalid(RouteError::Tag(error.to_string())))?;
        let reference = match digest {
            None => Reference::Tag(tag),
            Some(digest) => match Reference::parse(digest).map_err(invalid)? {
                digest @ Reference::Digest(_) => digest,
                Reference::Tag(_) => {
                    let message = "behind the @ there is no digest like sha256:…";
                    return Err(invalid(RouteError::Digest(message.to_owned())));
                }
            },
        };
        Ok(Self {
            host,
            name,
            reference,
        })
    }
}

impl fmt::Display for Image {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match self.reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        write!(formatter, "{}{separator}{}", self.name, self.reference)
    }
}

fn is_host(first: &str, ours: &str) -> bool {
    let name = |host: &str| host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    first.contains(':') || first == "localhost" || name(first) == name(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(text: &str) -> Result<Image, ImageError> {
        Image::parse(text, "registry.example.com")
    }

    /// O5: with or without our host, a port, a transport; no tag is `latest`; a digest wins.
    #[test]
    fn an_image_is_read_as_people_type_it() {
        let digest = format!("@{DIGEST}");
        for (typed, host, image) in [
            ("acme/app", None, "acme/app:latest".to_owned()),
            ("acme/app:1.27", None, "acme/app:1.27".to_owned()),
            ("acme/library/nginx:1", None, "acme/library/nginx:1".to_owned()),
            (&format!("acme/app{digest}"), None, format!("acme/app{digest}")),
            (&format!("acme/app:1{digest}"), None, format!("acme/app{digest}")),
            (
                "registry.example.com/acme/app:1",
                Some("registry.example.com"),
                "acme/app:1".to_owned(),
            ),
            (
                "Registry.Example.com:8443/acme/app",
                Some("Registry.Example.com:8443"),
                "acme/app:latest".to_owned(),
            ),
            (
                "localhost:5000/acme/app:1",
                Some("localhost:5000"),
                "acme/app:1".to_owned(),
            ),
            ("localhost/acme/app:1", Some("localhost"), "acme/app:1".to_owned()),
            (
                "[::1]:5000/acme/app:1",
                Some("[::1]:5000"),
                "acme/app:1".to_owned(),
            ),
            (
                "docker://registry.example.com/acme/app:1",
                Some("registry.example.com"),
                "acme/app:1".to_owned(),
            ),
            ("quay.io/acme/app:1", None, "quay.io/acme/app:1".to_owned()),
        ] {
            let read = parse(typed).unwrap();
            assert_eq!((read.host.as_deref(), read.to_string()), (host, image), "{typed}");
        }
    }

    /// O5, N3: the port of our own name is no part of what is compared.
    #[test]
    fn our_host_is_known_without_its_port() {
        let read = Image::parse("127.0.0.1/acme/app", "127.0.0.1:8080").unwrap();
        assert_eq!(
            (read.host.as_deref(), read.to_string()),
            (Some("127.0.0.1"), "acme/app:latest".to_owned())
        );
    }

    /// O5, N3: what no client could ask for is refused, with what was typed.
    #[test]
    fn what_is_no_image_is_refused() {
        for typed in [
            "",
            "app",
            "app:1",
            "registry.example.com/app:1",
            "acme/",
            "/acme/app",
            "acme/App:1",
            "acme/app:",
            "acme/app:-1",
            "acme/app:1:2",
            "acme/app@",
            "acme/app@latest",
            "acme/app@sha256:1234",
            "acme/app@md5:d41d8cd98f00b204e9800998ecf8427e",
            "auth/app:1",
            "acme/../app:1",
        ] {
            let error = parse(typed).unwrap_err();
            assert!(
                error.to_string().contains(&format!("{typed:?}")),
                "{typed}: {error}"
            );
        }
    }
}
