//! What a database of some size contains: pure, so that the client knows every name without asking.

use serde_json::json;

use crate::content::digest;
use crate::image::MANIFEST_TYPE;

/// The type of every index.
pub(super) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// The organization that has almost everything.
pub(super) const BIG: &str = "big";
/// Its repository with the longest list of tags.
pub(super) const MANY: &str = "many";
/// One tag of this many is an index of two images.
const INDEXES: u32 = 10;
/// One tag of this many has its configuration in storage, to be asked for.
const ON_DISK: u32 = 20;
/// The tags of a repository that is not [`MANY`]: so few that the smallest database fills a page of the catalog.
const PER_REPOSITORY: u32 = 4;
/// One organization of this many tags, the big one included.
const PER_ORGANIZATION: u32 = 100;
/// As many organizations as a page of the catalog needs.
const LEAST_ORGANIZATIONS: u32 = 100;

/// The layers of an image: how many tags share each of them, and how many bytes it has.
const LAYERS: [(u32, u64); 9] = [
    (50, 30_000_000),
    (50, 20_000_000),
    (10, 8_000_000),
    (10, 5_000_000),
    (10, 3_000_000),
    (1, 2_000_000),
    (1, 1_000_000),
    (1, 100_000),
    (1, 1_000),
];

/// How much is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Tags of the big organization; the others have one each.
    pub(super) tags: u32,
}

/// A blob as a manifest names it.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) layer: bool,
    /// The bytes, where they are in storage.
    pub(super) bytes: Option<Vec<u8>>,
}

/// A manifest with what it names.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) digest: String,
    pub(super) media_type: &'static str,
    pub(super) body: String,
    pub(super) blobs: Vec<Blob>,
}

/// A tag with all that it holds.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    pub(super) repository: String,
    pub(super) name: String,
    /// What it points at, then the children.
    pub(super) manifests: Vec<Manifest>,
}

impl Shape {
    /// The names of all organizations, the big one first.
    pub(super) fn organizations(self) -> Vec<String> {
        let count = self.tags.div_ceil(PER_ORGANIZATION).max(LEAST_ORGANIZATIONS);
        let others = (1..count).map(|number| format!("org-{number:04}"));
        std::iter::once(BIG.to_owned()).chain(others).collect()
    }

    /// The repository in which a tag of the big organization is.
    pub(super) fn repository(self, tag: u32) -> String {
        match tag.checked_sub(self.tags_of_many()) {
            None => MANY.to_owned(),
            Some(place) => format!("app-{:05}", place / PER_REPOSITORY),
        }
    }

    /// How many tags [`MANY`] has: half of all, several pages of them in the smallest database.
    pub(super) fn tags_of_many(self) -> u32 {
        self.tags / 2
    }

    /// Where a tag of the big organization is pulled.
    pub(super) fn path_of_tag(self, tag: u32) -> String {
        format!("/v2/{BIG}/{}/manifests/{}", self.repository(tag), name_of(tag))
    }

    /// Where what a tag of the big organization points at is pulled by digest.
    pub(super) fn path_of_digest(self, tag: u32) -> String {
        let digest = manifests(BIG, tag).swap_remove(0).digest;
        format!("/v2/{BIG}/{}/manifests/{digest}", self.repository(tag))
    }

    /// Where a blob that is in storage is pulled, of those there are the one numbered so, round and round.
    pub(super) fn path_of_blob(self, number: u32) -> String {
        let tag = number % (self.tags / ON_DISK) * ON_DISK + 1;
        let digest = configuration(BIG, tag, 0).digest;
        format!("/v2/{BIG}/{}/blobs/{digest}", self.repository(tag))
    }

    /// A tag of the big organization.
    pub(super) fn tag(self, tag: u32) -> Tag {
        Tag {
            repository: self.repository(tag),
            name: name_of(tag),
            manifests: manifests(BIG, tag),
        }
    }

    /// The one tag of another organization.
    pub(super) fn only_tag(organization: &str) -> Tag {
        Tag {
            repository: "app".to_owned(),
            name: name_of(0),
            manifests: manifests(organization, 1),
        }
    }
}

fn name_of(tag: u32) -> String {
    format!("v{tag:06}")
}

fn manifests(organization: &str, tag: u32) -> Vec<Manifest> {
    if !tag.is_multiple_of(INDEXES) {
        return vec![image(organization, tag, 0)];
    }
    let children = [0, 1].map(|child| image(organization, tag, child));
    let descriptors: Vec<_> = children
        .iter()
        .zip(["amd64", "arm64"])
        .map(|(child, architecture)| {
            json!({
                "mediaType": child.media_type, "digest": child.digest, "size": child.body.len(),
                "platform": { "architecture": architecture, "os": "linux" },
            })
        })
        .collect();
    let body = json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": descriptors }).to_string();
    let index = Manifest {
        digest: digest(body.as_bytes()),
        media_type: INDEX_TYPE,
        body,
        blobs: Vec::new(),
    };
    std::iter::once(index).chain(children).collect()
}

fn image(organization: &str, tag: u32, child: u32) -> Manifest {
    let mut blobs = vec![configuration(organization, tag, child)];
    for (number, (share, size)) in (0..).zip(LAYERS) {
        // Of what is not shared with other tags, the images of an index have their own.
        let child = if share == 1 { child } else { 0 };
        let name = format!("{organization} {number} {} {child}", tag / share);
        let (digest, layer, bytes) = (digest(name.as_bytes()), true, None);
        blobs.push(Blob {
            digest,
            size,
            layer,
            bytes,
        });
    }
    let descriptor = |kind: &str, blob: &Blob| {
        let media_type = format!("application/vnd.oci.image.{kind}");
        json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size })
    };
    let mut named = blobs.iter();
    let config = named.next().map(|blob| descriptor("config.v1+json", blob));
    let layers: Vec<_> = named.map(|blob| descriptor("layer.v1.tar+gzip", blob)).collect();
    let body = json!({ "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": layers });
    let body = body.to_string();
    Manifest {
        digest: digest(body.as_bytes()),
        media_type: MANIFEST_TYPE,
        body,
        blobs,
    }
}

fn configuration(organization: &str, tag: u32, child: u32) -> Blob {
    let bytes = format!("configuration of {organization} {tag} {child}").into_bytes();
    Blob {
        digest: digest(&bytes),
        size: bytes.len() as u64,
        layer: false,
        bytes: (organization == BIG && tag % ON_DISK == 1).then_some(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_has_a_million_references_and_a_thousand_organizations() {
        let shape = Shape { tags: 100_000 };
        assert_eq!(shape.organizations().len(), 1000);
        let references: usize = (0..100)
            .flat_map(|tag| shape.tag(tag).manifests)
            .map(|manifest| manifest.blobs.len())
            .sum();
        assert!(references * 1000 >= 1_000_000, "{references}");
    }

    #[test]
    fn a_tag_is_where_its_path_says() {
        let shape = Shape { tags: 1000 };
        let tag = shape.tag(510);
        assert_eq!(tag.manifests.len(), 3);
        assert_eq!(shape.path_of_tag(510), "/v2/big/app-00002/manifests/v000510");
        let digest = &tag.manifests[0].digest;
        assert_eq!(
            shape.path_of_digest(510),
            format!("/v2/big/app-00002/manifests/{digest}")
        );
        assert_eq!(shape.repository(499), MANY);
    }

    #[test]
    fn a_blob_that_is_asked_for_is_in_storage() {
        let shape = Shape { tags: 1000 };
        for number in [0, 7, 49, 50] {
            let path = shape.path_of_blob(number);
            let tag = number % 50 * 20 + 1;
            let blobs = shape.tag(tag).manifests.swap_remove(0).blobs;
            let stored = blobs.iter().find(|blob| path.ends_with(&blob.digest)).unwrap();
            assert_eq!(stored.bytes.as_ref().unwrap().len() as u64, stored.size);
        }
    }
}
