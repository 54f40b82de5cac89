//! The server: TLS and HTTP/1.1, and the way of one request from its first byte to its answer.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use futures::{StreamExt, TryStreamExt};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::call::{Call, Query, Reply, User};
use super::request::{self, Request};
use super::status::{Failure, Outcome, failure, generic, no_such_path};
use super::store::Store;
use super::{
    FaultKind, Heard, State, amend, auth, controllers, discovery, exec, list, logs, openapi, protobuf, registry, remove, reviews, rights,
    scale, subresources, watch, write,
};

pub(super) enum Content {
    Json(Value, &'static str),
    Text(Vec<u8>),
    Stream(Body),
}

struct Answer {
    code: u16,
    content: Content,
    warnings: Vec<String>,
}

impl Answer {
    fn json(code: u16, body: Value) -> Self {
        Self { code, content: Content::Json(body, "application/json"), warnings: Vec::new() }
    }
}

/// Serves until it is dropped.
pub(super) async fn run(state: Arc<State>, listener: TcpListener, acceptor: TlsAcceptor) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (state, acceptor) = (state.clone(), acceptor.clone());
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| serve(state.clone(), request));
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(state: Arc<State>, request: http::Request<Incoming>) -> io::Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    let upgrades = parts.headers.contains_key("upgrade");
    let body = if upgrades { Vec::new() } else { to_bytes(Body::new(body), 64 << 20).await.map_err(io::Error::other)?.to_vec() };
    let who = identify(&state, &parts);
    let at = record(&state, &parts, &body, &who);
    let mut cut = false;
    if let Some(fault) = state.fault_for(parts.method.as_str(), parts.uri.path()) {
        match fault {
            FaultKind::Status(code, seconds) => {
                state.heard.lock().unwrap()[at].status = code;
                return Ok(failed(&generic(code, seconds)));
            }
            FaultKind::Slow(time) => tokio::time::sleep(time).await,
            FaultKind::Cut => cut = true,
            FaultKind::CutBefore => return Err(io::Error::other("cut by the test")),
        }
    }
    let response = answer(&state, &mut parts, body, who).await;
    if let Some(heard) = state.heard.lock().unwrap().get_mut(at) {
        heard.status = response.status().as_u16();
    }
    if cut { half(response).await } else { Ok(response) }
}

fn broken() -> io::Error {
    io::Error::other("cut by the test")
}

/// The start of the answer, and then the end of the connection.
async fn half(response: Response<Body>) -> io::Result<Response<Body>> {
    let (mut parts, body) = response.into_parts();
    if body.size_hint().exact().is_none() {
        // A stream has no middle: it breaks after its first piece.
        let first = body.into_data_stream().take(1).map_err(io::Error::other);
        let pieces = first.chain(futures::stream::once(async { Err(broken()) }));
        return Ok(Response::from_parts(parts, Body::from_stream(pieces)));
    }
    let whole = to_bytes(body, 64 << 20).await.map_err(io::Error::other)?;
    parts.headers.insert("content-length", HeaderValue::from(whole.len()));
    let start = whole.slice(..whole.len() / 2);
    let pieces = futures::stream::unfold(Some(start), |start| async move {
        match start {
            Some(start) if !start.is_empty() => Some((Ok(start), None)),
            _ => {
                // What was sent gets out before the connection breaks.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                Some((Err(broken()), None))
            }
        }
    });
    Ok(Response::from_parts(parts, Body::from_stream(pieces)))
}

struct Who {
    caller: User,
    /// The user that the request acts as, when it is another one.
    effective: Outcome<User>,
    impersonated: bool,
}

fn identify(state: &State, parts: &Parts) -> Who {
    let store = state.store.lock().unwrap();
    let caller = match auth::authenticate(&store, &parts.headers) {
        Ok(caller) => caller,
        Err(failure) => return Who { caller: User::default(), effective: Err(failure), impersonated: false },
    };
    let uri = parts.uri.path_and_query().map(|uri| uri.as_str()).unwrap_or_default();
    match auth::impersonate(&store, &caller, &parts.headers, uri) {
        Ok(Some(user)) => Who { caller, effective: Ok(user), impersonated: true },
        Ok(None) => Who { effective: Ok(caller.clone()), caller, impersonated: false },
        Err(failure) => Who { caller, effective: Err(failure), impersonated: false },
    }
}

fn record(state: &State, parts: &Parts, body: &[u8], who: &Who) -> usize {
    let user = who.effective.as_ref().ok().unwrap_or(&who.caller);
    let mut headers = BTreeMap::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.as_str().to_owned()).and_modify(|old: &mut String| *old = format!("{old}, {value}")).or_insert(value);
    }
    let heard = Heard {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        user: user.name.clone(),
        impersonator: who.impersonated.then(|| who.caller.name.clone()),
        groups: user.groups.clone(),
        extra: user.extra.clone(),
        body: serde_json::from_slice(body).ok().or_else(|| protobuf::decode(body)).unwrap_or_default(),
        headers,
        status: 0,
    };
    let mut all = state.heard.lock().unwrap();
    all.push(heard);
    all.len() - 1
}

async fn answer(state: &Arc<State>, parts: &mut Parts, body: Vec<u8>, who: Who) -> Response<Body> {
    let outcome = match who.effective {
        Ok(user) => handle(state, parts, body, user).await,
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(response) => response,
        Err(failure) => failed(&failure),
    }
}

async fn handle(state: &Arc<State>, parts: &mut Parts, body: Vec<u8>, user: User) -> Outcome<Response<Body>> {
    let path = parts.uri.path().to_owned();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let asked = request::parse(&parts.method, &path, &query);
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (accept, agent, content_type) = (header("accept"), header("user-agent"), header("content-type"));
    if !rights::allowed(&state.store.lock().unwrap(), &user, &asked.ask) {
        return Err(asked.ask.refusal(&user));
    }
    if !asked.is_resource() {
        return other(state, &path, &accept).map(respond);
    }
    let resource = {
        let store = state.store.lock().unwrap();
        found(&store, &asked)?
    };
    let Request { ask, .. } = asked;
    let namespace = if resource.namespaced { ask.namespace } else { String::new() };
    let name = if matches!(ask.verb.as_str(), "list" | "watch" | "deletecollection") { String::new() } else { ask.name };
    let call = Call { resource, verb: ask.verb, namespace, name, sub: ask.sub, user, query, agent, accept, content_type, body };
    if call.sub == "exec" {
        return exec::upgrade(state, &call, parts).await;
    }
    if call.verb == "watch" {
        let body = watch::stream(state, call)?;
        return Ok(respond(Answer { code: 200, content: Content::Stream(body), warnings: Vec::new() }));
    }
    dispatch(state, &call).map(respond)
}

fn no_resource() -> Box<Failure> {
    failure(404, "NotFound", "the server could not find the requested resource", json!({}))
}

fn no_method() -> Box<Failure> {
    failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", json!({}))
}

/// The resource that is asked for, when it is served with this verb.
fn found(store: &Store, asked: &Request) -> Outcome<Arc<registry::Resource>> {
    let ask = &asked.ask;
    let Some(resource) = registry::find(store, &ask.group, &asked.version, &ask.resource) else {
        let known = registry::all(store).iter().any(|found| found.group == ask.group && found.version == asked.version);
        return Err(if known { no_resource() } else { no_such_path() });
    };
    let verbs = match ask.sub.as_str() {
        "" => &resource.verbs,
        sub => &resource.sub(sub).ok_or_else(no_resource)?.verbs,
    };
    let wanted = ask.verb.as_str();
    let everywhere = resource.namespaced && ask.namespace.is_empty();
    let misplaced = everywhere && !ask.name.is_empty() && !matches!(wanted, "list" | "watch")
        || !resource.namespaced && !ask.namespace.is_empty() && resource.plural != "namespaces";
    // All namespaces can be listed together, and a new object has no name in its path.
    let unfit = everywhere && !matches!(wanted, "list" | "watch") || wanted == "create" && ask.sub.is_empty() && !ask.name.is_empty();
    let unfit = unfit || matches!(wanted, "update" | "patch") && ask.name.is_empty();
    match () {
        () if misplaced => Err(no_resource()),
        () if unfit || !verbs.iter().any(|verb| verb == wanted) => Err(no_method()),
        () => Ok(resource),
    }
}

fn other(state: &State, path: &str, accept: &str) -> Outcome<Answer> {
    let store = state.store.lock().unwrap();
    if matches!(path, "/healthz" | "/livez" | "/readyz") {
        return Ok(Answer { code: 200, content: Content::Text(b"ok".to_vec()), warnings: Vec::new() });
    }
    if let Some(rest) = path.strip_prefix("/openapi/v3") {
        let rest = rest.trim_matches('/');
        let body = if rest.is_empty() { openapi::index(&store) } else { openapi::document(&store, rest)? };
        return Ok(Answer::json(200, body));
    }
    let (body, kind) = discovery::answer(&store, path, accept, &state.address)?;
    Ok(Answer { code: 200, content: Content::Json(body, kind.unwrap_or("application/json")), warnings: Vec::new() })
}

type Operation = fn(&mut Store, &Call) -> Outcome<Reply>;

fn dispatch(state: &Arc<State>, call: &Call) -> Outcome<Answer> {
    let read = |object: Outcome<Value>| object.map(|object| Answer::json(200, object));
    let store = || state.store.lock().unwrap();
    let review = matches!(call.resource.group.as_str(), "authorization.k8s.io" | "authentication.k8s.io");
    match (call.verb.as_str(), call.sub.as_str()) {
        ("create", "") if review => {
            let reply = reviews::create(&store(), call)?;
            Ok(Answer::json(reply.code, reply.object))
        }
        ("list", _) => read(list::list(&store(), call)),
        ("get", "log") => {
            let content = logs::read(state, &store(), call)?;
            Ok(Answer { code: 200, content, warnings: Vec::new() })
        }
        ("get", "scale") => read(scale::get(&store(), call).and_then(|reply| list::shown(call, reply.object))),
        ("get", "" | "status" | "ephemeralcontainers" | "approval" | "resize") => read(list::get(&store(), call)),
        ("create", "") if call.resource.plural != "bindings" => write_with(state, call, call.dry("CreateOptions")?, write::create),
        ("create", "eviction") => write_with(state, call, subresources::dry(call)?, subresources::evict),
        ("create", "token") => write_with(state, call, call.dry("CreateOptions")?, subresources::token),
        ("update", "" | "status" | "scale" | "ephemeralcontainers" | "finalize" | "approval") => {
            write_with(state, call, call.dry("UpdateOptions")?, write::update)
        }
        ("patch", "" | "status" | "scale" | "ephemeralcontainers" | "approval") => {
            write_with(state, call, call.dry("PatchOptions")?, amend::patch)
        }
        ("delete", "") => write_with(state, call, remove::dry(call)?, remove::delete),
        ("deletecollection", "") => write_with(state, call, remove::dry(call)?, remove::collection),
        _ => Err(failure(501, "", format!("{}/{} is not served by this test double", call.resource.plural, call.sub), Value::Null)),
    }
}

/// A write, and what the cluster does about it; a dry one is made on a copy.
fn write_with(state: &State, call: &Call, dry: bool, operation: Operation) -> Outcome<Answer> {
    let mut store = state.store.lock().unwrap();
    let mut copy = store.clone();
    let reply = operation(&mut copy, call)?;
    if !dry {
        *store = copy;
        after(state, &mut store);
    }
    let object = list::shown(call, reply.object)?;
    Ok(Answer { code: reply.code, content: Content::Json(object, "application/json"), warnings: reply.warnings })
}

/// Lets everything settle that a write set going, and tells the watches.
pub(super) fn after(state: &State, store: &mut Store) {
    for space in store.shelf("namespaces") {
        if space["status"]["phase"] == "Active" {
            controllers::furnish(store, super::json::name(&space), &state.ca);
        }
    }
    controllers::settle(store);
    state.changed.send_replace(store.revision);
}

fn respond(answer: Answer) -> Response<Body> {
    let mut response = match answer.content {
        Content::Json(body, kind) => {
            let mut response = Response::new(Body::from(format!("{body}\n")));
            response.headers_mut().insert("content-type", HeaderValue::from_static(kind));
            response
        }
        Content::Text(text) => {
            let mut response = Response::new(Body::from(text));
            response.headers_mut().insert("content-type", HeaderValue::from_static("text/plain"));
            response
        }
        Content::Stream(body) => {
            let mut response = Response::new(body);
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
            response
        }
    };
    *response.status_mut() = StatusCode::from_u16(answer.code).unwrap();
    for warning in answer.warnings {
        let text = format!("299 - {warning:?}");
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().append("warning", value);
        }
    }
    marked(response)
}

/// What every answer carries.
fn marked(mut response: Response<Body>) -> Response<Body> {
    let id = uuid::Uuid::new_v4().to_string();
    response.headers_mut().insert("audit-id", HeaderValue::from_str(&id).unwrap());
    response.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache, private"));
    response
}

fn failed(failure: &Failure) -> Response<Body> {
    let (body, kind) = match &failure.plain {
        Some(text) => (text.clone(), "text/plain; charset=utf-8"),
        None => (format!("{}\n", failure.body), "application/json"),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(failure.code).unwrap();
    response.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    let seconds = failure.body.pointer("/details/retryAfterSeconds").and_then(Value::as_u64);
    if let Some(seconds) = seconds {
        response.headers_mut().insert("retry-after", HeaderValue::from(seconds));
    }
    marked(response)
}
