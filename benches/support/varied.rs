//! A cluster unlike the simulated one: texts of other shapes and lengths, more of them distinct
//! (an image by digest for each ReplicaSet), one to three containers, and pods that come in no
//! order.

use k8s_relay::{
    proto::{
        ContainerInfo, Info, OwnerInfo, PodInfo, ReplicaSetInfo,
        info::{Event, Type},
    },
    sim::cluster::sent_as,
};

/// The Infos of a first list, and how many messages describe its pods.
pub struct Varied {
    /// ReplicaSets, then pods.
    pub list: Vec<Info>,
    /// Pods in it.
    pub pods: u64,
    /// Containers of these.
    pub containers: u64,
}

const WORDS: [&str; 32] = [
    "checkout", "cart", "payment", "ledger", "search", "index", "ingest", "relay", "billing",
    "invoice", "auth", "session", "gateway", "edge", "proxy", "cache", "store", "catalog",
    "product", "price", "stock", "order", "ship", "track", "notify", "mail", "push", "event",
    "batch", "cron", "metric", "audit",
];

const STAGES: [&str; 4] = ["prod", "staging", "canary", "dev"];

const SIDECARS: [(&str, &str); 2] = [
    ("istio-proxy", "docker.io/istio/proxyv2:1.24.1"),
    (
        "otel",
        "public.ecr.aws/aws-observability/aws-otel-collector:v0.41.1",
    ),
];

/// The letters and digits of generated names.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

const HEX: &[u8] = b"0123456789abcdef";

/// What the pods of a ReplicaSet have in common.
struct Template {
    owner: OwnerInfo,
    namespace: String,
    version: String,
    containers: Vec<(String, String)>,
}

impl Varied {
    /// So many ReplicaSets and pods; the same each time.
    pub fn new(replica_sets: usize, pods: usize) -> Self {
        let mut chance = Chance(7);
        let namespaces: Vec<String> = (0..350)
            .map(|_| {
                let [a, b] = [chance.of(&WORDS), chance.of(&WORDS)];
                format!("{a}-{b}-{}", chance.of(&STAGES))
            })
            .collect();
        let mut list = Vec::with_capacity(replica_sets + pods);
        let templates: Vec<Template> = (0..replica_sets)
            .map(|_| {
                let (template, info) = replica_set(&mut chance, &namespaces);
                list.push(info);
                template
            })
            .collect();
        let mut containers = 0;
        let mut numbers: Vec<usize> = (0..pods).collect();
        for last in (1..pods).rev() {
            numbers.swap(last, chance.below(last + 1));
        }
        for number in numbers {
            let template = &templates[number % replica_sets];
            containers += template.containers.len() as u64;
            list.push(pod(&mut chance, template, number));
        }
        Self {
            list,
            pods: pods as u64,
            containers,
        }
    }

    /// The pods, described again as they are.
    pub fn updates(&self) -> impl Iterator<Item = Info> {
        let pods = self.list.iter().filter(|info| info.pod_info.is_some());
        pods.map(|info| sent_as(Event::Modified, info.clone()))
    }

    /// Messages that announce all pods and their containers.
    pub fn messages(&self) -> u64 {
        self.pods + self.containers
    }
}

fn replica_set(chance: &mut Chance, namespaces: &[String]) -> (Template, Info) {
    let [a, b] = [chance.of(&WORDS), chance.of(&WORDS)];
    let deployment = format!("{a}-{b}-{}", chance.text(SAFE, 3));
    let namespace = namespaces[chance.below(namespaces.len())].clone();
    let account = 100_000_000_000 + chance.next() % 900_000_000_000;
    let digest = chance.text(HEX, 64);
    let image = format!(
        "{account}.dkr.ecr.eu-west-1.amazonaws.com/{namespace}/{deployment}@sha256:{digest}"
    );
    let mut containers = vec![(deployment.clone(), image)];
    let sidecars = SIDECARS.iter().take(chance.below(SIDECARS.len() + 1));
    containers.extend(sidecars.map(|(name, image)| ((*name).to_owned(), (*image).to_owned())));
    let images: Vec<_> = containers.iter().map(|(_, image)| image.as_str()).collect();
    let template = Template {
        owner: OwnerInfo {
            uid: chance.uuid(),
            name: format!("{deployment}-{}", chance.text(SAFE, 10)),
            kind: "ReplicaSet".to_owned(),
        },
        version: format!("'{}'", images.join("';'")),
        namespace,
        containers,
    };
    let info = Info {
        r#type: Type::K8sReplicaset.into(),
        event: Event::Added.into(),
        rs_info: Some(ReplicaSetInfo {
            uid: template.owner.uid.clone(),
            owner: Some(OwnerInfo {
                uid: chance.uuid(),
                name: deployment,
                kind: "Deployment".to_owned(),
            }),
        }),
        ..Info::default()
    };
    (template, info)
}

fn pod(chance: &mut Chance, template: &Template, number: usize) -> Info {
    let containers = template
        .containers
        .iter()
        .map(|(name, image)| ContainerInfo {
            id: format!("containerd://{}", chance.text(HEX, 64)),
            name: name.clone(),
            image: image.clone(),
        });
    let container_infos = containers.collect();
    let [a, b, c] = [number >> 16 & 255, number >> 8 & 255, number & 255];
    Info {
        r#type: Type::K8sPod.into(),
        event: Event::Added.into(),
        pod_info: Some(PodInfo {
            uid: chance.uuid(),
            ip: format!("10.{a}.{b}.{c}"),
            owner: Some(template.owner.clone()),
            ns: template.namespace.clone(),
            name: format!("{}-{}", template.owner.name, chance.text(SAFE, 5)),
            version: template.version.clone(),
            container_infos,
            ..PodInfo::default()
        }),
        ..Info::default()
    }
}

/// Numbers without a pattern, the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len())]
    }

    fn text(&mut self, letters: &[u8], length: usize) -> String {
        (0..length)
            .map(|_| char::from(letters[self.below(letters.len())]))
            .collect()
    }

    fn uuid(&mut self) -> String {
        let parts = [8, 4, 3, 3, 12].map(|length| self.text(HEX, length));
        let [a, b, c, d, e] = parts;
        format!("{a}-{b}-4{c}-a{d}-{e}")
    }
}
