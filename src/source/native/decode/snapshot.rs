//! What enrichment keeps of an object: alone, or in addition to what the matcher uses.

use serde::de::MapAccess;

use super::{
    Decoding, Dropped, ObjectError,
    details::{NodeStatus, ServiceSpec},
    metadata::Metadata,
    object::Partial,
    owner::PartialOwner,
    pod::PartialPod,
    value::{Fields, Object as Members, skip},
};
use crate::{
    enrich::{
        object::{Details, NodeDetails, Object, PairLimits, Snapshot},
        resource::Resource,
    },
    model::{HasUid, Interner, SharedStr, Stored, Uid},
};

/// An object twice: as the matcher sees it, and as enrichment does.
#[derive(Clone, Debug)]
pub struct Pair<T> {
    /// What the matcher uses.
    pub core: T,
    /// What enrichment keeps, if anything is kept.
    pub object: Option<Object>,
}

impl<T: HasUid> HasUid for Pair<T> {
    fn uid(&self) -> &Uid {
        self.core.uid()
    }
}

impl<T: PartialEq> PartialEq for Pair<T> {
    fn eq(&self, other: &Self) -> bool {
        self.core == other.core
    }
}

impl<T: Eq> Eq for Pair<T> {}

impl<T: Stored> Stored for Pair<T> {
    fn same_extra(&self, other: &Self) -> bool {
        let same = match (&self.object, &other.object) {
            (Some(one), Some(other)) => one.ptr_eq(other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same && self.core.same_extra(&other.core)
    }
}

/// A partial of which enrichment keeps something.
pub trait Kept<T> {
    /// What is kept, in addition to `core`; nothing if nothing is to be kept.
    ///
    /// # Errors
    /// If the object cannot be used.
    fn snapshot(&self, core: &T, texts: &mut Interner) -> Result<Option<Object>, ObjectError>;
}

/// Both at once.
#[derive(Clone, Debug)]
pub struct PartialPair<D>(D);

impl<'de, D: Fields<'de>> Fields<'de> for PartialPair<D> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        self.0.field(key, map)
    }
}

impl<'de, D: Partial<'de> + Kept<D::Object>> Partial<'de> for PartialPair<D> {
    type Object = Pair<D::Object>;

    fn new(decoding: &Decoding) -> Self {
        Self(D::new(decoding))
    }

    fn metadata(&mut self) -> &mut Metadata<'de> {
        self.0.metadata()
    }

    fn finish(
        &self,
        texts: &mut Interner,
        dropped: &mut Dropped,
    ) -> Result<Self::Object, ObjectError> {
        let core = self.0.finish(texts, dropped)?;
        let object = self.0.snapshot(&core, texts)?;
        Ok(Pair { core, object })
    }

    fn bare(uid: Uid) -> Self::Object {
        Pair {
            core: D::bare(uid.clone()),
            object: Some(Object::new(Snapshot::bare(uid))),
        }
    }
}

/// An object of any kind, as it was read.
#[derive(Clone, Debug)]
pub struct PartialSnapshot<'de>(Body<'de>);

#[derive(Clone, Debug)]
enum Body<'de> {
    Pod(Box<PartialPod<'de>>),
    Node(Metadata<'de>, NodeStatus<'de>),
    Service(Metadata<'de>, ServiceSpec<'de>),
    Metadata(PartialOwner<'de>),
}

impl<'de> Fields<'de> for PartialSnapshot<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match (&mut self.0, key) {
            (Body::Pod(pod), _) => pod.field(key, map),
            (Body::Metadata(object), _) => object.field(key, map),
            (Body::Node(metadata, _) | Body::Service(metadata, _), "metadata") => metadata.of(map),
            (Body::Node(_, status), "status") => map.next_value_seed(Members(status)).map(drop),
            (Body::Service(_, spec), "spec") => map.next_value_seed(Members(spec)).map(drop),
            (Body::Node(..) | Body::Service(..), _) => skip(map),
        }
    }
}

impl<'de> Partial<'de> for PartialSnapshot<'de> {
    type Object = Object;

    fn new(decoding: &Decoding) -> Self {
        let keep = decoding.keep.as_ref();
        let metadata = || Metadata::keeping(decoding.keep.clone());
        Self(match keep.map(|keep| keep.resource) {
            Some(Resource::Pod) => Body::Pod(Box::new(PartialPod::new(decoding))),
            Some(Resource::Node) => Body::Node(metadata(), NodeStatus::default()),
            Some(Resource::Service) => Body::Service(metadata(), ServiceSpec::default()),
            Some(_) | None => Body::Metadata(PartialOwner::new(decoding)),
        })
    }

    fn metadata(&mut self) -> &mut Metadata<'de> {
        match &mut self.0 {
            Body::Pod(pod) => pod.metadata(),
            Body::Node(metadata, _) | Body::Service(metadata, _) => metadata,
            Body::Metadata(object) => object.metadata(),
        }
    }

    fn finish(&self, texts: &mut Interner, _: &mut Dropped) -> Result<Object, ObjectError> {
        let (metadata, details) = match &self.0 {
            Body::Pod(pod) => return pod.object(None, texts)?.ok_or(ObjectError::NotAnObject),
            Body::Metadata(object) => {
                let bare = PartialOwner::bare(object.uid()?);
                let object = object.snapshot(&bare, texts)?;
                return object.ok_or(ObjectError::NotAnObject);
            }
            Body::Node(metadata, status) => {
                let node = NodeDetails {
                    hostname: texts.text(status.hostname()),
                    allocatable: status.allocatable.amounts(),
                };
                (metadata, Details::Node(node))
            }
            Body::Service(metadata, spec) => {
                let selector = spec.selector.pairs(PairLimits::LABELS, texts);
                (metadata, Details::Service(selector))
            }
        };
        let keep = metadata.keep().ok_or(ObjectError::NotAnObject)?;
        let details = match keep.needs.details {
            true => details,
            false => Details::None,
        };
        let name = SharedStr::from(metadata.name()?);
        metadata.snapshot(keep, name, details, texts)
    }

    fn bare(uid: Uid) -> Object {
        Object::new(Snapshot::bare(uid))
    }
}
