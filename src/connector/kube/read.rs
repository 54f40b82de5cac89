//! Reading objects: lists as small tables, single objects without what only servers need, and what belongs to one.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::connector::Meter;
use crate::connector::kube::clean::{clean, kind_hint};
use crate::connector::kube::discovery::Resource;
use crate::connector::kube::session::{Ask, JSON};
use crate::connector::kube::{Held, Work};
use crate::mask::{Done, Piece, pluck};
use crate::operation::kube::{Events, Get, List, Object, Output, Type};
use crate::refusal::{Code, Refusal};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
const NAMES: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json";
/// Events that one look goes through, and a page of them.
const EVENTS_MAX: usize = 5_000;
const EVENTS_PAGE: usize = 500;
/// Events and owners that a description has.
const DESCRIBED_EVENTS: usize = 20;
const OWNERS_MAX: usize = 5;

/// The server's own table.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    column_definitions: Vec<ColumnDefinition>,
    #[serde(default, deserialize_with = "or_none")]
    rows: Vec<Row>,
    #[serde(default)]
    metadata: Paging,
}

#[derive(Deserialize)]
struct ColumnDefinition {
    name: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    priority: i64,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default, deserialize_with = "or_none")]
    cells: Vec<Value>,
    #[serde(default)]
    object: Option<Partial>,
}

#[derive(Deserialize)]
struct Partial {
    #[serde(default)]
    metadata: Named,
}

#[derive(Default, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Paging {
    #[serde(default, rename = "continue")]
    next: Option<String>,
    #[serde(default)]
    remaining_item_count: Option<u64>,
}

/// A list of objects, or of a part of each.
#[derive(Deserialize)]
struct Items<T> {
    #[serde(default = "Vec::new", deserialize_with = "or_none", bound(deserialize = "T: Deserialize<'de>"))]
    items: Vec<T>,
    #[serde(default)]
    metadata: Paging,
}

/// An empty list of a server may be `null`.
fn or_none<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

impl Paging {
    fn next(&self) -> Option<&str> {
        self.next.as_deref().filter(|next| !next.is_empty())
    }

    /// Where the list goes on, as the agent is told.
    fn tell(&self) -> Option<Piece> {
        let next = self.next()?;
        let mut more = Map::from_iter([("continue".to_owned(), Value::from(next))]);
        more.extend(self.remaining_item_count.map(|remaining| ("remaining".to_owned(), Value::from(remaining))));
        Some(Piece::Kube { document: Value::Object(more), kind: None })
    }
}

fn parsed<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::new(Code::TargetFailed).detail("the server's list cannot be read").cause(error))
}

impl Work<'_> {
    /// A page of a list.
    pub(super) async fn list(&self, list: &List) -> Result<Held, Refusal> {
        let resource = self.resource(&list.of.kind).await?;
        let ask = Ask::get(resource.path(&list.of, "")?)
            .with("limit", list.limit.to_string())
            .maybe("labelSelector", list.label_selector.as_deref())
            .maybe("fieldSelector", list.field_selector.as_deref())
            .maybe("continue", list.from.as_deref());
        if !list.fields.is_empty() {
            return self.fields(list, &resource, ask).await;
        }
        match list.output {
            Output::Table => self.table(list, &resource, ask).await,
            Output::Name => self.names(&resource, ask).await,
            Output::Json => self.whole(list, ask).await,
        }
    }

    /// Rows within the limits, and where the list goes on.
    fn page(&self, header: Piece, rows: impl IntoIterator<Item = Vec<Value>>, paging: &Paging) -> Result<Held, Refusal> {
        let mut pieces = vec![header];
        let mut meter = Meter::new(self.call.limits);
        let mut is_cut = false;
        for row in rows {
            if !meter.takes(&row) {
                meter.cut()?;
                is_cut = true;
                break;
            }
            pieces.push(Piece::Row(row));
        }
        // The server's page goes on behind rows that were cut, and nothing may be skipped.
        if !is_cut {
            pieces.extend(paging.tell());
        }
        Ok((pieces, Done { truncated: is_cut || paging.next().is_some(), ..Done::default() }))
    }

    async fn table(&self, list: &List, resource: &Resource, ask: Ask) -> Result<Held, Refusal> {
        // The namespace of a row stands only in its object.
        let spans = resource.namespaced && list.of.namespace.is_none();
        let ask = ask.accepting(TABLE).with("includeObject", if spans { "Metadata" } else { "None" });
        let body = self.session.read_bytes(&ask).await?;
        let Ok(table) = serde_json::from_slice::<Table>(&body) else {
            // An API behind the API server may know no tables.
            let items: Items<Partial> = parsed(&body)?;
            return self.named(resource, items);
        };
        let shown: Vec<usize> =
            table.column_definitions.iter().enumerate().filter(|(_, one)| one.priority == 0).map(|(at, _)| at).collect();
        let mut columns: Vec<(String, String)> =
            shown.iter().filter_map(|at| table.column_definitions.get(*at)).map(|one| (one.name.clone(), one.kind.clone())).collect();
        if spans {
            columns.insert(0, ("Namespace".to_owned(), "string".to_owned()));
        }
        let rows = table.rows.into_iter().map(|mut row| {
            let mut cells: Vec<Value> = shown.iter().map(|at| row.cells.get_mut(*at).map(Value::take).unwrap_or_default()).collect();
            if spans {
                let namespace = row.object.map(|object| object.metadata.namespace).unwrap_or_default();
                cells.insert(0, Value::from(namespace));
            }
            cells
        });
        self.page(Piece::Table { columns }, rows, &table.metadata)
    }

    async fn names(&self, resource: &Resource, ask: Ask) -> Result<Held, Refusal> {
        let body = self.session.read_bytes(&ask.accepting(NAMES)).await?;
        self.named(resource, parsed(&body)?)
    }

    fn named(&self, resource: &Resource, items: Items<Partial>) -> Result<Held, Refusal> {
        let mut columns = vec![("Name".to_owned(), "string".to_owned())];
        if resource.namespaced {
            columns.insert(0, ("Namespace".to_owned(), "string".to_owned()));
        }
        let rows = items.items.into_iter().map(|item| {
            let mut row = vec![Value::from(item.metadata.name)];
            if resource.namespaced {
                row.insert(0, Value::from(item.metadata.namespace));
            }
            row
        });
        self.page(Piece::Table { columns }, rows, &items.metadata)
    }

    /// Some fields of each object. They are taken out of it after it has been masked, for which it must be whole around them.
    async fn fields(&self, list: &List, resource: &Resource, ask: Ask) -> Result<Held, Refusal> {
        let body = self.session.read_bytes(&ask.accepting(JSON)).await?;
        let items: Items<Value> = parsed(&body)?;
        let mut pieces = vec![Piece::Fields { paths: list.fields.clone(), kind: Some(resource.kind.clone()) }];
        let mut meter = Meter::new(self.call.limits);
        let mut is_cut = false;
        for mut item in items.items {
            clean(&mut item);
            let row: Vec<Value> = list.fields.iter().map(|path| pluck(&item, path).cloned().unwrap_or_default()).collect();
            if !meter.takes(&row) {
                meter.cut()?;
                is_cut = true;
                break;
            }
            pieces.push(Piece::Object(item));
        }
        if !is_cut {
            pieces.extend(items.metadata.tell());
        }
        Ok((pieces, Done { truncated: is_cut || items.metadata.next().is_some(), ..Done::default() }))
    }

    async fn whole(&self, list: &List, ask: Ask) -> Result<Held, Refusal> {
        let body = self.session.read_bytes(&ask).await?;
        let items: Items<Value> = parsed(&body)?;
        let mut left = self.call.limits.bytes;
        let mut kept = Vec::new();
        let all = items.items.len();
        for mut item in items.items {
            clean(&mut item);
            let Some(rest) = left.checked_sub(item.to_string().len() as u64) else { break };
            left = rest;
            kept.push(item);
        }
        if kept.is_empty() && all > 0 {
            return Err(Refusal::new(Code::ResultTooLarge).detail("the first object alone: ask for `fields`, or the table"));
        }
        let is_cut = kept.len() < all;
        let truncated = is_cut || items.metadata.next().is_some();
        let mut document = json!({ "items": kept, "truncated": truncated });
        if let (Some(members), Some(next)) = (document.as_object_mut(), items.metadata.next().filter(|_| !is_cut)) {
            members.insert("continue".to_owned(), Value::from(next));
        }
        let kind = kind_hint(&list.of.kind);
        Ok((vec![Piece::Kube { document, kind }], Done { truncated, ..Done::default() }))
    }

    /// One object.
    pub(super) async fn get(&self, get: &Get) -> Result<Held, Refusal> {
        let mut object = self.object(&get.object).await?;
        clean(&mut object);
        if !get.fields.is_empty() {
            let kind = kind_hint(&get.object.kind);
            return Ok((vec![Piece::Part { object, paths: get.fields.clone(), kind }], Done::default()));
        }
        self.document(json!({ "object": object }), &get.object.kind)
    }

    /// A document of at most so many bytes.
    pub(super) fn document(&self, document: Value, kind: &Type) -> Result<Held, Refusal> {
        let bytes = document.to_string().len() as u64;
        if bytes > self.call.limits.bytes {
            let most = self.call.limits.bytes;
            return Err(Refusal::new(Code::ResultTooLarge)
                .detail(format!("it has {bytes} bytes, and {most} are the most: ask k8s_get for some `fields`")));
        }
        Ok((vec![Piece::Kube { document, kind: kind_hint(kind) }], Done::default()))
    }

    /// An object as the server has it.
    pub(super) async fn object(&self, object: &Object) -> Result<Value, Refusal> {
        let path = self.resource(&object.kind).await?.path(object, "")?;
        self.session.read(&Ask::get(path)).await
    }

    /// An object with its conditions, its events and its owners.
    pub(super) async fn describe(&self, of: &Object) -> Result<Held, Refusal> {
        let mut object = self.object(of).await?;
        clean(&mut object);
        let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned();
        let namespace = of.namespace.clone().or_else(|| Some("default".to_owned()));
        // The kubelet calls its node by name where others use its id, and its own pods by the id that it gave them.
        let mirror = object.pointer("/metadata/annotations/kubernetes.io~1config.mirror").and_then(Value::as_str);
        let mut ids = vec![mirror.map_or(uid, ToOwned::to_owned)];
        ids.extend(of.name.clone().filter(|_| of.kind.kind == "Node"));
        let mut events = Ok(Vec::new());
        for id in ids {
            let more = self.events_of(namespace.clone(), Some(format!("involvedObject.uid={id}")), None, DESCRIBED_EVENTS).await;
            let more = more.map(|(events, _)| events);
            events = match (events, more) {
                (Ok(known), Ok(more)) => Ok([known, more].concat()),
                (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
            };
        }
        let events = match events {
            Ok(events) => Value::Array(events),
            // What is known of the object is worth having without them.
            Err(refusal) if refusal.code() == Code::TargetRefused => Value::from("the human may not list events here"),
            Err(refusal) => return Err(refusal),
        };
        let owners = self.owners(of, &object).await?;
        let conditions = object.pointer("/status/conditions").cloned().unwrap_or(Value::Null);
        self.document(json!({ "object": object, "conditions": conditions, "events": events, "owners": owners }), &of.kind)
    }

    /// Who controls an object, and who controls that: names alone.
    async fn owners(&self, of: &Object, object: &Value) -> Result<Vec<Value>, Refusal> {
        let mut owners = Vec::new();
        let mut current = object.clone();
        while owners.len() < OWNERS_MAX {
            let references = current.pointer("/metadata/ownerReferences").and_then(Value::as_array).cloned().unwrap_or_default();
            let Some(owner) = references.iter().find(|one| one.get("controller") == Some(&Value::Bool(true))).or(references.first()) else {
                break;
            };
            let text = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default();
            owners.push(json!({ "api_version": text("apiVersion"), "kind": text("kind"), "name": text("name") }));
            // Only what the call was judged for is looked at; of what is beyond, the name is what the reference says.
            let (group, kind) = (text("apiVersion").split_once('/').map_or("", |(group, _)| group), text("kind"));
            let known = match (of.kind.kind.as_str(), group, kind) {
                ("Pod", "apps", "ReplicaSet") => Type::known("apps", "ReplicaSet", true),
                ("Pod", "batch", "Job") => Type::known("batch", "Job", true),
                _ => break,
            };
            let next = Object { kind: known, namespace: of.namespace.clone(), name: Some(text("name").to_owned()) };
            match self.object(&next).await {
                Ok(next) => current = next,
                Err(refusal) if matches!(refusal.code(), Code::ObjectNotFound | Code::TargetRefused) => break,
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(owners)
    }

    /// Events, the latest first.
    pub(super) async fn events(&self, events: &Events) -> Result<Held, Refusal> {
        let limit = usize::try_from(events.limit).unwrap_or(EVENTS_PAGE);
        let (found, more) = self.events_of(events.namespace.clone(), events.field_selector.clone(), events.since_seconds, limit).await?;
        let names = ["last_seen", "type", "reason", "object", "message", "count", "namespace"];
        let columns = names.into_iter().map(|name| (name.to_owned(), "string".to_owned())).collect();
        let rows = found.into_iter().map(|event| names.iter().map(|name| event.get(*name).cloned().unwrap_or_default()).collect());
        let (pieces, done) = self.page(Piece::Table { columns }, rows, &Paging::default())?;
        Ok((pieces, Done { truncated: done.truncated || more, ..done }))
    }

    /// The server lists events by name, so all of them are gone through for the latest; and whether there were more than that.
    async fn events_of(
        &self,
        namespace: Option<String>,
        selector: Option<String>,
        since_seconds: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Value>, bool), Refusal> {
        let all = Object { kind: Type::known("", "Event", true), namespace, name: None };
        let path = self.resource(&all.kind).await?.path(&all, "")?;
        let oldest = since_seconds
            .map(|seconds| self.clock.now() - chrono::TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1_000_000)));
        let (mut found, mut next, mut seen) = (Vec::new(), None::<String>, 0);
        loop {
            let ask = Ask::get(path.clone())
                .with("limit", EVENTS_PAGE.to_string())
                .maybe("fieldSelector", selector.as_deref())
                .maybe("continue", next.as_deref());
            let items: Items<Value> = parsed(&self.session.read_bytes(&ask).await?)?;
            seen += items.items.len();
            for event in items.items {
                let event = shown(&event);
                let time = event.get("last_seen").and_then(Value::as_str).and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok());
                if oldest.is_none_or(|oldest| time.is_some_and(|time| time.with_timezone(&chrono::Utc) >= oldest)) {
                    found.push(event);
                }
            }
            next = items.metadata.next().map(ToOwned::to_owned);
            if next.is_none() || seen >= EVENTS_MAX {
                break;
            }
        }
        let time = |event: &Value| event.get("last_seen").and_then(Value::as_str).unwrap_or_default().to_owned();
        found.sort_by_key(|event| std::cmp::Reverse(time(event)));
        let more = next.is_some() || found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }
}

/// An event in short.
fn shown(event: &Value) -> Value {
    let text = |place: &str| event.pointer(place).and_then(Value::as_str).filter(|text| !text.is_empty());
    let last = text("/series/lastObservedTime")
        .or_else(|| text("/lastTimestamp"))
        .or_else(|| text("/eventTime"))
        .or_else(|| text("/firstTimestamp"))
        .or_else(|| text("/metadata/creationTimestamp"));
    let object = format!("{}/{}", text("/involvedObject/kind").unwrap_or_default(), text("/involvedObject/name").unwrap_or_default());
    let count = event.pointer("/series/count").or_else(|| event.get("count")).cloned().unwrap_or(Value::from(1));
    json!({
        "last_seen": last, "type": text("/type"), "reason": text("/reason"), "object": object, "message": text("/message"), "count": count,
        "namespace": text("/metadata/namespace"),
    })
}
