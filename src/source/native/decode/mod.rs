//! Thin decoding: of the JSON that an API server sends, only what becomes a
//! [`PodMeta`] or [`ObjectMeta`] is built; everything else is skipped. Pure.
//!
//! Invariants (protocol 13.0, D8, D11): the order of fields does not matter, `null` is absent, of a
//! field that comes twice the last one counts. An object that cannot be used costs itself alone:
//! what stands next to it in a line or page is decoded, and the reason is counted. Nothing
//! allocates but what is kept, except for a needed text that has escapes.
//!
//! A field that only some ask for becomes a switch in [`Decoding`]: a partial object that knows so
//! at its start skips it like any unknown field.
//!
//! Absent here: HTTP, lines and their ends, versions compared, kube's own types of objects.

mod details;
mod error;
mod json;
mod keep;
mod line;
mod metadata;
mod object;
mod owner;
mod page;
mod pod;
mod snapshot;
mod status;
mod value;

use std::{marker::PhantomData, ops::DerefMut, sync::Arc};

use clap::ValueEnum;

pub use error::{Dropped, ObjectError};
pub use keep::Keep;
pub use line::{Line, decode_line};
pub use object::{Decoded, ObjectSeed};
pub use page::{PageEnd, PageError, PageReader, decode_page};
pub use snapshot::Pair;
pub use status::Status;

use crate::{
    enrich,
    model::{Interner, ObjectMeta, PodMeta, Stored},
};

/// The longest object that is decoded, in bytes of its JSON (4 MiB). The text around it in
/// a line of a watch counts too.
pub const MAX_OBJECT_LEN: usize = 4 << 20;

/// What is asked of the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoding {
    /// Which containers of a pod are announced.
    pub containers: Containers,
    /// What enrichment keeps of the objects; `None`: nothing.
    pub keep: Option<Arc<Keep>>,
}

/// Which containers of a pod the native source announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Containers {
    /// Init and ephemeral containers too, as soon as they have an id
    ///
    /// `status.containerStatuses`, then `initContainerStatuses` (sidecars are among them), then
    /// `ephemeralContainerStatuses`.
    #[default]
    All,
    /// Only the regular containers, as the legacy watcher does
    ///
    /// `status.containerStatuses`.
    Main,
}

/// Where texts are shared: an [`Interner`], or one behind a lock that is taken for one object
/// that has been read, and not while JSON is.
pub trait SharedTexts {
    /// Access for one object.
    type Guard<'a>: DerefMut<Target = Interner>
    where
        Self: 'a;

    /// Begins an access.
    fn texts(&mut self) -> Self::Guard<'_>;
}

impl SharedTexts for Interner {
    type Guard<'a> = &'a mut Interner;

    fn texts(&mut self) -> &mut Interner {
        self
    }
}

/// How the objects of watched kinds are decoded: there is one for each
/// [`Form`](crate::model::Form).
pub trait WatchedKind: Send + 'static {
    /// What is kept of an object.
    type Object: Stored + Send + Sync + 'static;

    /// How it is read.
    #[doc(hidden)]
    type Partial<'de>: object::Partial<'de, Object = Self::Object>;
}

/// [`Form::Pod`](crate::model::Form::Pod).
#[derive(Clone, Copy, Debug)]
pub enum Pods {}

/// [`Form::Metadata`](crate::model::Form::Metadata).
#[derive(Clone, Copy, Debug)]
pub enum MetadataOnly {}

/// What enrichment keeps of objects of any kind, and nothing for the matcher.
#[derive(Clone, Copy, Debug)]
pub enum Snapshots {}

/// What the matcher uses, and what enrichment keeps in addition.
#[derive(Clone, Copy, Debug)]
pub struct Paired<K>(PhantomData<fn() -> K>);

impl WatchedKind for Pods {
    type Object = PodMeta;
    type Partial<'de> = pod::PartialPod<'de>;
}

impl WatchedKind for MetadataOnly {
    type Object = ObjectMeta;
    type Partial<'de> = owner::PartialOwner<'de>;
}

impl WatchedKind for Snapshots {
    type Object = enrich::object::Object;
    type Partial<'de> = snapshot::PartialSnapshot<'de>;
}

impl WatchedKind for Paired<Pods> {
    type Object = Pair<PodMeta>;
    type Partial<'de> = snapshot::PartialPair<pod::PartialPod<'de>>;
}

impl WatchedKind for Paired<MetadataOnly> {
    type Object = Pair<ObjectMeta>;
    type Partial<'de> = snapshot::PartialPair<owner::PartialOwner<'de>>;
}
