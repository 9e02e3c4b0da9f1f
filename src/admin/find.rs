//! A pod by its name: a walk over the stores, in slices, off the loop.

use tokio::task::yield_now;

use crate::{
    model::{Slot, Uid},
    stores::Stores,
};

/// So many pods of one name are given out.
pub const MOST: usize = 20;

/// The uids of the pods of this name, each once, and whether there are more: an old one and its
/// successor have one name, in each feed.
pub async fn by_name(stores: &[Stores], namespace: &str, name: &str) -> (Vec<Uid>, bool) {
    let mut found = Vec::new();
    for objects in stores {
        let mut next = Some(Slot::FIRST);
        while let Some(from) = next {
            let slice = objects.pods.slice(from);
            for pod in slice.objects {
                if *pod.name != *name || *pod.namespace != *namespace || found.contains(&pod.uid) {
                    continue;
                }
                if found.len() == MOST {
                    return (found, true);
                }
                found.push(pod.uid.clone());
            }
            next = slice.next;
            // A walk over many is no reason to keep others waiting.
            yield_now().await;
        }
    }
    (found, false)
}
