//! The facts that travel through the relay, in their compact and shared forms.
//!
//! Invariants: a [`PodMeta`] or [`ObjectMeta`] is a cheap handle, so an object's data exists once,
//! however many hold it. It has a core, which decides what is announced, and may have an extra,
//! which only enrichment reads: equality is the core's. Everything is keyed by [`Uid`], never by
//! name. Texts that repeat (namespaces, images, container and owner names) are one allocation for
//! all who share an [`Interner`].
//!
//! Absent here: Kubernetes types, protobuf types, wire codes.

mod ids;
mod intern;
mod kind;
mod object;
mod owner;
mod pod;
mod seed;
mod slots;
mod uid_map;

pub use ids::{ContainerId, IdBuf, MAX_ID_LEN, Runtime, Uid};
pub use intern::{Interner, SharedStr};
pub use kind::{Form, Kind, KindError, KindRow, KindTable, PerKind, Scope};
pub use object::{ObjectExtra, ObjectMeta};
pub use owner::{Controller, Owner, OwnerKind, OwnerRef};
pub use pod::{ContainerMeta, Pod, PodExtra, PodMeta};
pub use seed::Seed;
pub use uid_map::{HasUid, Slot, Stored, UidMap};
