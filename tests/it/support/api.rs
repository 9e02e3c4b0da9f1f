//! An API server whose every answer a test gives by hand, byte by byte if it wants to.
//!
//! For what a well-behaved server cannot be made to do. One request on each connection.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout},
};

/// Longer than anything that is waited for. Costs nothing where time is virtual.
const LONG: Duration = Duration::from_secs(3600);

const RESOURCES: [&str; 3] = ["pods", "replicasets", "jobs"];

/// The server.
pub struct Api {
    pub address: SocketAddr,
    calls: BTreeMap<&'static str, mpsc::UnboundedReceiver<Call>>,
    _tasks: JoinSet<()>,
}

/// A request that waits for its answer. Dropping it closes the connection.
pub struct Call {
    /// When it came.
    pub at: Instant,
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    socket: TcpStream,
}

/// The body of an answer that goes on.
pub struct Stream(TcpStream);

impl Api {
    pub async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (senders, calls): (BTreeMap<_, _>, BTreeMap<_, _>) = RESOURCES
            .into_iter()
            .map(|resource| {
                let (sender, receiver) = mpsc::unbounded_channel();
                ((resource, sender), (resource, receiver))
            })
            .unzip();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let senders = senders.clone();
                connections.spawn(async move {
                    if let Some(call) = Call::read(socket).await {
                        // A test that has ended needs no more calls.
                        let _ = senders[call.resource()].send(call);
                    }
                });
            }
        });
        Self {
            address,
            calls,
            _tasks: tasks,
        }
    }

    /// The address alone: who serves it, if anyone does, is somebody else's concern.
    pub fn elsewhere(address: SocketAddr) -> Self {
        Self {
            address,
            calls: BTreeMap::new(),
            _tasks: JoinSet::new(),
        }
    }

    /// The next request for objects of this kind.
    pub async fn call(&mut self, resource: &str) -> Call {
        let calls = self.calls.get_mut(resource).unwrap();
        let call = timeout(LONG, calls.recv()).await;
        call.unwrap_or_else(|_| panic!("no request for {resource}"))
            .unwrap()
    }

    /// The next request for pods.
    pub async fn pods(&mut self) -> Call {
        self.call("pods").await
    }

    /// The next request for pods, which asks for this.
    pub async fn asked(&mut self, ask: &str) -> Call {
        let call = self.pods().await;
        assert_eq!(call.ask(), ask);
        call
    }
}

impl Call {
    async fn read(mut socket: TcpStream) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let target = lines.next()?.split(' ').nth(1)?.to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let pairs = |text: &str, separator: &str| {
            let (key, value) = text.split_once(separator)?;
            Some((key.to_lowercase(), value.trim().to_owned()))
        };
        Some(Self {
            at: Instant::now(),
            path: path.to_owned(),
            query: query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(key, value)| (key.to_owned(), decoded(value)))
                .collect(),
            headers: lines.filter_map(|line| pairs(line, ":")).collect(),
            socket,
        })
    }

    pub fn resource(&self) -> &'static str {
        let last = self.path.rsplit('/').next().unwrap();
        RESOURCES.into_iter().find(|name| *name == last).unwrap()
    }

    /// What is asked for, in few words.
    pub fn ask(&self) -> String {
        let query = |name: &str| self.query.get(name).map(String::as_str);
        assert_ne!(query("resourceVersion"), Some("0"));
        match (query("watch"), query("sendInitialEvents"), query("limit")) {
            (Some("true"), Some("true"), None) => "stream".to_owned(),
            (Some("true"), None, None) => {
                format!("watch {}", query("resourceVersion").unwrap_or_default())
            }
            (None, None, Some("1")) => "version".to_owned(),
            (None, None, Some(limit)) => match query("continue") {
                Some(token) => format!("page {limit} after {token}"),
                None => format!("page {limit}"),
            },
            _ => format!("{:?}", self.query),
        }
    }

    pub async fn raw(&mut self, bytes: &[u8]) {
        // The other side may have gone; then the test sees it elsewhere.
        let _ = self.socket.write_all(bytes).await;
    }

    /// A whole answer, with more headers in lines.
    pub async fn answer(mut self, status: u16, headers: &str, body: &str) {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
        );
        self.raw(head.as_bytes()).await;
        self.raw(body.as_bytes()).await;
    }

    /// An error as API servers send it.
    pub async fn refuse(self, code: u16, message: &str) {
        let body = status(code, message).to_string();
        self.answer(code, JSON, &body).await;
    }

    pub async fn page(self, items: &[String], version: &str, next: Option<&str>) {
        self.answer(200, JSON, &page(items, version, next)).await;
    }

    /// The server is at this version.
    pub async fn version(self, version: &str) {
        assert_eq!(self.ask(), "version");
        self.page(&[], version, None).await;
    }

    /// Begins an answer with 200.
    pub async fn stream(mut self) -> Stream {
        self.raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
              Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        )
        .await;
        Stream(self.socket)
    }

    /// Ends the connection without a word, by RST.
    pub fn reset(self) {
        Stream(self.socket).reset();
    }
}

impl Stream {
    pub async fn raw(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// A chunk.
    pub async fn chunk(&mut self, text: &str) {
        self.raw(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
            .await;
    }

    /// Lines in one chunk.
    pub async fn lines(&mut self, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.chunk(&text).await;
    }

    pub async fn line(&mut self, line: String) {
        self.lines(&[line]).await;
    }

    /// Ends the body as it should end.
    pub async fn end(mut self) {
        self.raw(b"0\r\n\r\n").await;
    }

    /// Ends the connection within a chunk.
    pub async fn cut(mut self) {
        self.raw(b"ff\r\n{\"type\":").await;
    }

    /// Ends the connection by RST.
    pub fn reset(self) {
        socket2::SockRef::from(&self.0)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// Waits until the other side has closed.
    pub async fn closed(mut self) {
        let read = timeout(LONG, self.0.read_u8()).await;
        assert!(read.expect("still open").is_err());
    }
}

pub const JSON: &str = "Content-Type: application/json\r\n";

/// A pod or owner; its name is its uid.
pub fn object(uid: &str, version: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{uid}","namespace":"default","uid":"{uid}","resourceVersion":"{version}"}},"spec":{{"containers":[]}},"status":{{"phase":"Running"}}}}"#
    )
}

pub fn page(items: &[String], version: &str, next: Option<&str>) -> String {
    let next = next.map_or(String::new(), |next| format!(r#","continue":"{next}""#));
    format!(
        r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"{version}"{next}}},"items":[{}]}}"#,
        items.join(",")
    )
}

pub fn status(code: u16, message: &str) -> serde_json::Value {
    serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "Said", "code": code,
    })
}

pub fn event(sort: &str, object: &str) -> String {
    let object = match object.strip_suffix('}') {
        Some(open) if sort != "ERROR" => format!(r#"{open},"kind":"Pod","apiVersion":"v1"}}"#),
        _ => object.to_owned(),
    };
    format!(r#"{{"type":"{sort}","object":{object}}}"#)
}

pub fn added(uid: &str, version: &str) -> String {
    event("ADDED", &object(uid, version))
}

pub fn modified(uid: &str, version: &str) -> String {
    event("MODIFIED", &object(uid, version))
}

pub fn deleted(uid: &str, version: &str) -> String {
    event("DELETED", &object(uid, version))
}

pub fn bookmark(version: &str) -> String {
    event(
        "BOOKMARK",
        &format!(r#"{{"metadata":{{"resourceVersion":"{version}"}}}}"#),
    )
}

pub fn end_mark(version: &str) -> String {
    event(
        "BOOKMARK",
        &format!(
            r#"{{"metadata":{{"resourceVersion":"{version}","annotations":{{"k8s.io/initial-events-end":"true"}}}}}}"#
        ),
    )
}

pub fn error(code: u16) -> String {
    event("ERROR", &status(code, "said so").to_string())
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).unwrap()
}
