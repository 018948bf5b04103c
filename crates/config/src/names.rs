//! Names of people, robots and Kubernetes objects.

use quayside_oci::RepositoryName;
use serde_json::json;

use crate::fault::shown;
use crate::kind::{Kind, text};

/// The longest name in bytes.
const MAX_NAME_BYTES: usize = 255;
/// The user name under which a Kubernetes `ServiceAccount` logs in with its token (A2).
const SERVICE_ACCOUNT_LOGIN: &str = "serviceaccount";

/// A login: `+` is what tells robots, `:` what ends a name in Basic credentials.
pub(crate) const USER_NAME: Kind<String> = Kind {
    schema: || json!({ "type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES, "pattern": "^[^+:]+$" }),
    read: |node| {
        let name = text(node)?;
        plain(name)?;
        if name.contains('+') {
            return Err(format!(
                "must not contain '+', which is for robots, as in {}",
                shown(name)
            ));
        }
        if name.contains(':') {
            return Err(format!("must not contain ':', as in {}", shown(name)));
        }
        if name.eq_ignore_ascii_case(SERVICE_ACCOUNT_LOGIN) {
            return Err(format!(
                "{SERVICE_ACCOUNT_LOGIN} is reserved for tokens of Kubernetes ServiceAccounts"
            ));
        }
        Ok(name.to_owned())
    },
};

/// The part of a robot's login behind the `+`.
pub(crate) const ROBOT_NAME: Kind<String> = Kind {
    schema: || json!({ "type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES }),
    read: |node| robot_name(text(node)?),
};

/// Any name for people: teams, groups.
pub(crate) const PLAIN_NAME: Kind<String> = Kind {
    schema: || json!({ "type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES }),
    read: |node| {
        let name = text(node)?;
        plain(name).map(|()| name.to_owned())
    },
};

/// The name of a namespace or a `ServiceAccount`.
pub(crate) const KUBERNETES_NAME: Kind<String> = Kind {
    schema: || json!({ "type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES }),
    read: |node| {
        let name = text(node)?;
        let part = |part: &str| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        if name.len() <= MAX_NAME_BYTES && name.split('.').all(part) {
            Ok(name.to_owned())
        } else {
            Err(format!(
                "must be the name of a Kubernetes object, not {}",
                shown(name)
            ))
        }
    },
};

/// Checks the name of a robot: one component in the grammar of repository names.
pub(crate) fn robot_name(name: &str) -> Result<String, String> {
    if !name.contains('/') && RepositoryName::parse(name).is_ok() {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "must be lower-case letters and digits, joined by '.', '_' or '-', without the organization, not {}",
            shown(name)
        ))
    }
}

fn plain(name: &str) -> Result<(), String> {
    if name.is_empty() || name.trim() != name {
        return Err("must not be empty or have space around it".to_owned());
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("must have at most {MAX_NAME_BYTES} bytes"));
    }
    if name.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(())
}
