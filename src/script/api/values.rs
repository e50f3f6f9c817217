//! JSON and Rhai values, both ways.

use std::sync::Arc;

use rhai::{Array, Dynamic, Map};
use serde_json::{Number, Value};

use crate::world::{Error, Result, Secret};

/// JSON as a script's value: objects become maps, null becomes `()`, integers beyond 64 bits become floats.
pub fn from_json(value: Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(b) => b.into(),
        Value::Number(n) => n.as_i64().map_or_else(|| n.as_f64().unwrap_or(f64::NAN).into(), Dynamic::from),
        Value::String(s) => s.into(),
        Value::Array(items) => items.into_iter().map(from_json).collect::<Array>().into(),
        Value::Object(object) => from_object(object).into(),
    }
}

/// A JSON object as a map.
pub fn from_object(object: serde_json::Map<String, Value>) -> Map {
    object.into_iter().map(|(key, value)| (key.into(), from_json(value))).collect()
}

/// A handle as a script's value: shared, for scripts pass it on by value.
pub fn handle<T: Send + Sync + 'static>(value: T) -> Dynamic {
    Dynamic::from(Arc::new(value))
}

/// Anything that serialises, as a script's value.
pub fn from_serde<T: serde::Serialize>(value: &T) -> Dynamic {
    serde_json::to_value(value).map_or(Dynamic::UNIT, from_json)
}

/// A script's value as JSON. Only plain data: a handle, function or secret is an error that names where it is.
pub fn to_json(value: &Dynamic) -> Result<Value> {
    convert(value, "value")
}

/// As [`to_json`], for a part of a value that errors call `place`.
pub fn to_json_at(value: &Dynamic, place: &str) -> Result<Value> {
    convert(value, place)
}

/// A map as a JSON object.
pub fn to_object(map: &Map) -> Result<serde_json::Map<String, Value>> {
    map.iter().map(|(key, value)| Ok((key.to_string(), convert(value, key)?))).collect()
}

fn convert(value: &Dynamic, place: &str) -> Result<Value> {
    if value.is_shared() {
        return convert(&value.flatten_clone(), place);
    }
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(b) = value.as_bool() {
        return Ok(b.into());
    }
    if let Ok(i) = value.as_int() {
        return Ok(i.into());
    }
    if let Ok(f) = value.as_float() {
        let not_finite = || Error::failed("script.not_plain", format!("{place}: {f} has no JSON form"));
        return Number::from_f64(f).map(Value::Number).ok_or_else(not_finite);
    }
    if value.is_string() || value.is_char() {
        return Ok(value.to_string().into());
    }
    if let Some(items) = value.read_lock::<Array>() {
        let convert_item = |(i, item): (usize, &Dynamic)| convert(item, &format!("{place}[{i}]"));
        return items.iter().enumerate().map(convert_item).collect::<Result<Vec<_>>>().map(Value::Array);
    }
    if let Some(map) = value.read_lock::<Map>() {
        let pairs = map.iter().map(|(key, item)| Ok((key.to_string(), convert(item, &format!("{place}.{key}"))?)));
        return pairs.collect::<Result<serde_json::Map<_, _>>>().map(Value::Object);
    }
    let kind = if value.is::<Secret>() { "a secret" } else { super::type_name(value.type_name()) };
    Err(Error::failed("script.not_plain", format!("{place} is {kind}, which has no plain form")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_survives_the_way_into_a_script_and_back() {
        let json = serde_json::json!({"a": [1, 2.5, "x", null, true], "b": {"c": ""}});
        assert_eq!(to_json(&from_json(json.clone())).unwrap(), json);
    }

    #[test]
    fn a_secret_is_refused_by_name() {
        let map = Map::from([("password".into(), Dynamic::from(Secret::new("hunter22")))]);
        let error = to_json(&map.into()).unwrap_err();
        assert_eq!(error.message, "value.password is a secret, which has no plain form");
    }
}
