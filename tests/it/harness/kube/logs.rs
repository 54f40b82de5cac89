//! Container logs: what a test put there, or lines without end, read in the ways that `pods/log` allows.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures::stream;
use serde_json::Value;

use super::State;
use super::call::Call;
use super::json::{go_list, list, moment, text, time};
use super::server::Content;
use super::status::{Failure, Outcome, bad_request, failure, invalid};
use super::store::Store;
use super::validate;
use super::write::found;

/// Namespace, pod and container.
pub(super) type Place = (String, String, String);

#[derive(Clone, Default)]
pub(super) struct Log {
    pub(super) lines: Vec<(DateTime<Utc>, String)>,
    pub(super) previous: Option<Vec<(DateTime<Utc>, String)>>,
    pub(super) endless: bool,
}

/// The container that a request means, which has to be named when there are several.
pub(super) fn container(call: &Call, pod: &Value) -> Outcome<String> {
    let wanted = call.query.get("container");
    let main: Vec<_> = list(pod, "/spec/containers").iter().map(|one| text(one, "/name").to_owned()).collect();
    let group = |name: &str| list(pod, &format!("/spec/{name}")).iter().map(|one| text(one, "/name").to_owned()).collect::<Vec<_>>();
    let all: Vec<_> = [group("initContainers"), main.clone(), group("ephemeralContainers")].concat();
    let pod = &call.name;
    match (wanted.is_empty(), main.len()) {
        (true, 0) => Err(bad_request(format!("a container name must be specified for pod {pod}"))),
        (true, 1) => Ok(main[0].clone()),
        (true, _) => Err(bad_request(format!("a container name must be specified for pod {pod}, choose one of: {}", go_list(&all)))),
        (false, _) if all.iter().any(|name| name == wanted) => Ok(wanted.to_owned()),
        (false, _) => Err(bad_request(format!("container {wanted} is not valid for pod {pod}"))),
    }
}

struct Options {
    tail: Option<usize>,
    since: Option<DateTime<Utc>>,
    limit: Option<usize>,
    stamps: bool,
    previous: bool,
    follow: bool,
}

impl Options {
    fn of(call: &Call) -> Outcome<Self> {
        let query = &call.query;
        let (tail, seconds, limit) = (query.number("tailLines")?, query.number("sinceSeconds")?, query.number("limitBytes")?);
        let mut wrongs = Vec::new();
        if let Some(tail) = tail.filter(|tail| *tail < 0) {
            wrongs.push(validate::wrong("tailLines", &tail.into(), "must be greater than or equal to 0"));
        }
        if let Some(limit) = limit.filter(|limit| *limit < 1) {
            wrongs.push(validate::wrong("limitBytes", &limit.into(), "must be greater than 0"));
        }
        if let Some(seconds) = seconds.filter(|seconds| *seconds < 1) {
            wrongs.push(validate::wrong("sinceSeconds", &seconds.into(), "must be greater than 0"));
        }
        if seconds.is_some() && !query.get("sinceTime").is_empty() {
            wrongs.push(validate::forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
        }
        if !wrongs.is_empty() {
            return Err(invalid("", "PodLogOptions", &call.name, &wrongs));
        }
        let size = |number: Option<i64>| number.and_then(|number| usize::try_from(number).ok());
        let since = seconds.map(|seconds| moment() - TimeDelta::seconds(seconds)).or_else(|| time(query.get("sinceTime")));
        let (previous, follow) = (query.flag("previous"), query.flag("follow"));
        Ok(Self { tail: size(tail), since, limit: size(limit), stamps: query.flag("timestamps"), previous, follow })
    }

    fn shown(&self, (at, line): &(DateTime<Utc>, String)) -> String {
        if self.stamps { format!("{} {line}\n", at.to_rfc3339_opts(SecondsFormat::Nanos, true)) } else { format!("{line}\n") }
    }
}

/// Why a container has no log to read.
fn waiting(pod: &Value, container: &str) -> Option<Box<Failure>> {
    let groups = ["containerStatuses", "initContainerStatuses"];
    let status = groups.iter().flat_map(|group| list(pod, &format!("/status/{group}"))).find(|status| status["name"] == container)?;
    let reason = match text(status, "/state/waiting/reason") {
        "" => return None,
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        // A crashed container has the log of its last run.
        "CrashLoopBackOff" => return None,
        other => other,
    };
    Some(bad_request(format!("container {container:?} in pod {:?} is waiting to start: {reason}", text(pod, "/metadata/name"))))
}

pub(super) fn read(state: &Arc<State>, store: &Store, call: &Call) -> Outcome<Content> {
    let pod = found(store, call)?;
    let options = Options::of(call)?;
    let container = container(call, &pod)?;
    if text(&pod, "/spec/nodeName").is_empty() {
        return Ok(Content::Text(Vec::new()));
    }
    if let Some(failure) = waiting(&pod, &container) {
        return Err(failure);
    }
    let place: Place = (call.namespace.clone(), call.name.clone(), container);
    let log = state.logs.lock().unwrap().get(&place).cloned().unwrap_or_default();
    if options.previous && log.previous.is_none() {
        let message = format!("previous terminated container {:?} in pod {:?} not found", place.2, call.name);
        return Err(failure(400, "BadRequest", message, Value::Null));
    }
    if log.endless && !options.previous {
        return Ok(Content::Stream(endless(options)));
    }
    let lines = if options.previous { log.previous.unwrap_or_default() } else { log.lines };
    let total = lines.len();
    let mut lines: Vec<_> = lines.iter().filter(|(at, _)| options.since.is_none_or(|since| *at >= since)).collect();
    if let Some(tail) = options.tail {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    let mut text: String = lines.into_iter().map(|line| options.shown(line)).collect();
    if let Some(limit) = options.limit {
        text.truncate((0..=limit.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default());
    }
    if options.follow && !options.previous {
        return Ok(Content::Stream(follow(state.clone(), place, total, text, options)));
    }
    Ok(Content::Text(text.into_bytes()))
}

/// As many lines as the reader takes.
fn endless(options: Options) -> Body {
    Body::from_stream(stream::unfold((0_usize, 0_usize), move |(number, sent)| {
        let mut text = String::new();
        for line in number..number + 64 {
            text.push_str(&options.shown(&(moment(), format!("line {line}"))));
        }
        let left = options.limit.map(|limit| limit.saturating_sub(sent));
        if let Some(left) = left {
            text.truncate(left);
        }
        async move {
            // Other tasks get their turn, however fast the reader is.
            tokio::task::yield_now().await;
            let sent = sent + text.len();
            (!text.is_empty()).then(|| (Ok::<_, std::io::Error>(text), (number + 64, sent)))
        }
    }))
}

struct Follow {
    state: Arc<State>,
    place: Place,
    seen: usize,
    ready: String,
    left: Option<usize>,
    options: Options,
}

fn follow(state: Arc<State>, place: Place, seen: usize, ready: String, options: Options) -> Body {
    let left = options.limit.map(|limit| limit.saturating_sub(ready.len()));
    let follow = Follow { state, place, seen, ready, left, options };
    Body::from_stream(stream::unfold(follow, |mut follow| async move {
        let text = follow.next().await?;
        Some((Ok::<_, std::io::Error>(text), follow))
    }))
}

impl Follow {
    /// The next lines; none once the pod is gone or has ended.
    async fn next(&mut self) -> Option<String> {
        loop {
            if !self.ready.is_empty() {
                return Some(std::mem::take(&mut self.ready));
            }
            if self.left == Some(0) {
                return None;
            }
            let pod = self.state.store.lock().unwrap().find("pods", &self.place.0, &self.place.1);
            let new = self.state.logs.lock().unwrap().get(&self.place).map(|log| log.lines[self.seen.min(log.lines.len())..].to_vec());
            let new = new.unwrap_or_default();
            if new.is_empty() {
                if !pod.is_some_and(|pod| !matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed")) {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            self.seen += new.len();
            self.ready = new.iter().map(|line| self.options.shown(line)).collect();
            if let Some(left) = &mut self.left {
                self.ready.truncate(*left);
                *left -= self.ready.len();
            }
        }
    }
}
