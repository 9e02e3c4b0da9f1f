//! The uses of profiles.

use super::{Registry, Scope};
use crate::enrich::{
    profile::{Profile, ProfileSet, ScopeSetting, Watch},
    resource::Resource,
};

impl Registry {
    /// Holds what these profiles need, and from then on nothing for the profiles before. The name
    /// of each profile's node has been found out. Returns at once; may be called again and again.
    pub fn apply(&self, set: &ProfileSet) {
        let inner = &self.inner;
        let retention = set.retention();
        let lingers = set.profiles.iter().map(|(_, profile)| profile.watch_linger);
        {
            let mut state = inner.state();
            state.linger = lingers.max().unwrap_or(state.linger);
            state.retention = retention;
        }
        for store in &inner.stores {
            store.write().index.set_retention(retention);
        }
        // All of them come before one starts: what is to be kept is known then.
        let mut uses = Vec::new();
        for (name, profile) in &set.profiles {
            for watch in profile.watches() {
                let scope = scope(profile, watch);
                let needs = profile.needs(watch.resource);
                let user = inner.register(watch.resource, scope, needs, name);
                uses.push((watch.resource, user));
            }
        }
        for (resource, user) in &uses {
            inner.start(*resource, *user);
        }
        let before = std::mem::replace(&mut inner.state().profiles, uses);
        for (resource, user) in before {
            inner.release(resource, user);
        }
    }
}

fn scope(profile: &Profile, watch: Watch) -> Scope {
    let node = match &profile.scope {
        ScopeSetting::Node(node) if !node.is_empty() => Some(node),
        ScopeSetting::Node(_) | ScopeSetting::Cluster => None,
    };
    // Nodes that are only joined into what is said of the pods of one node.
    let is_only_joined = watch.resource == Resource::Node
        && !profile.lookups.contains(&Resource::Node)
        && !profile
            .metricsets
            .iter()
            .any(|metricset| metricset.resource() == Resource::Node)
        && profile.watches().iter().any(|other| other.node_scope);
    match (node, profile.watched_namespace.as_str()) {
        // A standby that holds the whole cluster has nothing to list when it is to lead.
        (Some(_), "") if watch.node_scope && profile.warm_cluster_scope => Scope::Cluster,
        (Some(node), _) if watch.node_scope || is_only_joined => Scope::Node(node.clone()),
        (_, "") => Scope::Cluster,
        (_, namespace) => Scope::Namespace(namespace.to_owned()),
    }
}
