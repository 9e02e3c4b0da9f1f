//! A reducer that went away and is back: how long until it knows everything again.
//!
//! Timed from the moment at which the reducer has accepted the new connection to the decoding of
//! the last message. The wait before the relay connects again is not in it.

#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a bench says what is wrong by failing"
)]

mod support;

use support::{
    CLUSTER, MESSAGES, ROUNDS,
    process::Server,
    reducer::{Heard, Reducer},
    report::{Report, Row, Sample, Target},
    watcher::{Call, encode},
};

fn main() {
    let mut report = Report::new("reconnect");
    let list = encode(CLUSTER.list());
    let all = |heard: &Heard| heard.pods + heard.containers >= MESSAGES;
    let times = (0..ROUNDS).map(|_| {
        let reducer = Reducer::start();
        let relay = Server::relay(reducer.address());
        reducer.wait("the handshake", |_| true);
        let call = Call::open(relay.address());
        call.send(&list);
        reducer.wait("the list", all);
        reducer.hang_up();
        let heard = reducer.wait("the replay", |heard| heard.connection == 2 && all(heard));
        heard.at - heard.accepted
    });
    let times = Sample::of_times(times);
    report.row(Row {
        figure: "reconnect: 100k live pods, 300k messages re-sent",
        target: Target::AtMost(0.5, 1, " s"),
        value: times.median(),
        measured: times.show(3, "s"),
        reference: String::new(),
        cost: format!("{:.2} µs/message", times.median() / MESSAGES as f64 * 1e6),
    });
    report.print();
}
