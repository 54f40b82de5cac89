//! From the operations that change one object each to the change that the server is sent.

use http::Method;
use serde_json::{Value, json};

use crate::connector::kube::Work;
use crate::connector::kube::edit::Edit;
use crate::connector::kube::session::JSON;
use crate::operation::Risk;
use crate::operation::kube::{Action, Apply, Ephemeral, Manifest, NodeWork, Object, Patch, Rollout, Run, Scale, Subresource, Type, risk};
use crate::refusal::{Code, Refusal};

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
/// Who changes fields without saying so.
const MANAGER: &str = "countersign";

fn strict() -> Vec<(&'static str, String)> {
    vec![("fieldManager", MANAGER.to_owned()), ("fieldValidation", "Strict".to_owned())]
}

impl Work<'_> {
    /// Server-side apply of each object, exactly as it was parsed.
    pub(super) async fn apply_edits(&self, apply: &Apply) -> Result<Vec<Edit>, Refusal> {
        let mut edits = Vec::with_capacity(apply.manifests.len());
        for Manifest { object, body } in &apply.manifests {
            let path = self.resource(&object.kind).await?.path(object, "")?;
            let mut query = vec![("fieldManager", apply.field_manager.clone()), ("fieldValidation", "Strict".to_owned())];
            if apply.force {
                query.push(("force", "true".to_owned()));
            }
            edits.push(Edit {
                object: object.clone(),
                place: path.clone(),
                path,
                method: Method::PATCH,
                media: APPLY,
                body: body.clone(),
                query,
                creates: false,
                of_status: false,
                merges: Some(risk::write(object, body).risk),
                rests_on: None,
            });
        }
        Ok(edits)
    }

    async fn patching(&self, object: &Object, subresource: &str, media: &'static str, body: Value) -> Result<Edit, Refusal> {
        let resource = self.resource(&object.kind).await?;
        // A scale is read where it is written; everything else is part of its object.
        let place = resource.path(object, if subresource == "scale" { "scale" } else { "" })?;
        let path = resource.path(object, subresource)?;
        Ok(Edit {
            object: object.clone(),
            place,
            path,
            method: Method::PATCH,
            media,
            body,
            query: strict(),
            creates: false,
            of_status: subresource == "status",
            merges: None,
            rests_on: None,
        })
    }

    pub(super) async fn patch_edit(&self, patch: &Patch) -> Result<Edit, Refusal> {
        let edit = self.patching(&patch.object, patch.subresource.as_str(), patch.patch_type.media_type(), patch.body.clone()).await?;
        // As the operation was judged: by what is put where.
        Ok(Edit { merges: Some(risk::write(&patch.object, &patch.body).risk), ..edit })
    }

    pub(super) async fn scale_edit(&self, scale: &Scale) -> Result<Edit, Refusal> {
        let body = json!({ "spec": { "replicas": scale.replicas } });
        self.patching(&scale.object, Subresource::Scale.as_str(), MERGE, body).await
    }

    pub(super) async fn run_edit(&self, run: &Run) -> Result<Edit, Refusal> {
        let Manifest { object, body } = &run.manifest;
        let resource = self.resource(&object.kind).await?;
        let all = Object { name: None, ..object.clone() };
        Ok(Edit {
            object: object.clone(),
            place: resource.path(object, "")?,
            path: resource.path(&all, "")?,
            method: Method::POST,
            media: JSON,
            body: body.clone(),
            query: strict(),
            creates: true,
            of_status: false,
            merges: None,
            rests_on: None,
        })
    }

    pub(super) async fn debug_edit(&self, debug: &Ephemeral) -> Result<Edit, Refusal> {
        let mut container =
            json!({ "name": debug.name, "image": debug.image, "imagePullPolicy": "IfNotPresent", "terminationMessagePolicy": "File" });
        if let Some(members) = container.as_object_mut() {
            if !debug.command.is_empty() {
                members.insert("command".to_owned(), json!(debug.command));
            }
            members.extend(debug.beside.as_ref().map(|beside| ("targetContainerName".to_owned(), json!(beside))));
        }
        let body = json!({ "spec": { "ephemeralContainers": [container] } });
        self.patching(&debug.pod, "ephemeralcontainers", STRATEGIC, body).await
    }

    pub(super) async fn cordon_edit(&self, node: &Object, work: NodeWork) -> Result<Edit, Refusal> {
        let body = json!({ "spec": { "unschedulable": if work == NodeWork::Uncordon { Value::Null } else { Value::Bool(true) } } });
        self.patching(node, "", MERGE, body).await
    }

    /// What a roll-out's change is, from how it stands.
    pub(super) async fn rollout_edit(&self, rollout: &Rollout) -> Result<Edit, Refusal> {
        let object = &rollout.object;
        let paused = |is: bool| json!({ "spec": { "paused": if is { Value::Bool(true) } else { Value::Null } } });
        match rollout.action {
            Action::Pause => self.patching(object, "", MERGE, paused(true)).await,
            Action::Resume => self.patching(object, "", MERGE, paused(false)).await,
            Action::Restart => {
                let now = self.clock.now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
                let annotations = json!({ "kubectl.kubernetes.io/restartedAt": now });
                let body = json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } });
                self.patching(object, "", MERGE, body).await
            }
            Action::Undo(revision) => {
                let (media, body, revision) = self.undo(object, revision).await?;
                let place = self.resource(&revision.kind).await?.path(&revision, "")?;
                let edit = self.patching(object, "", media, body).await?;
                // As undoing is judged; what the revision runs is seen in the dry run.
                Ok(Edit { rests_on: Some((revision, place)), merges: Some(Risk::Destructive), ..edit })
            }
            Action::Status | Action::History => Err(Refusal::new(Code::TargetFailed).cause("a look is no change")),
        }
    }

    /// The patch that brings an earlier revision back: of a Deployment its pod template, of the others what their ControllerRevision keeps.
    async fn undo(&self, object: &Object, wanted: Option<u64>) -> Result<(&'static str, Value, Object), Refusal> {
        let now = self.object(object).await?;
        if now.pointer("/spec/paused") == Some(&Value::Bool(true)) {
            return Err(Refusal::new(Code::Conflict).detail(format!("the roll-out of {object} is paused: resume it first")));
        }
        let revisions = self.revisions(object).await?;
        let none = |what: String| Refusal::new(Code::ObjectNotFound).detail(what);
        let current = revisions.last().map(|(number, _)| *number);
        let found = match wanted {
            Some(wanted) => revisions.iter().find(|(number, _)| *number == wanted),
            None => revisions.iter().rev().nth(1),
        };
        let (number, revision) = found.ok_or_else(|| none(format!("{object} has no such earlier revision")))?;
        if Some(*number) == current {
            return Err(Refusal::new(Code::Conflict).detail(format!("{object} is at revision {number} already")));
        }
        let called = revision.pointer("/metadata/name").and_then(Value::as_str).map(ToOwned::to_owned);
        let kind = Type::known("apps", if object.kind.kind == "Deployment" { "ReplicaSet" } else { "ControllerRevision" }, true);
        let kept = Object { kind, namespace: object.namespace.clone(), name: called };
        if object.kind.kind == "Deployment" {
            let mut template = revision.pointer("/spec/template").cloned().unwrap_or_default();
            if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
                labels.remove("pod-template-hash");
            }
            return Ok((JSON_PATCH, json!([{ "op": "replace", "path": "/spec/template", "value": template }]), kept));
        }
        let data = revision.get("data").cloned().filter(Value::is_object);
        data.map(|data| (STRATEGIC, data, kept)).ok_or_else(|| none(format!("revision {number} of {object} keeps nothing")))
    }
}
