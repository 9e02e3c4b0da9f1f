//! The config file as a JSON schema, for editors and for whoever checks files before they are
//! deployed. It is made of the definitions of the flags, as everything about settings is.
//!
//! Invariant: what is a key here is a key for the reader of the file, and the other way round.
//! A value that the reader takes fits; not every value that fits is taken, for many rules of flags
//! (bounds, forms of addresses) are known to their own parsers alone.

use std::{any::TypeId, time::Duration};

use clap::{Arg, Command, builder::PossibleValue};
use serde_json::{Map, Value, json};

use super::{
    from_file::{ENRICHMENT, MAX_LABEL_KEY, MAX_LABEL_VALUE, SECTIONS},
    settings::{is_setting, is_switch, refusal, takes_many},
    values::Heartbeat,
};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a file for a program with these flags.
pub(crate) fn schema(command: &Command) -> Value {
    let command = command
        .clone()
        .mut_args(|arg| arg.env(None::<&'static str>));
    let mut properties = Map::new();
    for section in SECTIONS.into_iter().chain([ENRICHMENT]) {
        properties.insert(section.to_owned(), of_section(section, &command));
    }
    for arg in command.get_arguments().filter(|arg| is_setting(arg)) {
        let mut of_flag = described(arg, of_values(arg, &command));
        let name = arg.get_long().unwrap_or_default();
        properties.insert(name.to_owned(), of_flag.clone());
        if let Some(of_flag) = of_flag.as_object_mut() {
            of_flag.insert("deprecated".to_owned(), true.into());
        }
        for alias in arg.get_all_aliases().unwrap_or_default() {
            properties.insert(alias.to_owned(), of_flag.clone());
        }
    }
    json!({
        "$schema": DIALECT,
        "title": "Config file of k8s-relay",
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
    })
}

/// What a section of the file holds that no flag has.
fn of_section(section: &str, command: &Command) -> Value {
    let of_flag = |id: &str| {
        let arg = command.get_arguments().find(|arg| arg.get_id() == id);
        arg.map(|arg| described(arg, of_values(arg, command)))
    };
    match section {
        "intake" => json!({
            "description": "Where the reducer is, as intake-host and intake-port say it",
            "type": "object",
            "properties": { "host": of_flag("intake_host"), "port": of_flag("intake_port") },
            "required": ["host", "port"],
            "additionalProperties": false,
        }),
        // Keys of a profile may be nested or dotted, and a block of Metricbeat is a list of one.
        ENRICHMENT => json!({
            "description": "Profiles of metadata; docs/enrichment.md has the keys of a profile",
            "type": ["object", "null"],
            "properties": {
                "address": of_flag("enrich_address"),
                "default_profile": { "type": ["string", "null"] },
                "profiles": {
                    "type": ["object", "null"],
                    "additionalProperties": { "type": ["object", "array", "null"] },
                },
            },
            "additionalProperties": false,
        }),
        _ => json!({
            "description": "Labels that the reducer is sent",
            "type": ["object", "null"],
            "propertyNames": { "maxLength": MAX_LABEL_KEY },
            "additionalProperties": {
                "type": ["string", "number", "boolean", "null"],
                "maxLength": MAX_LABEL_VALUE,
            },
        }),
    }
}

/// What may stand at the flag's key.
fn of_values(arg: &Arg, command: &Command) -> Value {
    let one = of_value(arg, command);
    match takes_many(arg) {
        true => json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] }),
        false => one,
    }
}

fn of_value(arg: &Arg, command: &Command) -> Value {
    if is_switch(arg) {
        return json!({ "type": "boolean" });
    }
    let known = arg.get_possible_values();
    if !known.is_empty() {
        let names: Vec<&str> = known
            .iter()
            .flat_map(PossibleValue::get_name_and_aliases)
            .collect();
        return json!({ "enum": names });
    }
    let takes = |text: &str| refusal(command, arg, &text.into()).is_none();
    let kind = arg.get_value_parser().type_id();
    let is_number = takes("7") && !takes("x");
    let is_duration = kind == TypeId::of::<Duration>() && !is_number;
    if is_duration {
        json!({ "type": "string", "pattern": "^ *[0-9]+ *[a-zA-Z]" })
    } else if is_number || kind == TypeId::of::<Heartbeat>() {
        json!({ "type": ["integer", "string"], "pattern": "^[-+]?[0-9]+$" })
    } else {
        // A text is what is written: `1.10` and `true` are, too.
        json!({ "type": ["string", "number", "boolean"] })
    }
}

/// With what the help says.
fn described(arg: &Arg, mut schema: Value) -> Value {
    let Some(fields) = schema.as_object_mut() else {
        return schema;
    };
    let about = arg.get_long_help().or(arg.get_help());
    if let Some(about) = about {
        fields.insert("description".to_owned(), about.to_string().into());
    }
    if let Some(default) = arg.get_default_values().first() {
        let default = default.to_string_lossy();
        let number = default.parse::<i64>().ok();
        let default = match number.filter(|_| fields.contains_key("pattern")) {
            Some(number) => number.into(),
            None => Value::from(default),
        };
        if !is_switch(arg) {
            fields.insert("default".to_owned(), default);
        }
    }
    schema
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
