//! What each operation touches, with the verb of RBAC and the risk of each touch. Whoever adds an operation says here what it reaches, all of it.

use serde_json::Value;

use crate::operation::kube::{
    Action, Delete, Kube, Logs, Manifest, Node, NodeWork, Object, Reach, Rollout, Subject, Subresource, Top, TopOf, Type, risk,
};
use crate::operation::{Place, Risk, Touch};

fn known(group: &'static str, kind: &'static str, namespaced: bool, namespace: Option<&String>) -> Object {
    Object { kind: Type::known(group, kind, namespaced), namespace: namespace.cloned(), name: None }
}

fn events(namespace: Option<&String>) -> Touch {
    known("", "Event", true, namespace).touch("list", "", Risk::Read)
}

fn discover() -> Touch {
    Touch { on: Place::Target, verb: "discover", risk: Risk::Read }
}

impl Kube {
    /// All it touches, each with its own verb and risk; the main one first.
    #[must_use]
    pub fn touches(&self) -> Vec<Touch> {
        let mut touches = self.own_touches();
        // One kind by two names is judged by both.
        let other_names: Vec<Touch> = touches.iter().filter_map(by_other_name).collect();
        touches.extend(other_names);
        touches
    }

    fn own_touches(&self) -> Vec<Touch> {
        match self {
            Self::List(list) => vec![list.of.touch("list", "", risk::read(&list.of.kind))],
            Self::Get(get) => vec![get.object.touch("get", "", risk::read(&get.object.kind))],
            Self::Wait(wait) => vec![wait.object.touch("get", "", risk::read(&wait.object.kind))],
            Self::Describe(object) => {
                let mut touches = vec![
                    object.touch("get", "", risk::read(&object.kind)),
                    events(object.namespace.as_ref().or(Some(&"default".to_owned()))),
                ];
                if object.kind.kind == "Pod" {
                    // Who owns a pod is owned itself.
                    let owners = [("apps", "ReplicaSet"), ("batch", "Job")];
                    let namespace = object.namespace.as_ref();
                    touches.extend(owners.map(|(group, kind)| known(group, kind, true, namespace).touch("get", "", Risk::Read)));
                }
                touches
            }
            Self::Logs(logs) => logs.touches(),
            Self::Events(wanted) => vec![events(wanted.namespace.as_ref())],
            Self::Top(top) => vec![top.touch()],
            Self::Resources(_) | Self::Explain(_) | Self::CanI(_) | Self::Candidates(_) => vec![discover()],
            Self::Apply(apply) => {
                // What is not there is created: the server asks for both as well.
                let verbs =
                    |manifest: &Manifest| [manifest.touches("patch", apply.dry_run), manifest.touches("create", apply.dry_run)].concat();
                let mut touches: Vec<Touch> = apply.manifests.iter().flat_map(verbs).collect();
                let mut seen = std::collections::HashSet::new();
                touches.retain(|touch| seen.insert(touch.clone()));
                touches
            }
            Self::Patch(patch) => {
                let judged = match patch.subresource {
                    Subresource::Status => risk::status,
                    Subresource::Scale => risk::scaling,
                    _ => risk::write,
                };
                let risk = if patch.dry_run { risk::read(&patch.object.kind) } else { judged(&patch.object, &patch.body).risk };
                let mut touches = vec![patch.object.touch("patch", patch.subresource.as_str(), risk)];
                touches.extend(reads_of_secrets(&patch.object, &patch.body));
                touches
            }
            Self::Delete(delete) => vec![delete.touch()],
            Self::Scale(scale) => vec![scale.object.touch("patch", "scale", risk::scale(&scale.object, scale.replicas).risk)],
            Self::Rollout(rollout) => rollout.touches(),
            Self::Exec(exec) => vec![exec.pod.touch("create", "exec", Risk::Admin)],
            Self::Run(run) => run.manifest.touches("create", false),
            Self::Debug(debug) => vec![debug.pod.touch("patch", "ephemeralcontainers", Risk::Admin)],
            Self::Node(node) => node.touches(),
        }
    }
}

impl Manifest {
    fn touches(&self, verb: &'static str, dry_run: bool) -> Vec<Touch> {
        let risk = if dry_run { risk::read(&self.object.kind) } else { risk::write(&self.object, &self.body).risk };
        let mut touches = vec![self.object.touch(verb, "", risk)];
        touches.extend(reads_of_secrets(&self.object, &self.body));
        touches
    }
}

/// A pod's programs read what its description names: whoever writes that reads it.
fn reads_of_secrets(object: &Object, content: &Value) -> Vec<Touch> {
    let secret = |name: String| Object { kind: Type::known("", "Secret", true), namespace: object.namespace.clone(), name: Some(name) };
    risk::secrets(content).into_iter().map(|name| secret(name).touch("get", "", Risk::Write)).collect()
}

/// Kinds that some servers know under another group as well.
fn by_other_name(touch: &Touch) -> Option<Touch> {
    let Place::Object(reach) = &touch.on else { return None };
    let group = match (reach.group.as_str(), reach.kind.as_str()) {
        ("events.k8s.io", "Event") => "",
        ("extensions", "Ingress" | "NetworkPolicy") => "networking.k8s.io",
        ("extensions", "Deployment" | "DaemonSet" | "ReplicaSet") => "apps",
        _ => return None,
    };
    Some(Touch { on: Place::Object(Reach { group: group.to_owned(), ..reach.clone() }), ..touch.clone() })
}

impl Logs {
    fn touches(&self) -> Vec<Touch> {
        if self.of.kind.kind == "Pod" {
            return vec![self.of.touch("get", "log", Risk::Read)];
        }
        let pods = known("", "Pod", true, self.of.namespace.as_ref());
        vec![pods.touch("get", "log", Risk::Read), pods.touch("list", "", Risk::Read), self.of.touch("get", "", risk::read(&self.of.kind))]
    }
}

impl Top {
    fn touch(&self) -> Touch {
        let mut of = match self.of {
            TopOf::Pods => known("metrics.k8s.io", "PodMetrics", true, self.namespace.as_ref()),
            TopOf::Nodes => known("metrics.k8s.io", "NodeMetrics", false, None),
        };
        of.name.clone_from(&self.name);
        of.touch(if self.name.is_some() { "get" } else { "list" }, "", Risk::Read)
    }
}

impl Delete {
    /// The objects that are meant.
    #[must_use]
    pub const fn object(&self) -> &Object {
        match &self.what {
            Subject::One(object, _) | Subject::Labelled(object, ..) => object,
        }
    }

    fn touch(&self) -> Touch {
        let object = self.object();
        let risk = if self.dry_run { risk::read(&object.kind) } else { risk::delete(object).risk };
        object.touch("delete", "", risk)
    }
}

impl Rollout {
    fn touches(&self) -> Vec<Touch> {
        let plain = risk::scale(&self.object, 1).risk;
        let revisions = || {
            let kind = if self.object.kind.kind == "Deployment" { "ReplicaSet" } else { "ControllerRevision" };
            known("apps", kind, true, self.object.namespace.as_ref()).touch("list", "", Risk::Read)
        };
        match self.action {
            Action::Status => vec![self.object.touch("get", "", Risk::Read)],
            Action::History => vec![self.object.touch("get", "", Risk::Read), revisions()],
            Action::Restart | Action::Pause | Action::Resume => vec![self.object.touch("patch", "", plain)],
            // What the earlier revision runs is not shown by the call.
            Action::Undo(_) => vec![self.object.touch("patch", "", plain.max(Risk::Destructive)), revisions()],
        }
    }
}

impl Node {
    fn touches(&self) -> Vec<Touch> {
        let risk = if self.dry_run { Risk::Read } else { Risk::Destructive };
        let mut touches = vec![self.node.touch("patch", "", risk)];
        if let NodeWork::Drain { .. } = self.work {
            let pods = known("", "Pod", true, None);
            touches.push(pods.touch("create", "eviction", risk));
            touches.push(pods.touch("list", "", Risk::Read));
        }
        touches
    }
}
