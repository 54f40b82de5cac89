//! Deleting objects, and emptying nodes by evictions: exactly those that were shown, and no others.

use std::time::Duration;

use http::Method;
use serde_json::{Map, Value, json};

use crate::call::{Bound, Seen};
use crate::connector::kube::edit::{MOVES_MAX, changed, reference, seen};
use crate::connector::kube::session::{Ask, Changed, JSON};
use crate::connector::kube::{Held, Work, failure};
use crate::mask::{Done, Piece};
use crate::operation::kube::{Delete, Node, NodeWork, Object, Subject, Type};
use crate::refusal::{Code, Refusal};

/// Pods of one node.
const PODS_MAX: usize = 1_000;
/// How long until an eviction that a disruption budget forbids is tried again, and until pods are looked for again.
const EVICT_AGAIN: Duration = Duration::from_secs(2);

/// An object that would go.
struct Doomed {
    object: Object,
    seen: Seen,
    version: Option<String>,
}

impl Work<'_> {
    /// The objects that a deletion means now.
    async fn doomed(&self, delete: &Delete) -> Result<Vec<Doomed>, Refusal> {
        match &delete.what {
            Subject::One(object, uid) => {
                let found = self.object(object).await?;
                let seen = seen(object, Some(&found));
                if let Some(uid) = uid.as_ref().filter(|uid| seen.uid.as_ref() != Some(*uid)) {
                    return Err(Refusal::new(Code::Conflict).detail(format!("{object} is not the one with the uid {uid}")));
                }
                let version = found.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(ToOwned::to_owned);
                Ok(vec![Doomed { object: object.clone(), seen, version }])
            }
            Subject::Labelled(all, selector, most) => {
                let path = self.resource(&all.kind).await?.path(all, "")?;
                // One more than may be, so that it shows.
                let ask = Ask::get(path).with("labelSelector", selector.as_str()).with("limit", (most + 1).to_string());
                let list = self.session.read(&ask).await?;
                let items = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
                if items.len() > usize::try_from(*most).unwrap_or(usize::MAX) {
                    let why = format!("more than {most} objects have these labels: narrow `label_selector`, or raise `max_count`");
                    return Err(Refusal::new(Code::TooManyRows).detail(why));
                }
                Ok(items.iter().filter_map(|item| doomed(all, item)).collect())
            }
        }
    }

    /// The id always binds; the version only where somebody was shown what the object says.
    async fn deletion(&self, delete: &Delete, doomed: &Doomed, bound: bool, dry_run: bool) -> Result<Ask, Refusal> {
        let path = self.resource(&doomed.object.kind).await?.path(&doomed.object, "")?;
        let mut preconditions = Map::new();
        preconditions.extend(doomed.seen.uid.as_ref().map(|uid| ("uid".to_owned(), json!(uid))));
        preconditions.extend(doomed.version.as_ref().filter(|_| bound).map(|version| ("resourceVersion".to_owned(), json!(version))));
        let mut options = Map::from_iter([
            ("apiVersion".to_owned(), json!("v1")),
            ("kind".to_owned(), json!("DeleteOptions")),
            ("preconditions".to_owned(), Value::Object(preconditions)),
        ]);
        // Left to the server, Jobs would leave their pods behind.
        options.insert("propagationPolicy".to_owned(), json!(delete.propagation.unwrap_or("Background")));
        options.extend(delete.grace_seconds.map(|seconds| ("gracePeriodSeconds".to_owned(), json!(seconds))));
        if dry_run {
            options.insert("dryRun".to_owned(), json!(["All"]));
        }
        let ask = Ask::send(Method::DELETE, path, JSON, &Value::Object(options));
        Ok(if dry_run { ask.with("dryRun", "All") } else { ask })
    }

    /// What would be deleted.
    pub(super) async fn deletion_shown(&self, delete: &Delete) -> Result<Held, Refusal> {
        let doomed = self.doomed(delete).await?;
        for one in &doomed {
            self.session.rehearse(&self.deletion(delete, one, false, true).await?).await?;
        }
        Ok(listed("would_delete", &doomed))
    }

    /// Deletes them: none, unless all are as they were shown.
    pub(super) async fn deleted(&self, delete: &Delete, bound: Option<&Bound>) -> Result<Held, Refusal> {
        let doomed = self.doomed(delete).await?;
        held_to(bound, &doomed)?;
        let mut gone = Vec::new();
        for one in doomed {
            gone.push(self.delete_one(delete, one, bound).await.map_err(|refusal| self.with_done(refusal))?);
        }
        Ok((vec![Piece::Kube { document: json!({ "deleted": gone }), kind: None }], Done::default()))
    }

    async fn delete_one(&self, delete: &Delete, mut one: Doomed, bound: Option<&Bound>) -> Result<Value, Refusal> {
        let mut moves = 0;
        loop {
            let ask = self.deletion(delete, &one, bound.is_some(), false).await?;
            match self.session.change(&format!("deleted {}", one.object), &ask).await? {
                Changed::Made { object, .. } => {
                    let lingers = object.pointer("/metadata/deletionTimestamp").is_some();
                    let status = if lingers { "terminating" } else { "deleted" };
                    return Ok(json!({ "object": reference(&one.object), "uid": one.seen.uid, "status": status }));
                }
                // Only its status moved, or so the next look will tell.
                Changed::Refused(answered) if bound.is_some() && answered.status.as_u16() == 409 && moves < MOVES_MAX => {
                    moves += 1;
                    let found = self.object(&one.object).await?;
                    let now = seen(&one.object, Some(&found));
                    if now != one.seen {
                        return Err(changed(&one.object, "it has changed since the approver was shown it"));
                    }
                    one.version = found.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(ToOwned::to_owned);
                }
                Changed::Refused(answered) => {
                    return Err(failure::refusal(answered.status, &answered.body).map_detail(|said| format!("{}: {said}", one.object)));
                }
            }
        }
    }

    /// The pods that leave a node, or why it cannot be emptied.
    async fn leaving(&self, node: &Object, work: NodeWork) -> Result<Vec<Doomed>, Refusal> {
        let NodeWork::Drain { ignore_daemonsets, delete_emptydir, .. } = work else { return Ok(Vec::new()) };
        let all = Object { kind: Type::pod(), namespace: None, name: None };
        let path = self.resource(&all.kind).await?.path(&all, "")?;
        let name = node.name.as_deref().unwrap_or_default();
        let ask = Ask::get(path).with("fieldSelector", format!("spec.nodeName={name}")).with("limit", PODS_MAX.to_string());
        let list = self.session.read(&ask).await?;
        let (mut leaving, mut in_the_way) = (Vec::new(), Vec::new());
        for pod in list.get("items").and_then(Value::as_array).into_iter().flatten() {
            let text = |place: &str| pod.pointer(place).and_then(Value::as_str);
            // Static pods are the kubelet's own: there is nothing to evict.
            let is_mirror = pod.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some();
            let has_ended = matches!(text("/status/phase"), Some("Succeeded" | "Failed"));
            let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array).cloned().unwrap_or_default();
            let controller = owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
            let of_daemonset = controller.is_some_and(|owner| owner.get("kind").and_then(Value::as_str) == Some("DaemonSet"));
            let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
            let has_emptydir = volumes.into_iter().any(|volume| volume.get("emptyDir").is_some());
            let name = format!("{}/{}", text("/metadata/namespace").unwrap_or_default(), text("/metadata/name").unwrap_or_default());
            let reason = match () {
                () if is_mirror => continue,
                () if has_ended => None,
                () if of_daemonset && ignore_daemonsets => continue,
                () if of_daemonset => Some("is of a DaemonSet (ignore_daemonsets)"),
                () if controller.is_none() => Some("has no controller: it would not come back"),
                () if has_emptydir && !delete_emptydir => Some("has emptyDir volumes, which would be lost (delete_emptydir)"),
                () => None,
            };
            match reason {
                Some(reason) => in_the_way.push(format!("{name} {reason}")),
                None => leaving.extend(doomed(&all, pod)),
            }
        }
        if in_the_way.is_empty() {
            return Ok(leaving);
        }
        in_the_way.truncate(20);
        Err(Refusal::new(Code::Conflict).detail(format!("these pods are in the way: {}", in_the_way.join("; "))))
    }

    async fn eviction(&self, pod: &Doomed, work: NodeWork, dry_run: bool) -> Result<Ask, Refusal> {
        let resource = self.resource(&pod.object.kind).await?;
        let path = resource.path(&pod.object, "eviction")?;
        // Servers before 1.22 know it by another version.
        let api_version = resource.eviction.as_deref().filter(|known| known.starts_with("policy/")).unwrap_or("policy/v1");
        let mut options = Map::from_iter([("preconditions".to_owned(), json!({ "uid": pod.seen.uid }))]);
        if let NodeWork::Drain { grace_seconds: Some(seconds), .. } = work {
            options.insert("gracePeriodSeconds".to_owned(), json!(seconds));
        }
        if dry_run {
            options.insert("dryRun".to_owned(), json!(["All"]));
        }
        let body = json!({
            "apiVersion": api_version, "kind": "Eviction",
            "metadata": { "name": pod.object.name, "namespace": pod.object.namespace }, "deleteOptions": options,
        });
        Ok(Ask::send(Method::POST, path, JSON, &body))
    }

    /// What taking a node out of service, or back, would come to.
    pub(super) async fn node_shown(&self, node: &Node) -> Result<Held, Refusal> {
        let leaving = self.leaving(&node.node, node.work).await?;
        let edit = self.cordon_edit(&node.node, node.work).await?;
        let (mut pieces, mut done) = self.rehearsed(&[edit]).await?;
        if let NodeWork::Drain { .. } = node.work {
            let (listed, more) = listed("would_evict", &leaving);
            pieces.extend(listed);
            if let (Some(bound), Some(more)) = (&mut done.preview, more.preview) {
                bound.objects.extend(more.objects);
            }
        }
        Ok((pieces, done))
    }

    /// Takes a node out of service, or back.
    pub(super) async fn node_done(&self, node: &Node, bound: Option<&Bound>) -> Result<Held, Refusal> {
        // Pods report their state all the time: they are held to by their ids. One that has left by itself is no harm.
        let known = |one: &Doomed| {
            bound.is_none_or(|bound| bound.objects.iter().any(|seen| seen.object == one.seen.object && seen.uid == one.seen.uid))
        };
        let leaving = self.leaving(&node.node, node.work).await?;
        if let Some(other) = leaving.iter().find(|one| !known(one)) {
            return Err(changed(&other.object, "the approver was not shown that it would be evicted"));
        }
        let edit = self.cordon_edit(&node.node, node.work).await?;
        let (mut pieces, done) = self.edited(&[edit], bound).await?;
        if let NodeWork::Drain { .. } = node.work {
            // Others may have come while the node was still in service. Nobody was shown those: they are told, and stay.
            let now = self.leaving(&node.node, node.work).await.map_err(|refusal| self.with_done(refusal))?;
            let (leaving, late): (Vec<_>, Vec<_>) = now.into_iter().partition(known);
            let evicted = self.evict(&leaving, node.work).await.map_err(|refusal| self.with_done(refusal))?;
            let late: Vec<_> = late.iter().map(|one| reference(&one.object)).collect();
            pieces.push(Piece::Kube { document: json!({ "evicted": evicted, "left_behind": late }), kind: None });
        }
        Ok((pieces, done))
    }

    async fn evict(&self, leaving: &[Doomed], work: NodeWork) -> Result<Vec<Value>, Refusal> {
        for pod in leaving {
            while !self.evicted(pod, work).await? {
                self.nap().await?;
            }
        }
        // Evicted is not gone: a pod has its time to end.
        for pod in leaving {
            while self.is_there(pod).await? {
                self.nap().await?;
            }
        }
        Ok(leaving.iter().map(|pod| reference(&pod.object)).collect())
    }

    /// Whether the pod is on its way out; no if it must be asked again.
    async fn evicted(&self, pod: &Doomed, work: NodeWork) -> Result<bool, Refusal> {
        let ask = self.eviction(pod, work, false).await?;
        match self.session.change(&format!("evicted {}", pod.object), &ask).await? {
            Changed::Made { .. } => Ok(true),
            Changed::Refused(answered) => match answered.status.as_u16() {
                404 => Ok(true),
                // A disruption budget forbids it for now.
                429 => Ok(false),
                // Another pod by that name, or a conflict of the moment; a namespace that is going takes its pods along.
                409 => Ok(!self.is_there(pod).await?),
                403 if String::from_utf8_lossy(&answered.body).contains("NamespaceTerminating") => Ok(true),
                _ => Err(failure::refusal(answered.status, &answered.body).map_detail(|said| format!("{}: {said}", pod.object))),
            },
        }
    }

    async fn is_there(&self, pod: &Doomed) -> Result<bool, Refusal> {
        let path = self.resource(&pod.object.kind).await?.path(&pod.object, "")?;
        let found = self.session.find(&Ask::get(path)).await?;
        Ok(found.is_some_and(|found| seen(&pod.object, Some(&found)).uid == pod.seen.uid))
    }

    async fn nap(&self) -> Result<(), Refusal> {
        tokio::select! {
            () = tokio::time::sleep(EVICT_AGAIN) => Ok(()),
            () = self.session.halt.stopped() => Err(self.session.halt.refusal()),
        }
    }
}

fn doomed(all: &Object, item: &Value) -> Option<Doomed> {
    let text = |place: &str| item.pointer(place).and_then(Value::as_str).map(ToOwned::to_owned);
    let object = Object { kind: all.kind.clone(), namespace: text("/metadata/namespace"), name: Some(text("/metadata/name")?) };
    Some(Doomed { seen: seen(&object, Some(item)), version: text("/metadata/resourceVersion"), object })
}

fn listed(what: &str, doomed: &[Doomed]) -> Held {
    let shown: Vec<Value> = doomed.iter().map(|one| json!({ "object": reference(&one.object), "uid": one.seen.uid })).collect();
    let bound = Bound { rows: Some(doomed.len() as u64), objects: doomed.iter().map(|one| one.seen.clone()).collect() };
    let document = json!({ "dry_run": true, what: shown, "count": doomed.len() });
    (vec![Piece::Kube { document, kind: None }], Done { preview: Some(bound), ..Done::default() })
}

/// # Errors
/// `approval.changed_since_preview`: they are others than an approver was shown.
fn held_to(bound: Option<&Bound>, doomed: &[Doomed]) -> Result<(), Refusal> {
    let Some(bound) = bound else { return Ok(()) };
    if let Some(other) = doomed.iter().find(|one| !bound.objects.contains(&one.seen)) {
        return Err(changed(&other.object, "it is new, or has changed since the approver was shown it"));
    }
    if doomed.len() != bound.objects.len() {
        return Err(Refusal::new(Code::ApprovalChanged).detail("some of the objects that the approver was shown are there no longer"));
    }
    Ok(())
}
