//! What is written into a manifest is read out of it.

use proptest::prelude::*;

use super::*;

fn some_descriptor(media_type: &'static str) -> impl Strategy<Value = (Value, Descriptor)> {
    let size = prop_oneof![0_u64..1000, 0..=MAX_BLOB_BYTES];
    (any::<u64>(), size, any::<bool>()).prop_map(move |(seed, size, foreign)| {
        let seed = seed.to_string();
        let mut written = descriptor(media_type, &seed, size);
        if foreign {
            written["urls"] = json!(["https://elsewhere.example/blob"]);
        }
        let read = Descriptor {
            media_type: media_type.to_owned(),
            digest: digest(&seed),
            size,
            fetchable: !foreign,
            artifact_type: None,
        };
        (written, read)
    })
}

fn some_descriptors(media_type: &'static str) -> impl Strategy<Value = (Vec<Value>, Vec<Descriptor>)> {
    prop::collection::vec(some_descriptor(media_type), 0..6).prop_map(|all| all.into_iter().unzip())
}

fn some_annotations() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    prop::collection::btree_map("[a-z.]{1,20}", "\\PC{0,20}", 0..4)
}

proptest! {
    /// M12: config, layers, subject and annotations of any image.
    #[test]
    fn parses_back_any_image(
        (config, config_read) in some_descriptor(OCI_CONFIG),
        (layers, layers_read) in some_descriptors(LAYER),
        subject in prop::option::of(some_descriptor(OCI_MANIFEST)),
        annotations in some_annotations(),
    ) {
        let mut body = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": config, "layers": layers, "annotations": annotations,
        });
        if let Some((subject, _)) = &subject {
            body["subject"] = subject.clone();
        }
        let manifest = parse(&body, None).unwrap();
        let fetched: std::collections::BTreeSet<_> = [&config_read].into_iter().chain(&layers_read)
            .filter(|blob| blob.fetchable).map(|blob| blob.digest.clone()).collect();
        let blobs: std::collections::BTreeSet<_> =
            manifest.blobs().into_iter().map(|blob| blob.digest).collect();
        prop_assert_eq!(blobs, fetched);
        prop_assert_eq!(manifest.config, Some(config_read));
        prop_assert_eq!(manifest.layers, layers_read);
        prop_assert_eq!(manifest.subject, subject.map(|(_, read)| read));
        prop_assert_eq!(manifest.annotations, annotations);
    }

    /// M12, M13: the children of any index.
    #[test]
    fn parses_back_any_index((children, read) in some_descriptors(OCI_MANIFEST), annotations in some_annotations()) {
        let body = json!({
            "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children, "annotations": annotations,
        });
        let manifest = parse(&body, None).unwrap();
        prop_assert_eq!(manifest.kind, Kind::Index);
        prop_assert_eq!(manifest.children, read);
        prop_assert_eq!(manifest.annotations, annotations);
        prop_assert!(manifest.layers.is_empty() && manifest.config.is_none());
    }
}
