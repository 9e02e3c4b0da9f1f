//! Whether this replica leads (D19): the election's orders to the connection, and the reports back.
//!
//! Without `--ha` there are none, and the connection always stands.

use std::future::pending;

use tokio::sync::watch;

use super::Driver;
use crate::{
    announce::{CatchUp, Sink as _},
    ha::{Order, Report},
};

/// Both directions between the election and the loop.
#[derive(Debug)]
pub struct Lead {
    /// What is to be done with the connection.
    pub orders: watch::Receiver<Order>,
    /// How it is.
    pub reports: watch::Sender<Report>,
}

impl Lead {
    /// Another order; never, if there is no election or it is over.
    pub(super) async fn changed(lead: &mut Option<Self>) -> Order {
        if let Some(lead) = lead
            && lead.orders.changed().await.is_ok()
        {
            return *lead.orders.borrow_and_update();
        }
        pending().await
    }
}

impl Driver {
    /// There is an election, and these are its orders.
    #[must_use]
    pub fn led_by(mut self, lead: Option<Lead>) -> Self {
        self.lead = lead;
        self
    }

    /// Does what the election orders. The fence has moved before.
    pub(super) fn ordered(&mut self, order: Order) {
        let now = self.now();
        if order.connect {
            self.reducer.serve(now);
        } else if self.reducer.stand_by(now) {
            self.feeds.disconnected();
        }
        self.reducer.flush(now);
    }

    /// Whether it is this replica that announces pods.
    pub(super) fn writes(&self) -> bool {
        let connects = |lead: &Lead| lead.orders.borrow().connect;
        self.lead.as_ref().is_none_or(connects) && !self.reducer.is_silent()
    }

    /// Reports how the connection is, if anybody wants to know.
    pub(super) fn report_connection(&mut self) {
        let Some(lead) = &self.lead else { return };
        let is_announced = self.reducer.is_connected() && self.resume == CatchUp::Done;
        let report = Report {
            in_sync: is_announced && !self.feeds.is_behind() && self.reducer.outbox().queued() == 0,
            between_frames: match self.reducer.is_silent() {
                true => self.reducer.between_frames(),
                false => None,
            },
        };
        lead.reports.send_if_modified(|last| {
            let is_new = *last != report;
            *last = report;
            is_new
        });
    }
}
