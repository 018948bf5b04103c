//! What the registry knows: organizations, repositories, manifests, tags, blobs and who holds them.
