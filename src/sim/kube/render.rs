//! The JSON of objects, as an API server of version 1.35 writes it, of a chosen size.
//!
//! Pure. Invariants: the same object and version give the same bytes; texts are escaped as the
//! server escapes them, `<`, `>` and `&` included. Items of a list have no `kind` and `apiVersion`
//! of their own, unless they are `PartialObjectMetadata`.

use std::{
    borrow::Cow,
    fmt::{Display, Write as _},
};

use super::objects::{Container, Meta, Object, Owner, Phase, Pod, Raw, Report};
use crate::model::{Kind, KindTable};

/// When everything in here began.
const BEGAN: &str = "2026-01-15T08:00:00Z";

/// Objects below this size are written without what nobody needs.
const DRESSED: usize = 3_000;

/// How large objects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of a pod with two containers; below 3,000 it has only what somebody needs.
    pub pod: usize,
    /// Bytes of the metadata of a ReplicaSet or Job; small ones as above.
    pub owner: usize,
}

impl Default for Sizes {
    /// What is usual in a cluster.
    fn default() -> Self {
        Self {
            pod: 6_000,
            owner: 1_500,
        }
    }
}

impl Sizes {
    /// No more than what somebody needs.
    pub const SMALL: Self = Self { pod: 0, owner: 0 };
}

/// What is asked for of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// All of it.
    Full,
    /// `PartialObjectMetadata`.
    Metadata,
}

/// Where an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// As an item of a list.
    Item,
    /// By itself.
    Alone,
}

/// Writes objects.
#[derive(Debug)]
pub struct Renderer {
    kinds: KindTable,
    pod_filler: String,
    owner_filler: String,
    dressed: bool,
}

impl Renderer {
    /// Writes objects of these kinds in these sizes.
    pub fn new(kinds: KindTable, sizes: Sizes) -> Self {
        let bare = Self {
            kinds,
            pod_filler: String::new(),
            owner_filler: String::new(),
            dressed: sizes.pod >= DRESSED,
        };
        let rest = |bytes: usize, object: &Object, form| {
            let mut text = String::new();
            bare.object(&mut text, object, 1_000_000, form, Place::Item);
            bytes.saturating_sub(text.len())
        };
        let pod = rest(sizes.pod, &typical_pod(), Form::Full);
        let owner = rest(sizes.owner, &typical_owner(), Form::Metadata);
        Self {
            pod_filler: managed_fields(pod, "kubelet", "status"),
            owner_filler: managed_fields(owner, "kube-controller-manager", ""),
            ..bare
        }
    }

    /// Writes an object as it is at a version.
    pub fn object(
        &self,
        out: &mut String,
        object: &Object,
        version: u64,
        form: Form,
        place: Place,
    ) {
        match object {
            Object::Raw(raw) => return self.raw(out, raw, version),
            Object::Manifest(raw) => return self.manifest(out, raw, version, (form, place)),
            Object::Pod(_) | Object::Plain(..) => {}
        }
        let row = self.kinds.row(object.kind());
        let (kind, api_version) = (&row.kind, row.api_version());
        out.push('{');
        match (form, place) {
            (Form::Metadata, _) => put(
                out,
                r#""kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","#,
            ),
            (Form::Full, Place::Alone) => {
                write(
                    out,
                    format_args!(r#""kind":"{kind}","apiVersion":"{api_version}","#),
                );
            }
            (Form::Full, Place::Item) => {}
        }
        match object {
            Object::Pod(pod) => {
                self.metadata(out, &pod.meta, version, &self.pod_filler);
                if form == Form::Full {
                    self.pod_spec(out, pod);
                    self.pod_status(out, pod);
                }
            }
            Object::Plain(kind, meta) => {
                self.metadata(out, meta, version, &self.owner_filler);
                if form == Form::Full {
                    put(out, rest(*kind));
                }
            }
            Object::Manifest(_) | Object::Raw(_) => {}
        }
        out.push('}');
    }

    /// Kind text and API version of the objects of a kind in this form.
    pub fn called(&self, kind: Kind, form: Form) -> (&str, Cow<'_, str>) {
        let row = self.kinds.row(kind);
        match form {
            Form::Full => (&row.kind, row.api_version()),
            Form::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1".into()),
        }
    }

    /// A bookmark's object: nothing but a version, and perhaps the mark that all initial
    /// events were sent.
    pub fn bookmark(
        &self,
        out: &mut String,
        kind: Kind,
        form: Form,
        version: u64,
        initial_end: bool,
    ) {
        let (name, api_version) = self.called(kind, form);
        write(
            out,
            format_args!(
                r#"{{"kind":"{name}","apiVersion":"{api_version}","metadata":{{"resourceVersion":"{version}""#
            ),
        );
        if initial_end {
            put(
                out,
                r#","annotations":{"k8s.io/initial-events-end":"true"}"#,
            );
        }
        out.push('}');
        put(
            out,
            match (form, kind) {
                (Form::Metadata, _) => "",
                (Form::Full, kind) => rest_of_bookmark(kind),
            },
        );
        out.push('}');
    }

    /// A manifest, or its metadata alone.
    fn manifest(&self, out: &mut String, raw: &Raw, version: u64, (form, place): (Form, Place)) {
        let (kind, api_version) = self.called(raw.kind, form);
        let mut json = raw.json.clone();
        if let Some(members) = json.as_object_mut() {
            members.retain(|key, _| form == Form::Full || key == "metadata");
            let is_named = form == Form::Metadata || place == Place::Alone;
            for (key, value) in [("kind", kind), ("apiVersion", &*api_version)] {
                members.remove(key);
                if is_named {
                    members.insert(key.to_owned(), value.into());
                }
            }
        }
        let raw = Raw {
            json,
            ..raw.clone()
        };
        self.raw(out, &raw, version);
    }

    /// Only the version is ours, if the object has a place for it.
    fn raw(&self, out: &mut String, raw: &Raw, version: u64) {
        let mut json = raw.json.clone();
        let metadata = json.get_mut("metadata");
        if let Some(metadata) = metadata.and_then(serde_json::Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), version.to_string().into());
        }
        write(out, format_args!("{json}"));
    }

    fn metadata(&self, out: &mut String, meta: &Meta, version: u64, filler: &str) {
        put(out, r#""metadata":{"name":"#);
        text(out, &meta.name);
        if !meta.namespace.is_empty() {
            put(out, r#","namespace":"#);
            text(out, &meta.namespace);
        }
        put(out, r#","uid":"#);
        text(out, &meta.uid);
        write(
            out,
            format_args!(
                r#","resourceVersion":"{version}","generation":1,"creationTimestamp":"{BEGAN}""#
            ),
        );
        if meta.terminating {
            write(
                out,
                format_args!(r#","deletionTimestamp":"{BEGAN}","deletionGracePeriodSeconds":30"#),
            );
        }
        if !meta.labels.is_empty() {
            put(out, r#","labels":{"#);
            list(out, &meta.labels, |out, (key, value)| {
                text(out, key);
                out.push(':');
                text(out, value);
            });
            out.push('}');
        }
        if !meta.owners.is_empty() {
            put(out, r#","ownerReferences":["#);
            list(out, &meta.owners, owner);
            out.push(']');
        }
        put(out, filler);
        out.push('}');
    }

    fn pod_spec(&self, out: &mut String, pod: &Pod) {
        put(out, r#","spec":{"#);
        if self.dressed {
            put(out, VOLUMES);
        }
        for (field, containers) in [
            ("initContainers", &pod.init),
            ("containers", &pod.containers),
            ("ephemeralContainers", &pod.ephemeral),
        ] {
            if containers.is_empty() && field != "containers" {
                continue;
            }
            write(out, format_args!(r#""{field}":["#));
            list(out, containers, |out, container| {
                put(out, r#"{"name":"#);
                text(out, &container.name);
                put(out, r#","image":"#);
                text(out, &container.image);
                put(
                    out,
                    if self.dressed {
                        CONTAINER_REST
                    } else {
                        r#","resources":{}}"#
                    },
                );
            });
            put(out, "],");
        }
        if pod.host_network {
            put(out, r#""hostNetwork":true,"#);
        }
        if pod.phase != Phase::Pending {
            write(out, format_args!(r#""nodeName":"node-{}","#, pod.node));
        }
        put(
            out,
            if self.dressed {
                SPEC_REST
            } else {
                r#""restartPolicy":"Always"}"#
            },
        );
    }

    fn pod_status(&self, out: &mut String, pod: &Pod) {
        let phase = match pod.phase {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
        };
        write(out, format_args!(r#","status":{{"phase":"{phase}""#));
        if self.dressed {
            put(out, CONDITIONS);
        }
        if let Some(first) = pod.addresses.first() {
            let host = pod.host_address();
            write(
                out,
                format_args!(r#","hostIP":"{host}","hostIPs":[{{"ip":"{host}"}}],"podIP":"#),
            );
            text(out, first);
            put(out, r#","podIPs":["#);
            list(out, &pod.addresses, |out, address| {
                put(out, r#"{"ip":"#);
                text(out, address);
                out.push('}');
            });
            write(out, format_args!(r#"],"startTime":"{BEGAN}""#));
        }
        for (field, containers) in [
            ("initContainerStatuses", &pod.init),
            ("containerStatuses", &pod.containers),
            ("ephemeralContainerStatuses", &pod.ephemeral),
        ] {
            let reported = |one: &&Container| one.report != Report::None;
            if containers.iter().any(|one| reported(&one)) {
                write(out, format_args!(r#","{field}":["#));
                list(out, containers.iter().filter(reported), container_status);
                out.push(']');
            }
        }
        put(out, r#","qosClass":"Burstable"}"#);
    }
}

fn owner(out: &mut String, owner: &Owner) {
    put(out, r#"{"apiVersion":"#);
    text(out, &owner.api_version);
    put(out, r#","kind":"#);
    text(out, &owner.kind);
    put(out, r#","name":"#);
    text(out, &owner.name);
    put(out, r#","uid":"#);
    text(out, &owner.uid);
    put(
        out,
        if owner.controller {
            r#","controller":true,"blockOwnerDeletion":true}"#
        } else {
            "}"
        },
    );
}

fn container_status(out: &mut String, container: &Container) {
    let id = container.id();
    put(out, r#"{"name":"#);
    text(out, &container.name);
    put(out, r#","state":{"#);
    match &container.report {
        Report::None | Report::Waiting => {
            put(out, r#""waiting":{"reason":"ContainerCreating"}"#);
        }
        Report::Running(_) => write(out, format_args!(r#""running":{{"startedAt":"{BEGAN}"}}"#)),
        Report::Ended(id) => {
            write(
                out,
                format_args!(
                    r#""terminated":{{"exitCode":0,"reason":"Completed","startedAt":"{BEGAN}","finishedAt":"{BEGAN}","containerID":"#
                ),
            );
            text(out, id);
            out.push('}');
        }
    }
    let runs = matches!(container.report, Report::Running(_));
    write(
        out,
        format_args!(
            r#"}},"lastState":{{}},"ready":{runs},"restartCount":{},"image":"#,
            container.restarts
        ),
    );
    text(out, &container.image);
    put(out, r#","imageID":"#);
    match id {
        Some(_) => put(
            out,
            r#""registry.example/image@sha256:0d17b565c37bcbd895e9d92315a05c1c3c9a29f762b011a10c54a66cd53c9b31""#,
        ),
        None => put(out, r#""""#),
    }
    if let Some(id) = id {
        put(out, r#","containerID":"#);
        text(out, id);
    }
    write(out, format_args!(r#","started":{runs}}}"#));
}

/// Writes things with commas between them.
fn list<T>(
    out: &mut String,
    things: impl IntoIterator<Item = T>,
    mut each: impl FnMut(&mut String, T),
) {
    for (number, thing) in things.into_iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        each(out, thing);
    }
}

fn put(out: &mut String, plain: &str) {
    out.push_str(plain);
}

fn write(out: &mut String, what: impl Display) {
    // A `String` takes everything.
    let _ = write!(out, "{what}");
}

/// Writes a text in quotes, escaped as Go escapes it.
pub(super) fn text(out: &mut String, text: &str) {
    out.push('"');
    let special = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
    if text.as_bytes().iter().any(special) {
        for letter in text.chars() {
            match letter {
                '"' => put(out, r#"\""#),
                '\\' => put(out, r"\\"),
                '\n' => put(out, r"\n"),
                '\r' => put(out, r"\r"),
                '\t' => put(out, r"\t"),
                '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    write(out, format_args!("\\u{:04x}", u32::from(letter)));
                }
                letter => out.push(letter),
            }
        }
    } else {
        put(out, text);
    }
    out.push('"');
}

/// About so many bytes of `metadata.managedFields`, which is most of a real object; none if
/// there is no room for an entry.
fn managed_fields(bytes: usize, manager: &str, subresource: &str) -> String {
    let mut text = format!(
        r#","managedFields":[{{"manager":"{manager}","operation":"Update","apiVersion":"v1","time":"{BEGAN}","fieldsType":"FieldsV1","fieldsV1":{{"f:metadata":{{"f:labels":{{".":{{}}"#
    );
    let end = match subresource {
        "" => "}}}}]".to_owned(),
        _ => format!(r#"}}}}}},"subresource":"{subresource}"}}]"#),
    };
    if text.len() + end.len() > bytes {
        return String::new();
    }
    for number in 0_u32.. {
        let field =
            format!(r#","k:{{\"name\":\"SETTING_{number}\"}}":{{".":{{}},"f:value":{{}}}}"#);
        if text.len() + field.len() + end.len() > bytes {
            break;
        }
        text.push_str(&field);
    }
    text + &end
}

fn typical_pod() -> Object {
    let id = format!("containerd://{}", "0".repeat(64));
    let uid = "00000000-0000-0000-0000-000000000000";
    let image = "registry.example/team-10/service-100:v1.4.0";
    Pod::new("namespace-100", "service-1000-0123456789-01234", uid)
        .of(Owner::controller(
            "ReplicaSet",
            "service-1000-0123456789",
            uid,
        ))
        .address("10.0.100.100")
        .container("app", image, &id)
        .container("proxy", image, &id)
        .into()
}

fn typical_owner() -> Object {
    let uid = "00000000-0000-0000-0000-000000000000";
    let owner = Owner::controller("Deployment", "service-1000", uid);
    Object::replica_set(Meta::new("namespace-100", "service-1000-0123456789", uid).of(owner))
}

const VOLUMES: &str = r#""volumes":[{"name":"kube-api-access-x7k2p","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}}],"#;

const CONTAINER_REST: &str = r#","ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}],"env":[{"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},{"name":"LOG_LEVEL","value":"info"}],"resources":{"limits":{"memory":"512Mi"},"requests":{"cpu":"100m","memory":"256Mi"}},"volumeMounts":[{"name":"kube-api-access-x7k2p","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}"#;

const SPEC_REST: &str = r#""restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"default","serviceAccount":"default","securityContext":{},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"}"#;

const CONDITIONS: &str = r#","conditions":[{"type":"PodReadyToStartContainers","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-01-15T08:00:00Z"},{"type":"Initialized","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-01-15T08:00:00Z"},{"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-01-15T08:00:00Z"},{"type":"PodScheduled","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-01-15T08:00:00Z"}]"#;

const REPLICA_SET_REST: &str = r#","spec":{"replicas":1,"selector":{"matchLabels":{"app":"app"}},"template":{"metadata":{"labels":{"app":"app"}},"spec":{"containers":[{"name":"app","image":"registry.example/app:1","resources":{}}],"restartPolicy":"Always"}}},"status":{"replicas":1,"readyReplicas":1,"availableReplicas":1,"observedGeneration":1}"#;

const JOB_REST: &str = r#","spec":{"parallelism":1,"completions":1,"backoffLimit":6,"template":{"metadata":{},"spec":{"containers":[{"name":"app","image":"registry.example/app:1","resources":{}}],"restartPolicy":"Never"}}},"status":{"active":1,"ready":1}"#;

/// What stands behind the metadata of an object of this kind.
fn rest(kind: Kind) -> &'static str {
    match kind {
        Kind::REPLICA_SET => REPLICA_SET_REST,
        Kind::JOB => JOB_REST,
        _ => r#","spec":{},"status":{}"#,
    }
}

/// What stands behind the metadata of a bookmark of this kind: whatever has no default that is
/// left out.
fn rest_of_bookmark(kind: Kind) -> &'static str {
    match kind {
        Kind::POD => r#","spec":{"containers":null},"status":{}"#,
        Kind::REPLICA_SET => {
            r#","spec":{"selector":null,"template":{"metadata":{},"spec":{"containers":null}}},"status":{"replicas":0}"#
        }
        Kind::JOB => {
            r#","spec":{"template":{"metadata":{},"spec":{"containers":null}}},"status":{}"#
        }
        // Of a custom resource the server knows no fields.
        _ => "",
    }
}
