//! Organizations as the database knows them (G5).

/// The row of one organization identity. Another identity under the same name has another id, so
/// nothing remembered by id outlives a change of identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrganizationId(pub i64);

/// An organization that an accepted organizations file asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrganizationIdentity {
    /// The `id` of the entry: the resource's UID, or the name.
    pub uid: String,
    /// The first path component of its image names.
    pub name: String,
    /// The normalised upstream. Together with `uid` it is the identity (G5).
    pub upstream: String,
    /// The time machine in milliseconds.
    pub window_ms: i64,
}

/// An organization that the database knows and that was not removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownOrganization {
    /// Its row.
    pub id: OrganizationId,
    /// The `id` of its entry.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its normalised upstream.
    pub upstream: String,
}
