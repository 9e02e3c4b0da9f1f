//! Which metadata services are asked, and for how long.
//!
//! Invariants: the first result is there as soon as it is clear who answers; a complete one
//! replaces it whenever it comes. AWS goes before GCP (protocol 15.5). Absent here: the wait of the
//! first connection, which [`CloudOptions::budget`] bounds.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use http::{HeaderValue, Method, StatusCode};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    CloudFacts, Platform,
    ask::{Ask, AskError, Endpoint},
    aws::{Instance, Question, Round, TOKEN_PATH},
    form::Form,
    gcp,
    news::Known,
};
use crate::reducer::Resolver;

/// Where the cloud part of the handshake comes from (protocol 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Cloud {
    /// Whichever of AWS and GCP answers
    Auto,
    /// The metadata service of AWS (IMDSv2, or version 1 where there is no other)
    Aws,
    /// The metadata service of Google Cloud
    Gcp,
    /// Ask no metadata service; the reducer shows an unknown platform
    None,
}

/// Whom to ask, and how long to wait.
#[derive(Clone, Debug)]
pub struct CloudOptions {
    /// Which services are asked.
    pub cloud: Cloud,
    /// How long each round of questions to AWS may take.
    pub aws_timeout: Duration,
    /// Where AWS has its service.
    pub aws: Endpoint,
    /// Where Google has its service.
    pub gcp: Endpoint,
    /// How names are resolved.
    pub resolver: Resolver,
    /// Before the second, the third … collection, if the one before was not complete. With
    /// [`Cloud::Auto`] these are all; else the last pause comes again and again.
    pub again: Vec<Duration>,
}

impl CloudOptions {
    /// Asks these services where they always are.
    pub fn new(cloud: Cloud, aws_timeout: Duration) -> Self {
        Self {
            cloud,
            aws_timeout,
            aws: Endpoint::aws(),
            gcp: Endpoint::gcp(),
            resolver: Resolver::default(),
            again: AGAIN.to_vec(),
        }
    }

    /// How long the first connection to the reducer waits for the facts, at most.
    pub fn budget(&self) -> Duration {
        self.aws_timeout * 3 + GCP_TIMEOUT
    }
}

/// Collects the facts, publishes them, and tries again for as long as something is missing and
/// may still come. Returns when there is nothing more to ask.
pub async fn collect(options: CloudOptions, known: watch::Sender<Known>) {
    if options.cloud == Cloud::None {
        known.send_replace(Some(Arc::default()));
        return;
    }
    let mut limits = Limits::first(&options);
    let mut pauses = options.again.iter();
    let mut last = None;
    loop {
        let found = collect_once(&options, limits).await;
        say(&options, &found, last.is_none());
        let is_complete = found.is_complete();
        // What was known once is not forgotten for a service that is away now.
        if found.facts.platform != Platform::Unknown || last.is_none() {
            known.send_replace(Some(Arc::new(found.facts)));
        }
        if is_complete {
            return;
        }
        last = pauses.next().or(match options.cloud {
            Cloud::Aws | Cloud::Gcp => last,
            Cloud::Auto | Cloud::None => None,
        });
        let Some(pause) = last else { return };
        sleep(*pause).await;
        limits = Limits::PATIENT;
    }
}

/// What a collection came to.
#[derive(Debug)]
struct Found {
    facts: CloudFacts,
    /// Why something is missing that may still come.
    missing: Option<String>,
}

impl Found {
    fn is_complete(&self) -> bool {
        self.missing.is_none()
    }
}

/// How long each part of a collection may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    token: Duration,
    round: Duration,
    gcp: Duration,
}

impl Limits {
    /// Nobody waits for these.
    const PATIENT: Self = Self {
        token: Duration::from_secs(30),
        round: Duration::from_secs(30),
        gcp: Duration::from_secs(30),
    };

    /// The first connection waits for these.
    fn first(options: &CloudOptions) -> Self {
        Self {
            token: options.aws_timeout.min(TOKEN_TIMEOUT),
            round: options.aws_timeout,
            gcp: GCP_TIMEOUT,
        }
    }
}

async fn collect_once(options: &CloudOptions, limits: Limits) -> Found {
    let aws = async {
        match options.cloud {
            Cloud::Auto | Cloud::Aws => aws(options, limits).await,
            Cloud::Gcp | Cloud::None => Found::nothing(None),
        }
    };
    let gcp = async {
        match options.cloud {
            Cloud::Auto | Cloud::Gcp => gcp(options, limits).await,
            Cloud::Aws | Cloud::None => Found::nothing(None),
        }
    };
    let (mut aws, mut gcp) = (std::pin::pin!(aws), std::pin::pin!(gcp));
    let mut of_gcp = None;
    let of_aws = loop {
        tokio::select! {
            found = &mut aws => break found,
            found = &mut gcp, if of_gcp.is_none() => of_gcp = Some(found),
        }
    };
    if of_aws.facts.platform == Platform::Aws {
        return of_aws;
    }
    let of_gcp = match of_gcp {
        Some(found) => found,
        None => gcp.await,
    };
    match (of_gcp.facts.platform, of_aws.missing) {
        (Platform::Unknown, Some(missing)) => Found::nothing(Some(missing)),
        (_, _) => of_gcp,
    }
}

impl Found {
    fn nothing(missing: Option<String>) -> Self {
        Self {
            facts: CloudFacts::default(),
            missing,
        }
    }
}

/// Asks AWS: for a token, then in three rounds.
async fn aws(options: &CloudOptions, limits: Limits) -> Found {
    let token = match timeout(limits.token, token(options)).await {
        Ok(Ok(token)) => token,
        // With a hop limit of 1 the token's packets end before a pod: a server is there and does
        // not answer. Without a token it would refuse all, so nothing more is asked.
        Err(_) => return Found::nothing(Some("AWS does not answer".to_owned())),
        Ok(Err(error)) => return Found::nothing(Some(format!("AWS: {error}"))),
    };
    let mut instance = Instance::default();
    let mut missing = None;
    for round in Round::ALL {
        let questions = instance.questions(round);
        let asked = questions
            .into_iter()
            .map(|one| ask_aws(options, &token, one));
        let mut answers = futures_util::stream::iter(asked).buffer_unordered(AT_ONCE);
        let all = async {
            while let Some((question, answer)) = answers.next().await {
                match answer {
                    Ok(text) => instance.answer(&question, &text),
                    // It has no role, no public address …
                    Err(AskError::Refused(status)) if status.is_client_error() => {}
                    Err(error) => missing = Some(format!("AWS: {}: {error}", question.path)),
                }
            }
        };
        if timeout(limits.round, all).await.is_err() {
            missing = Some("AWS does not answer in time".to_owned());
        }
        if !instance.is_one() {
            return Found::nothing(missing);
        }
    }
    Found {
        facts: instance.facts(),
        missing,
    }
}

/// A token of IMDSv2; `None` where the service knows no tokens.
async fn token(options: &CloudOptions) -> Result<Option<HeaderValue>, AskError> {
    let ask = Ask {
        method: Method::PUT,
        path: TOKEN_PATH,
        header: Some((
            "x-aws-ec2-metadata-token-ttl-seconds",
            HeaderValue::from_static("300"),
        )),
        expects: None,
    };
    match options.aws.ask(&options.resolver, ask).await {
        Ok(token) => {
            let token = Form::Token.check(&token).ok_or(AskError::Encoding)?;
            let mut token = HeaderValue::from_str(token).map_err(|_| AskError::Encoding)?;
            token.set_sensitive(true);
            Ok(Some(token))
        }
        Err(AskError::Refused(status))
            if status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn ask_aws(
    options: &CloudOptions,
    token: &Option<HeaderValue>,
    question: Question,
) -> (Question, Result<String, AskError>) {
    let ask = Ask {
        method: Method::GET,
        path: &question.path,
        header: token
            .clone()
            .map(|token| ("x-aws-ec2-metadata-token", token)),
        expects: None,
    };
    let answer = options.aws.ask(&options.resolver, ask).await;
    (question, answer)
}

/// Asks Google, once.
async fn gcp(options: &CloudOptions, limits: Limits) -> Found {
    let (name, value) = gcp::FLAVOR;
    let ask = Ask {
        method: Method::GET,
        path: gcp::PATH,
        header: Some((name, HeaderValue::from_static(value))),
        expects: Some(gcp::FLAVOR),
    };
    let asked = timeout(limits.gcp, options.gcp.ask(&options.resolver, ask)).await;
    match asked {
        Ok(Ok(answer)) => match gcp::read(&answer) {
            Some(facts) => Found {
                facts,
                missing: None,
            },
            None => Found::nothing(Some("Google: its answer is not an instance's".to_owned())),
        },
        Ok(Err(error)) => Found::nothing(Some(format!("Google: {error}"))),
        Err(_) => Found::nothing(Some("Google does not answer".to_owned())),
    }
}

fn say(options: &CloudOptions, found: &Found, is_first: bool) {
    let Found { facts, missing } = found;
    let missing = missing.as_deref();
    let asked_for = matches!(options.cloud, Cloud::Aws | Cloud::Gcp);
    let CloudFacts {
        zone,
        instance_id,
        instance_type,
        ..
    } = facts;
    let platform = facts.platform.as_str();
    match facts.platform {
        Platform::Unknown if asked_for && is_first => {
            let aws = &options.aws;
            let gcp = &options.gcp;
            tracing::warn!(
                missing, %aws, %gcp,
                "the cloud's metadata service says nothing: the reducer handshake goes without it"
            );
        }
        Platform::Unknown => tracing::debug!(missing, "no metadata service of a cloud answers"),
        Platform::Aws | Platform::Gcp => tracing::info!(
            platform,
            zone,
            instance_id,
            instance_type,
            missing,
            "the cloud's metadata is known; the next reducer handshake carries it"
        ),
    }
}

/// How long the request for a token may take, however long a round may.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long Google may take (protocol 15.5).
const GCP_TIMEOUT: Duration = Duration::from_secs(1);
/// Questions to AWS at the same time.
const AT_ONCE: usize = 8;
/// See [`CloudOptions::again`].
const AGAIN: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(600),
];
