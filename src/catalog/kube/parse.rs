//! From the arguments of a Kubernetes tool to its operation: every name checked, every kind definite, or a question to the cluster what it could be.

mod change;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::catalog::common::Common;
use crate::catalog::kube::{Tool, reads};
use crate::catalog::parse::{Refused, read};
use crate::operation::kube::{
    CanI, Events, Explain, Get, Kube, List, Logs, Object, Output, Resolved, Resources, Top, TopOf, Type, Wait, Whom, name,
};
use crate::refusal::{Code, Refusal};

/// Lines that are read without `tail`, and where they are searched.
const TAIL: u32 = 100;
const TAIL_SEARCHED: u32 = 10_000;

/// What the arguments came to.
pub(in crate::catalog) struct Asked {
    pub(in crate::catalog) operation: Kube,
    pub(in crate::catalog) arguments: Value,
    pub(in crate::catalog) target: String,
    pub(in crate::catalog) reason: Option<String>,
    pub(in crate::catalog) timeout_ms: Option<u64>,
    /// Rows and bytes that may come back, where the call says so.
    pub(in crate::catalog) rows: Option<u32>,
    pub(in crate::catalog) bytes: Option<u64>,
}

fn asked<T: Common + DeserializeOwned + Serialize>(
    value: Value,
    operation: impl FnOnce(&T) -> Result<Kube, Refusal>,
) -> Result<Asked, Refused> {
    let (arguments, canonical) = read::<T>(value)?;
    Ok(Asked {
        operation: operation(&arguments).map_err(|refusal| (refusal, None))?,
        arguments: canonical,
        target: arguments.target().to_owned(),
        reason: arguments.reason(),
        timeout_ms: arguments.timeout_ms(),
        rows: None,
        bytes: None,
    })
}

fn invalid(why: &str) -> Refusal {
    Refusal::new(Code::InvalidArguments).detail(why)
}

/// Goes on with a definite kind, or asks the cluster.
fn of_kind(api_version: Option<&str>, kind: &str, go_on: impl FnOnce(Type) -> Result<Kube, Refusal>) -> Result<Kube, Refusal> {
    match Type::resolve(api_version, kind)? {
        Resolved::Definite(kind) => go_on(kind),
        Resolved::Open(name) => Ok(Kube::Candidates(name)),
    }
}

fn namespace(text: Option<&String>) -> Result<Option<String>, Refusal> {
    text.map(|text| name::label("namespace", text)).transpose()
}

fn one(kind: Type, within: Option<&String>, called: &str) -> Result<Object, Refusal> {
    let called = name::object("name", called, &kind.group)?;
    Object::one(kind, namespace(within)?, called)
}

fn pod(within: &String, called: &str) -> Result<Object, Refusal> {
    one(Type::pod(), Some(within), called)
}

fn fields(texts: &[String]) -> Result<Vec<Vec<String>>, Refusal> {
    texts.iter().map(|text| name::field(text)).collect()
}

fn selector(what: &str, text: Option<&String>) -> Result<Option<String>, Refusal> {
    text.map(|text| name::selector(what, text)).transpose()
}

/// `90s`, `30m`, `2h` in seconds.
fn since(text: Option<&String>) -> Result<Option<u64>, Refusal> {
    let seconds = |text: &String| {
        let unit = text.chars().last()?;
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        number.checked_mul(factor).filter(|seconds| (1..=31_536_000).contains(seconds))
    };
    text.map(|text| seconds(text).ok_or_else(|| invalid("`since` must be a number of s, m, h or d"))).transpose()
}

/// The operation of a tool's arguments.
pub(in crate::catalog) fn parse(tool: Tool, value: Value) -> Result<Asked, Refused> {
    match tool {
        Tool::List => {
            let (limit, bytes) = (value.get("limit").and_then(Value::as_u64), value.get("max_bytes").and_then(Value::as_u64));
            let asked = asked(value, list)?;
            Ok(Asked { rows: limit.and_then(|limit| u32::try_from(limit).ok()), bytes, ..asked })
        }
        Tool::Logs => asked(value, logs).map(within),
        Tool::Exec => asked(value, change::exec).map(within),
        Tool::Get => asked(value, |get: &reads::Get| {
            of_kind(get.api_version.as_deref(), &get.kind, |kind| {
                Ok(Kube::Get(Get { object: one(kind, get.namespace.as_ref(), &get.name)?, fields: fields(&get.fields)? }))
            })
        }),
        Tool::Describe => asked(value, |describe: &reads::Describe| {
            of_kind(describe.api_version.as_deref(), &describe.kind, |kind| {
                Ok(Kube::Describe(one(kind, describe.namespace.as_ref(), &describe.name)?))
            })
        }),
        Tool::Events => asked(value, events),
        Tool::Top => asked(value, top),
        Tool::Resources => asked(value, resources),
        Tool::Explain => asked(value, |explain: &reads::Explain| {
            of_kind(explain.api_version.as_deref(), &explain.kind, |kind| {
                let path = explain.field.as_deref().map(name::field).transpose()?.unwrap_or_default();
                Ok(Kube::Explain(Explain { kind, path, recursive: explain.recursive }))
            })
        }),
        Tool::CanI => asked(value, can_i),
        Tool::Wait => asked(value, wait),
        Tool::Apply => asked(value, change::apply),
        Tool::Patch => asked(value, change::patch),
        Tool::Delete => asked(value, change::delete),
        Tool::Scale => asked(value, change::scale),
        Tool::Rollout => asked(value, change::rollout),
        Tool::Run => asked(value, change::run),
        Tool::Debug => asked(value, change::debug),
        Tool::Node => asked(value, change::node),
    }
}

/// Streams say themselves how much of them may come back.
fn within(asked: Asked) -> Asked {
    let bytes = match &asked.operation {
        Kube::Logs(logs) => Some(logs.limit_bytes),
        Kube::Exec(exec) => Some(exec.limit_bytes),
        _ => None,
    };
    Asked { bytes, ..asked }
}

fn list(list: &reads::List) -> Result<Kube, Refusal> {
    of_kind(list.api_version.as_deref(), &list.kind, |kind| {
        Ok(Kube::List(List {
            of: Object::all(kind, namespace(list.namespace.as_ref())?)?,
            label_selector: selector("label_selector", list.label_selector.as_ref())?,
            field_selector: selector("field_selector", list.field_selector.as_ref())?,
            fields: fields(&list.fields)?,
            output: match list.output {
                reads::Output::Table => Output::Table,
                reads::Output::Name => Output::Name,
                reads::Output::Json => Output::Json,
            },
            limit: list.limit,
            from: list.from.as_deref().map(name::continuation).transpose()?,
        }))
    })
}

fn logs(logs: &reads::Logs) -> Result<Kube, Refusal> {
    let whose = |of: Object| -> Result<Kube, Refusal> {
        let since_time = logs
            .since_time
            .as_deref()
            .map(|time| chrono::DateTime::parse_from_rfc3339(time).map(|_| time.to_owned()))
            .transpose()
            .map_err(|_| invalid("`since_time` must be a moment of RFC 3339, such as 2026-01-31T12:00:00Z"))?;
        if since_time.is_some() && logs.since.is_some() {
            return Err(invalid("give either `since` or `since_time`"));
        }
        Ok(Kube::Logs(Logs {
            of,
            container: logs.container.as_deref().map(|text| name::label("container", text)).transpose()?,
            previous: logs.previous,
            tail: logs.tail.unwrap_or(if logs.contains.is_some() { TAIL_SEARCHED } else { TAIL }),
            since_seconds: since(logs.since.as_ref())?,
            since_time,
            timestamps: logs.timestamps,
            contains: logs.contains.clone(),
            limit_bytes: logs.limit_bytes,
        }))
    };
    match (&logs.name, &logs.workload) {
        (Some(name), None) => whose(pod(&logs.namespace, name)?),
        (None, Some(workload)) => of_kind(None, &workload.kind, |kind| {
            const WITH_PODS: [&str; 6] = ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"];
            if kind.namespaced != Some(true) || !WITH_PODS.contains(&kind.kind.as_str()) {
                return Err(invalid(
                    "`workload.kind` has no pods of its own: give a Deployment, StatefulSet, DaemonSet, ReplicaSet or Job",
                ));
            }
            whose(one(kind, Some(&logs.namespace), &workload.name)?)
        }),
        _ => Err(invalid("give either `name` (a pod) or `workload`")),
    }
}

fn events(events: &reads::Events) -> Result<Kube, Refusal> {
    let kind = events.event_type.map(|kind| match kind {
        reads::EventType::Normal => "type=Normal",
        reads::EventType::Warning => "type=Warning",
    });
    let given = selector("field_selector", events.field_selector.as_ref())?;
    let both: Vec<&str> = kind.into_iter().chain(given.as_deref()).collect();
    Ok(Kube::Events(Events {
        namespace: namespace(events.namespace.as_ref())?,
        field_selector: Some(both.join(",")).filter(|selector| !selector.is_empty()),
        since_seconds: since(events.since.as_ref())?,
        limit: events.limit,
    }))
}

fn top(top: &reads::Top) -> Result<Kube, Refusal> {
    let of = match top.scope {
        reads::Scope::Pods => TopOf::Pods,
        reads::Scope::Nodes => TopOf::Nodes,
    };
    let namespace = namespace(top.namespace.as_ref())?;
    match (of, &namespace, &top.name) {
        (TopOf::Nodes, Some(_), _) => return Err(invalid("leave `namespace` out: nodes are in none")),
        (TopOf::Pods, None, Some(_)) => return Err(invalid("`namespace` is missing: a pod is in one")),
        _ => {}
    }
    Ok(Kube::Top(Top {
        of,
        namespace,
        name: top.name.as_deref().map(|text| name::object("name", text, &name::Group::core())).transpose()?,
        label_selector: selector("label_selector", top.label_selector.as_ref())?,
    }))
}

fn resources(resources: &reads::Resources) -> Result<Kube, Refusal> {
    if resources.verbs.iter().any(|verb| verb.is_empty() || verb.len() > 40 || !verb.bytes().all(|b| b.is_ascii_lowercase())) {
        return Err(invalid("`verbs` are words such as `list` or `patch`"));
    }
    Ok(Kube::Resources(Resources { group: resources.group.as_deref().map(name::group).transpose()?, verbs: resources.verbs.clone() }))
}

fn can_i(can: &reads::CanI) -> Result<Kube, Refusal> {
    let (resource, subresource) = can.resource.split_once('/').map_or((can.resource.as_str(), None), |(one, other)| (one, Some(other)));
    let (resource, group) = resource.split_once('.').map_or((resource, ""), |(one, group)| (one, group));
    let plain = |text: &str| if text == "*" { Ok(text.to_owned()) } else { name::label("resource", text) };
    Ok(Kube::CanI(CanI {
        verb: can.verb.clone(),
        group: name::group(group)?,
        resource: plain(resource)?,
        subresource: subresource.map(plain).transpose()?,
        namespace: namespace(can.namespace.as_ref())?,
        name: can.name.as_deref().map(|text| name::object("name", text, &name::group("rbac.authorization.k8s.io")?)).transpose()?,
    }))
}

fn wait(wait: &reads::Wait) -> Result<Kube, Refusal> {
    of_kind(wait.api_version.as_deref(), &wait.kind, |kind| {
        let until = match wait.until.as_str() {
            "deleted" => Whom::Deleted,
            "rollout" => Whom::RolledOut,
            condition => {
                let (name, status) = condition.split_once('=').unwrap_or((condition, "True"));
                Whom::Condition { name: name.to_owned(), status: status.to_owned() }
            }
        };
        Ok(Kube::Wait(Wait { object: one(kind, wait.namespace.as_ref(), &wait.name)?, until }))
    })
}
