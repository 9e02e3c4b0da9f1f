//! From a request to its answer: who may ask, what is asked for, and what goes wrong.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use tokio::time::{Instant, sleep};

use super::{
    body::{Body, List, Source, Watch, error_event},
    discovery,
    faults::{Answer, Cut, Fault},
    leases,
    query::{Begin, Options, Target, form, too_old},
    render::{Form, Place},
    requests::{self, Sort},
    server::Link,
    status::Status,
    store::{Page, key},
    world::World,
};
use crate::model::{Kind, KindTable};

/// Whom the server takes everybody for.
const USER: &str = "system:serviceaccount:default:k8s-relay";

pub(super) type Frames =
    std::pin::Pin<Box<dyn Stream<Item = std::io::Result<Frame<Bytes>>> + Send>>;

/// What is to be said, before anything goes wrong.
struct Reply {
    code: u16,
    content_type: &'static str,
    headers: Vec<(String, String)>,
    source: Source,
}

/// Answers a request, or never does.
pub(super) async fn answer(
    world: Arc<World>,
    link: Arc<Link>,
    request: Request<Incoming>,
) -> Result<Response<StreamBody<Frames>>, Infallible> {
    let request = match leases::answer(&world, request).await {
        Ok(answer) => return Ok(answer),
        Err(request) => request,
    };
    let asked = Asked::new(&world.kinds, &request);
    let number = world.book(|book| book.add(asked.entry(&request, link.number)));
    let fault = {
        let namespace = asked.namespace();
        let mut state = world.lock();
        state.plan.strike(asked.kind(), namespace, asked.sort)
    };
    let mut cut = None;
    let reply = match fault {
        None => asked.reply(&world, false),
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::DelayHead(delay)) => {
            sleep(delay).await;
            asked.reply(&world, false)
        }
        Some(Fault::Answer(Answer {
            code,
            headers,
            body,
        })) => Reply {
            code,
            headers,
            ..Reply::json(Bytes::from(body))
        },
        Some(Fault::Cut(bytes, how)) => {
            cut = Some((bytes, how));
            asked.reply(&world, false)
        }
        Some(Fault::Garbage(bytes)) => Reply::json(Bytes::from(bytes)),
        Some(Fault::EndlessLine) => Reply::of(Source::Endless),
        Some(Fault::ErrorEvent(status)) => Reply::json(error_event(&status)),
        Some(Fault::NoEvents) => Reply::of(Source::Nothing),
        Some(Fault::IgnoreInitialEvents) => asked.reply(&world, true),
    };
    world.book(|book| book.answered(number, reply.code));
    Ok(reply.into_response(cut, link, world))
}

/// What is asked for, and by whom.
struct Asked {
    method: Method,
    path: String,
    query: String,
    accept: String,
    token: String,
    target: Option<Target>,
    options: Result<Options, Status>,
    sort: Sort,
}

impl Asked {
    fn new(kinds: &KindTable, request: &Request<Incoming>) -> Self {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let target = Target::parse(kinds, &path);
        let options = Options::parse(&query);
        let sort = match (&target, &options) {
            (None, _) if path == "/version" => Sort::Version,
            (None, _) => Sort::Other,
            (Some(Target { name: Some(_), .. }), _) => Sort::Object,
            (Some(_), Ok(options)) if options.watch && options.initial_events == Some(true) => {
                Sort::WatchList
            }
            (Some(_), Ok(options)) if options.watch => Sort::Watch,
            (Some(_), Ok(options)) if options.continues() => Sort::Page,
            (Some(_), Ok(_) | Err(_)) => Sort::List,
        };
        Self {
            method: request.method().clone(),
            accept: text(request.headers(), header::ACCEPT),
            token: text(request.headers(), header::AUTHORIZATION),
            path,
            query,
            target,
            options,
            sort,
        }
    }

    fn kind(&self) -> Option<Kind> {
        self.target.as_ref().map(|target| target.kind)
    }

    fn namespace(&self) -> Option<&str> {
        self.target.as_ref()?.namespace.as_deref()
    }

    fn entry(&self, request: &Request<Incoming>, connection: u64) -> requests::Request {
        requests::Request {
            number: 0,
            connection,
            kind: self.kind(),
            namespace: self.namespace().map(str::to_owned),
            sort: self.sort,
            path: self.path.clone(),
            query: self.query.clone(),
            user_agent: text(request.headers(), header::USER_AGENT),
            authorization: self.token.clone(),
            accept: self.accept.clone(),
            code: None,
        }
    }

    /// What a server says to it that may never have heard of `sendInitialEvents`.
    fn reply(self, world: &Arc<World>, ignorant: bool) -> Reply {
        self.served(world, ignorant)
            .unwrap_or_else(|status| Reply::status(&status))
    }

    fn served(self, world: &Arc<World>, ignorant: bool) -> Result<Reply, Status> {
        self.admitted(world)?;
        let Some(target) = self.target else {
            return Ok(match discovery::document(&world.kinds, &self.path) {
                Some(document) => Reply::json(document.to_string().into()),
                None if discovery::knows_group(&world.kinds, &self.path) => {
                    return Err(Status::no_such_resource());
                }
                None => Reply::not_found(),
            });
        };
        if self.method != Method::GET {
            return Err(Status::read_only());
        }
        let form = form(&self.accept);
        let mut options = self.options?;
        if let Some(name) = &target.name {
            return object(world, &target, name, form);
        }
        if ignorant {
            options.forget_initial_events();
        }
        if options.watch {
            watch(world, target, options, form, ignorant)
        } else {
            list(world, &target, &options, form)
        }
    }

    fn admitted(&self, world: &World) -> Result<(), Status> {
        let state = world.lock();
        if let Some(token) = &state.token
            && self.token.strip_prefix("Bearer ") != Some(token)
        {
            return Err(Status::unauthorized());
        }
        let Some(target) = &self.target else {
            return Ok(());
        };
        if state.denied.contains(&target.kind) {
            let verb = match self.sort {
                Sort::Watch | Sort::WatchList => "watch",
                Sort::Object => "get",
                Sort::List | Sort::Page | Sort::Version | Sort::Other => "list",
            };
            let namespace = target.namespace.as_deref();
            let row = world.kinds.row(target.kind);
            return Err(Status::forbidden(USER, verb, row, namespace));
        }
        Ok(())
    }
}

fn object(world: &World, target: &Target, name: &str, form: Form) -> Result<Reply, Status> {
    let namespace = target.namespace.as_deref().unwrap_or_default();
    let stored = {
        let state = world.lock();
        let stored = state.store.get(target.kind, &key(namespace, name));
        stored.cloned()
    };
    let row = world.kinds.row(target.kind);
    let stored = stored.ok_or_else(|| Status::no_such_object(row, name))?;
    let mut out = String::new();
    let renderer = &world.renderer;
    renderer.object(&mut out, &stored.object, stored.version, form, Place::Alone);
    Ok(Reply::json(out.into()))
}

fn list(world: &World, target: &Target, options: &Options, form: Form) -> Result<Reply, Status> {
    let (listing, Page { items, last }) = {
        let state = world.lock();
        let listing = options.listing(&state.store)?;
        let page = state.store.list(
            target.kind,
            listing.version,
            target.namespace.as_deref(),
            listing.after.as_deref(),
            listing.limit,
            |object| options.selector.selects(object),
        );
        let page = page.map_err(|gone| too_old(&listing, gone))?;
        (listing, page)
    };
    let (kind, api_version) = world.renderer.called(target.kind, form);
    let called = (kind, &*api_version);
    let list = List::new(called, form, items, listing.version, last.as_deref());
    Ok(Reply::of(Source::List(list)))
}

fn watch(
    world: &Arc<World>,
    target: Target,
    options: Options,
    form: Form,
    ignorant: bool,
) -> Result<Reply, Status> {
    let (streams_lists, current) = {
        let state = world.lock();
        (state.watch_list && !ignorant, state.store.version())
    };
    let begin = options.begin(streams_lists, current)?;
    if let (Begin::Now { .. }, Some(wanted)) = (begin, options.newer_than(current)) {
        let status = Status::version_too_large(wanted, current);
        return Ok(Reply::json(error_event(&status)));
    }
    Ok(
        match Watch::new(world, target, options, form, begin, now()) {
            Ok(watch) => Reply::of(Source::Watch(Box::new(watch))),
            Err(status) => Reply::json(error_event(&status)),
        },
    )
}

impl Reply {
    fn of(source: Source) -> Self {
        Self {
            code: 200,
            content_type: "application/json",
            headers: Vec::new(),
            source,
        }
    }

    fn json(body: Bytes) -> Self {
        Self::of(Source::Bytes(body))
    }

    fn status(status: &Status) -> Self {
        Self {
            code: status.code,
            headers: status.retry_after().into_iter().collect(),
            ..Self::json(format!("{}\n", status.to_json()).into())
        }
    }

    /// What is said to a path that nobody knows.
    fn not_found() -> Self {
        Self {
            code: 404,
            content_type: "text/plain; charset=utf-8",
            ..Self::json("404 page not found\n".into())
        }
    }

    fn into_response(
        self,
        cut: Option<(usize, Cut)>,
        link: Arc<Link>,
        world: Arc<World>,
    ) -> Response<StreamBody<Frames>> {
        let body = Body {
            source: self.source,
            cut,
            link,
            world,
        };
        let frames: Frames = Box::pin(body.into_stream());
        let mut response = Response::new(StreamBody::new(frames));
        *response.status_mut() = http::StatusCode::from_u16(self.code).unwrap_or_default();
        let json = (header::CONTENT_TYPE.as_str(), self.content_type);
        let cache = (header::CACHE_CONTROL.as_str(), "no-cache, private");
        let made_up = self.headers.iter().map(|(name, value)| (&**name, &**value));
        for (name, value) in [json, cache].into_iter().chain(made_up) {
            // A header that is none is left out.
            if let (Ok(name), Ok(value)) = (
                http::HeaderName::try_from(name),
                http::HeaderValue::try_from(value),
            ) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> String {
    let value = headers.get(name).map(|value| value.as_bytes());
    String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
}

#[expect(clippy::disallowed_methods, reason = "watches end after their timeout")]
fn now() -> Instant {
    Instant::now()
}
