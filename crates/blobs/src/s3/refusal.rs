//! Why a bucket did not do as it was told.

use std::error::Error as StdError;

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use thiserror::Error;

/// The codes by which servers say that there is no room: Ceph's, versitygw's and `MinIO`'s.
const FULL: [&str; 3] = ["QuotaExceeded", "InsufficientStorage", "XMinioStorageFull"];

/// HTTP's own word for a storage without room.
const INSUFFICIENT_STORAGE: u16 = 507;

/// Why a bucket did not do as it was told. Holds no credentials and no URL.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The server answered with an error.
    #[error("the server answered {status} {code}: {message}")]
    Answer {
        /// The status of the answer.
        status: u16,
        /// The server's code for what is wrong; may be empty.
        code: String,
        /// The server's words.
        message: String,
    },
    /// No answer came in time.
    #[error("the server did not answer in time")]
    Timeout,
    /// The server could not be reached, its answer broke off or could not be understood, or there were no
    /// credentials to sign a request with.
    #[error("{0}")]
    Transport(String),
    /// What came is not what was asked for.
    #[error("the server sent {0}")]
    Nonsense(String),
}

impl Refusal {
    /// What the client library reports.
    pub(crate) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => Self::Answer {
                status: answer.raw().status().as_u16(),
                code: answer.err().code().unwrap_or_default().to_owned(),
                message: answer.err().message().unwrap_or_default().to_owned(),
            },
            SdkError::TimeoutError(_) => Self::Timeout,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::Timeout,
            SdkError::ResponseError(answer) if !answer.raw().status().is_success() => Self::Answer {
                status: answer.raw().status().as_u16(),
                code: String::new(),
                message: "an answer that is not S3's".to_owned(),
            },
            other => Self::Transport(words(other)),
        }
    }

    /// An answer broke off.
    pub(crate) fn broken(error: &(dyn StdError + 'static)) -> Self {
        Self::Transport(words(error))
    }

    /// The server's code; none if no answer carried one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Answer { code, .. } if !code.is_empty() => Some(code),
            _ => None,
        }
    }

    /// The status of the server's answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answer { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// True if the bucket lacks room.
    pub fn is_no_space(&self) -> bool {
        self.status() == Some(INSUFFICIENT_STORAGE) || self.code().is_some_and(|code| FULL.contains(&code))
    }

    /// True if the server does not know the operation.
    pub(crate) fn is_unknown_operation(&self) -> bool {
        self.status() == Some(501) || matches!(self.code(), Some("NotImplemented" | "MethodNotAllowed"))
    }
}

/// All that an error and its sources say, each thing once.
pub(super) fn words(error: &(dyn StdError + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let said = error.to_string();
        if !words.iter().any(|before| before.contains(&said)) {
            words.push(said);
        }
        next = error.source();
    }
    words.join(": ")
}
