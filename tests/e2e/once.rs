//! What several replicas do once: SPEC M2, M4, M8, M10, M11 across replicas, B6 and G4.

mod manifests;
mod work;
