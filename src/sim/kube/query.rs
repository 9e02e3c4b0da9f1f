//! What a request asks for, from its path and its query.
//!
//! Pure. The rules of a server of version 1.35: which options go together, and which lists
//! are exact.

use super::{
    render::Form,
    selector::Selector,
    status::Status,
    store::{Gone, Store},
};
use crate::model::{Kind, KindRow, KindTable};

/// A path that names objects of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The kind.
    pub kind: Kind,
    /// Only those of this namespace.
    pub namespace: Option<String>,
    /// Only the one of this name.
    pub name: Option<String>,
}

impl Target {
    /// Reads `/api/v1/[namespaces/NS/]pods[/NAME]` and the like.
    pub fn parse(kinds: &KindTable, path: &str) -> Option<Self> {
        kinds
            .iter()
            .find_map(|(kind, row)| Self::of(kind, row, path))
    }

    /// The same, if the path is one of this kind.
    fn of(kind: Kind, row: &KindRow, path: &str) -> Option<Self> {
        let rest = path.strip_prefix(&row.root())?.strip_prefix('/')?;
        let parts: Vec<_> = rest.split('/').collect();
        let is = |resource: &str| resource == row.resource;
        let (namespace, name) = match parts.as_slice() {
            [resource] if is(resource) => (None, None),
            [resource, name] if is(resource) && !row.namespaced => (None, Some(*name)),
            ["namespaces", namespace, rest @ ..] if row.namespaced => match rest {
                [resource] if is(resource) => (Some(*namespace), None),
                [resource, name] if is(resource) => (Some(*namespace), Some(*name)),
                _ => return None,
            },
            _ => return None,
        };
        Some(Self {
            kind,
            namespace: namespace.map(decoded),
            name: name.map(decoded),
        })
    }
}

/// The options of a list or watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether changes are asked for.
    pub watch: bool,
    /// `limit`; `None` for none or 0.
    pub limit: Option<usize>,
    /// `timeoutSeconds`.
    pub timeout_seconds: Option<u64>,
    /// `allowWatchBookmarks`.
    pub bookmarks: bool,
    /// `sendInitialEvents`.
    pub initial_events: Option<bool>,
    /// Which objects.
    pub selector: Selector,
    resume: Option<String>,
    version: Option<u64>,
    matching: Option<String>,
}

/// A list that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The version to list at.
    pub version: u64,
    /// The key to go on after.
    pub after: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the changes after a version.
    After(u64),
    /// With all objects as they are now, and then a bookmark with the mark of their end if
    /// `marked`.
    Now {
        /// Whether that bookmark is sent.
        marked: bool,
    },
}

impl Options {
    /// Reads a query.
    ///
    /// # Errors
    /// 400 for what cannot be understood.
    pub fn parse(query: &str) -> Result<Self, Status> {
        let mut options = Self::default();
        let (mut labels, mut fields) = (String::new(), String::new());
        let mut no_version = None;
        for (name, value) in pairs(query) {
            let number = || {
                let message = format!("invalid value for {name}: {value:?}");
                value
                    .parse::<u64>()
                    .map_err(|_| Status::bad_request(message))
            };
            let truth = !matches!(value.to_ascii_lowercase().as_str(), "0" | "false");
            match name.as_str() {
                "watch" => options.watch = truth,
                // A negative one limits nothing.
                "limit" if value.parse::<i64>().is_ok_and(i64::is_negative) => options.limit = None,
                "limit" => options.limit = usize::try_from(number()?).ok().filter(|&n| n > 0),
                "continue" => options.resume = Some(value).filter(|token| !token.is_empty()),
                "resourceVersion" if value.is_empty() => {}
                "resourceVersion" => match number() {
                    Ok(version) => options.version = Some(version),
                    Err(status) => no_version = Some(status),
                },
                "resourceVersionMatch" => options.matching = Some(value),
                "timeoutSeconds" => options.timeout_seconds = Some(number()?),
                "allowWatchBookmarks" => options.bookmarks = truth,
                "sendInitialEvents" => options.initial_events = Some(truth),
                "labelSelector" => labels = value,
                "fieldSelector" => fields = value,
                _ => {}
            }
        }
        if let Some(status) = no_version {
            return Err(match options.watch {
                true => Status::watch_from_no_version(status.message),
                false => status,
            });
        }
        options.selector = Selector::parse(&labels, &fields).map_err(Status::bad_request)?;
        Ok(options)
    }

    /// Whether this is a page after the first.
    pub fn continues(&self) -> bool {
        self.resume.is_some()
    }

    /// As a server reads them that never heard of `sendInitialEvents`.
    pub fn forget_initial_events(&mut self) {
        if self.initial_events.take().is_some() {
            self.matching = None;
        }
    }

    /// The version, if it is newer than this one.
    pub fn newer_than(&self, current: u64) -> Option<u64> {
        self.version.filter(|&version| version > current)
    }

    /// What the list is to show.
    ///
    /// # Errors
    /// 400, 410, 422 and 504.
    pub fn listing(&self, store: &Store) -> Result<Listing, Status> {
        let current = store.version();
        self.check_match()?;
        let exact = match (self.matching.as_deref(), self.version) {
            (Some("Exact"), Some(0)) => {
                return Err(Status::invalid_options(
                    "resourceVersionMatch",
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                ));
            }
            (Some(_), None) => {
                return Err(Status::invalid_options(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
            }
            (Some("Exact"), Some(version)) => Some(version),
            (Some(_), Some(_)) => None,
            (None, version) => version.filter(|&v| v > 0 && self.limit.is_some()),
        };
        if self.initial_events.is_some() {
            return Err(Status::invalid_options(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for list",
            ));
        }
        if let Some(token) = &self.resume {
            if self.version.is_some_and(|version| version > 0) {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let (version, after) = read_token(token)
                .ok_or_else(|| Status::bad_request("continue key is not valid"))?;
            return Ok(Listing {
                version: version.unwrap_or(current),
                after: Some(after),
                limit: self.limit,
            });
        }
        if let Some(wanted) = self.version.filter(|&version| version > current) {
            return Err(Status::version_too_large(wanted, current));
        }
        Ok(Listing {
            version: exact.unwrap_or(current),
            after: None,
            // Such a list comes from the watch cache, which knows no pages.
            limit: self
                .limit
                .filter(|_| exact.is_some() || self.version.is_none()),
        })
    }

    fn check_match(&self) -> Result<(), Status> {
        match self.matching.as_deref() {
            None | Some("" | "Exact" | "NotOlderThan") => Ok(()),
            Some(matching) => Err(Status::unsupported_match(matching)),
        }
    }

    /// Where the watch begins, when the newest version is `current`.
    ///
    /// # Errors
    /// 422 if the server does not stream lists, or options do not go together.
    pub fn begin(&self, streams_lists: bool, current: u64) -> Result<Begin, Status> {
        match self.initial_events {
            Some(_) if self.matching.as_deref() != Some("NotOlderThan") => {
                Err(Status::invalid_options(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ))
            }
            Some(_) if !streams_lists => Err(Status::watch_list_is_off()),
            Some(true) => Ok(Begin::Now {
                marked: self.bookmarks,
            }),
            None if self.matching.is_some() => Err(Status::invalid_options(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )),
            Some(false) => {
                let version = self.version.filter(|&version| version > 0);
                Ok(Begin::After(version.unwrap_or(current)))
            }
            None => Ok(match self.version {
                None | Some(0) => Begin::Now {
                    marked: streams_lists && self.bookmarks,
                },
                Some(version) => Begin::After(version),
            }),
        }
    }
}

/// The `continue` of a list at `version` whose last key was `last`.
pub fn token(version: u64, last: &str) -> String {
    let hex: String = last.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{version}-{hex}")
}

/// What a list says that can no longer be continued; its new token goes on at the newest
/// version.
pub fn too_old(listing: &Listing, _: Gone) -> Status {
    match &listing.after {
        Some(after) => Status::continue_too_old(token(0, after)),
        None => Status::list_too_old(),
    }
}

/// The version, `None` for the newest, and the last key.
fn read_token(token: &str) -> Option<(Option<u64>, String)> {
    let (version, hex) = token.split_once('-')?;
    let version: u64 = version.parse().ok()?;
    let bytes: Option<Vec<u8>> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
        .collect();
    let key = String::from_utf8(bytes?)
        .ok()
        .filter(|key| !key.is_empty())?;
    Some(((version > 0).then_some(version), key))
}

/// Whether `Accept` asks for `PartialObjectMetadata`, of lists or of objects.
pub fn form(accept: &str) -> Form {
    let wanted = accept.split(',').next().unwrap_or_default();
    if wanted.contains("as=PartialObjectMetadata") {
        Form::Metadata
    } else {
        Form::Full
    }
}

/// The names and values of a query, decoded.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(name), decoded(&value.replace('+', " ")))
    })
}

/// Without percent signs; a wrong one stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'%')
            .then(|| std::str::from_utf8(after.get(..2)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sim::kube::objects::Pod;

    fn store() -> Store {
        let mut store = Store::new(10);
        for number in 0..9 {
            store.apply(Pod::new("a", &number.to_string(), "u"));
        }
        store
    }

    #[test]
    fn only_the_paths_of_the_three_kinds_name_objects() {
        for (path, kind, namespace, name) in [
            ("/api/v1/pods", Kind::POD, None, None),
            ("/api/v1/namespaces/a/pods", Kind::POD, Some("a"), None),
            (
                "/api/v1/namespaces/a/pods/b",
                Kind::POD,
                Some("a"),
                Some("b"),
            ),
            ("/apis/apps/v1/replicasets", Kind::REPLICA_SET, None, None),
            (
                "/apis/batch/v1/namespaces/a%2d1/jobs",
                Kind::JOB,
                Some("a-1"),
                None,
            ),
        ] {
            let target = Target::parse(&KindTable::default(), path).unwrap();
            assert_eq!(
                (
                    target.kind,
                    target.namespace.as_deref(),
                    target.name.as_deref()
                ),
                (kind, namespace, name)
            );
        }
        for path in [
            "/",
            "/api/v1",
            "/api/v1/jobs",
            "/api/v1/pods/a",
            "/apis/apps/v2/replicasets",
        ] {
            assert_eq!(Target::parse(&KindTable::default(), path), None, "{path}");
        }
    }

    #[test]
    fn a_limit_counts_unless_the_list_comes_from_the_watch_cache() {
        for (query, limit, version) in [
            ("limit=5", Some(5), 10),
            ("limit=0", None, 10),
            ("limit=-1", None, 10),
            ("limit=5&resourceVersion=", Some(5), 10),
            ("limit=5&resourceVersion=0", None, 10),
            ("limit=5&resourceVersion=7", Some(5), 7),
            ("resourceVersion=7", None, 10),
            (
                "limit=5&resourceVersion=7&resourceVersionMatch=NotOlderThan",
                None,
                10,
            ),
            ("resourceVersion=7&resourceVersionMatch=Exact", None, 7),
        ] {
            let listing = Options::parse(query).unwrap().listing(&store()).unwrap();
            assert_eq!(
                (listing.limit, listing.version),
                (limit, version),
                "{query}"
            );
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused_as_the_real_server_does() {
        let list = |query: &str| {
            Options::parse(query)
                .and_then(|o| o.listing(&store()))
                .err()
        };
        let watch = |query: &str| Options::parse(query).and_then(|o| o.begin(true, 10)).err();
        for (refused, code) in [
            (list("limit=x"), 400),
            (list("resourceVersion=new"), 400),
            (watch("watch=1&resourceVersion=new"), 500),
            (list("labelSelector=a%3Db%3Dc"), 400),
            (list("resourceVersionMatch=Roughly&resourceVersion=7"), 422),
            (list("continue=x"), 400),
            (list("continue=1-61&resourceVersion=7"), 400),
            (list("sendInitialEvents=true"), 422),
            (list("resourceVersionMatch=Exact"), 422),
            (list("resourceVersionMatch=Exact&resourceVersion=0"), 422),
            (list("resourceVersion=99"), 504),
            (watch("sendInitialEvents=true"), 422),
            (watch("resourceVersionMatch=NotOlderThan"), 422),
        ] {
            assert_eq!(refused.unwrap().code, code);
        }
    }

    #[test]
    fn a_watch_begins_where_it_is_asked_to() {
        let list = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1";
        for (query, streams_lists, begin) in [
            ("resourceVersion=7", true, Some(Begin::After(7))),
            ("", true, Some(Begin::Now { marked: false })),
            (
                "allowWatchBookmarks=true",
                true,
                Some(Begin::Now { marked: true }),
            ),
            (
                "sendInitialEvents=false&resourceVersionMatch=NotOlderThan",
                true,
                Some(Begin::After(10)),
            ),
            ("watch=perhaps", true, Some(Begin::Now { marked: false })),
            (
                "resourceVersion=0&allowWatchBookmarks=true",
                true,
                Some(Begin::Now { marked: true }),
            ),
            (
                "resourceVersion=0&allowWatchBookmarks=true",
                false,
                Some(Begin::Now { marked: false }),
            ),
            (list, true, Some(Begin::Now { marked: true })),
            (list, false, None),
        ] {
            let options = Options::parse(query).unwrap();
            assert_eq!(options.begin(streams_lists, 10).ok(), begin, "{query}");
        }
    }

    #[test]
    fn a_token_leads_to_where_its_page_ended() {
        let query = format!("limit=2&continue={}", token(5, "a/ü"));
        let options = Options::parse(&query).unwrap();
        let listing = options.listing(&store()).unwrap();
        assert_eq!(
            (listing.version, listing.after.as_deref()),
            (5, Some("a/ü"))
        );
        let again = Options::parse(&format!("continue={}", token(0, "a/1"))).unwrap();
        assert_eq!(again.listing(&store()).unwrap().version, 10);
    }

    #[test]
    fn percent_signs_are_decoded_and_wrong_ones_stay() {
        for (text, plain) in [
            ("a%20b", "a b"),
            ("%E2%82%AC", "€"),
            ("%", "%"),
            ("%zz%4", "%zz%4"),
        ] {
            assert_eq!(decoded(text), plain);
        }
    }

    #[test]
    fn metadata_alone_is_what_the_first_choice_of_accept_says() {
        let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        assert_eq!(form(metadata), Form::Metadata);
        assert_eq!(
            form("application/json;as=Table;v=v1,application/json"),
            Form::Full
        );
        assert_eq!(form("application/json"), Form::Full);
    }
}
