//! `ui::`: speaking to the operator.

use rhai::{Array, Dynamic, Map};

use super::Registrar;
use super::call::Call;
use crate::event::Event;
use crate::script::record::Entry;
use crate::world::{Error, Result};

pub fn register(registrar: &mut Registrar) {
    registrar.namespace("ui", "Speaks to the operator.", |namespace| {
        namespace.function("say(text: string)", "Tells the operator something.", |call| {
            let text = call.value("text").to_string();
            call.session.emit(Event::Say { text });
            Ok(Dynamic::UNIT)
        });
        namespace.function("warn(text: string)", "Tells the operator something that must not be missed.", |call| {
            let text = call.value("text").to_string();
            call.session.emit(Event::Warn { text });
            Ok(Dynamic::UNIT)
        });
        namespace.function(
            "confirm(question: string) -> bool",
            "Asks a yes-or-no question. `--yes` answers it with yes; without a terminal it is an error.",
            |call| Ok(confirm(call)?.into()),
        );
        namespace.effect(
            "manual(instruction: string)",
            "Asks the operator to do something by hand and waits until it is said to be done. `--yes` does not \
             answer it. Check afterwards that it was done.",
            |call| {
                let instruction = call.string("instruction")?;
                // What the operator does by hand is for the step's undo to take back.
                call.effect(format!("by hand: {}", instruction.lines().next().unwrap_or_default()))?;
                call.session.prompter.manual(&instruction)?;
                Ok(Dynamic::UNIT)
            },
        );
        namespace.function(
            "table(title: string, columns: Array, rows: Array)",
            "Shows a table. A row is an array of values in the columns' order, or a map with the columns' names.",
            |call| {
                let event = table(call)?;
                call.session.emit(event);
                Ok(Dynamic::UNIT)
            },
        );
    });
}

/// Outside a step the answer is journalled: a resumed run does not ask again.
fn confirm(call: &Call<'_>) -> Result<bool> {
    let question = call.string("question")?;
    let session = call.session;
    if session.steps().is_inside() {
        session.check_reading()?;
        return session.prompter.confirm(&question);
    }
    if let Some(answer) = session.record.answer(&question) {
        return Ok(answer);
    }
    session.check_reading()?;
    let yes = session.prompter.confirm(&question)?;
    session.write(Entry::Answer { question, yes })?;
    Ok(yes)
}

fn table(call: &Call<'_>) -> Result<Event> {
    let columns = call.strings("columns")?;
    let rows = call.get::<Array>("rows")?.into_iter().enumerate();
    let rows = rows.map(|(index, value)| row(index, value, &columns)).collect::<Result<_>>()?;
    Ok(Event::Table { title: call.string("title")?, columns, rows })
}

fn row(index: usize, value: Dynamic, columns: &[String]) -> Result<Vec<String>> {
    if let Some(map) = value.read_lock::<Map>() {
        return Ok(columns.iter().map(|c| map.get(c.as_str()).map(cell).unwrap_or_default()).collect());
    }
    let cells = value.try_cast::<Array>().filter(|cells| cells.len() == columns.len());
    let cells = cells.ok_or_else(|| {
        let message = format!("ui::table: row {} is neither a map nor an array of {} values", index + 1, columns.len());
        Error::failed("script.wrong_type", message)
    })?;
    Ok(cells.iter().map(cell).collect())
}

/// `()` shows as an empty cell.
fn cell(value: &Dynamic) -> String {
    if value.is_unit() { String::new() } else { value.to_string() }
}
