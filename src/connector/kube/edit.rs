//! Changes of single objects, all of one shape: rehearsed for an approver, held to what was shown, and made.
//!
//! What was shown binds: an object must still say what it said then, but for its status, which moves all the time. What it is at that moment goes
//! along as a precondition that the server itself enforces, so that nothing can slip in between. Nothing is begun unless all objects are as they were.

use aws_lc_rs::digest;
use http::Method;
use serde_json::{Map, Value, json};

use crate::call::{Bound, Seen};
use crate::connector::kube::clean::{clean, kind_hint};
use crate::connector::kube::session::{Answered, Ask, Changed};
use crate::connector::kube::{Held, Work, failure, outcome};
use crate::mask::{Done, Piece, Rehearsal};
use crate::operation::kube::Object;
use crate::operation::{Operation, Risk};
use crate::refusal::{Code, Refusal};

/// Times that a change or a deletion is tried again whose object only moved its status.
pub(super) const MOVES_MAX: usize = 5;

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
    /// Its status is what is changed.
    pub(super) of_status: bool,
    /// The risk it was judged for, where it is merged into what is there: what comes of it is judged again.
    pub(super) merges: Option<Risk>,
    /// Another object that it is made from, and where that is read.
    pub(super) rests_on: Option<(Object, String)>,
}

impl Edit {
    fn ask(&self, body: &Value, dry_run: bool) -> Ask {
        let mut ask = Ask::send(self.method.clone(), self.path.clone(), self.media, body);
        ask.query.clone_from(&self.query);
        if dry_run { ask.with("dryRun", "All") } else { ask }
    }

    /// The body, good only for this very object as it is.
    fn guarded(&self, found: &Value) -> Result<Value, Refusal> {
        let mut body = self.body.clone();
        let (uid, version) = (text(found, "/metadata/uid"), text(found, "/metadata/resourceVersion"));
        match &mut body {
            Value::Array(operations) => {
                operations.insert(0, json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version }));
            }
            Value::Object(members) => {
                let metadata = members.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
                let own = metadata.get("resourceVersion").and_then(Value::as_str);
                if own.is_some_and(|own| Some(own) != version) {
                    return Err(changed(&self.object, "the manifest is for another version"));
                }
                let Some(metadata) = metadata.as_object_mut() else { return Err(changed(&self.object, "`metadata` is no mapping")) };
                metadata.insert("resourceVersion".to_owned(), json!(version));
                // The version alone lets an apply make an object anew that has been deleted.
                metadata.insert("uid".to_owned(), json!(uid));
            }
            _ => {}
        }
        Ok(body)
    }

    fn seen(&self, found: Option<&Value>) -> Seen {
        let mut seen = seen(&self.object, found);
        if self.of_status {
            seen.content = found.map(|found| content(found, true));
        }
        seen
    }
}

pub(super) fn changed(object: &Object, how: &str) -> Refusal {
    Refusal::new(Code::ApprovalChanged).detail(format!("{object}: {how}"))
}

fn text<'a>(object: &'a Value, place: &str) -> Option<&'a str> {
    object.pointer(place).and_then(Value::as_str)
}

/// What an object says, in short: all of it but its counters and, unless that is meant, its status.
pub(super) fn content(object: &Value, with_status: bool) -> String {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut()
        && !with_status
    {
        members.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for counter in ["resourceVersion", "generation", "managedFields"] {
            metadata.remove(counter);
        }
    }
    hex::encode(digest::digest(&digest::SHA256, sorted(&object).to_string().as_bytes()))
}

/// The same with all members in order, whatever order a server had them in.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            members.into_iter().map(|(name, member)| (name.clone(), sorted(member))).collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// How an object is named in what an approval is bound to, and how it stands.
pub(super) fn seen(object: &Object, found: Option<&Value>) -> Seen {
    let uid = found.and_then(|found| text(found, "/metadata/uid")).map(ToOwned::to_owned);
    Seen { object: object.to_string(), uid, content: found.map(|found| content(found, false)) }
}

impl Work<'_> {
    /// What the changes would come to, by the server's own dry run.
    pub(super) async fn rehearsed(&self, edits: &[Edit]) -> Result<Held, Refusal> {
        let (mut shown, mut objects) = (Vec::new(), Vec::new());
        // A caller's own dry run costs nobody's approval: it must not say whether a guess of a secret was right.
        let tells_equal = matches!(self.call.operation, Operation::KubePreview(_));
        for (index, edit) in edits.iter().enumerate() {
            let before = self.session.find(&Ask::get(edit.place.clone())).await?;
            let after = self.session.rehearse(&edit.ask(&edit.body, true)).await;
            let mut after = after.map_err(|refusal| of_object(&edit.object, depends(edits, index, refusal)))?;
            self.check_outcome(edit, before.as_ref(), &after)?;
            objects.push(edit.seen(before.as_ref()));
            if let Some((object, place)) = &edit.rests_on {
                objects.push(seen(object, self.session.find(&Ask::get(place.clone())).await?.as_ref()));
            }
            let before = before.map(|mut before| {
                clean(&mut before);
                before
            });
            clean(&mut after);
            let kind = kind_hint(&edit.object.kind);
            shown.push(Rehearsal { object: reference(&edit.object), before, after, kind, tells_equal });
        }
        let bound = Bound { rows: None, objects };
        Ok((vec![Piece::Rehearsed(shown)], Done { preview: Some(bound), ..Done::default() }))
    }

    /// What comes of a change must be no riskier than what the call was judged for: a patch is merged into what nobody saw.
    fn check_outcome(&self, edit: &Edit, before: Option<&Value>, after: &Value) -> Result<(), Refusal> {
        let Some(judged) = edit.merges else { return Ok(()) };
        let judged = judged.max(self.call.risk());
        let Some(why) = outcome::riskier(&edit.object, before, after, judged) else { return Ok(()) };
        Err(Refusal::new(Code::RiskierOutcome).detail(format!("{}: {}", edit.object, why.join("; "))))
    }

    /// Makes the changes: all of them on what an approver was shown, if one was.
    pub(super) async fn edited(&self, edits: &[Edit], bound: Option<&Bound>) -> Result<Held, Refusal> {
        for edit in edits {
            match bound {
                Some(bound) => {
                    let found = self.session.find(&Ask::get(edit.place.clone())).await?;
                    check(bound, &edit.seen(found.as_ref()), &edit.object)?;
                    if let Some((object, place)) = &edit.rests_on {
                        let found = self.session.find(&Ask::get(place.clone())).await?;
                        check(bound, &seen(object, found.as_ref()), object)?;
                    }
                }
                // Nobody looked at a dry run: this one is for what comes of it alone.
                None if edit.merges.is_some() => {
                    let before = self.session.find(&Ask::get(edit.place.clone())).await?;
                    let after =
                        self.session.rehearse(&edit.ask(&edit.body, true)).await.map_err(|refusal| of_object(&edit.object, refusal))?;
                    self.check_outcome(edit, before.as_ref(), &after)?;
                }
                None => {}
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
        let mut moves = 0;
        loop {
            let found = match bound {
                Some(bound) => {
                    let found = self.session.find(&Ask::get(edit.place.clone())).await?;
                    check(bound, &edit.seen(found.as_ref()), &edit.object)?;
                    found
                }
                None => None,
            };
            let body = match &found {
                Some(found) if !edit.creates => edit.guarded(found)?,
                _ => edit.body.clone(),
            };
            match self.session.change(&edit.object.to_string(), &edit.ask(&body, false)).await? {
                Changed::Made { is_new, .. } if bound.is_some() && is_new == found.is_some() => {
                    return Err(changed(&edit.object, "it came or went in between, and has been written; look at it"));
                }
                Changed::Made { object, is_new } => return Ok(told(edit, found.as_ref(), &object, is_new)),
                // Only its status moved, or so the next look will tell.
                Changed::Refused(answered) if bound.is_some() && moves < MOVES_MAX && is_about_version(&answered) => moves += 1,
                Changed::Refused(answered) => return Err(of_object(&edit.object, failure::refusal(answered.status, &answered.body))),
            }
        }
    }

    /// What had been done before something went wrong belongs to the answer.
    pub(super) fn with_done(&self, refusal: Refusal) -> Refusal {
        let done = self.session.journal().done.clone();
        if done.is_empty() {
            return refusal;
        }
        let said = refusal.message();
        let (_, said) = said.split_once(": ").unwrap_or(("", &said));
        let said = format!("{said}; done before it: {}", done.join(", "));
        refusal.detail(said)
    }
}

/// What has been made of an object.
fn told(edit: &Edit, before: Option<&Value>, object: &Value, is_new: bool) -> Value {
    let version = text(object, "/metadata/resourceVersion");
    let action = match (is_new, before.is_some_and(|before| text(before, "/metadata/resourceVersion") == version)) {
        (true, _) => "created",
        (false, true) => "unchanged",
        (false, false) => "changed",
    };
    json!({ "object": reference(&edit.object), "action": action, "resource_version": version, "uid": text(object, "/metadata/uid") })
}

fn is_about_version(answered: &Answered) -> bool {
    matches!(answered.status.as_u16(), 409 | 422) && !failure::is_about_fields(&answered.body)
}

/// A dry run stores nothing: what is made of another object of the same manifest cannot be rehearsed.
fn depends(edits: &[Edit], index: usize, refusal: Refusal) -> Refusal {
    let earlier =
        edits.iter().take(index).any(|earlier| ["Namespace", "CustomResourceDefinition"].contains(&earlier.object.kind.kind.as_str()));
    if !earlier || !matches!(refusal.code(), Code::ObjectNotFound | Code::NotInstalled) {
        return refusal;
    }
    refusal.map_detail(|said| format!("{said}; apply the Namespace or CustomResourceDefinition before it in a call of its own"))
}

/// # Errors
/// `approval.changed_since_preview`: the object is not as an approver was shown it.
pub(super) fn check(bound: &Bound, now: &Seen, object: &Object) -> Result<(), Refusal> {
    match bound.objects.iter().find(|known| known.object == now.object) {
        Some(known) if known == now => Ok(()),
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
