//! What the loop can be asked: one of the things that make it act.

use tokio::sync::oneshot;

use crate::{
    migrate::{Command, Status, status::Explanation},
    model::Uid,
    stores::Objects,
};

/// A question, with the way back for its answer. Who asked may be gone by then.
#[derive(Debug)]
pub enum Question {
    /// How it all stands.
    Status(oneshot::Sender<Box<Status>>),
    /// What is known of a pod; `None`: nothing at all, in no feed.
    Explain(Uid, oneshot::Sender<Option<Box<Explanation>>>),
    /// The stores of the feeds that are compared, the active one first: to find a pod by name.
    Stores(oneshot::Sender<Vec<Objects>>),
    /// A step of the migration. The answer says what has come of it, in words.
    Migrate {
        /// Which step.
        command: Command,
        /// Whether the gate's conditions are waived.
        force: bool,
        /// What has come of it; or why the step was not taken, in numbers.
        answer: oneshot::Sender<Result<String, String>>,
    },
}
