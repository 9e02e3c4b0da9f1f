#!/usr/bin/env python3
"""Sends the same requests to two Kubernetes API servers and lists where their answers differ.

    api-server-differences.py [--compact URL] REAL SIMULATED

REAL and SIMULATED are kubeconfigs, or URL,TOKEN. Both clusters need some pods, ReplicaSets and
Jobs; nothing in them is changed. Objects are of course other ones in either cluster, so what is
compared is what an answer says about itself: codes, headers, kinds, which fields there are, of
which type, in which order events come. Version 1 should be gone in
both: restart the real server before, and let more happen in the simulated one than its history
holds. `--compact URL` is posted to before an expired continue token is sent, because real
servers forget those only when etcd is compacted.

What may not be there, as a bookmark within two seconds, is compared if both have it: let
something happen in both clusters meanwhile. Each difference is printed with what was asked, the
fact, and both values. Marked `!` is what the relay
acts upon; with none of those the exit status is 0. The rest, such as texts for people, is
marked `.` and does no harm.
"""
import argparse, base64, http.client, json, re, ssl, sys, tempfile, time, urllib.parse, urllib.request

OBJECTS = "application/json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PODS, SETS, JOBS = "/api/v1/pods", "/apis/apps/v1/replicasets", "/apis/batch/v1/jobs"
STREAM = {"watch": "true", "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan",
          "allowWatchBookmarks": "true"}
FOLLOW = {"watch": "true", "allowWatchBookmarks": "true"}
INITIAL_END = "k8s.io/initial-events-end"
FAR = "999999999999"
# The fields that the relay reads, as paths without indexes.
READ = re.compile(r"metadata\.(name|namespace|uid|resourceVersion|ownerReferences\b.*)$|spec\.hostNetwork$|"
                  r"status\.(podIP|podIPs\[\]\.ip|(c|initC|ephemeralC)ontainerStatuses\[\]\.(name|image|containerID))$")


class Server:
    """An API server and how to get in."""

    def __init__(self, where):
        if where.startswith("http"):
            self.url, _, self.token = where.partition(",")
            self.tls = ssl._create_unverified_context() if where.startswith("https") else None
        else:
            self.read(open(where).read())

    def read(self, text):
        """Fields by their names: a kubeconfig of one cluster and one user needs no YAML."""
        def field(name):
            found = re.search(rf'["\s]{name}"?:\s*"?([^"\s,}}]+)', text)
            return found and found.group(1)

        def file(name):
            """The path of what is given as a file or as data."""
            if data := field(name + "-data"):
                kept = tempfile.NamedTemporaryFile(delete=False)
                kept.write(base64.b64decode(data))
                kept.close()
                return kept.name
            return field(name)

        self.url, self.token = field("server"), field("token")
        if path := field("tokenFile"):
            self.token = open(path).read().strip()
        self.tls = None
        if self.url.startswith("https"):
            self.tls = ssl.create_default_context(cafile=file("certificate-authority"))
            if certificate := file("client-certificate"):
                self.tls.load_cert_chain(certificate, file("client-key"))

    def ask(self, path, query=None, accept=OBJECTS, token=None):
        """The answer: code, headers, body."""
        where = urllib.parse.urlsplit(self.url)
        if self.tls and token:  # A client certificate would speak louder.
            tls = ssl._create_unverified_context()
        else:
            tls = self.tls
        connection = (http.client.HTTPSConnection(where.netloc, context=tls, timeout=30) if tls
                      else http.client.HTTPConnection(where.netloc, timeout=30))
        headers = {"Accept": accept, "User-Agent": "api-server-differences"}
        if token or self.token:
            headers["Authorization"] = "Bearer " + (token or self.token)
        connection.request("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""), headers=headers)
        answer = connection.getresponse()
        cut = False
        try:
            body = answer.read()
        except http.client.IncompleteRead as error:
            body, cut = error.partial, True
        connection.close()
        return answer.status, answer.headers, body, cut


def plain(message):
    """A text for people without what differs between any two clusters."""
    message = re.sub(r'User "[^"]*"', 'User "…"', message or "")
    return re.sub(r"\d+", "N", message)


def kind_of(value):
    return {dict: "object", list: "list", str: "text", bool: "truth", int: "number", type(None): "null"}.get(type(value), "number")


def fields(value, path=""):
    """Paths and types of all that is in a JSON value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from fields(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner, path + "[]")
    else:
        yield path, kind_of(value)


class Facts:
    """What an answer says about itself, by the names of facts."""

    def __init__(self):
        self.values, self.harmless, self.optional = {}, set(), set()

    def used(self, name, value):
        """The relay acts upon it."""
        self.values[name] = value

    def noted(self, name, value):
        """The relay does not act upon it."""
        self.values[name] = value
        self.harmless.add(name)

    def used_if_there(self, name, value):
        """Not every cluster has an object with it."""
        self.values[name] = value
        self.optional.add(name)


def about_answer(facts, code, headers, cut):
    facts.used("code", code)
    facts.used("Content-Type", headers["Content-Type"])
    facts.used("Retry-After", headers["Retry-After"])
    facts.used("Date", "Date" in headers)
    facts.noted("Cache-Control", headers["Cache-Control"])
    facts.noted("WWW-Authenticate", headers["WWW-Authenticate"])
    facts.used("cut", cut)


def about_status(facts, status, prefix=""):
    details = status.get("details") or {}
    facts.used(prefix + "kind", (status.get("apiVersion"), status.get("kind")))
    facts.used(prefix + "status.code", status.get("code"))
    facts.used(prefix + "reason", status.get("reason"))
    facts.used(prefix + "retryAfterSeconds", details.get("retryAfterSeconds"))
    facts.used(prefix + "metadata", sorted(status.get("metadata") or {}))
    facts.noted(prefix + "message", plain(status.get("message")))
    # Which refusals of streamed lists are recognised by (before 1.27).
    names = [name for name in ("sendInitialEvents", "resourceVersionMatch") if name in (status.get("message") or "")]
    if status.get("code") == 400:
        facts.used(prefix + "message names", names)
    facts.noted(prefix + "details", json.dumps(details, sort_keys=True) if "name" not in details else sorted(details))


def about_objects(facts, objects):
    """Fields of the wrong type would be the end of an object."""
    types = {}
    for value in objects:
        for path, kind in fields(value):
            if READ.match(path):
                types.setdefault(path, set()).add(kind)
    for path, kinds in types.items():
        facts.used_if_there(path, "|".join(sorted(kinds)))
    if objects:
        facts.used_if_there("objects' kinds", sorted({(o.get("apiVersion") or "-", o.get("kind") or "-") for o in objects}))


def about_list(facts, page):
    metadata = page.get("metadata") or {}
    facts.used("kind", (page.get("apiVersion"), page.get("kind")))
    facts.used("fields", sorted(page))
    for name in ("continue", "remainingItemCount"):
        if name in metadata:
            facts.used_if_there(name, kind_of(metadata[name]))
    facts.used("version is a number", metadata.get("resourceVersion", "").isdigit())
    if not page.get("items"):
        facts.used_if_there("no items are", kind_of(page["items"]))
    about_objects(facts, page.get("items") or [])


def get(path, query=None, accept=OBJECTS, token=None, items=None):
    """A list, or a refusal."""
    def case(server, facts):
        code, headers, body, cut = server.ask(path, query, accept, token)
        about_answer(facts, code, headers, cut)
        try:
            page = json.loads(body)
        except ValueError:
            facts.used("body", body.decode(errors="replace")[:80])
            return
        if page.get("kind") == "Status":
            return about_status(facts, page)
        if "items" not in page:
            return about_objects(facts, [page])
        about_list(facts, page)
        if items is not None:
            found = len(page["items"] or [])
            facts.used("items", found == items if items >= 0 else found > -items)
    return case


def pages(path, accept, **more):
    """All pages of a list."""
    def case(server, facts):
        query, seen, versions, shapes = {"limit": 7, **more}, [], [], []
        while True:
            code, headers, body, _ = server.ask(path, query, accept)
            page = json.loads(body)
            if code != 200:
                return about_status(facts, page)
            metadata = page["metadata"]
            seen += [item["metadata"]["uid"] for item in page["items"] or []]
            versions.append(metadata["resourceVersion"])
            shapes.append((len(page["items"] or []) == 7, tuple(sorted(set(metadata) - {"remainingItemCount"}))))
            if not metadata.get("continue"):
                break
            query["continue"] = metadata["continue"]
        facts.used("objects twice", len(seen) - len(set(seen)))
        facts.used("versions", len(set(versions)))
        if len(shapes) > 1:
            facts.used_if_there("pages but the last", sorted(set(shapes[:-1])))
        facts.used("last page's metadata", shapes[-1][1])
    return case


def watch(path, query, accept=OBJECTS, since=None, seconds=2, token=None, pause=0):
    """A stream until its end. Where it begins: the `newest` version, or another one."""
    def case(server, facts):
        wanted = dict(query, timeoutSeconds=seconds)
        listed = json.loads(server.ask(path, {"limit": 500}, accept.replace("Metadata;", "MetadataList;"))[2])
        if since == "newest":
            wanted["resourceVersion"] = listed["metadata"]["resourceVersion"]
            time.sleep(pause)
        elif since:
            wanted["resourceVersion"] = since
        began = time.monotonic()
        code, headers, body, cut = server.ask(path, wanted, accept, token)
        about_answer(facts, code, headers, cut)
        lines = body.decode().split("\n")
        if code != 200:
            return about_status(facts, json.loads(body))
        facts.used("ends when asked to", seconds - 1 < time.monotonic() - began < seconds + 2)
        facts.used("last line ends", lines.pop() == "")
        events = [json.loads(line) for line in lines]
        types = [event["type"] for event in events]
        if events:
            facts.used_if_there("events' fields", sorted({name for event in events for name in event}))
        errors = [event["object"] for event in events if event["type"] == "ERROR"]
        facts.used("errors", len(errors))
        for status in errors:
            about_status(facts, status, "ERROR ")
            return
        objects = [event["object"] for event in events if event["type"] not in ("BOOKMARK", "ERROR")]
        about_objects(facts, objects)
        marks = [at for at, event in enumerate(events)
                 if (event["object"]["metadata"].get("annotations") or {}).get(INITIAL_END) == "true"]
        facts.used("marks of the initial events' end", len(marks))
        for at in marks:
            facts.used("the mark is a", types[at])
            facts.used("before the mark", sorted(set(types[:at])))
            facts.used("objects before the mark are all", at >= len(listed["items"]) - 1)
            about_bookmark(facts, "mark", events[at]["object"])
        for bookmark in (e["object"] for at, e in enumerate(events) if e["type"] == "BOOKMARK" and at not in marks):
            about_bookmark(facts, "bookmark", bookmark)
        if since == "newest":
            versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
            facts.used("versions rise", versions == sorted(versions))
            facts.used("first version is later", not versions or versions[0] > int(wanted["resourceVersion"]))
    return case


def about_bookmark(facts, name, bookmark):
    facts.used_if_there(f"{name}'s kind", (bookmark.get("apiVersion"), bookmark.get("kind")))
    facts.used_if_there(f"{name}'s fields", sorted({path for path, _ in fields(bookmark)}))


def first_token(server):
    return json.loads(server.ask(PODS, {"limit": 2})[2])["metadata"]["continue"]


def expired(compact):
    """A continue token, made as old as can be."""
    def case(server, facts):
        token = first_token(server)
        if compact:
            urllib.request.urlopen(urllib.request.Request(compact, method="POST")).read()
        try:
            inner = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            inner["rv"] = 1
            token = base64.urlsafe_b64encode(json.dumps(inner).encode()).decode().rstrip("=")
        except (ValueError, TypeError):  # That of a simulated server.
            token = "1-" + token.partition("-")[2]
        get(PODS, {"limit": 2, "continue": token})(server, facts)
    return case


def both(query):
    """A continue token with something next to it."""
    return lambda server, facts: get(PODS, {"continue": first_token(server), **query})(server, facts)


def cases(compact):
    namespace = "/api/v1/namespaces/no-such-namespace"
    listed = [("pods", PODS, OBJECTS, OBJECTS), ("replicasets", SETS, METADATA_LIST, METADATA), ("jobs", JOBS, METADATA_LIST, METADATA)]
    for name, path, accept, each in listed:
        yield f"list {name}", get(path, accept=accept)
        yield f"list {name}, version 0", get(path, {"resourceVersion": 0}, accept)
        yield f"list {name} in pages", pages(path, accept)
        yield f"version of {name}", get(path, {"limit": 1}, accept, items=1)
        yield f"stream {name}", watch(path, STREAM, each)
        yield f"watch {name} from the newest version", watch(path, FOLLOW, each, "newest", 1)
        yield f"watch {name} from an older version", watch(path, FOLLOW, each, "newest", pause=3)
    yield "whole replicasets", get(SETS, {"limit": 2})
    yield "list pods, version 0, limit", get(PODS, {"resourceVersion": 0, "limit": 1}, items=-1)
    yield "list pods with labels, limit", get(PODS, {"labelSelector": "!no-such-label", "limit": 1}, items=1)
    yield "list pods with labels, none", get(PODS, {"labelSelector": "no-such-label"}, items=0)
    yield "list pods in pages with labels", pages(PODS, OBJECTS, labelSelector="!no-such-label")
    yield "list of a namespace without pods", get(namespace + "/pods", items=0)
    yield "metadata of no pods", get(namespace + "/pods", accept=METADATA_LIST, items=0)
    yield "stream of a namespace without pods", watch(namespace + "/pods", STREAM, seconds=1)
    yield "stream with labels, none", watch(PODS, dict(STREAM, labelSelector="no-such-label"), seconds=1)
    yield "stream without bookmarks", watch(PODS, {k: v for k, v in STREAM.items() if "ook" not in k})
    yield "watch without a version", watch(PODS, FOLLOW)
    yield "watch from version 0", watch(PODS, FOLLOW, since="0")
    # 404, 401
    yield "no such resource", get("/api/v1/no-such-things")
    yield "no such group", get("/apis/no.such.group/v1/things")
    yield "no such version", get("/apis/batch/v9/jobs")
    yield "no such pod", get(namespace + "/pods/none")
    yield "no such job", get("/apis/batch/v1/namespaces/none/jobs/none")
    yield "wrong token", get(PODS, token="wrong")
    yield "wrong token, watch", watch(PODS, FOLLOW, token="wrong")
    # 410, 504
    yield "watch from version 1", watch(PODS, FOLLOW, since="1")
    yield "watch metadata from version 1", watch(SETS, FOLLOW, METADATA, since="1")
    yield "expired continue token", expired(compact)
    yield "list at an expired version", get(PODS, {"resourceVersion": 1, "resourceVersionMatch": "Exact"})
    yield "list from the future", get(PODS, {"resourceVersion": FAR})
    yield "stream from the future", watch(PODS, dict(STREAM, resourceVersion=FAR), seconds=5)
    yield "watch from the future", watch(PODS, FOLLOW, since=FAR)
    # 422
    for name, query in (("stream without match", {"watch": 1, "sendInitialEvents": "true"}),
                        ("stream with another match", {"watch": 1, "sendInitialEvents": "true", "resourceVersionMatch": "Exact"}),
                        ("list as a stream", {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}),
                        ("watch with a match", {"watch": 1, "resourceVersion": 1, "resourceVersionMatch": "NotOlderThan"}),
                        ("match without a version", {"resourceVersionMatch": "NotOlderThan"}),
                        ("match that is none", {"resourceVersion": 1, "resourceVersionMatch": "Roughly"}),
                        ("exactly version 0", {"resourceVersion": 0, "resourceVersionMatch": "Exact"})):
        yield name, get(PODS, query)
    # 400
    for name, query in (("labels that are none", {"labelSelector": "a=b=c"}), ("fields that are none", {"fieldSelector": "a"}),
                        ("unknown field", {"fieldSelector": "spec.nothing=1"}), ("limit that is no number", {"limit": "many"}),
                        ("negative limit", {"limit": -1}), ("version that is no number", {"resourceVersion": "new"}),
                        ("seconds that are no number", {"timeoutSeconds": "long"}), ("truth that is none", {"watch": "perhaps", "timeoutSeconds": 1, "resourceVersionMatch": "Exact"}),
                        ("continue token that is none", {"continue": "garbage", "limit": 2}),
                        ("watch from what is no version", {"watch": 1, "resourceVersion": "new"}),
                        ("watch with labels that are none", {"watch": 1, "timeoutSeconds": 1, "labelSelector": "a=b=c"})):
        yield name, get(PODS, query)
    yield "continue token and version", both({"limit": 2, "resourceVersion": 1})
    yield "continue token without limit", both({})


def outcome(case, server):
    facts = Facts()
    try:
        case(server, facts)
    except Exception as error:  # An answer so strange that it cannot be looked at is a fact too.
        facts.used("failed", f"{type(error).__name__}: {error}"[:160])
    return facts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compact", metavar="URL")
    parser.add_argument("--only", metavar="TEXT", default="", help="only requests whose names have this")
    parser.add_argument("real")
    parser.add_argument("simulated")
    args = parser.parse_args()
    servers = [Server(args.real), Server(args.simulated)]
    asked = harmful = harmless = 0
    for name, case in cases(args.compact):
        if args.only not in name:
            continue
        asked += 1
        real, simulated = (outcome(case, server) for server in servers)
        facts = dict.fromkeys([*real.values, *simulated.values])
        # All else follows from these.
        for first in ("failed", "code", "errors"):
            if real.values.get(first) != simulated.values.get(first):
                facts = [first]
                break
        for fact in facts:
            left, right = real.values.get(fact, "-"), simulated.values.get(fact, "-")
            optional = fact in real.optional | simulated.optional
            if left == right or optional and "-" in (left, right):
                continue
            used = fact not in real.harmless | simulated.harmless
            harmful, harmless = harmful + used, harmless + (not used)
            print(f"{'!' if used else '.'} {name}: {fact}\n      real       {left}\n      simulated  {right}")
    print(f"{asked} requests: {harmful} differences in what is used, {harmless} in what is not")
    return 1 if harmful else 0


if __name__ == "__main__":
    sys.exit(main())
