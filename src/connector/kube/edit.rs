//! Changes of single objects, all of one shape: rehearsed for an approver, held to what was shown, and made.
//!
//! What was shown binds: the version of each object goes along as a precondition that the server itself enforces, so that nothing can slip in
//! between. Nothing is begun unless all objects are as they were.

use http::Method;
use serde_json::{Map, Value, json};

use crate::call::{Bound, Seen};
use crate::connector::kube::clean::{changes, clean, kind_hint};
use crate::connector::kube::session::{Answered, Ask, Changed};
use crate::connector::kube::{Held, Work, failure};
use crate::mask::{Done, Piece};
use crate::operation::kube::Object;
use crate::refusal::{Code, Refusal};

/// One change of one object, as it goes to the server.
pub(super) struct Edit {
    pub(super) object: Object,
    /// Where the object is read.
    pub(super) place: String,
    /// Where it is changed.
    pub(super) path: String,
    pub(super) method: Method,
    pub(super) media: &'static str,
    pub(super) body: Value,
    pub(super) query: Vec<(&'static str, String)>,
    /// It makes the object, and must find none.
    pub(super) creates: bool,
}

impl Edit {
    fn ask(&self, body: &Value, dry_run: bool) -> Ask {
        let mut ask = Ask::send(self.method.clone(), self.path.clone(), self.media, body);
        ask.query.clone_from(&self.query);
        if dry_run { ask.with("dryRun", "All") } else { ask }
    }

    /// The body, good only for this version of the object.
    fn guarded(&self, version: &str) -> Result<Value, Refusal> {
        let mut body = self.body.clone();
        match &mut body {
            Value::Array(operations) => {
                operations.insert(0, json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version }));
            }
            Value::Object(members) => {
                let metadata = members.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
                let own = metadata.get("resourceVersion").and_then(Value::as_str);
                if own.is_some_and(|own| own != version) {
                    return Err(changed(&self.object, "the manifest is for another version than the approver was shown"));
                }
                if let Some(metadata) = metadata.as_object_mut() {
                    metadata.insert("resourceVersion".to_owned(), Value::from(version));
                }
            }
            _ => {}
        }
        Ok(body)
    }
}

pub(super) fn changed(object: &Object, how: &str) -> Refusal {
    Refusal::new(Code::ApprovalChanged).detail(format!("{object}: {how}"))
}

fn text<'a>(object: &'a Value, place: &str) -> Option<&'a str> {
    object.pointer(place).and_then(Value::as_str)
}

/// How an object is named in what an approval is bound to, and how it stands.
pub(super) fn seen(object: &Object, found: Option<&Value>) -> Seen {
    let of = |place| found.and_then(|found| text(found, place)).map(ToOwned::to_owned);
    Seen { object: object.to_string(), uid: of("/metadata/uid"), version: of("/metadata/resourceVersion") }
}

impl Work<'_> {
    /// What the changes would come to, by the server's own dry run.
    pub(super) async fn rehearsed(&self, edits: &[Edit]) -> Result<Held, Refusal> {
        let (mut shown, mut objects) = (Vec::new(), Vec::new());
        for edit in edits {
            let before = self.session.find(&Ask::get(edit.place.clone())).await?;
            let after = self.session.rehearse(&edit.ask(&edit.body, true)).await.map_err(|refusal| of_object(&edit.object, refusal))?;
            objects.push(seen(&edit.object, before.as_ref()));
            let clean = |mut object: Value| {
                clean(&mut object);
                object
            };
            let is_new = before.is_none();
            let found = changes(&before.map(clean).unwrap_or_default(), &clean(after));
            let action = match (is_new, found.is_empty()) {
                (true, _) => "created",
                (false, true) => "unchanged",
                (false, false) => "changed",
            };
            shown.push(json!({ "object": reference(&edit.object), "action": action, "changes": found }));
        }
        let document = json!({ "dry_run": true, "objects": shown });
        let kind =
            edits.iter().map(|edit| &edit.object.kind).find(|kind| crate::operation::kube::risk::is_secret(kind)).and_then(kind_hint);
        let bound = Bound { rows: None, objects };
        Ok((vec![Piece::Kube { document, kind }], Done { preview: Some(bound), ..Done::default() }))
    }

    /// Makes the changes: all of them on what an approver was shown, if one was.
    pub(super) async fn edited(&self, edits: &[Edit], bound: Option<&Bound>) -> Result<Held, Refusal> {
        if let Some(bound) = bound {
            for edit in edits {
                let found = self.session.find(&Ask::get(edit.place.clone())).await?;
                check(bound, &edit.object, found.as_ref())?;
            }
        }
        let mut made = Vec::new();
        for edit in edits {
            made.push(self.edit(edit, bound).await.map_err(|refusal| self.with_done(refusal))?);
        }
        let document = json!({ "objects": made });
        Ok((vec![Piece::Kube { document, kind: None }], Done::default()))
    }

    async fn edit(&self, edit: &Edit, bound: Option<&Bound>) -> Result<Value, Refusal> {
        let shown = bound.and_then(|bound| bound.objects.iter().find(|seen| seen.object == edit.object.to_string()));
        let version = shown.and_then(|seen| seen.version.as_deref());
        let body = match version {
            Some(version) if !edit.creates => edit.guarded(version)?,
            _ => edit.body.clone(),
        };
        match self.session.change(&edit.object.to_string(), &edit.ask(&body, false)).await? {
            Changed::Made { object, is_new } => {
                if shown.is_some() && version.is_none() && !is_new {
                    return Err(changed(&edit.object, "it came to be in between, and has been changed; look at it"));
                }
                let now = text(&object, "/metadata/resourceVersion").unwrap_or_default();
                let action = match (is_new, version == Some(now)) {
                    (true, _) => "created",
                    (false, true) => "unchanged",
                    (false, false) => "changed",
                };
                Ok(
                    json!({ "object": reference(&edit.object), "action": action, "resource_version": now, "uid": text(&object, "/metadata/uid") }),
                )
            }
            Changed::Refused(answered) => Err(self.refused(edit, shown, &answered).await),
        }
    }

    /// Why the server did not make a change: what the object has become, or what it says itself.
    async fn refused(&self, edit: &Edit, shown: Option<&Seen>, answered: &Answered) -> Refusal {
        let refusal = of_object(&edit.object, failure::refusal(answered.status, &answered.body));
        let could_be_version = matches!(answered.status.as_u16(), 409 | 422) && !failure::is_about_fields(&answered.body);
        if let Some(shown) = shown.filter(|_| could_be_version)
            && let Ok(found) = self.session.find(&Ask::get(edit.place.clone())).await
            && seen(&edit.object, found.as_ref()) != *shown
        {
            return changed(&edit.object, "it has changed since the approver was shown it");
        }
        refusal
    }

    /// What had been done before something went wrong belongs to the answer.
    pub(super) fn with_done(&self, refusal: Refusal) -> Refusal {
        let done = self.session.journal().done.clone();
        if done.is_empty() {
            return refusal;
        }
        let said = refusal.clone();
        let said = said.message();
        let (_, said) = said.split_once(": ").unwrap_or(("", &said));
        refusal.clone().detail(format!("{said}; done before it: {}", done.join(", ")))
    }
}

/// # Errors
/// `approval.changed_since_preview`: the object is not as an approver was shown it.
pub(super) fn check(bound: &Bound, object: &Object, found: Option<&Value>) -> Result<(), Refusal> {
    let now = seen(object, found);
    match bound.objects.iter().find(|known| known.object == now.object) {
        Some(known) if *known == now => Ok(()),
        Some(_) => Err(changed(object, "it has changed since the approver was shown it")),
        None => Err(changed(object, "the approver was not shown it")),
    }
}

fn of_object(object: &Object, refusal: Refusal) -> Refusal {
    refusal.map_detail(|said| format!("{object}: {said}"))
}

/// An object in an answer.
pub(super) fn reference(object: &Object) -> Value {
    let mut shown = Map::from_iter([("kind".to_owned(), json!(object.kind.kind))]);
    if !object.kind.group.as_str().is_empty() {
        shown.insert("group".to_owned(), json!(object.kind.group.as_str()));
    }
    shown.extend(object.namespace.as_ref().map(|namespace| ("namespace".to_owned(), json!(namespace))));
    shown.extend(object.name.as_ref().map(|name| ("name".to_owned(), json!(name))));
    Value::Object(shown)
}
