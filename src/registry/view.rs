//! The stores as those see them who answer questions.

use std::{net::IpAddr, sync::Arc};

use smallvec::SmallVec;
use tokio::sync::watch;

use super::{Inner, Registry, record::User, store::Store};
use crate::{
    enrich::{
        object::{Object, Timestamp},
        resource::Resource,
        service::{Objects, StoreState, StoreStatus},
        view::{Found, FoundContainer, ObjectView, Sync, Trouble},
    },
    model::Uid,
};

/// The objects of all kinds at a moment. Holds no lock between two questions.
#[derive(Clone, Copy, Debug)]
pub struct RegistryView<'a> {
    inner: &'a Inner,
    now: Timestamp,
}

impl Objects for Registry {
    type View<'a> = RegistryView<'a>;

    fn view(&self) -> RegistryView<'_> {
        RegistryView {
            inner: &self.inner,
            now: self.inner.clock.now(),
        }
    }

    fn stores(&self) -> Vec<StoreStatus> {
        self.inner.stores()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }
}

impl RegistryView<'_> {
    fn store(&self, resource: Resource) -> &Arc<Store> {
        self.inner.store(resource)
    }
}

impl ObjectView for RegistryView<'_> {
    fn sync(&self, resource: Resource) -> Sync {
        self.store(resource).sync(self.now)
    }

    fn live(&self, resource: Resource, namespace: &str, name: &str) -> Option<Object> {
        self.store(resource).read().index.live(namespace, name)
    }

    fn buried(&self, resource: Resource, namespace: &str, name: &str) -> Option<Found> {
        let shelf = self.store(resource).read();
        shelf.index.buried(namespace, name, self.now)
    }

    fn by_uid(&self, resource: Resource, uid: &Uid) -> Option<Found> {
        self.store(resource).read().index.by_uid(uid, self.now)
    }

    fn by_container(&self, id: &str) -> SmallVec<[FoundContainer; 1]> {
        let shelf = self.store(Resource::Pod).read();
        shelf.index.by_container(id, self.now)
    }

    fn by_address(&self, address: IpAddr, at: Option<Timestamp>) -> SmallVec<[Found; 1]> {
        let shelf = self.store(Resource::Pod).read();
        shelf.index.by_address(address, at, self.now)
    }
}

impl Inner {
    fn stores(&self) -> Vec<StoreStatus> {
        let now = self.clock.now();
        let state = self.state();
        let rows = self.stores.iter().filter_map(|store| {
            let record = state.record(store.resource);
            let Some(record) = record.filter(|record| !(record.is_idle() && record.is_lent()))
            else {
                let has_ended = state.ended.contains(&store.resource);
                return has_ended.then(|| stopped(store.resource));
            };
            let (live, buried, bytes) = {
                let shelf = store.read();
                let (live, buried) = shelf.index.counts();
                (live, buried, shelf.index.bytes())
            };
            let area = match &record.active {
                Some(active) => Some(active.area.clone()),
                None => record.wanted(),
            };
            let users = record.users.values();
            Some(StoreStatus {
                kind: store.resource.key().to_owned(),
                scope: area.map_or_else(|| "cluster".to_owned(), |area| area.to_string()),
                state: match (store.is_listed(), store.trouble()) {
                    _ if state.stopped => StoreState::Stopped,
                    (_, Some(Trouble::Pending)) => StoreState::Pending,
                    (_, Some(Trouble::Listing)) => StoreState::Listing,
                    (_, Some(trouble)) => StoreState::Degraded(trouble),
                    (true, None) => StoreState::Ready,
                    (false, None) => StoreState::Listing,
                },
                objects: live as u64,
                bytes: bytes as u64,
                buried: buried as u64,
                last_event_ms: store.last_event_ms(now),
                last_contact_ms: store.last_contact_ms(now),
                users: users.map(|user: &User| user.name.clone()).collect(),
            })
        });
        rows.collect()
    }
}

/// A kind that was watched for users who have gone.
fn stopped(resource: Resource) -> StoreStatus {
    StoreStatus {
        kind: resource.key().to_owned(),
        scope: "none".to_owned(),
        state: StoreState::Stopped,
        objects: 0,
        bytes: 0,
        buried: 0,
        last_event_ms: None,
        last_contact_ms: None,
        users: Vec::new(),
    }
}
