//! Life in its own time: so many events each second.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::interval;

use super::{churn::Churn, world::World};

/// So many changes are made at most before others may have the lock.
const AT_ONCE: usize = 256;

/// Lets so many things happen; says how many did.
pub(super) fn live(world: &World, churn: &Mutex<Option<Churn>>, steps: usize) -> usize {
    let mut churn = churn.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(churn) = churn.as_mut() else {
        return 0;
    };
    let mut done = 0;
    while done < steps {
        let some = AT_ONCE.min(steps - done);
        let happened = world.change(|state| {
            let steps = (0..some).take_while(|_| churn.step(&mut state.store));
            steps.count()
        });
        done += happened;
        if happened < some {
            break;
        }
    }
    done
}

/// Lets so many things happen each second, without end.
pub(super) async fn run(world: &World, churn: &Mutex<Option<Churn>>, per_second: u32) {
    let each = Duration::from_secs(1) / per_second.max(1);
    let mut ticks = interval(each.max(Duration::from_millis(1)));
    let began = ticks.tick().await;
    let mut done = 0;
    loop {
        let passed = ticks.tick().await - began;
        let due = passed.as_micros() * u128::from(per_second) / 1_000_000;
        let due = usize::try_from(due).unwrap_or(usize::MAX);
        live(world, churn, due.saturating_sub(done));
        done = done.max(due);
    }
}
