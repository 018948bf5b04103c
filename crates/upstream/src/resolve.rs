//! Name resolution whose answers are filtered before anything is dialled (A7): a name that was
//! harmless yesterday and points at the metadata service today is refused today.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::address::Forbidden;
use crate::environment::{Answers, Gate};

pub(crate) struct Resolver {
    gate: Arc<Gate>,
    known: Option<Answers>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("gate", &self.gate)
            .finish_non_exhaustive()
    }
}

impl Resolver {
    pub(crate) fn new(gate: Arc<Gate>, known: Option<Answers>) -> Self {
        Self { gate, known }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let gate = Arc::clone(&self.gate);
        let name = name.as_str().to_owned();
        let known = self
            .known
            .as_ref()
            .and_then(|answers| answers(name.trim_end_matches('.')));
        Box::pin(async move {
            let answers = match known {
                Some(ips) => ips,
                None => tokio::net::lookup_host((name.as_str(), 0))
                    .await?
                    .map(|addr| addr.ip())
                    .collect(),
            };
            Ok(permitted(&gate, &name, &answers)?)
        })
    }
}

/// The answers that may be dialled; forbidden if there were some and none of them may be.
fn permitted(gate: &Gate, name: &str, answers: &[IpAddr]) -> Result<Addrs, Forbidden> {
    let mut refusal = None;
    let mut good = Vec::with_capacity(answers.len());
    for ip in answers {
        match gate.check_answer(name, *ip) {
            Ok(()) => good.push(SocketAddr::new(*ip, 0)),
            Err(no) => refusal = refusal.or(Some(no)),
        }
    }
    match refusal {
        Some(no) if good.is_empty() => Err(no),
        _ => Ok(Box::new(good.into_iter())),
    }
}
