//! `pgscript show SCRIPT`, `pgscript show --api [TOPIC]`

use std::sync::Arc;

use clap::Args;
use rhai::EvalAltResult;

use super::{Exit, Format};
use crate::event::Silent;
use crate::practice::api as testing;
use crate::script::describe;
use crate::script::engine::Language;
use crate::script::errors;
use crate::script::loader::Places;
use crate::script::source::Source;
use crate::script::tree::Tree;
use crate::ui::{output, style};
use crate::world::{Error, Redactor};

/// Shows what a script is for, its parameters and steps, without running it; or what scripts may call.
#[derive(Args, Debug)]
pub struct Show {
    /// A path, or the name of a script or module of the site or of those built in.
    #[arg(required_unless_present = "api", conflicts_with = "api")]
    script: Option<String>,
    /// What scripts may call: everything, a namespace (docker), a function (docker::stop) or a type (Container).
    #[arg(long, value_name = "TOPIC", num_args = 0..=1, default_missing_value = "")]
    api: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Show {
    pub fn execute(self, places: Places) -> anyhow::Result<Exit> {
        // What only tests may call as well.
        let language = Language::with(places.clone(), Arc::new(Silent), None, |all| testing::register(all, None));
        match self.script {
            Some(script) => show(&language, &places.script(&script)?, self.format),
            None => api(&language, self.api.as_deref().filter(|topic| !topic.is_empty()), self.format),
        }
    }
}

fn show(language: &Language, source: &Source, format: Format) -> anyhow::Result<Exit> {
    let ast = match language.compile(source) {
        Ok(ast) => ast,
        Err(error) => return Ok(unreadable(language, source, &error)),
    };
    let description = describe::describe(language, source, Tree::new(&ast));
    match format {
        Format::Text => output::print(&description.render()),
        Format::Json => output::print(&format!("{}\n", description.to_json())),
    }
    Ok(Exit::Done)
}

fn unreadable(language: &Language, source: &Source, error: &EvalAltResult) -> Exit {
    let report = errors::report(error, &source.id, &language.sources, &language.reference);
    output::complain(&report.render_within(style::columns(), &Redactor::default()));
    report.kind.into()
}

fn api(language: &Language, topic: Option<&str>, format: Format) -> anyhow::Result<Exit> {
    let reference = &language.reference;
    let text = match format {
        Format::Json => Some(format!("{}\n", describe::api_json(reference))),
        Format::Text => describe::api(reference, topic),
    };
    let text = text.ok_or_else(|| {
        let topic = topic.unwrap_or_default();
        let topics = describe::topics(reference);
        let hint = errors::did_you_mean(topic, topics.iter().map(String::as_str));
        let hint = hint.unwrap_or_else(|| "`pgscript show --api` shows everything".into());
        Error::usage("show.unknown_topic", format!("nothing is called `{topic}`")).hint(hint)
    })?;
    output::print(&text);
    Ok(Exit::Done)
}
