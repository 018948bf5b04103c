//! Leases: what one of several processes does at a time (G4, M2).

/// Who has a lease, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The process that took it.
    pub holder: String,
    /// From then on anybody may take it.
    pub expires_at: i64,
    /// What the holder left when it gave the lease back: the failure of what it did. `None` while it is
    /// at work.
    pub note: Option<String>,
}

/// What came of asking for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is ours, taken or renewed.
    Ours,
    /// Somebody has it, or has left a note that is not to be forgotten yet; it may be our own note.
    Held(Lease),
}
