//! The identity of the cluster: its name and address, once for the process.

use serde::Deserialize;

use super::profile::ClusterSettings;

/// Which cluster it is. Both parts may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// `orchestrator.cluster.name`
    pub name: String,
    /// `orchestrator.cluster.url`
    pub url: String,
}

/// Where the identity may stand, as far as each place could be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClusterSources<'a> {
    /// Of a kubeconfig that is used: the entry of the cluster whose server is the one that is
    /// asked, as its name and server.
    pub kubeconfig: Option<(&'a str, &'a str)>,
    /// `ClusterConfiguration` of the ConfigMap `kubeadm-config`; `None` also with `use_kubeadm`
    /// off.
    pub kubeadm: Option<&'a str>,
    /// The value that `cluster.config_map` names.
    pub config_map: Option<&'a str>,
}

/// What is read of kubeadm's configuration.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClusterConfiguration {
    cluster_name: Option<String>,
    control_plane_endpoint: Option<String>,
}

impl ClusterIdentity {
    /// The identity by the first place that knows one. What the settings say comes before
    /// everything, each part by itself.
    pub fn choose(settings: &ClusterSettings, sources: ClusterSources<'_>) -> Self {
        let kubeconfig = sources.kubeconfig.map(|(name, url)| Self::of(name, url));
        let kubeadm = || sources.kubeadm.and_then(Self::of_kubeadm);
        let config_map = || sources.config_map.map(|name| Self::of(name.trim(), ""));
        let found = kubeconfig.or_else(kubeadm).or_else(config_map);
        let found = found.unwrap_or_default();
        let or = |setting: &String, found| match setting.is_empty() {
            true => found,
            false => setting.clone(),
        };
        Self {
            name: or(&settings.name, found.name),
            url: or(&settings.url, found.url),
        }
    }

    fn of(name: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
        }
    }

    fn of_kubeadm(text: &str) -> Option<Self> {
        let read: ClusterConfiguration = serde_saphyr::from_str(text).ok()?;
        let found = Self {
            name: read.cluster_name.unwrap_or_default(),
            url: read.control_plane_endpoint.unwrap_or_default(),
        };
        (found != Self::default()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBEADM: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
        clusterName: prod\ncontrolPlaneEndpoint: api.example:6443\nnetworking: {podSubnet: x}\n";

    #[test]
    fn the_first_place_that_knows_the_cluster_names_it() {
        let set = ClusterSettings {
            name: "set".to_owned(),
            ..ClusterSettings::default()
        };
        let unset = ClusterSettings::default();
        let kubeconfig = Some(("kind", "https://kind:6443"));
        for (settings, kubeconfig, kubeadm, config_map, name, url) in [
            (
                &set,
                kubeconfig,
                Some(KUBEADM),
                Some("m"),
                "set",
                "https://kind:6443",
            ),
            (
                &unset,
                kubeconfig,
                Some(KUBEADM),
                None,
                "kind",
                "https://kind:6443",
            ),
            (
                &unset,
                None,
                Some(KUBEADM),
                Some("m"),
                "prod",
                "api.example:6443",
            ),
            (&unset, None, Some("clusterName: only"), None, "only", ""),
            (
                &unset,
                None,
                Some("kubernetesVersion: v1"),
                Some(" m\n"),
                "m",
                "",
            ),
            (&unset, None, Some("{"), None, "", ""),
            (&set, None, None, None, "set", ""),
        ] {
            let sources = ClusterSources {
                kubeconfig,
                kubeadm,
                config_map,
            };
            let found = ClusterIdentity::choose(settings, sources);
            assert_eq!(
                (found.name.as_str(), found.url.as_str()),
                (name, url),
                "{sources:?}"
            );
        }
    }
}
