//! What follows when a bucket does not do what it is told.

use super::super::Refusal;

/// What follows from a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It may work later. Whether the call had its effect is not known.
    Passing,
    /// It will not work.
    Lasting,
    /// The condition of a write does not hold: the key has bytes.
    Taken,
    /// The server does not know conditions on writes.
    Unknown,
    /// There is no such upload: it was completed or aborted.
    NoUpload,
}

pub(super) fn kind(refusal: &Refusal) -> Kind {
    let Refusal::Answer { status, code, .. } = refusal else {
        return Kind::Passing;
    };
    match (*status, code.as_str()) {
        (_, "NoSuchUpload") => Kind::NoUpload,
        (412, _) => Kind::Taken,
        _ if refusal.is_no_space() => Kind::Lasting,
        _ if refusal.is_unknown_operation() => Kind::Unknown,
        // An error may come behind a head that promised success. A conflict is a write of the same key that is not
        // decided yet.
        (200 | 408 | 409 | 429 | 500..=599, _) | (_, "RequestTimeout" | "SlowDown") => Kind::Passing,
        _ => Kind::Lasting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// O2: an outage passes, a refusal does not, and a full bucket does not either.
    #[test]
    fn tells_what_passes_from_what_stays() {
        let table = [
            (503, "SlowDown", Kind::Passing),
            (500, "InternalError", Kind::Passing),
            (200, "InternalError", Kind::Passing),
            (429, "", Kind::Passing),
            (400, "RequestTimeout", Kind::Passing),
            (409, "ConditionalRequestConflict", Kind::Passing),
            (403, "AccessDenied", Kind::Lasting),
            (404, "NoSuchBucket", Kind::Lasting),
            (404, "NoSuchUpload", Kind::NoUpload),
            (412, "PreconditionFailed", Kind::Taken),
            (501, "NotImplemented", Kind::Unknown),
            (507, "InsufficientStorage", Kind::Lasting),
            (403, "QuotaExceeded", Kind::Lasting),
        ];
        for (status, code, expected) in table {
            let refusal = Refusal::Answer {
                status,
                code: code.to_owned(),
                message: String::new(),
            };
            assert_eq!(kind(&refusal), expected, "{status} {code}");
        }
        assert_eq!(kind(&Refusal::Timeout), Kind::Passing);
    }
}
