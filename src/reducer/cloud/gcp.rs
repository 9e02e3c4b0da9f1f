//! What the answer of a Compute Engine instance means (protocol 7).

use std::net::IpAddr;

use serde_json::Value;

use super::{
    Address, CloudFacts, Interface, Platform,
    form::{Form, last_part},
};

/// Where everything about the instance is had at once.
pub const PATH: &str = "/computeMetadata/v1/instance/?recursive=true";
/// What a request must have, or it is refused, and what only this service's answers have.
pub const FLAVOR: (&str, &str) = ("metadata-flavor", "Google");

/// What the answer says; `None`: it is not an instance's.
///
/// A metadata server for a pod's own identity leaves out most of it, so only one of name, host,
/// zone and type must be there.
pub fn read(answer: &str) -> Option<CloudFacts> {
    let instance: Value = serde_json::from_str(answer).ok()?;
    let text = |key: &str| instance.get(key).and_then(Value::as_str);
    let named = |key: &str, form: Form| {
        let found = text(key).map(last_part).and_then(|text| form.check(text));
        found.unwrap_or_default().to_owned()
    };
    let name = named("name", Form::Name);
    let facts = CloudFacts {
        platform: Platform::Gcp,
        account_id: String::new(),
        zone: named("zone", Form::Name),
        role: role(&instance).unwrap_or_else(|| name.clone()),
        instance_id: named("hostname", Form::Name),
        instance_type: named("machineType", Form::Name),
        interfaces: interfaces(&instance),
    };
    let known = [&name, &facts.zone, &facts.instance_id, &facts.instance_type];
    known.iter().any(|text| !text.is_empty()).then_some(facts)
}

/// The first service account.
fn role(instance: &Value) -> Option<String> {
    let accounts = instance.get("serviceAccounts")?.as_object()?;
    let first = accounts.keys().next()?;
    Form::Account.check(first).map(str::to_owned)
}

fn interfaces(instance: &Value) -> Vec<Interface> {
    let listed = instance.get("networkInterfaces").and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(interface).collect()
}

/// An interface with an address; others are left out.
fn interface(interface: &Value) -> Option<Interface> {
    let text = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
    let network = text(interface, "network").unwrap_or_default();
    let network = Form::Name.check(last_part(&network)).unwrap_or_default();
    let addresses = match text(interface, "ip")?.parse().ok()? {
        IpAddr::V6(address) => vec![Address::V6(address)],
        IpAddr::V4(private) => {
            let configs = interface.get("accessConfigs").and_then(Value::as_array);
            let public = configs
                .into_iter()
                .flatten()
                .filter_map(|config| text(config, "externalIp")?.parse().ok())
                .map(|public| Address::Public { public, private });
            std::iter::once(Address::Private(private))
                .chain(public)
                .collect()
        }
    };
    Some(Interface {
        network: network.to_owned(),
        addresses,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTANCE: &str = r#"{
        "hostname": "node-1.c.project-1.internal",
        "id": 4567890123456789012,
        "machineType": "projects/123456789/machineTypes/e2-standard-4",
        "name": "node-1",
        "networkInterfaces": [
            {
                "accessConfigs": [
                    {"externalIp": "34.1.2.3", "type": "ONE_TO_ONE_NAT"},
                    {"externalIp": "", "type": "ONE_TO_ONE_NAT"}
                ],
                "ip": "10.128.0.2",
                "mac": "42:01:0a:80:00:02",
                "network": "projects/123456789/networks/default"
            },
            {"ip": "2600:1900::5", "network": "projects/123456789/networks/six"},
            {"ip": "somewhere"},
            {}
        ],
        "serviceAccounts": {
            "123456789-compute@developer.gserviceaccount.com": {"aliases": ["default"]},
            "default": {"email": "123456789-compute@developer.gserviceaccount.com"}
        },
        "zone": "projects/123456789/zones/us-central1-a"
    }"#;

    #[test]
    fn an_instance_is_the_last_parts_of_what_it_says() {
        let private = "10.128.0.2".parse().unwrap();
        assert_eq!(
            read(INSTANCE),
            Some(CloudFacts {
                platform: Platform::Gcp,
                account_id: String::new(),
                zone: "us-central1-a".into(),
                role: "123456789-compute@developer.gserviceaccount.com".into(),
                instance_id: "node-1.c.project-1.internal".into(),
                instance_type: "e2-standard-4".into(),
                interfaces: vec![
                    Interface {
                        network: "default".into(),
                        addresses: vec![
                            Address::Private(private),
                            Address::Public {
                                public: "34.1.2.3".parse().unwrap(),
                                private,
                            },
                        ],
                    },
                    Interface {
                        network: "six".into(),
                        addresses: vec![Address::V6("2600:1900::5".parse().unwrap())],
                    },
                ],
            })
        );
    }

    #[test]
    fn without_a_service_account_the_role_is_the_instances_name() {
        for accounts in [
            "",
            r#", "serviceAccounts": {}"#,
            r#", "serviceAccounts": []"#,
        ] {
            let facts = read(&format!(r#"{{"name": "node-1"{accounts}}}"#)).unwrap();
            assert_eq!(facts.role, "node-1");
        }
    }

    #[test]
    fn what_says_nothing_of_an_instance_is_none() {
        for answer in [
            "",
            "{}",
            "[]",
            "null",
            "<html></html>",
            r#"{"id": 7}"#,
            r#"{"name": "<b>", "zone": 7, "hostname": "a b"}"#,
            r#"{"serviceAccounts": {"default": {}}}"#,
        ] {
            assert_eq!(read(answer), None, "{answer}");
        }
    }
}
