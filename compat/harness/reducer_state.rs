//! What a reducer knows, in the lines of the messages that would produce it.

use k8s_relay::{sim::reducer_state::ReducerState, wire::json::text};
use serde_json::{Map, Value};

use super::outcome::line;

/// Each pod by uid, and its containers after it; of the namespaces that are asked for.
pub fn lines(reducer_state: &ReducerState, namespaces: impl Fn(&[u8]) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (uid, pod) in reducer_state.sorted() {
        if !namespaces(pod.ns()) {
            continue;
        }
        lines.push(message(
            "pod_new_with_name",
            [
                ("owner_kind", pod.owner_kind.into()),
                ("is_host_network", pod.is_host_network.into()),
                ("uid", text(uid)),
                ("owner_name", text(pod.owner_name())),
                ("pod_name", text(pod.pod_name())),
                ("owner_uid", text(pod.owner_uid())),
                ("ns", text(pod.ns())),
                ("version", text(pod.version())),
                ("ip_u32", u32::from_le_bytes(pod.ip.octets()).into()),
                ("ip", pod.ip.to_string().into()),
            ],
        ));
        for container in pod.containers() {
            lines.push(message(
                "pod_container",
                [
                    ("uid", text(uid)),
                    ("container_id", text(container.received_id())),
                    ("container_name", text(container.name())),
                    ("container_image", text(container.image())),
                ],
            ));
        }
    }
    lines
}

fn message<const N: usize>(name: &str, fields: [(&str, Value); N]) -> String {
    let name = [("msg", name.into())];
    let fields = name.into_iter().chain(fields);
    let fields: Map<String, Value> = fields.map(|(key, value)| (key.to_owned(), value)).collect();
    line(&fields)
}
