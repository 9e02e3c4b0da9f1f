//! Talks to the API server for the [`Elector`], and passes on what it says.
//!
//! Absent here: every decision. This moves answers, the watch, time and reports in, and calls, the
//! fence and the duty out.

use std::{
    future::pending,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, future::BoxFuture};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::PostParams,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Answer, ApiCall, Elector, Fence, Role, clock, lease, unacknowledged};

/// What the loop is to do with its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// There shall be a connection.
    pub connect: bool,
    /// The fence may have moved.
    pub moved: u64,
}

/// What the loop reports of its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The reducer has been sent everything.
    pub in_sync: bool,
    /// The ends of the connection, while no frame is half written.
    pub between_frames: Option<(SocketAddr, SocketAddr)>,
}

/// How the election stands, for people.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What this replica is.
    pub role: Role,
    /// Its name in the Lease.
    pub identity: String,
    /// The Lease, as NAMESPACE/NAME.
    pub lease: String,
    /// Who holds it, as far as was seen.
    pub holder: Option<String>,
    /// How often it has gone to another holder.
    pub transitions: i32,
    /// How often this process has begun to lead.
    pub terms: u64,
    /// Until when it may write, on [`clock::boot`]; zero: not at all.
    pub write_until: Duration,
    /// Why the API server could not be asked last; `None`: it could.
    pub trouble: Option<String>,
}

impl Standing {
    /// Before anything was asked.
    pub fn new(elector: &Elector, lease: String) -> Self {
        Self {
            role: Role::Starting,
            identity: elector.settings().identity.clone(),
            lease,
            holder: None,
            transitions: 0,
            terms: 0,
            write_until: Duration::ZERO,
            trouble: None,
        }
    }

    /// How long it may write from now on.
    pub fn left(&self) -> Duration {
        self.write_until.saturating_sub(clock::boot())
    }
}

/// Everything an election needs.
pub struct Election {
    /// The API server.
    pub client: Client,
    /// Where the Lease is.
    pub namespace: String,
    /// What it is called.
    pub name: String,
    /// Decides.
    pub elector: Elector,
    /// Before the connection.
    pub fence: Fence,
    /// What the loop is to do.
    pub orders: watch::Sender<Order>,
    /// What the loop reports.
    pub reports: watch::Receiver<Report>,
    /// For people.
    pub standing: watch::Sender<Standing>,
    /// Cancelled when the Lease is to be handed over.
    pub leave: CancellationToken,
}

/// How long the predecessor waits until everything written is acknowledged.
const ACKNOWLEDGED: Duration = Duration::from_secs(1);

/// The longest sleep: a timer may not know that the machine was suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Between two looks whether everything is acknowledged.
const LOOK: Duration = Duration::from_millis(10);

type Call = BoxFuture<'static, Result<Answered, String>>;

struct Answered {
    answer: Answer,
    object: Option<Lease>,
}

impl Election {
    /// Runs until the Lease was handed over, or there was nothing to hand over, and the connection
    /// is to end.
    pub async fn run(self) {
        let Self {
            client,
            namespace,
            name,
            mut elector,
            fence,
            orders,
            mut reports,
            standing,
            leave,
        } = self;
        let limit = elector.settings().request_limit();
        let api: Api<Lease> = Api::namespaced(client, &namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut watch = watcher(api.clone(), config).default_backoff().boxed();
        let mut call: Option<Call> = None;
        // What the record has no word for stays in the Lease.
        let mut object: Option<Lease> = None;
        let mut leaving: Option<BoxFuture<'static, ()>> = None;
        let mut has_asked = false;
        let mut loop_is_there = true;
        let mut shown = Shown::default();
        loop {
            let now = clock::boot();
            if call.is_none()
                && let Some(asked) = elector.call(now, wall())
            {
                let base = object.clone();
                call = Some(Box::pin(make(
                    api.clone(),
                    name.clone(),
                    asked,
                    base,
                    limit,
                )));
            }
            shown.publish(&elector, now, (&fence, &orders, &standing));
            if has_asked && elector.has_left() {
                return;
            }
            let due = elector.poll_timeout(now);
            let pause = due.map_or(LONGEST_SLEEP, |at| at.saturating_sub(now));
            tokio::select! {
                biased;
                made = under_way(&mut call) => {
                    call = None;
                    let answer = match made {
                        Ok(answered) => {
                            shown.trouble = None;
                            object = answered.object.or(object);
                            answered.answer
                        }
                        Err(why) => {
                            shown.trouble = Some(why);
                            Answer::Failed
                        }
                    };
                    elector.answered(answer, clock::boot(), fastrand::f64());
                }
                seen = watch.next() => match seen {
                    Some(Ok(watcher::Event::Apply(lease) | watcher::Event::InitApply(lease))) => {
                        elector.watched(lease::observed(&lease), clock::boot());
                        object = Some(lease);
                    }
                    Some(Ok(watcher::Event::Delete(_))) => elector.lost_sight(),
                    // It begins again by itself, and the calls do not need it.
                    Some(Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_)) | None => {}
                },
                changed = reports.changed(), if loop_is_there => {
                    loop_is_there = changed.is_ok();
                    elector.set_in_sync(reports.borrow_and_update().in_sync);
                }
                () = leave.cancelled(), if leaving.is_none() => {
                    if elector.role(clock::boot()) == Role::Leader {
                        info!(lease = name, "the relay ends: it hands its part over to another replica");
                    }
                    fence.quiet();
                    orders.send_modify(|order| order.moved += 1);
                    let reports = reports.clone();
                    leaving = Some(Box::pin(async move {
                        // What is late is left to the connection's own end.
                        let _ = timeout(ACKNOWLEDGED, acknowledged(reports)).await;
                    }));
                }
                () = in_time(&mut leaving), if !has_asked => {
                    has_asked = true;
                    elector.leave(clock::boot());
                }
                () = sleep(pause.min(LONGEST_SLEEP)) => {}
            }
        }
    }
}

/// What was passed on last.
#[derive(Default)]
struct Shown {
    role: Option<Role>,
    until: Duration,
    trouble: Option<String>,
    troubled: bool,
}

impl Shown {
    /// Passes on what has changed: first the fence, then the order to the loop, then the rest.
    fn publish(
        &mut self,
        elector: &Elector,
        now: Duration,
        to: (&Fence, &watch::Sender<Order>, &watch::Sender<Standing>),
    ) {
        let (fence, orders, standing) = to;
        let duty = elector.duty();
        let until = match duty.connect {
            true => duty.write_until,
            false => Duration::ZERO,
        };
        fence.allow_until(until);
        let role = elector.role(now);
        orders.send_if_modified(|order| {
            let is_new = order.connect != duty.connect || self.until != until;
            order.connect = duty.connect;
            order.moved += u64::from(is_new);
            is_new
        });
        self.until = until;
        let record = elector.record();
        let holder = record.map(|record| record.holder.clone());
        let holder = holder.filter(|holder| !holder.is_empty());
        if self.role.replace(role) != Some(role) {
            say(role, holder.as_deref());
        }
        if self.troubled != self.trouble.is_some() {
            self.troubled = self.trouble.is_some();
            match &self.trouble {
                Some(why) => warn!(
                    why,
                    "cannot ask the API server about the Lease; the relay tries again"
                ),
                None => info!("the API server answers about the Lease again"),
            }
        }
        standing.send_modify(|standing| {
            standing.role = role;
            standing.holder = holder;
            standing.transitions = record.map_or(0, |record| record.transitions);
            standing.terms = elector.terms();
            standing.write_until = until;
            standing.trouble.clone_from(&self.trouble);
        });
    }
}

fn say(role: Role, holder: Option<&str>) {
    match role {
        Role::Starting => info!("high availability: the relay asks for the Lease"),
        Role::Leader => info!("this replica leads: it writes to the reducer"),
        Role::Follower => info!(
            leader = holder,
            "this replica follows: it is warm and writes nothing"
        ),
        Role::Silent => warn!(
            "this replica cannot renew the Lease in time: it writes nothing more, and keeps its \
             connection to the reducer"
        ),
        Role::HandingOver => info!("this replica hands over: it writes nothing more"),
    }
}

/// Makes a call within its limit. An error says why its outcome is not known.
async fn make(
    api: Api<Lease>,
    name: String,
    call: ApiCall,
    base: Option<Lease>,
    limit: Duration,
) -> Result<Answered, String> {
    let made = async {
        let params = PostParams::default();
        match call {
            ApiCall::Get => api.get(&name).await,
            ApiCall::Create(record) => {
                let lease = lease::object(&name, None, &record, None);
                api.create(&params, &lease).await
            }
            ApiCall::Put(version, record) => {
                let base = base.filter(|base| lease::observed(base).version == version);
                let lease = lease::object(&name, Some(&version), &record, base);
                api.replace(&name, &params, &lease).await
            }
        }
    };
    let (answer, object) = match timeout(limit, made).await {
        Ok(Ok(lease)) => (Answer::Is(lease::observed(&lease)), Some(lease)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => (Answer::Missing, None),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => (Answer::Conflict, None),
        Ok(Err(error)) => return Err(causes(&error)),
        Err(_) => {
            let limit = humantime::format_duration(limit);
            return Err(format!("no answer within {limit}"));
        }
    };
    Ok(Answered { answer, object })
}

/// Ready when nothing is half written and all that was written is acknowledged.
async fn acknowledged(mut reports: watch::Receiver<Report>) {
    loop {
        let ends = reports.borrow_and_update().between_frames;
        if let Some((ours, peer)) = ends {
            let look = tokio::task::spawn_blocking(move || unacknowledged::bytes(ours, peer));
            // A kernel that does not say is believed to have sent it all.
            if matches!(look.await, Ok(Some(0) | None)) {
                return;
            }
            sleep(LOOK).await;
        } else if reports.changed().await.is_err() {
            return;
        }
    }
}

async fn under_way(call: &mut Option<Call>) -> Result<Answered, String> {
    match call {
        Some(call) => call.await,
        None => pending().await,
    }
}

async fn in_time(leaving: &mut Option<BoxFuture<'static, ()>>) {
    match leaving {
        Some(leaving) => leaving.await,
        None => pending().await,
    }
}

/// An error with its causes, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// The wall clock in microseconds, for people who read the Lease.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing is decided by it: the elector gets it as an argument"
)]
fn wall() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let micros = since.unwrap_or_default().as_micros();
    i64::try_from(micros).unwrap_or(i64::MAX)
}
