#![allow(clippy::unwrap_used)]

use std::path::Path;

use saphyr::{LoadableYamlNode as _, Scalar, Yaml};

use super::*;
use crate::config::{FromFile, relay_command};

/// What keeps a value from fitting a schema, by the words that are used here.
fn misfit(schema: &Value, value: &Value, at: &str) -> Option<String> {
    let has_type = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no such type: {other}"),
    };
    let none = Map::new();
    for (word, rule) in schema.as_object().unwrap() {
        let fits = match word.as_str() {
            "type" => match rule {
                Value::Array(types) => types.iter().any(|one| has_type(one.as_str().unwrap())),
                one => has_type(one.as_str().unwrap()),
            },
            "enum" => rule.as_array().unwrap().contains(value),
            "anyOf" => {
                let rules = rule.as_array().unwrap();
                rules.iter().any(|one| misfit(one, value, at).is_none())
            }
            "pattern" => value.as_str().is_none_or(|text| {
                let pattern = regex_automata::meta::Regex::new(rule.as_str().unwrap()).unwrap();
                pattern.is_match(text)
            }),
            "maxLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() as u64 <= rule.as_u64().unwrap()),
            "minItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
            "items" => {
                let mut items = value.as_array().into_iter().flatten();
                match items.find_map(|item| misfit(rule, item, at)) {
                    Some(why) => return Some(why),
                    None => true,
                }
            }
            "required" => value.as_object().is_none_or(|fields| {
                let mut names = rule.as_array().unwrap().iter();
                names.all(|name| fields.contains_key(name.as_str().unwrap()))
            }),
            "propertyNames" => {
                let mut names = value.as_object().into_iter().flat_map(Map::keys);
                names.all(|name| misfit(rule, &json!(name), at).is_none())
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    let inner = value.get(name);
                    let why = inner.and_then(|inner| misfit(rule, inner, name));
                    if why.is_some() {
                        return why;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                let known = known.unwrap_or(&none);
                let fields = value.as_object().unwrap_or(&none);
                let mut others = fields.iter().filter(|(name, _)| !known.contains_key(*name));
                match rule {
                    Value::Bool(false) => others.next().is_none(),
                    rule => others.all(|(name, inner)| misfit(rule, inner, name).is_none()),
                }
            }
            "$schema" | "title" | "description" | "default" | "deprecated" => true,
            other => panic!("no such word: {other}"),
        };
        if !fits {
            return Some(format!("`{at}` is {value}, which {word} {rule} rules out"));
        }
    }
    None
}

/// As JSON sees it, with numbers and booleans.
fn typed(text: &str) -> Value {
    let documents = Yaml::load_from_str(text).unwrap();
    documents.first().map_or(Value::Null, json_of)
}

fn json_of(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Sequence(items) => items.iter().map(json_of).collect(),
        Yaml::Mapping(fields) => {
            let text = |key: &Yaml<'_>| json_of(key).as_str().unwrap().to_owned();
            let fields = fields.iter();
            let fields = fields.map(|(key, value)| (text(key), json_of(value)));
            Value::Object(fields.collect())
        }
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(one)) => (*one).into(),
        Yaml::Value(Scalar::Integer(one)) => (*one).into(),
        Yaml::Value(Scalar::FloatingPoint(one)) => one.into_inner().into(),
        Yaml::Value(Scalar::String(one)) => one.as_ref().into(),
        other => panic!("not resolved: {other:?}"),
    }
}

/// What the reader says of a file; nothing if it takes it.
fn mistakes(text: &str) -> Vec<String> {
    let read = FromFile::parse(Path::new("f"), text.as_bytes(), &relay_command());
    read.err().unwrap_or_default()
}

fn check(text: &str) {
    assert_eq!(mistakes(text), [""; 0], "{text}");
    let why = misfit(&schema(&relay_command()), &typed(text), "the file");
    assert_eq!(why, None, "{text}");
}

/// Texts of which each setting takes one.
const TEXTS: [&str; 11] = [
    "7",
    "61s",
    "1s",
    "x",
    "tcp",
    "aws",
    "curl",
    "app=web",
    "'[::1]:7'",
    "http://localhost:7",
    "{host: a, port: 1}",
];

#[test]
fn every_key_of_the_schema_is_one_for_the_reader_with_a_value_that_fits() {
    let schema = schema(&relay_command());
    for (name, rule) in schema["properties"].as_object().unwrap() {
        let known = rule.get("enum").and_then(Value::as_array);
        let known = known.into_iter().flatten().filter_map(Value::as_str);
        let texts = known.chain(["true"]).chain(TEXTS);
        let mut files = texts.map(|text| format!("{name}: {text}"));
        let fits = |file: &String| {
            mistakes(file).is_empty() && misfit(&schema, &typed(file), "the file").is_none()
        };
        let is_map = rule["type"][0] == "object";
        assert!(files.any(|file| fits(&file)) || is_map, "{name}");
    }
    check("labels: {environment: staging, zone: 1.10, empty: , on: true}");
}

#[test]
fn every_key_of_the_reader_is_one_of_the_schema() {
    let schema = schema(&relay_command());
    let command = relay_command();
    let settings = command.get_arguments().filter(|arg| is_setting(arg));
    let names = settings.flat_map(|arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        arg.get_long().into_iter().chain(aliases)
    });
    let all: Vec<&str> = names.chain(SECTIONS).chain([ENRICHMENT]).collect();
    let keys: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), all.len());
    for name in all {
        assert!(keys.iter().any(|key| *key == name), "{name}");
    }
}

#[test]
fn what_is_no_setting_or_has_no_such_value_does_not_fit() {
    let schema = schema(&relay_command());
    for file in [
        "sorce: native",
        "config-file: x",
        "json: true",
        "source: natives",
        "relist-resync: yes please",
        "page-size: many",
        "owner-wait: 60",
        "intake: {host: a}",
        "intake: {host: a, port: 1, prot: 2}",
        "labels: [a]",
        "enrichment: {profile: a}",
        "namespace: []",
        "context: {a: b}",
        "[]",
    ] {
        let why = misfit(&schema, &typed(file), "the file");
        assert!(why.is_some() && !mistakes(file).is_empty(), "{file}");
    }
}

#[test]
fn the_documents_examples_fit() {
    let document = include_str!("../../docs/configuration.md");
    let examples: Vec<&str> = document
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(!examples.is_empty());
    examples.into_iter().for_each(check);
    check("");
}
