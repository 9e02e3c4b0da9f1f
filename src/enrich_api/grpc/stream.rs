//! `Enrich`: batches of events, answered in their order.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream::FuturesOrdered};
use prost::Message as _;
use tonic::{Code, Status, Streaming};

use super::convert::{self, Said};
use crate::{
    enrich::{
        resource::Metricset,
        service::{InEffect, Objects},
    },
    enrich_api::{
        Api,
        ask::Questions,
        counters::LimitHit,
        outbox::{Gone, Outbox},
    },
    net::Place,
    proto::k8smeta::{EnrichRequest, EnrichResponse},
};

/// A call that is being answered.
pub(super) struct BatchStream<O> {
    api: Arc<Api<O>>,
    outbox: Outbox<EnrichResponse>,
    /// Held until the call has ended.
    _place: Place,
}

/// A batch that was read, and waits no more.
enum Batch {
    /// It is to be answered.
    Asked {
        seq: u64,
        profiles: Arc<InEffect>,
        questions: Questions,
        said: Said,
        /// What it takes, in bytes.
        bytes: usize,
    },
    /// It asks for what is not known here.
    Unknown(EnrichResponse),
}

impl Batch {
    fn bytes(&self) -> usize {
        match self {
            Self::Asked { bytes, .. } => *bytes,
            Self::Unknown(_) => 0,
        }
    }
}

impl<O: Objects> BatchStream<O> {
    pub(super) fn new(api: Arc<Api<O>>, outbox: Outbox<EnrichResponse>, place: Place) -> Self {
        Self {
            api,
            outbox,
            _place: place,
        }
    }

    /// Answers what comes in, until the client ends its side.
    pub(super) async fn run(self, mut requests: Streaming<EnrichRequest>) {
        if let Err(Some(status)) = self.answer_all(&mut requests).await {
            self.outbox.fail(status).await;
        }
    }

    /// Without a status the client has gone.
    async fn answer_all(
        &self,
        requests: &mut Streaming<EnrichRequest>,
    ) -> Result<(), Option<Status>> {
        let api = &self.api;
        let mut batches = FuturesOrdered::new();
        // Of the batches.
        let mut bytes = 0;
        let mut end: Option<Result<(), Status>> = None;
        let mut is_full = false;
        loop {
            if let Some(end) = end.as_ref().filter(|_| batches.is_empty()) {
                return end.clone().map_err(Some);
            }
            let may_read = batches.len() < api.limits.unanswered && bytes <= api.limits.batch_bytes;
            if end.is_none() && !may_read && !std::mem::replace(&mut is_full, true) {
                api.counters.hit(LimitHit::Unanswered);
            }
            is_full &= !may_read;
            tokio::select! {
                biased;
                () = self.outbox.gone() => return Err(None),
                Some(batch) = batches.next() => {
                    let batch: Batch = batch;
                    bytes -= batch.bytes();
                    match self.answer(batch).await {
                        Ok(response) => {
                            let sent = self.outbox.send(response, &api.counters).await;
                            sent.map_err(|Gone| None)?;
                        }
                        Err(status) => return Err(Some(status)),
                    }
                }
                request = requests.next(), if end.is_none() && may_read => match request {
                    None => end = Some(Ok(())),
                    Some(Err(status)) => end = Some(Err(self.too_long(status))),
                    Some(Ok(request)) => match self.read(request) {
                        Ok((batch, wait)) => {
                            bytes += batch.bytes();
                            batches.push_back(self.ready(batch, wait));
                        }
                        Err(status) => end = Some(Err(status)),
                    },
                },
                () = api.shutdown.cancelled(), if end.is_none() => {
                    end = Some(Err(Status::unavailable("the relay ends")));
                }
            }
        }
    }

    fn read(&self, request: EnrichRequest) -> Result<(Batch, u64), Status> {
        let (api, bytes) = (&self.api, request.encoded_len());
        let most = api.limits.batch_items;
        if request.events.len() > most {
            api.counters.hit(LimitHit::Batch);
            let error = format!("the batch has more than {most} events");
            return Err(Status::resource_exhausted(error));
        }
        let profiles = api.profiles();
        let metricset = Metricset::from_name(&request.metricset);
        let (metricset, profile) = match (metricset, profiles.find(&request.profile)) {
            (Some(metricset), Some(profile)) => (metricset, profile),
            (None, _) => {
                let error = format!("there is no metricset `{}`", request.metricset);
                return Ok((unknown(&request, error), 0));
            }
            (_, None) => {
                let error = format!("there is no profile `{}`", request.profile);
                return Ok((unknown(&request, error), 0));
            }
        };
        let kept = |event: bytes::Bytes| (event.len() <= api.limits.event_bytes).then_some(event);
        let questions = Questions::Events {
            metricset,
            profile,
            events: request.events.into_iter().map(kept).collect(),
        };
        let batch = Batch::Asked {
            seq: request.seq,
            profiles,
            questions,
            said: match request.metadata_only {
                true => Said::Metadata,
                false => Said::Event,
            },
            bytes,
        };
        Ok((batch, request.wait_ms.into()))
    }

    /// The batch when it has waited.
    async fn ready(&self, batch: Batch, wait_ms: u64) -> Batch {
        if let Batch::Asked {
            profiles,
            questions,
            ..
        } = &batch
        {
            let wait = self.api.wait_of(wait_ms);
            // Without a place to wait the answer says what is known now.
            let _ = self.api.wait(profiles, questions, wait).await;
        }
        batch
    }

    async fn answer(&self, batch: Batch) -> Result<EnrichResponse, Status> {
        let api = &self.api;
        let (seq, profiles, questions, said) = match batch {
            Batch::Unknown(response) => return Ok(response),
            Batch::Asked {
                seq,
                profiles,
                questions,
                said,
                bytes: _,
            } => (seq, profiles, questions, said),
        };
        let mut answers = convert::Batch::new(questions.len());
        let mut left = 0..questions.len();
        while !left.is_empty() {
            left = api.answer_slice(&profiles, &questions, left, |_, answer, merged| {
                answers.push(answer, said, merged);
            });
            answers.check(&api.limits, &api.counters)?;
            if !left.is_empty() {
                tokio::task::yield_now().await;
            }
        }
        Ok(EnrichResponse {
            seq,
            items: answers.finish(),
            error: String::new(),
        })
    }

    /// A message that is too long, as we say it.
    fn too_long(&self, status: Status) -> Status {
        if ![Code::OutOfRange, Code::ResourceExhausted].contains(&status.code()) {
            return status;
        }
        self.api.counters.hit(LimitHit::Batch);
        let most = self.api.limits.batch_bytes;
        Status::resource_exhausted(format!("the message is longer than {most} bytes"))
    }
}

fn unknown(request: &EnrichRequest, error: String) -> Batch {
    let items = request.events.iter().map(|_| convert::invalid(&error));
    Batch::Unknown(EnrichResponse {
        seq: request.seq,
        items: items.collect(),
        error,
    })
}
