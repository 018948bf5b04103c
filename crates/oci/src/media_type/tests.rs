use super::*;

/// M3: every kind of manifest is asked for, schema 1 is not.
#[test]
fn asks_for_every_manifest_but_schema_1() {
    let asked: Vec<&str> = ACCEPT.split(',').map(without_parameters).collect();
    for media_type in [
        OCI_MANIFEST,
        OCI_INDEX,
        OCI_ARTIFACT,
        DOCKER_MANIFEST,
        DOCKER_LIST,
    ] {
        assert!(is_manifest(media_type));
        assert!(asked.contains(&media_type), "{media_type} is not asked for");
    }
    assert!(asked.contains(&"*/*"));
    assert!(!asked.iter().any(|media_type| is_schema1(media_type)));
}

/// M12: foreign and nondistributable layers are told by their type.
#[test]
fn knows_layers_that_registries_do_not_keep() {
    for media_type in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    ] {
        assert!(is_foreign_layer(media_type));
    }
    assert!(!is_foreign_layer("application/vnd.oci.image.layer.v1.tar+gzip"));
    assert!(!is_foreign_layer(
        "application/vnd.docker.image.rootfs.diff.tar.gzip"
    ));
}

/// M14: parameters of a type are dropped.
#[test]
fn drops_parameters() {
    assert_eq!(
        without_parameters("application/json; charset=utf-8"),
        "application/json"
    );
    assert_eq!(without_parameters(" a/b "), "a/b");
    assert_eq!(without_parameters(";"), "");
}
