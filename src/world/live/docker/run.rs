//! A container of our own, from its creation to its removal.

use bollard::container::LogOutput;
use bollard::query_parameters::*;
use futures_util::StreamExt;

use super::Docker;
use super::errors::during;
use crate::event::Event;
use crate::world::container::{ContainerSpec, LABEL_HELPER, Output};
use crate::world::error::{Error, Result};

/// Of each stream; larger outputs belong into a volume or an exec stream.
const MOST_OUTPUT: usize = 1 << 20;

/// Value of [`LABEL_HELPER`] on a container that only runs one command.
const PURPOSE: &str = "run";

impl Docker {
    pub(super) fn run_to_end(&self, spec: &ContainerSpec) -> Result<Output> {
        let mut spec = spec.clone();
        // Whatever it is for: who is killed before its removal has left a helper.
        spec.labels.get_or_insert_default().entry(LABEL_HELPER.into()).or_insert_with(|| PURPOSE.into());
        let id = self.create_settled(&spec)?;
        let outcome = self.wait(self.run_created(&id));
        // Also when cancelled or failed; with its anonymous volumes, which nobody else can want.
        let removed = self.context.wait_uncancelled(self.remove_container(&id, true, true));
        match (&outcome, removed) {
            (_, Ok(())) => {}
            (_, Err(e)) if e.code == "docker.not_found" => {}
            (Ok(_), Err(e)) => return Err(e),
            (Err(_), Err(e)) => self.context.emit(Event::Warn { text: e.message }),
        }
        outcome
    }

    async fn run_created(&self, id: &str) -> Result<Output> {
        let action = || format!("run container {}", short(id));
        let client = self.patient_client().await?;
        // Attached before the start, for the log may go where the engine can't read it (journald, none).
        let streams = AttachContainerOptionsBuilder::new().stream(true).stdout(true).stderr(true).build();
        let attached = client.attach_container(id, Some(streams)).await.map_err(during(action()))?;
        client.start_container(id, None).await.map_err(during(action()))?;
        let (mut output, mut frames) = (Output::default(), attached.output);
        while let Some(frame) = frames.next().await {
            let (sink, message) = match frame.map_err(during(action()))? {
                LogOutput::StdErr { message } => (&mut output.stderr, message),
                LogOutput::StdOut { message } | LogOutput::Console { message } => (&mut output.stdout, message),
                LogOutput::StdIn { .. } => continue,
            };
            if sink.len() + message.len() > MOST_OUTPUT {
                let message = format!("cannot {}: more than 1 MiB of output", action());
                return Err(Error::failed("docker.failed", message).hint("let it write into a volume"));
            }
            sink.extend_from_slice(&message);
        }
        output.exit_code = self.wait_for_end(id).await?;
        Ok(output)
    }

    async fn wait_for_end(&self, id: &str) -> Result<i64> {
        use bollard::errors::Error::DockerContainerWaitError;
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let answer = self.patient_client().await?.wait_container(id, Some(options)).next().await;
        match answer {
            Some(Ok(end)) => Ok(end.status_code),
            // The library makes an error of every exit code but 0.
            Some(Err(DockerContainerWaitError { code, error })) if error.is_empty() => Ok(code),
            Some(Err(e)) => Err(during(format!("wait for container {}", short(id)))(e)),
            None => Err(Error::failed("docker.failed", format!("cannot wait for container {}", short(id)))),
        }
    }
}

/// As `docker ps` shows it.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
