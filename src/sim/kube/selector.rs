//! Label and field selectors, as far as anybody uses them here.
//!
//! Pure. `key`, `!key`, `key=value`, `key==value`, `key!=value`, `key in (a,b)` and
//! `key notin (a,b)` with commas between them; of fields `metadata.name`,
//! `metadata.namespace`, `spec.nodeName` and `status.phase` with `=`, `==` and `!=`.

use super::objects::{Object, Phase, Pod};

/// What an object must be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Need>,
    fields: Vec<Need>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Need {
    key: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Exists,
    Absent,
    In(Vec<String>),
    /// An object without the key is selected too.
    NotIn(Vec<String>),
}

impl Selector {
    /// Reads the two selectors of a request; empty ones select everything.
    ///
    /// # Errors
    /// One cannot be understood; the text says which and why.
    pub fn parse(labels: &str, fields: &str) -> Result<Self, String> {
        let fields = needs(fields)?;
        let known = |need: &&Need| !FIELDS.contains(&need.key.as_str());
        if let Some(need) = fields.iter().find(known) {
            return Err(format!("field label not supported: {}", need.key));
        }
        Ok(Self {
            labels: needs(labels)?,
            fields,
        })
    }

    /// Whether the object is selected.
    pub fn selects(&self, object: &Object) -> bool {
        self.labels.iter().all(|need| need.met(label(object, need)))
            && self.fields.iter().all(|need| need.met(field(object, need)))
    }
}

const FIELDS: [&str; 4] = [
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "status.phase",
];

impl Need {
    fn met(&self, value: Option<String>) -> bool {
        match &self.what {
            What::Exists => value.is_some(),
            What::Absent => value.is_none(),
            What::In(values) => value.is_some_and(|value| values.contains(&value)),
            What::NotIn(values) => value.is_none_or(|value| !values.contains(&value)),
        }
    }
}

fn label(object: &Object, need: &Need) -> Option<String> {
    match object {
        Object::Manifest(raw) | Object::Raw(raw) => {
            let value = raw.json.get("metadata")?.get("labels")?.get(&need.key)?;
            Some(value.as_str()?.to_owned())
        }
        Object::Pod(_) | Object::Plain(..) => {
            let mut labels = object.meta()?.labels.iter();
            let (_, value) = labels.find(|(key, _)| **key == *need.key)?;
            Some((**value).to_owned())
        }
    }
}

fn field(object: &Object, need: &Need) -> Option<String> {
    if let Object::Manifest(raw) = object {
        let value = raw
            .json
            .pointer(&format!("/{}", need.key.replace('.', "/")));
        let text = value.and_then(serde_json::Value::as_str);
        return Some(text.unwrap_or_default().to_owned());
    }
    let of_pod = |value: fn(&Pod) -> String| object.pod().map(value).unwrap_or_default();
    Some(match need.key.as_str() {
        "metadata.name" => object.name().to_owned(),
        "metadata.namespace" => object.namespace().to_owned(),
        "spec.nodeName" => of_pod(|pod| match pod.phase {
            Phase::Pending => String::new(),
            Phase::Running | Phase::Succeeded => format!("node-{}", pod.node),
        }),
        _ => of_pod(|pod| format!("{:?}", pod.phase)),
    })
}

fn needs(text: &str) -> Result<Vec<Need>, String> {
    let mut needs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        // A comma within parentheses separates values.
        let mut depth = 0_i32;
        let end = rest.find(|letter| {
            depth += match letter {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            letter == ',' && depth == 0
        });
        let (one, after) = match end {
            Some(end) => (&rest[..end], rest[end..].trim_start_matches(',')),
            None => (rest, ""),
        };
        needs.push(need(one.trim()).ok_or_else(|| format!("unable to parse requirement: {one}"))?);
        rest = after.trim();
    }
    Ok(needs)
}

fn need(text: &str) -> Option<Need> {
    let set = |list: &str| -> Option<Vec<String>> {
        let values = list.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(values.split(',').map(|v| v.trim().to_owned()).collect())
    };
    let (key, what) = if let Some((key, list)) = text.split_once(" notin ") {
        (key, What::NotIn(set(list)?))
    } else if let Some((key, list)) = text.split_once(" in ") {
        (key, What::In(set(list)?))
    } else if let Some((key, value)) = text.split_once("!=") {
        (key, What::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (key, What::In(vec![value.trim().to_owned()]))
    } else if let Some(key) = text.strip_prefix('!') {
        (key, What::Absent)
    } else {
        (text, What::Exists)
    };
    let key = key.trim();
    let sound = |text: &str, more: &[u8]| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
        text.bytes().all(letter)
    };
    let sound_values = match &what {
        What::In(values) | What::NotIn(values) => values.iter().all(|value| sound(value, b"-_.")),
        What::Exists | What::Absent => true,
    };
    (!key.is_empty() && sound(key, b"-_./") && sound_values).then(|| Need {
        key: key.to_owned(),
        what,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_selects_what_kubernetes_selects() {
        let pod = Pod::new("shop", "web-1", "u")
            .label("app", "web")
            .label("tier", "front");
        let pod = Object::Pod(pod);
        for (labels, fields, selected) in [
            ("", "", true),
            ("app", "", true),
            ("!app", "", false),
            ("nothing", "", false),
            ("!nothing", "", true),
            ("app=web", "", true),
            ("app==web,tier=back", "", false),
            ("app!=web", "", false),
            ("nothing!=web", "", true),
            ("app in (api, web),tier", "", true),
            ("app notin (api,web)", "", false),
            ("nothing notin (api)", "", true),
            ("", "metadata.name=web-1", true),
            ("", "metadata.namespace!=shop", false),
            ("", "status.phase=Running,spec.nodeName=node-0", true),
            ("", "status.phase=Pending", false),
        ] {
            let selector = Selector::parse(labels, fields).unwrap();
            assert_eq!(selector.selects(&pod), selected, "{labels:?} {fields:?}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for (labels, fields) in [
            ("=web", ""),
            ("a=b=c", ""),
            ("app in web", ""),
            ("a b", ""),
            ("", "spec.schedulerName=x"),
        ] {
            assert!(
                Selector::parse(labels, fields).is_err(),
                "{labels:?} {fields:?}"
            );
        }
    }
}
