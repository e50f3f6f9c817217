//! Containers made from a [`ContainerSpec`], new ones or ones like another.

use std::time::Duration;

use bollard::models::{ContainerCreateBody, EndpointSettings};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::errors::{self, during};
use super::{Docker, convert};
use crate::world::container::ContainerSpec;
use crate::world::error::{Error, Kind, Result};
use crate::world::helper_container::{is_helper, labelled};
use crate::world::like::{Likeness, object};
use crate::world::request::{self, ChosenImage};

/// How long a creation that was cancelled may take to show what has become of it.
const SETTLE: Duration = Duration::from_secs(30);

impl Docker {
    /// Creates the container and gives its id. Cancelled midway, the request is let come to its end and
    /// the container removed: a request once sent can't be taken back, and nobody would know of it.
    pub(super) fn create_settled(&self, spec: &ContainerSpec) -> Result<String> {
        let spec = &if is_helper(spec) { self.helper(spec.clone())? } else { spec.clone() };
        let mut creation = Box::pin(self.create_container(spec));
        let created = self.wait(&mut creation);
        if !created.as_ref().is_err_and(|e| e.kind == Kind::Cancelled) {
            return created;
        }
        self.context.wait_uncancelled(async {
            if let Ok(Ok(id)) = tokio::time::timeout(SETTLE, creation).await {
                _ = self.remove_container(&id, true, true).await;
            }
        });
        created
    }

    fn helper(&self, spec: ContainerSpec) -> Result<ContainerSpec> {
        let image = match &spec.image {
            Some(image) => self.wait(self.inspect_image(image))?.map(convert::image),
            None => None,
        };
        labelled(spec, &self.context.owner, &image.map(|image| image.volumes).unwrap_or_default())
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<String> {
        let action = match &spec.name {
            Some(name) => format!("create container {}", errors::checked_name("container", name)?),
            None => "create a container".to_owned(),
        };
        let image = self.image_of(spec, &action).await?;
        let request = request::request(spec, image)?;
        let options = spec.name.as_deref().map(|name| CreateContainerOptionsBuilder::new().name(name).build());
        let (body, others) = into_body(request, &action)?;
        let answer =
            self.patient_client().await?.create_container(options, body).await.map_err(during(action.as_str()));
        let id = answer.map_err(|e| request::create_error(e, spec))?.id;
        for (network, wishes) in others {
            let settings: EndpointSettings = typed(wishes, &action)?;
            if let Err(e) = self.connect_endpoint(&network, &id, settings).await {
                _ = self.remove_container(&id, true, true).await;
                return Err(Error { message: format!("cannot {action}: {}", e.message), ..e });
            }
        }
        Ok(id)
    }

    async fn image_of(&self, spec: &ContainerSpec, action: &str) -> Result<ChosenImage> {
        let found = self.inspect_image(request::wished_image(spec, action)?).await?.and_then(|image| image.id);
        let old = match request::old_image(spec, found.as_deref()) {
            Some(id) => self.inspect_image(id).await?,
            None => None,
        };
        let old = old.map(|image| serde_json::to_value(image.config).unwrap_or_default());
        request::chosen_image(spec, action, found.as_deref(), old)
    }
}

/// The request as the library wants it, and the networks to connect afterwards: an engine before 25 takes one.
fn into_body(request: Likeness, action: &str) -> Result<(ContainerCreateBody, Vec<(String, Value)>)> {
    let Likeness { mut body, host, networks } = request;
    let mut networks = networks.into_iter();
    if let Some((first, wishes)) = networks.next().filter(|(_, wishes)| !object(wishes).is_empty()) {
        body.insert("NetworkingConfig".into(), json!({"EndpointsConfig": {first: wishes}}));
    }
    body.insert("HostConfig".into(), Value::Object(host));
    Ok((typed(Value::Object(body), action)?, networks.collect()))
}

fn typed<T: DeserializeOwned>(value: Value, action: &str) -> Result<T> {
    serde_json::from_value(value).map_err(|e| {
        Error::failed("docker.failed", format!("cannot {action}: the container to copy has an odd form: {e}"))
    })
}
