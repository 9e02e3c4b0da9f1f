//! The metadata service, for people.

use super::{Cell, StatusText, Table, Tone, counted, harmless, span};
use crate::admin::api::{Enrichment, MetadataStore};

impl StatusText {
    /// Of the service, which may be all there is.
    pub(super) fn enrichment(&mut self, service: &Enrichment) {
        let (address, profiles) = (harmless(&service.address), service.profiles.len() as u64);
        let names = harmless(&service.profiles.join(", "));
        self.line("");
        self.item(
            "metadata",
            &format!(
                "at {address}; {} ({names}), loaded {}",
                counted(profiles, "profile"),
                counted(service.generation, "time"),
            ),
        );
        if let Some(error) = &service.reload_error {
            let text = format!("the settings file is not in effect: {}", harmless(error));
            self.item("", &Tone::Bad.paint(&text));
        }
        if service.stores.is_empty() {
            return;
        }
        let mut table = Table::new(["KIND", "SCOPE", "STATE", "OBJECTS", "LAST CONTACT"]);
        for store in &service.stores {
            let (tone, state) = state(store);
            let contact = store.last_contact_ms;
            let ago = contact.map(|ms| format!("{} ago", span(ms as f64 / 1000.0)));
            table.row([
                harmless(&store.kind).into(),
                harmless(&store.scope).into(),
                Cell::new(tone, state),
                store.objects.into(),
                ago.unwrap_or_else(|| "never".to_owned()).into(),
            ]);
        }
        self.table(&table);
    }
}

fn state(store: &MetadataStore) -> (Tone, String) {
    let state = harmless(&store.state).to_lowercase();
    match (state.as_str(), &store.reason) {
        ("ready", _) => (Tone::Good, state),
        ("degraded", reason) => {
            let reason = harmless(reason.as_deref().unwrap_or("unknown"));
            (Tone::Bad, format!("degraded: {reason}"))
        }
        (_, _) => (Tone::Odd, state),
    }
}

#[cfg(test)]
mod tests {
    use crate::admin::api::{Enrichment, MetadataStore, Status};

    #[test]
    fn a_metadata_service_alone_shows_its_stores_and_nothing_of_a_reducer() {
        let store = |kind: &str, state: &str, reason: Option<&str>, contact| MetadataStore {
            kind: kind.to_owned(),
            scope: "cluster".to_owned(),
            state: state.to_owned(),
            reason: reason.map(str::to_owned),
            objects: 7,
            last_contact_ms: contact,
            ..MetadataStore::default()
        };
        let status = Status {
            version: "1.2.3".to_owned(),
            up_seconds: 61.0,
            alone: true,
            enrichment: Some(Enrichment {
                address: "127.0.0.1:8714".to_owned(),
                generation: 2,
                reload_error: Some("line 3: unknown key \"a\"".to_owned()),
                profiles: vec!["default".to_owned(), "web".to_owned()],
                stores: vec![
                    store("node", "DEGRADED", Some("forbidden"), None),
                    store("pod", "READY", None, Some(1500)),
                ],
                ..Enrichment::default()
            }),
            ..Status::default()
        };
        let shown = anstream::adapter::strip_str(&super::super::status(&status)).to_string();
        insta::assert_snapshot!(shown, @r#"
        k8s-relay 1.2.3, up 1m 1s; a metadata service alone (--source none)

        metadata  at 127.0.0.1:8714; 2 profiles (default, web), loaded 2 times
                  the settings file is not in effect: line 3: unknown key "a"

        KIND   SCOPE     STATE                 OBJECTS   LAST CONTACT
        node   cluster   degraded: forbidden   7         never
        pod    cluster   ready                 7         1.5s ago
        "#);
    }
}
