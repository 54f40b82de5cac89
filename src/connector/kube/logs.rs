//! Logs: read as a stream and bounded while they come, so that an endless one costs no more than its limit; and searched line by line.

use futures::StreamExt;
use serde_json::{Value, json};

use crate::connector::kube::session::Ask;
use crate::connector::kube::{Held, Work};
use crate::mask::{Done, Piece};
use crate::operation::kube::{Logs, Object, Type};
use crate::refusal::{Code, Refusal};

/// Pods of a workload whose logs are read.
const PODS_MAX: usize = 10;
/// Bytes that are searched for lines, in a call. They are masked before they are searched: what is found must not depend on what a mask hides.
const SEARCHED_MAX: u64 = 2 << 20;

/// What was read of one container.
struct Read {
    text: String,
    is_cut: bool,
}

/// Keeps what fits.
struct Keeper {
    left: u64,
    kept: Vec<u8>,
    is_cut: bool,
}

impl Keeper {
    const fn new(limit: u64) -> Self {
        Self { left: limit, kept: Vec::new(), is_cut: false }
    }

    /// Takes a chunk; whether more is wanted.
    fn take(&mut self, chunk: &[u8]) -> bool {
        let fits = usize::try_from(self.left).unwrap_or(usize::MAX).min(chunk.len());
        self.kept.extend_from_slice(chunk.get(..fits).unwrap_or_default());
        self.left -= fits as u64;
        self.is_cut = fits < chunk.len();
        !self.is_cut
    }

    fn done(self) -> Read {
        Read { text: String::from_utf8_lossy(&self.kept).into_owned(), is_cut: self.is_cut }
    }
}

impl Work<'_> {
    /// What a pod's container wrote, or those of a workload's pods.
    pub(super) async fn logs(&self, logs: &Logs) -> Result<Held, Refusal> {
        let most = if logs.contains.is_some() { SEARCHED_MAX } else { logs.limit_bytes };
        if logs.of.kind.kind == "Pod" {
            let read = self.log(logs, &logs.of, most).await?;
            let document = json!({ "text": read.text, "truncated": read.is_cut });
            return Ok(held(logs, document, read.is_cut));
        }
        let pods = self.pods_of(&logs.of).await?;
        let (mut read, mut is_cut, mut left) = (Vec::new(), pods.len() > PODS_MAX, most);
        for pod in pods.iter().take(PODS_MAX) {
            let name = pod.name.as_deref().unwrap_or_default();
            match self.log(logs, pod, left).await {
                Ok(one) => {
                    left = left.saturating_sub(one.text.len() as u64);
                    is_cut = is_cut || one.is_cut;
                    read.push(json!({ "pod": name, "text": one.text }));
                }
                // One pod that is only starting must not hide what the others say.
                Err(refusal) if matches!(refusal.code(), Code::TargetFailed | Code::ObjectNotFound) => {
                    read.push(json!({ "pod": name, "error": refusal.message() }));
                }
                Err(refusal) => return Err(refusal),
            }
            if left == 0 {
                break;
            }
        }
        Ok(held(logs, json!({ "logs": read, "pods": pods.len(), "truncated": is_cut }), is_cut))
    }

    async fn log(&self, logs: &Logs, pod: &Object, limit: u64) -> Result<Read, Refusal> {
        let path = self.resource(&Type::pod()).await?.path(pod, "log")?;
        let mut ask = Ask::get(path)
            .with("tailLines", logs.tail.to_string())
            .maybe("container", logs.container.as_deref())
            .maybe("sinceSeconds", logs.since_seconds.map(|seconds| seconds.to_string()))
            .maybe("sinceTime", logs.since_time.as_deref());
        if logs.previous {
            ask = ask.with("previous", "true");
        }
        if logs.timestamps {
            ask = ask.with("timestamps", "true");
        }
        // The server stops by itself; one byte more tells that there was more.
        ask = ask.with("limitBytes", limit.saturating_add(1).to_string());
        let mut chunks = self.session.stream(&ask.accepting("*/*")).await?;
        let mut keeper = Keeper::new(limit);
        loop {
            let chunk = tokio::select! {
                chunk = chunks.next() => chunk,
                () = self.session.halt.stopped() => return Err(self.session.halt.refusal()),
            };
            let Some(chunk) = chunk else { break };
            if !keeper.take(&chunk?) {
                break;
            }
        }
        Ok(keeper.done())
    }

    /// The pods that a workload's selector names.
    async fn pods_of(&self, workload: &Object) -> Result<Vec<Object>, Refusal> {
        let object = self.object(workload).await?;
        let labels = selector(object.pointer("/spec/selector").unwrap_or(&Value::Null))
            .ok_or_else(|| Refusal::new(Code::InvalidArguments).detail(format!("a {} has no pods of its own", workload.kind)))?;
        let all = Object { kind: Type::pod(), namespace: workload.namespace.clone(), name: None };
        let path = self.resource(&all.kind).await?.path(&all, "")?;
        let list = self.session.read(&Ask::get(path).with("labelSelector", labels).with("limit", (PODS_MAX * 10).to_string())).await?;
        let names =
            list.get("items").and_then(Value::as_array).into_iter().flatten().filter_map(|pod| pod.pointer("/metadata/name")?.as_str());
        Ok(names.map(|name| Object { name: Some(name.to_owned()), ..all.clone() }).collect())
    }
}

/// Lines are looked for once they are masked: else a search would tell what a mask hides, a letter at a time.
fn held(logs: &Logs, document: Value, truncated: bool) -> Held {
    let search = logs.contains.clone().map(|contains| (contains, logs.limit_bytes));
    (vec![Piece::Logs { document, search }], Done { truncated, ..Done::default() })
}

/// A selector in the words of a query: of labels, or of label expressions.
pub(super) fn selector(selector: &Value) -> Option<String> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    let labels = match selector.get("matchLabels") {
        Some(labels) => labels.as_object(),
        // A ReplicationController's is the labels themselves.
        None if selector.get("matchExpressions").is_none() => selector.as_object(),
        None => None,
    };
    let mut parts: Vec<String> =
        labels.into_iter().flatten().filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?))).collect();
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = text(expression, "key")?;
        let values: Vec<&str> =
            expression.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        parts.push(match text(expression, "operator")?.as_str() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key,
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_the_same_for_every_chunking() {
        let text = "one error\ntwo\nthree error";
        for size in 1..text.len() {
            let mut keeper = Keeper::new(7);
            let wanted = text.as_bytes().chunks(size).all(|chunk| keeper.take(chunk));
            let read = keeper.done();
            assert!(!wanted && read.is_cut && read.text == "one err", "{size}: {}", read.text);
        }
        let mut keeper = Keeper::new(1_000);
        assert!(keeper.take(text.as_bytes()) && !keeper.done().is_cut);
    }

    #[test]
    fn selectors_become_queries() {
        let both = json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a", "b"]}, {"key": "x", "operator": "Exists"}]});
        assert_eq!(selector(&both).as_deref(), Some("app=web,tier notin (a,b),x"));
        assert_eq!(selector(&json!({"app": "web"})).as_deref(), Some("app=web"));
        assert_eq!(selector(&json!({})), None);
        assert_eq!(selector(&json!({"matchExpressions": [{"key": "k", "operator": "Odd"}]})), None);
    }
}
