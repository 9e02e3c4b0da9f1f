//! Which node the process runs on.

/// What is known for it, as far as it could be found out.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeFacts<'a> {
    /// The settings' `node`, or `--node-name`; empty is not set.
    pub configured: &'a str,
    /// The process runs in a pod, and its kubeconfig does not come from a file.
    pub in_cluster: bool,
    /// `spec.nodeName` of the own pod: `None` if the pod or its namespace cannot be read.
    pub own_pod: Option<&'a str>,
    /// The variable `NODE_NAME`.
    pub variable: Option<&'a str>,
    /// The name of the node whose `status.nodeInfo.machineID` is this machine's.
    pub by_machine_id: Option<&'a str>,
}

/// The node cannot be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the relay does not know its own node. Set `node`, `--node-name` or the variable NODE_NAME."
)]
pub struct UnknownNode;

/// The name of the own node, by the first place that knows it. An empty name is none.
///
/// # Errors
/// No place knows it.
pub fn discover<'a>(facts: &NodeFacts<'a>) -> Result<&'a str, UnknownNode> {
    let places = [
        Some(facts.configured),
        facts.own_pod.filter(|_| facts.in_cluster),
        facts.variable,
        facts.by_machine_id,
    ];
    let known = |name: &&str| !name.is_empty();
    places.into_iter().flatten().find(known).ok_or(UnknownNode)
}
