//! Watches: a stream of what happens to the objects that a list would show.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::State;
use super::call::Call;
use super::convert;
use super::json::{set, text};
use super::list::{self, Form, negotiate, partial};
use super::selector::Selector;
use super::status::{Outcome, expired, invalid};
use super::store::Store;
use super::table;

struct Watch {
    state: Arc<State>,
    call: Call,
    form: Form,
    selector: Selector,
    /// The last revision that was sent.
    seen: u64,
    ready: VecDeque<String>,
    changed: Receiver<u64>,
    until: Instant,
    bookmarks: bool,
    /// Set once the columns of a table were sent.
    columns: bool,
    over: bool,
}

pub(super) fn stream(state: &Arc<State>, call: Call) -> Outcome<Body> {
    let form = negotiate(&call.accept)?;
    let selector = list::selector(&call)?;
    let seconds = call.query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0).unwrap_or(1800);
    let bookmarks = call.query.flag("allowWatchBookmarks");
    let initial = call.query.flag("sendInitialEvents");
    if initial && call.query.get("resourceVersionMatch") != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return Err(invalid("meta.k8s.io", "ListOptions", "", &[super::validate::forbidden("resourceVersionMatch", why)]));
    }
    let version = call.query.get("resourceVersion").to_owned();
    let from = if version.is_empty() { 0 } else { list::revision(&version)? };
    let changed = state.changed.subscribe();
    let until = Instant::now() + Duration::from_secs(seconds.unsigned_abs());
    let ready = VecDeque::new();
    let mut watch =
        Watch { state: state.clone(), call, form, selector, seen: from, ready, changed, until, bookmarks, columns: false, over: false };
    {
        let store = state.store.lock().unwrap();
        watch.begin(&store, from, initial);
    }
    Ok(Body::from_stream(stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<_, std::io::Error>(line), watch))
    })))
}

impl Watch {
    fn begin(&mut self, store: &Store, from: u64, initial: bool) {
        if from > 0 && from < store.compacted {
            let gone = expired(format!("too old resource version: {from} ({})", store.compacted));
            self.ready.push_back(format!("{}\n", json!({ "type": "ERROR", "object": gone.body })));
            self.over = true;
            return;
        }
        if from > 0 && !initial {
            return;
        }
        for object in store.shelf(&self.call.resource.shelf()) {
            let object = convert::from_hub(&self.call.resource, &object);
            if list::takes(&self.call, &self.selector, &object) {
                self.push("ADDED", object);
            }
        }
        self.seen = store.revision;
        if initial && self.bookmarks {
            self.bookmark(true);
        }
    }

    fn push(&mut self, kind: &str, object: Value) {
        let object = match self.form {
            Form::Plain => object,
            Form::Metadata => partial(&object),
            Form::Table => {
                let metadata = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
                let mut table =
                    table::of(&self.call.resource, &[object], metadata, self.call.query.get("includeObject")).unwrap_or_default();
                if std::mem::replace(&mut self.columns, true) {
                    table["columnDefinitions"] = Value::Null;
                }
                table
            }
        };
        self.ready.push_back(format!("{}\n", json!({ "type": kind, "object": object })));
    }

    fn bookmark(&mut self, end: bool) {
        let resource = &self.call.resource;
        let mut object = json!({ "kind": resource.kind, "apiVersion": resource.api_version(), "metadata": {} });
        set(&mut object, &["metadata", "resourceVersion"], json!(self.seen.to_string()));
        set(&mut object, &["metadata", "creationTimestamp"], Value::Null);
        if end {
            set(&mut object, &["metadata", "annotations", "k8s.io/initial-events-end"], json!("true"));
        }
        self.ready.push_back(format!("{}\n", json!({ "type": "BOOKMARK", "object": object })));
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.over {
                return None;
            }
            self.read();
            if !self.ready.is_empty() {
                continue;
            }
            let waited = tokio::time::timeout_at(self.until, self.changed.changed()).await;
            if !matches!(waited, Ok(Ok(()))) {
                self.over = true;
                if self.bookmarks {
                    self.bookmark(false);
                }
            }
        }
    }

    /// Everything since the last look, as this watch sees it.
    fn read(&mut self) {
        let (changes, revision) = {
            let store = self.state.store.lock().unwrap();
            (store.since(self.seen, &self.call.resource.shelf()), store.revision)
        };
        for change in changes {
            let shown = |object: &Option<Arc<Value>>| object.as_ref().map(|object| convert::from_hub(&self.call.resource, object));
            let (before, after) = (shown(&change.before), shown(&change.after));
            let taken = |object: &Option<Value>| object.as_ref().is_some_and(|object| list::takes(&self.call, &self.selector, object));
            match (taken(&before), taken(&after)) {
                (false, true) => self.push("ADDED", after.unwrap()),
                (true, true) => self.push("MODIFIED", after.unwrap()),
                (true, false) => {
                    let mut last = before.unwrap();
                    let version =
                        after.as_ref().map_or(text(&last, "/metadata/resourceVersion"), |after| text(after, "/metadata/resourceVersion"));
                    let version = json!(version);
                    set(&mut last, &["metadata", "resourceVersion"], version);
                    self.push("DELETED", last);
                }
                (false, false) => {}
            }
        }
        self.seen = self.seen.max(revision);
    }
}
