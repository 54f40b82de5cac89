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
/// A line that is longer is cut when lines are searched.
const LINE_MAX: usize = 64 * 1024;
/// Bytes that are searched, however few of them are found.
const SEARCHED_MAX: u64 = 256 << 20;

/// What was read of one container.
struct Read {
    text: String,
    is_cut: bool,
}

/// Keeps what fits, of all that comes or of the lines that hold a text.
struct Keeper<'a> {
    contains: Option<&'a [u8]>,
    left: u64,
    kept: Vec<u8>,
    line: Vec<u8>,
    is_cut: bool,
}

impl<'a> Keeper<'a> {
    fn new(contains: Option<&'a str>, limit: u64) -> Self {
        Self { contains: contains.map(str::as_bytes), left: limit, kept: Vec::new(), line: Vec::new(), is_cut: false }
    }

    /// Takes a chunk; whether more is wanted.
    fn take(&mut self, chunk: &[u8]) -> bool {
        let Some(contains) = self.contains else {
            self.keep(chunk);
            return !self.is_cut;
        };
        for part in chunk.split_inclusive(|b| *b == b'\n') {
            let room = LINE_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
            if part.ends_with(b"\n") {
                self.end_line(contains);
            }
            if self.is_cut {
                return false;
            }
        }
        true
    }

    fn end_line(&mut self, contains: &[u8]) {
        let mut line = std::mem::take(&mut self.line);
        if memchr::memmem::find(&line, contains).is_some() {
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            self.keep(&line);
        }
        line.clear();
        self.line = line;
    }

    fn keep(&mut self, bytes: &[u8]) {
        let fits = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.kept.extend_from_slice(bytes.get(..fits).unwrap_or_default());
        self.left -= fits as u64;
        self.is_cut = fits < bytes.len();
    }

    fn done(mut self) -> Read {
        if let Some(contains) = self.contains.filter(|_| !self.line.is_empty()) {
            self.end_line(contains);
        }
        Read { text: String::from_utf8_lossy(&self.kept).into_owned(), is_cut: self.is_cut }
    }
}

impl Work<'_> {
    /// What a pod's container wrote, or those of a workload's pods.
    pub(super) async fn logs(&self, logs: &Logs) -> Result<Held, Refusal> {
        if logs.of.kind.kind == "Pod" {
            let read = self.log(logs, &logs.of, logs.limit_bytes).await?;
            let document = json!({ "text": read.text, "truncated": read.is_cut });
            return Ok(held(logs, document, read.is_cut));
        }
        let pods = self.pods_of(&logs.of).await?;
        let (mut read, mut is_cut, mut left) = (Vec::new(), pods.len() > PODS_MAX, logs.limit_bytes);
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
        if logs.contains.is_none() {
            // The server stops by itself; one byte more tells that there was more.
            ask = ask.with("limitBytes", limit.saturating_add(1).to_string());
        }
        let mut chunks = self.session.stream(&ask.accepting("*/*")).await?;
        let mut keeper = Keeper::new(logs.contains.as_deref(), limit);
        let mut searched = 0_u64;
        loop {
            let chunk = tokio::select! {
                chunk = chunks.next() => chunk,
                () = self.session.halt.stopped() => return Err(self.session.halt.refusal()),
            };
            let Some(chunk) = chunk else { break };
            let chunk = chunk?;
            searched += chunk.len() as u64;
            if !keeper.take(&chunk) {
                break;
            }
            if searched > SEARCHED_MAX {
                keeper.is_cut = true;
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

/// What was found is looked at again once it is masked: else a search would tell what a mask hides, a letter at a time.
fn held(logs: &Logs, document: Value, truncated: bool) -> Held {
    (vec![Piece::Logs { document, contains: logs.contains.clone() }], Done { truncated, ..Done::default() })
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
        let text = "one error\ntwo\nthree error\nfour\nlast error";
        for size in 1..text.len() {
            let mut keeper = Keeper::new(Some("error"), 1_000);
            for chunk in text.as_bytes().chunks(size) {
                assert!(keeper.take(chunk));
            }
            assert_eq!(keeper.done().text, "one error\nthree error\nlast error\n", "{size}");
        }
        let mut keeper = Keeper::new(None, 7);
        assert!(!keeper.take(text.as_bytes()));
        let read = keeper.done();
        assert!(read.is_cut && read.text == "one err");
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
