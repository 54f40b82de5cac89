//! Kinds that every cluster has, by all the names that people call them.
//!
//! What is judged must be definite: a group and a kind. These are known without asking anybody; whatever else a cluster serves is named in full,
//! `api_version` and `kind`, or the answer says what it could be. A kind that is not in the table is one that nobody here knows the effect of.

use crate::operation::kube::Group;

/// A known kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) group: &'static str,
    pub(super) kind: &'static str,
    plural: &'static str,
    shorts: &'static [&'static str],
    pub(super) namespaced: bool,
}

const fn namespaced(group: &'static str, kind: &'static str, plural: &'static str, shorts: &'static [&'static str]) -> Known {
    Known { group, kind, plural, shorts, namespaced: true }
}

const fn cluster(group: &'static str, kind: &'static str, plural: &'static str, shorts: &'static [&'static str]) -> Known {
    Known { group, kind, plural, shorts, namespaced: false }
}

const APPS: &str = "apps";
const RBAC: &str = "rbac.authorization.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// The first of those that share a name is the one that the name means, as kubectl has it.
const KNOWN: &[Known] = &[
    namespaced("", "Pod", "pods", &["po"]),
    namespaced("", "Service", "services", &["svc"]),
    namespaced("", "ConfigMap", "configmaps", &["cm"]),
    namespaced("", "Secret", "secrets", &[]),
    cluster("", "Namespace", "namespaces", &["ns"]),
    cluster("", "Node", "nodes", &["no"]),
    namespaced("", "Event", "events", &["ev"]),
    namespaced("", "ServiceAccount", "serviceaccounts", &["sa"]),
    cluster("", "PersistentVolume", "persistentvolumes", &["pv"]),
    namespaced("", "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"]),
    namespaced("", "ReplicationController", "replicationcontrollers", &["rc"]),
    namespaced("", "Endpoints", "endpoints", &["ep"]),
    namespaced("", "LimitRange", "limitranges", &["limits"]),
    namespaced("", "ResourceQuota", "resourcequotas", &["quota"]),
    namespaced("", "PodTemplate", "podtemplates", &[]),
    namespaced(APPS, "Deployment", "deployments", &["deploy"]),
    namespaced(APPS, "ReplicaSet", "replicasets", &["rs"]),
    namespaced(APPS, "StatefulSet", "statefulsets", &["sts"]),
    namespaced(APPS, "DaemonSet", "daemonsets", &["ds"]),
    namespaced(APPS, "ControllerRevision", "controllerrevisions", &[]),
    namespaced("batch", "Job", "jobs", &[]),
    namespaced("batch", "CronJob", "cronjobs", &["cj"]),
    namespaced("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"]),
    namespaced("policy", "PodDisruptionBudget", "poddisruptionbudgets", &["pdb"]),
    namespaced(NETWORKING, "Ingress", "ingresses", &["ing"]),
    namespaced(NETWORKING, "NetworkPolicy", "networkpolicies", &["netpol"]),
    cluster(NETWORKING, "IngressClass", "ingressclasses", &[]),
    namespaced(RBAC, "Role", "roles", &[]),
    namespaced(RBAC, "RoleBinding", "rolebindings", &[]),
    cluster(RBAC, "ClusterRole", "clusterroles", &[]),
    cluster(RBAC, "ClusterRoleBinding", "clusterrolebindings", &[]),
    cluster("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", &["crd", "crds"]),
    cluster("apiregistration.k8s.io", "APIService", "apiservices", &[]),
    cluster(ADMISSION, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", &[]),
    cluster(ADMISSION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", &[]),
    cluster(ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", &[]),
    cluster(ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", &[]),
    cluster("storage.k8s.io", "StorageClass", "storageclasses", &["sc"]),
    cluster("scheduling.k8s.io", "PriorityClass", "priorityclasses", &["pc"]),
    cluster("certificates.k8s.io", "CertificateSigningRequest", "certificatesigningrequests", &["csr"]),
    namespaced("coordination.k8s.io", "Lease", "leases", &[]),
    namespaced("discovery.k8s.io", "EndpointSlice", "endpointslices", &[]),
    namespaced("events.k8s.io", "Event", "events", &["ev"]),
    namespaced("metrics.k8s.io", "PodMetrics", "pods", &[]),
    cluster("metrics.k8s.io", "NodeMetrics", "nodes", &[]),
];

impl Known {
    fn is_called(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case(self.kind)
            || name.eq_ignore_ascii_case(self.plural)
            || self.shorts.iter().any(|short| name.eq_ignore_ascii_case(short))
    }
}

/// The known kind of that name: in this group, else of the group that the name itself says (`deployments.apps`), else the first.
pub(super) fn find(group: Option<&Group>, name: &str) -> Option<Known> {
    if let Some(group) = group {
        return KNOWN.iter().find(|known| known.group == group.as_str() && known.is_called(name)).copied();
    }
    if let Some((plural, group)) = name.split_once('.') {
        return KNOWN.iter().find(|known| known.group == group && known.is_called(plural)).copied();
    }
    KNOWN.iter().find(|known| known.is_called(name)).copied()
}
