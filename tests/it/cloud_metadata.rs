//! What the metadata services of clouds say, and what becomes of it: asked over real HTTP of
//! services on loopback that have the paths and headers of the real ones.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_relay::{
    reducer::{
        Reducer, ReducerEvent,
        cloud::{
            Address, Cloud, CloudFacts, CloudNews, CloudOptions, Endpoint, Known, Platform, collect,
        },
    },
    sim::reducer::{Entry, MockReducer, Options, State},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::support::{must, reducer::options};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What a service does with a request.
enum Answer {
    /// Answers 200 with this text.
    Text(String),
    /// Answers with these bytes.
    Raw(String),
    /// Reads on and says nothing.
    Hang,
}

/// What was asked, as `METHOD PATH`, and the head of the request in lower case.
type Answers = dyn Fn(&str, &str) -> Answer + Send + Sync;

/// A metadata service on loopback.
struct Service {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl Service {
    async fn start(answers: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", answers).await
    }

    async fn start_at(
        place: &str,
        answers: impl Fn(&str, &str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(place).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: Arc<Answers> = Arc::new(answers);
        let all = asked.clone();
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, answers.clone(), all.clone()));
            }
        });
        Self {
            address,
            asked,
            _task: AbortOnDropHandle::new(task),
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn place(&self) -> Endpoint {
        Endpoint::of_host(&self.address.to_string()).unwrap()
    }
}

async fn serve(mut stream: TcpStream, answers: Arc<Answers>, all: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let asked = head.split(" HTTP/").next().unwrap().to_owned();
    all.lock().unwrap().push(asked.clone());
    let answer = match answers(&asked, &head.to_lowercase()) {
        Answer::Text(text) => ok("", &text),
        Answer::Raw(raw) => raw,
        Answer::Hang => {
            // Until whoever asks has gone.
            let _ = stream.read_to_end(&mut Vec::new()).await;
            return;
        }
    };
    let _ = stream.write_all(answer.as_bytes()).await;
}

fn ok(headers: &str, text: &str) -> String {
    let length = text.len();
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n{text}")
}

fn refusal(status: &str) -> Answer {
    Answer::Raw(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
}

const TOKEN: &str = "AQAEALyk0EIxWgeTtvW==";
const MAC: &str = "06:1a:b0:11:1b:a9";
const DOCUMENT: &str = r#"{"accountId": "525339921445", "region": "us-east-1"}"#;

/// What an instance answers to `GET`.
fn instance(path: &str) -> Answer {
    let of_card = format!("/latest/meta-data/network/interfaces/macs/{MAC}/");
    let text = match path.strip_prefix(&of_card) {
        Some("vpc-id") => "vpc-0c0b51c4bb3b0970f",
        Some("local-ipv4s") => "172.31.54.211\n172.31.54.212",
        Some("public-ipv4s") => "52.86.69.93",
        Some("ipv4-associations/52.86.69.93") => "172.31.54.211",
        Some(_) => return refusal("404 Not Found"),
        None => match path {
            "/latest/meta-data/instance-id" => "i-0dcf0a95274953dff",
            "/latest/meta-data/placement/availability-zone" => "us-east-1a",
            "/latest/meta-data/instance-type" => "m5.large",
            "/latest/meta-data/iam/security-credentials/" => "node-role",
            "/latest/dynamic/instance-identity/document" => DOCUMENT,
            "/latest/meta-data/network/interfaces/macs/" => {
                return Answer::Text(format!("{MAC}/\n"));
            }
            _ => return refusal("404 Not Found"),
        },
    };
    Answer::Text(text.to_owned())
}

/// The metadata service of AWS, version 2: without a token there is nothing.
fn imds(asked: &str, head: &str) -> Answer {
    match asked.split_once(' ') {
        Some(("PUT", "/latest/api/token"))
            if head.contains("\r\nx-aws-ec2-metadata-token-ttl-seconds: ") =>
        {
            Answer::Text(TOKEN.to_owned())
        }
        Some(("GET", path)) if head.contains(&header_of_token()) => instance(path),
        Some(("GET", _)) => refusal("401 Unauthorized"),
        _ => refusal("400 Bad Request"),
    }
}

fn header_of_token() -> String {
    format!("\r\nx-aws-ec2-metadata-token: {}\r\n", TOKEN.to_lowercase())
}

fn is_token(asked: &str) -> bool {
    asked == "PUT /latest/api/token"
}

/// Where nobody listens.
async fn nowhere() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Endpoint::of_host(&listener.local_addr().unwrap().to_string()).unwrap()
}

/// Asks these services once. Whom nobody starts does not listen.
async fn once(cloud: Cloud, aws: Option<&Service>, gcp: Option<&Service>) -> CloudFacts {
    let place = async |service: Option<&Service>| match service {
        Some(service) => service.place(),
        None => nowhere().await,
    };
    let options = CloudOptions {
        aws: place(aws).await,
        gcp: place(gcp).await,
        again: Vec::new(),
        ..CloudOptions::new(cloud, Duration::from_millis(500))
    };
    let (facts, known) = watch::channel(None);
    timeout(PATIENCE, collect(options, facts)).await.unwrap();
    let known = known.borrow().clone();
    CloudFacts::clone(&known.unwrap())
}

fn is_the_instance(facts: &CloudFacts) -> bool {
    let private = "172.31.54.211".parse().unwrap();
    let public = "52.86.69.93".parse().unwrap();
    let interfaces = &facts.interfaces;
    facts.platform == Platform::Aws
        && facts.account_id == "525339921445"
        && facts.zone == "us-east-1a"
        && facts.role == "node-role"
        && facts.instance_id == "0dcf0a95274953dff"
        && facts.instance_type == "m5.large"
        && interfaces.len() == 1
        && interfaces[0].network == "vpc-0c0b51c4bb3b0970f"
        && interfaces[0].addresses
            == [
                Address::Private("172.31.54.212".parse().unwrap()),
                Address::Public { public, private },
            ]
}

#[tokio::test]
async fn an_instance_of_aws_is_asked_with_a_token_and_over_ipv6_too() {
    for place in ["127.0.0.1:0", "[::1]:0"] {
        let aws = Service::start_at(place, imds).await;
        let url = format!("http://{}/", aws.address);
        assert_eq!(
            Endpoint::of_url(&url).unwrap().to_string(),
            url.trim_end_matches('/')
        );
        let facts = once(Cloud::Aws, Some(&aws), None).await;
        assert!(is_the_instance(&facts), "{facts:?}");
        let asked = aws.asked();
        assert!(is_token(&asked[0]), "{asked:?}");
        assert_eq!(asked.iter().filter(|one| is_token(one)).count(), 1);
    }
}

#[tokio::test]
async fn a_service_that_knows_no_tokens_is_asked_without() {
    for status in [
        "403 Forbidden",
        "404 Not Found",
        "405 Method Not Allowed",
        "501 Not Implemented",
    ] {
        let aws = Service::start(move |asked, head| match asked.split_once(' ') {
            Some(("GET", path)) if !head.contains("x-aws-ec2-metadata-token") => instance(path),
            _ => refusal(status),
        })
        .await;
        let facts = once(Cloud::Auto, Some(&aws), None).await;
        assert!(is_the_instance(&facts), "{status}: {facts:?}");
    }
}

#[tokio::test]
async fn a_token_that_never_comes_means_no_cloud_and_nothing_more_is_asked() {
    // A hop limit of 1: what else is asked would be refused.
    let aws = Service::start(|asked, head| match is_token(asked) {
        true => Answer::Hang,
        false => imds(asked, head),
    })
    .await;
    let begun = Instant::now();
    let facts = once(Cloud::Auto, Some(&aws), None).await;
    assert_eq!(facts, CloudFacts::default());
    assert_eq!(aws.asked(), ["PUT /latest/api/token"]);
    // One limit, not one for each of the rounds.
    assert!(begun.elapsed() < PATIENCE / 10);
}

#[tokio::test]
async fn answers_that_are_not_those_of_an_instance_mean_no_cloud() {
    const HTML: &str = "<html><body>Please log in</body></html>";
    type Odd = fn(&str) -> Answer;
    let cases: [(&str, Odd); 9] = [
        ("a page", |_| Answer::Text(HTML.to_owned())),
        ("an error", |_| refusal("500 Internal Server Error")),
        ("no HTTP", |_| {
            Answer::Raw("SSH-2.0-OpenSSH_9.6\r\n".to_owned())
        }),
        ("a cut answer", |_| {
            Answer::Raw("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\ni-0".to_owned())
        }),
        ("an answer without end", |_| {
            let body = "a".repeat(70 << 10);
            Answer::Raw(format!("HTTP/1.1 200 OK\r\n\r\n{body}"))
        }),
        ("65 KiB", |_| Answer::Text("a".repeat(65 << 10))),
        ("no text", |_| {
            Answer::Raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned())
        }),
        ("a head without end", |_| {
            Answer::Raw(format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(1 << 20)))
        }),
        ("a page instead of what is asked", |asked| {
            Answer::Text(if is_token(asked) { TOKEN } else { HTML }.to_owned())
        }),
    ];
    for (what, answer) in cases {
        let service = Service::start(move |asked, _| answer(asked)).await;
        let facts = once(Cloud::Auto, Some(&service), Some(&service)).await;
        assert_eq!(facts, CloudFacts::default(), "{what}");
        assert!(!service.asked().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Service::start(imds).await;
    let target = other.address;
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
    ] {
        let aws = Service::start(move |asked, _| {
            let path = asked.split(' ').nth(1).unwrap();
            Answer::Raw(format!(
                "HTTP/1.1 {status}\r\nLocation: http://{target}{path}\r\nContent-Length: 0\r\n\r\n"
            ))
        })
        .await;
        let facts = once(Cloud::Auto, Some(&aws), Some(&aws)).await;
        assert_eq!(facts, CloudFacts::default(), "{status}");
    }
    assert_eq!(other.asked(), [""; 0]);
}

const GCE: &str = r#"{
    "hostname": "node-1.c.project-1.internal", "name": "node-1",
    "machineType": "projects/123456789/machineTypes/e2-standard-4",
    "zone": "projects/123456789/zones/us-central1-a",
    "serviceAccounts": {"default": {"email": "x@developer.gserviceaccount.com"}},
    "networkInterfaces": [{"ip": "10.128.0.2", "network": "projects/123456789/networks/default"}]
}"#;

/// The metadata service of Google.
fn gce(asked: &str, head: &str) -> Answer {
    let is_it = asked == "GET /computeMetadata/v1/instance/?recursive=true";
    match is_it && head.contains("\r\nmetadata-flavor: google\r\n") {
        true => Answer::Raw(ok(
            "Metadata-Flavor: Google\r\nServer: Metadata Server\r\n",
            GCE,
        )),
        false => refusal("404 Not Found"),
    }
}

#[tokio::test]
async fn an_instance_of_google_is_asked_with_its_header_and_answers_with_it() {
    let gcp = Service::start(gce).await;
    // It is at the address of AWS, too, and knows nothing of that one's paths.
    for (cloud, aws) in [
        (Cloud::Gcp, None),
        (Cloud::Auto, None),
        (Cloud::Auto, Some(&gcp)),
    ] {
        let facts = once(cloud, aws, Some(&gcp)).await;
        assert_eq!(facts.platform, Platform::Gcp, "{cloud:?}");
        assert_eq!(facts.zone, "us-central1-a");
        assert_eq!(facts.role, "default");
        assert_eq!(facts.instance_id, "node-1.c.project-1.internal");
        assert_eq!(facts.instance_type, "e2-standard-4");
        assert_eq!(facts.interfaces[0].network, "default");
    }
    // An answer without the header is somebody else's.
    for header in ["", "Metadata-Flavor: Else\r\n"] {
        let other = Service::start(move |_, _| Answer::Raw(ok(header, GCE))).await;
        let facts = once(Cloud::Gcp, None, Some(&other)).await;
        assert_eq!(facts, CloudFacts::default(), "{header}");
    }
}

#[tokio::test]
async fn only_the_services_that_are_wanted_are_asked_and_aws_goes_first() {
    let (aws, gcp) = (Service::start(imds).await, Service::start(gce).await);
    for (cloud, platform, asked) in [
        (Cloud::None, Platform::Unknown, (0, 0)),
        (Cloud::Gcp, Platform::Gcp, (0, 1)),
        (Cloud::Aws, Platform::Aws, (1, 0)),
        (Cloud::Auto, Platform::Aws, (1, 1)),
    ] {
        let before = (aws.asked().len(), gcp.asked().len());
        assert_eq!(once(cloud, Some(&aws), Some(&gcp)).await.platform, platform);
        if cloud != Cloud::Auto {
            let was_asked = (aws.asked().len() > before.0, gcp.asked().len() > before.1);
            assert_eq!(was_asked, (asked.0 > 0, asked.1 > 0), "{cloud:?}");
        }
    }
}

#[tokio::test]
async fn what_some_answers_say_is_taken_though_others_are_missing() {
    let aws = Service::start(|asked, head| match asked {
        "GET /latest/meta-data/instance-type" => Answer::Hang,
        "GET /latest/meta-data/placement/availability-zone" => refusal("500 Internal Server Error"),
        asked => imds(asked, head),
    })
    .await;
    let facts = once(Cloud::Aws, Some(&aws), None).await;
    assert_eq!(facts.instance_id, "0dcf0a95274953dff");
    assert_eq!((&*facts.zone, &*facts.instance_type), ("", ""));
    assert_eq!(facts.role, "node-role");
}

#[tokio::test]
async fn what_was_missing_is_asked_again_and_replaces_what_was_known() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let aws = Service::start(move |asked, head| {
        match first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            true => refusal("503 Service Unavailable"),
            false => imds(asked, head),
        }
    })
    .await;
    for cloud in [Cloud::Aws, Cloud::Auto] {
        let options = CloudOptions {
            aws: aws.place(),
            gcp: nowhere().await,
            again: vec![Duration::ZERO],
            ..CloudOptions::new(cloud, Duration::from_millis(500))
        };
        let (facts, known) = watch::channel(None);
        timeout(PATIENCE, collect(options, facts)).await.unwrap();
        let known: Known = known.borrow().clone();
        assert!(is_the_instance(&known.unwrap()), "{cloud:?}");
    }
}

/// The names of what a reducer was sent on a connection, and the platform among it.
async fn handshake(mock: &MockReducer, index: usize) -> Option<u64> {
    let is_complete = |state: &State| {
        let connection = state.connection(index);
        connection.is_some_and(|one| one.counts.contains_key("metadata_complete"))
    };
    must("a handshake", mock.wait_until(is_complete)).await;
    mock.with(|state| {
        let log = state.log.iter().filter(|entry| entry.connection == index);
        let platform = |entry: &Entry| entry.message.get("cloud_platform")?.as_u64();
        log.filter_map(platform).next()
    })
}

#[tokio::test]
async fn the_first_connection_waits_for_the_facts_and_later_ones_carry_what_came_late() {
    let mock = MockReducer::bind(ANY, Options::default()).await.unwrap();
    let (facts, known) = watch::channel(None);
    let mut reducer = Reducer::new(k8s_relay::reducer::Options {
        cloud: CloudNews::new(known, None),
        ..options(mock.addr().port())
    })
    .unwrap();
    {
        let mut next = std::pin::pin!(reducer.next());
        let early = timeout(Duration::from_millis(50), &mut next).await;
        assert!(early.is_err(), "it waits: {early:?}");
        assert_eq!(mock.connections(), 0);
        facts.send_replace(Some(Arc::default()));
        let event = timeout(PATIENCE, next).await.unwrap();
        assert!(matches!(event, ReducerEvent::Connected));
    }
    assert_eq!(handshake(&mock, 1).await, Some(0));
    facts.send_replace(Some(Arc::new(CloudFacts {
        platform: Platform::Gcp,
        ..CloudFacts::default()
    })));
    mock.disconnect().await;
    while !matches!(
        timeout(PATIENCE, reducer.next()).await.unwrap(),
        ReducerEvent::Connected
    ) {}
    assert_eq!(handshake(&mock, 2).await, Some(2));
}

#[tokio::test]
async fn the_wait_for_the_facts_has_an_end_and_ends_with_whoever_collects_them() {
    for is_alive in [true, false] {
        let mock = MockReducer::bind(ANY, Options::default()).await.unwrap();
        let (facts, known) = watch::channel(None);
        let facts = is_alive.then_some(facts);
        let until = is_alive.then(|| Instant::now() + Duration::from_millis(30));
        let mut reducer = Reducer::new(k8s_relay::reducer::Options {
            cloud: CloudNews::new(known, until),
            ..options(mock.addr().port())
        })
        .unwrap();
        let event = timeout(PATIENCE, reducer.next()).await.unwrap();
        assert!(matches!(event, ReducerEvent::Connected));
        assert_eq!(handshake(&mock, 1).await, Some(0));
        drop(facts);
    }
}
