//! Volumes as the engine keeps them; their content is `live::volume`'s.

use std::collections::{BTreeMap, HashMap};

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions};

use super::errors::{checked_name, during, is_missing};
use super::{Docker, convert};
use crate::world::container::{ContainerFilter, LABEL_PROJECT, Volume};
use crate::world::error::{Error, Result};

impl Docker {
    /// Sorted by name.
    pub(super) async fn list_volumes(&self, project: Option<&str>) -> Result<Vec<Volume>> {
        let labels: Vec<_> = project.iter().map(|project| format!("{LABEL_PROJECT}={project}")).collect();
        let options = ListVolumesOptionsBuilder::new().filters(&HashMap::from([("label", labels)])).build();
        let found = self.client().await?.list_volumes(Some(options)).await.map_err(during("list volumes"))?;
        let mut volumes: Vec<_> = found.volumes.unwrap_or_default().into_iter().map(convert::volume).collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    pub(super) async fn find_volume(&self, name: &str) -> Result<Option<Volume>> {
        match self.client().await?.inspect_volume(checked_name("volume", name)?).await {
            Ok(answer) => Ok(Some(convert::volume(answer))),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(during(format!("inspect volume {name}"))(e)),
        }
    }

    /// As `docker volume create`: an existing volume of that name and driver is handed out as it is.
    pub(super) async fn make_volume(
        &self,
        name: &str,
        driver: &str,
        labels: &BTreeMap<String, String>,
        options: &BTreeMap<String, String>,
    ) -> Result<Volume> {
        let action = format!("create volume {name}");
        checked_name("volume", name)?;
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            driver: Some(driver.to_owned()).filter(|driver| !driver.is_empty()),
            labels: Some(labels.clone().into_iter().collect()),
            driver_opts: Some(options.clone().into_iter().collect()),
            ..Default::default()
        };
        let client = self.client().await?.clone();
        let answer = self.change(async move { client.create_volume(request).await.map_err(during(action)) }).await?;
        Ok(convert::volume(answer))
    }

    pub(super) async fn drop_volume(&self, name: &str) -> Result<()> {
        let action = format!("remove volume {name}");
        let (client, volume) = (self.patient_client().await?.clone(), checked_name("volume", name)?.to_owned());
        let removed = self.change(async move {
            client.remove_volume(&volume, None::<RemoveVolumeOptions>).await.map_err(during(action))
        });
        match removed.await {
            Err(e) if e.code == "docker.conflict" => Err(self.held(name, e).await),
            other => other,
        }
    }

    /// The same refusal, naming who holds the volume: the engine gives only an id, and not always.
    async fn held(&self, volume: &str, refusal: Error) -> Error {
        let filter = ContainerFilter { volume: Some(volume.to_owned()), ..Default::default() };
        match self.list_containers(&filter).await {
            Ok(holders) if !holders.is_empty() => {
                let names: Vec<_> = holders.iter().map(|c| format!("{} ({})", c.name, c.state)).collect();
                let message = format!("cannot remove volume {volume}: it is mounted by {}", names.join(", "));
                Error::failed("docker.conflict", message).hint("remove these containers first, stopped ones too")
            }
            _ => refusal,
        }
    }
}
