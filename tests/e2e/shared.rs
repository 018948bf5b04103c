//! A database and a bucket that several registries share: SPEC C4, B7, G3, O2 and O5 on `PostgreSQL` and S3.

mod away;
mod bucket_away;
mod database_away;
mod program;
mod readers;
mod redirect;
mod scrub;
mod start;
mod stop;

use quayside_test_servers::s3_door::S3Door;
use quayside_test_servers::{Postgres, Versitygw, Wire, ports, postgres};
use quayside_tests::fake::FakeUpstream;
use quayside_tests::house::{Bucket, CANARY, House, HouseBuilder, Organization};
use quayside_tests::images::{Blob, Image};

/// A server of each kind, and what stands between them and the registries.
struct Ground {
    postgres: Postgres,
    server: Versitygw,
    /// Before the database.
    wire: Wire,
    /// Before the bucket.
    door: S3Door,
    url: String,
    bucket: Bucket,
}

impl Ground {
    fn new() -> Self {
        Self::with(Versitygw::start())
    }

    fn with(server: Versitygw) -> Self {
        let address = ports::free();
        let postgres = Postgres::start_behind(postgres::Door::Address(address));
        let (wire, door) = (Wire::to(address), S3Door::in_front_of(server.address()));
        postgres.create_database("quayside");
        let bucket = Bucket::create(&server, "blobs").behind(&door.url());
        Self {
            url: url(&wire, "quayside"),
            postgres,
            server,
            wire,
            door,
            bucket,
        }
    }

    /// A database of its own, empty.
    fn another_database(&self, name: &str) -> String {
        self.postgres.create_database(name);
        url(&self.wire, name)
    }

    /// A bucket of its own, empty.
    fn another_bucket(&self, name: &str) -> Bucket {
        Bucket::create(&self.server, name).behind(&self.door.url())
    }

    /// A registry on the database and the bucket.
    fn house(&self) -> HouseBuilder {
        House::builder().database(&self.url).blobs_in_bucket(&self.bucket)
    }
}

/// The server asks for no password, so any will do; what shows it is seen to (A6).
fn url(wire: &Wire, database: &str) -> String {
    let password = format!("{CANARY}database-4b1d");
    format!(
        "postgres://quayside:{password}@{}/{database}?sslmode=disable",
        wire.address()
    )
}

/// One upstream with `alpine:1`, which has one layer, and a registry that has pulled its manifest.
struct Scene {
    house: House,
    ground: Ground,
    upstream: FakeUpstream,
    layer: Blob,
}

impl Scene {
    async fn new(length: usize, build: impl FnOnce(HouseBuilder) -> HouseBuilder) -> Self {
        Self::on(Ground::new(), length, build).await
    }

    async fn on(ground: Ground, length: usize, build: impl FnOnce(HouseBuilder) -> HouseBuilder) -> Self {
        let upstream = FakeUpstream::start().await;
        let image = Image::random(1, &[length]);
        upstream.push("alpine", "1", &image);
        let builder = ground.house().organization(Organization::of(&upstream));
        let house = build(builder).start().await;
        house.manifest("alpine", "1").await.assert_body(image.body());
        Self {
            house,
            ground,
            upstream,
            layer: image.layers[0].clone(),
        }
    }

    /// Pulls the layer into the bucket.
    async fn fill(&self) {
        let (house, layer) = (&self.house, &self.layer);
        house
            .blob("alpine", &layer.digest)
            .await
            .assert_body(&layer.bytes);
        house.stored(&layer.digest).await;
    }

    /// GETs of the layer that reached upstream.
    fn fetches(&self) -> usize {
        self.upstream.count(&http::Method::GET, &self.layer.digest)
    }
}
