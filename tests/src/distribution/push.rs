//! Filling a registry over its own API.

use http::{StatusCode, header};
use reqwest::{Client, RequestBuilder, Url};

use super::Distribution;
use crate::images::{Blob, Image, Index};
use crate::tokenserver::{Account, TokenServer};

/// Pushes into one repository of a registry.
#[derive(Debug)]
pub struct Pusher {
    base: Url,
    client: Client,
    authorization: Option<String>,
}

impl Distribution {
    /// Pushes into `repository` as nobody in particular.
    pub fn repository(&self, repository: &str) -> Pusher {
        self.pusher(repository, None)
    }

    /// Pushes into `repository` with a name and a password.
    pub fn repository_as(&self, repository: &str, account: &Account) -> Pusher {
        self.pusher(repository, Some(account.basic()))
    }

    /// Pushes into `repository` with a token.
    pub fn repository_with(&self, repository: &str, tokens: &TokenServer) -> Pusher {
        self.pusher(repository, Some(format!("Bearer {}", tokens.token(repository))))
    }

    fn pusher(&self, repository: &str, authorization: Option<String>) -> Pusher {
        let base =
            Url::parse(&format!("http://{}/v2/{repository}/", self.address())).expect("a repository name");
        let client = Client::builder()
            .no_proxy()
            .build()
            .expect("build an HTTP client");
        Pusher {
            base,
            client,
            authorization,
        }
    }
}

impl Pusher {
    /// Pushes an image under a tag.
    ///
    /// # Panics
    /// If the registry refuses anything.
    pub async fn image(&self, tag: &str, image: &Image) -> &Self {
        self.blobs(image).await;
        self.manifest(tag, &image.manifest).await
    }

    /// Pushes an index, the indexes and images that it names, and tags it.
    ///
    /// # Panics
    /// As [`Pusher::image`].
    pub async fn index(&self, tag: &str, index: &Index) -> &Self {
        for nested in &index.nested {
            Box::pin(self.index(nested.digest(), nested)).await;
        }
        for image in &index.images {
            self.image(image.digest(), image).await;
        }
        self.manifest(tag, &index.manifest).await
    }

    /// Pushes a manifest alone, under a tag or its digest.
    ///
    /// # Panics
    /// As [`Pusher::image`].
    pub async fn manifest(&self, reference: &str, manifest: &Blob) -> &Self {
        let url = self.url(&format!("manifests/{reference}"));
        let request = self
            .client
            .put(url)
            .header(header::CONTENT_TYPE, &manifest.media_type);
        self.created(request.body(manifest.bytes.clone())).await;
        self
    }

    /// Pushes config and layers.
    ///
    /// # Panics
    /// As [`Pusher::image`].
    pub async fn blobs(&self, image: &Image) {
        for blob in image.blobs() {
            self.blob(blob).await;
        }
    }

    async fn blob(&self, blob: &Blob) {
        let started = self
            .authorized(self.client.post(self.url("blobs/uploads/")))
            .send()
            .await
            .expect("start an upload");
        assert_eq!(started.status(), StatusCode::ACCEPTED, "start an upload");
        let location = started.headers()[header::LOCATION]
            .to_str()
            .expect("a location in ASCII");
        let mut target = self.base.join(location).expect("a location that is a URL");
        target.query_pairs_mut().append_pair("digest", &blob.digest);
        let request = self
            .client
            .put(target)
            .header(header::CONTENT_TYPE, "application/octet-stream");
        self.created(request.body(blob.bytes.clone())).await;
    }

    async fn created(&self, request: RequestBuilder) {
        let answer = self.authorized(request).send().await.expect("push");
        let (status, url) = (answer.status(), answer.url().clone());
        let text = answer.text().await.unwrap_or_default();
        assert_eq!(status, StatusCode::CREATED, "push {url}: {text}");
    }

    fn url(&self, rest: &str) -> Url {
        self.base.join(rest).expect("a path of the API")
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.authorization {
            Some(value) => request.header(header::AUTHORIZATION, value),
            None => request,
        }
    }
}
