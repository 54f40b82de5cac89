//! What a path and a method ask for: a resource with its verb, or a path that is none.

use http::Method;

use super::call::Query;
use super::rights::Ask;

#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// Set when a resource is asked for.
    pub(super) version: String,
    pub(super) ask: Ask,
}

impl Request {
    pub(super) fn is_resource(&self) -> bool {
        self.ask.path.is_empty()
    }
}

pub(super) fn parse(method: &Method, path: &str, query: &Query) -> Request {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).map(super::call::unescape).collect();
    let other =
        || Request { ask: Ask { verb: method.as_str().to_lowercase(), path: path.to_owned(), ..Ask::default() }, ..Request::default() };
    let (group, version, rest) = match parts.as_slice() {
        [prefix, version, rest @ ..] if prefix == "api" && !rest.is_empty() => (String::new(), version.clone(), rest),
        [prefix, group, version, rest @ ..] if prefix == "apis" && !rest.is_empty() => (group.clone(), version.clone(), rest),
        _ => return other(),
    };
    let mut ask = Ask { group, ..Ask::default() };
    let rest = match rest {
        // A namespace is a resource of its own, and the scope of what lies below it.
        [first, namespace, tail @ ..] if first == "namespaces" => {
            ask.namespace.clone_from(namespace);
            let own = tail.is_empty() || tail.len() == 1 && matches!(tail[0].as_str(), "status" | "finalize");
            if own { rest } else { tail }
        }
        _ => rest,
    };
    ask.resource.clone_from(&rest[0]);
    ask.name = rest.get(1).cloned().unwrap_or_default();
    ask.sub = rest.get(2).cloned().unwrap_or_default();
    let named = !ask.name.is_empty();
    ask.verb = match (method.as_str(), named) {
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) if query.flag("watch") => "watch",
        ("GET" | "HEAD", false) => "list",
        _ => "",
    }
    .to_owned();
    if !named && matches!(ask.verb.as_str(), "list" | "watch" | "deletecollection") {
        // A selector of one name is a right on that name.
        let fields = query.get("fieldSelector").split(',').filter_map(|part| part.strip_prefix("metadata.name="));
        ask.name = fields.map(|name| name.trim_start_matches('=').to_owned()).next().unwrap_or_default();
    }
    Request { version, ask }
}
