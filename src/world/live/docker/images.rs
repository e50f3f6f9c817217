//! Images: what the engine has, and what a registry gives.

use std::collections::HashMap;

use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;

use super::super::progress::Progress;
use super::errors::{checked_reference, during, image_missing, is_missing};
use super::{Docker, convert};
use crate::world::container::Image;
use crate::world::error::{Error, Result};

impl Docker {
    pub(super) async fn find_image(&self, reference: &str) -> Result<Option<Image>> {
        Ok(self.inspect_image(reference).await?.map(convert::image))
    }

    pub(super) async fn inspect_image(&self, reference: &str) -> Result<Option<ImageInspect>> {
        match self.client().await?.inspect_image(checked_reference(reference)?).await {
            Ok(answer) => Ok(Some(answer)),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(during(format!("inspect image {reference}"))(e)),
        }
    }

    pub(super) async fn pull_image(&self, reference: &str) -> Result<Image> {
        let action = format!("pull image {reference}");
        let full = with_tag(checked_reference(reference)?);
        let options = CreateImageOptionsBuilder::new().from_image(&full).build();
        let mut messages = self.patient_client().await?.create_image(Some(options), None, None);
        let mut layers = Layers::default();
        let mut progress = Progress::bytes(&self.context, format!("pull {reference}"), None);
        while let Some(message) = messages.next().await {
            let message = message.map_err(during(action.as_str())).map_err(in_words_of_registry)?;
            progress.set(layers.downloaded(message));
        }
        self.find_image(reference).await?.ok_or_else(|| image_missing(&action, reference))
    }
}

/// Bytes downloaded so far, a layer each.
#[derive(Default)]
struct Layers(HashMap<String, u64>);

impl Layers {
    fn downloaded(&mut self, message: CreateImageInfo) -> u64 {
        let bytes = message.progress_detail.and_then(|detail| detail.current);
        if let (Some("Downloading"), Some(layer), Some(bytes)) = (message.status.as_deref(), message.id, bytes) {
            self.0.insert(layer, bytes.max(0) as u64);
        }
        self.0.values().sum()
    }
}

/// Without a tag the engine would pull every tag there is.
fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") }
}

fn in_words_of_registry(error: Error) -> Error {
    if matches!(error.code.as_str(), "docker.unreachable" | "docker.timeout") {
        return error;
    }
    Error::failed("docker.image_missing", error.message)
        .hint("check the name, and the engine's way and login to the registry; or bring it with `docker load`")
}

#[cfg(test)]
mod tests {
    use super::with_tag;

    #[test]
    fn only_a_reference_without_tag_or_digest_gets_latest() {
        assert_eq!(with_tag("postgres"), "postgres:latest");
        assert_eq!(with_tag("registry:5000/postgres"), "registry:5000/postgres:latest");
        assert_eq!(with_tag("postgres:15"), "postgres:15");
        assert_eq!(with_tag("a/postgres@sha256:00"), "a/postgres@sha256:00");
    }
}
