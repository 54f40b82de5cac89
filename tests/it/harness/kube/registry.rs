//! The resources that are served: a table of the built-in ones, and those that CustomResourceDefinitions add.

use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::json::{list, text, texts};
use super::schema::{self, Type};
use super::status::Gr;
use super::store::Store;

#[derive(Clone)]
pub(super) struct Sub {
    pub(super) name: String,
    pub(super) kind: String,
    /// Where the kind is of another group and version than the resource.
    pub(super) foreign: Option<(String, String)>,
    pub(super) verbs: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) singular: String,
    pub(super) kind: String,
    pub(super) namespaced: bool,
    pub(super) short: Vec<String>,
    pub(super) categories: Vec<String>,
    pub(super) verbs: Vec<String>,
    pub(super) subs: Vec<Sub>,
    pub(super) custom: bool,
    pub(super) fields: Type,
    /// `additionalPrinterColumns` of a custom resource.
    pub(super) columns: Vec<Value>,
}

impl Resource {
    pub(super) fn gr(&self) -> Gr<'_> {
        Gr { group: &self.group, resource: &self.plural }
    }

    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// What the objects are kept under: two groups serve the same events.
    pub(super) fn shelf(&self) -> String {
        shelf(&self.group, &self.plural)
    }

    pub(super) fn sub(&self, name: &str) -> Option<&Sub> {
        self.subs.iter().find(|sub| sub.name == name)
    }
}

pub(super) fn shelf(group: &str, plural: &str) -> String {
    if group == "events.k8s.io" { plural.to_owned() } else { Gr { group, resource: plural }.qualified() }
}

const ALL: &str = "create delete deletecollection get list patch update watch";

/// group/version, plural, kind, n(amespaced) or c(luster), short names, categories, verbs, subresources.
const TABLE: &str = "
v1|bindings|Binding|n|||create|
v1|configmaps|ConfigMap|n|cm||*|
v1|endpoints|Endpoints|n|ep||*|
v1|events|Event|n|ev||*|
v1|limitranges|LimitRange|n|limits||*|
v1|namespaces|Namespace|c|ns||create delete get list patch update watch|finalize:Namespace:update,status
v1|nodes|Node|c|no||*|proxy:NodeProxyOptions:create get update patch delete,status
v1|persistentvolumeclaims|PersistentVolumeClaim|n|pvc||*|status
v1|persistentvolumes|PersistentVolume|c|pv||*|status
v1|pods|Pod|n|po|all|*|attach:PodAttachOptions:create get,binding:Binding:create,ephemeralcontainers:Pod:get patch update,\
eviction:Eviction@policy/v1:create,exec:PodExecOptions:create get,log:Pod:get,\
portforward:PodPortForwardOptions:create get,proxy:PodProxyOptions:create get update patch delete,resize:Pod:get patch update,status
v1|podtemplates|PodTemplate|n|||*|
v1|replicationcontrollers|ReplicationController|n|rc|all|*|scale,status
v1|resourcequotas|ResourceQuota|n|quota||*|status
v1|secrets|Secret|n|||*|
v1|serviceaccounts|ServiceAccount|n|sa||*|token:TokenRequest@authentication.k8s.io/v1:create
v1|services|Service|n|svc|all|*|proxy:ServiceProxyOptions:create get update patch delete,status
apiregistration.k8s.io/v1|apiservices|APIService|c||api-extensions|*|status
apps/v1|controllerrevisions|ControllerRevision|n|||*|
apps/v1|daemonsets|DaemonSet|n|ds|all|*|status
apps/v1|deployments|Deployment|n|deploy|all|*|scale,status
apps/v1|replicasets|ReplicaSet|n|rs|all|*|scale,status
apps/v1|statefulsets|StatefulSet|n|sts|all|*|scale,status
events.k8s.io/v1|events|Event|n|ev||*|
authentication.k8s.io/v1|selfsubjectreviews|SelfSubjectReview|c|||create|
authentication.k8s.io/v1|tokenreviews|TokenReview|c|||create|
authorization.k8s.io/v1|localsubjectaccessreviews|LocalSubjectAccessReview|n|||create|
authorization.k8s.io/v1|selfsubjectaccessreviews|SelfSubjectAccessReview|c|||create|
authorization.k8s.io/v1|selfsubjectrulesreviews|SelfSubjectRulesReview|c|||create|
authorization.k8s.io/v1|subjectaccessreviews|SubjectAccessReview|c|||create|
autoscaling/v2|horizontalpodautoscalers|HorizontalPodAutoscaler|n|hpa|all|*|status
autoscaling/v1|horizontalpodautoscalers|HorizontalPodAutoscaler|n|hpa|all|*|status
batch/v1|cronjobs|CronJob|n|cj|all|*|status
batch/v1|jobs|Job|n||all|*|status
certificates.k8s.io/v1|certificatesigningrequests|CertificateSigningRequest|c|csr||*|\
approval:CertificateSigningRequest:get patch update,status
networking.k8s.io/v1|ingressclasses|IngressClass|c|||*|
networking.k8s.io/v1|ingresses|Ingress|n|ing||*|status
networking.k8s.io/v1|networkpolicies|NetworkPolicy|n|netpol||*|
policy/v1|poddisruptionbudgets|PodDisruptionBudget|n|pdb||*|status
rbac.authorization.k8s.io/v1|clusterrolebindings|ClusterRoleBinding|c|||*|
rbac.authorization.k8s.io/v1|clusterroles|ClusterRole|c|||*|
rbac.authorization.k8s.io/v1|rolebindings|RoleBinding|n|||*|
rbac.authorization.k8s.io/v1|roles|Role|n|||*|
storage.k8s.io/v1|storageclasses|StorageClass|c|sc||*|
admissionregistration.k8s.io/v1|mutatingwebhookconfigurations|MutatingWebhookConfiguration|c||api-extensions|*|
admissionregistration.k8s.io/v1|validatingwebhookconfigurations|ValidatingWebhookConfiguration|c||api-extensions|*|
apiextensions.k8s.io/v1|customresourcedefinitions|CustomResourceDefinition|c|crd,crds|api-extensions|*|status
coordination.k8s.io/v1|leases|Lease|n|||*|
";

const METRICS: &str = "
metrics.k8s.io/v1beta1|nodes|NodeMetrics|c|||get list|
metrics.k8s.io/v1beta1|pods|PodMetrics|n|||get list|
";

static BUILT_IN: LazyLock<Vec<Arc<Resource>>> = LazyLock::new(|| rows(TABLE));
static MEASURED: LazyLock<Vec<Arc<Resource>>> = LazyLock::new(|| rows(METRICS));

fn words(text: &str) -> Vec<String> {
    text.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

pub(super) fn split_version(api_version: &str) -> (String, String) {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    (group.to_owned(), version.to_owned())
}

fn rows(table: &str) -> Vec<Arc<Resource>> {
    table.lines().filter(|line| !line.is_empty()).map(|line| Arc::new(row(line))).collect()
}

fn row(line: &str) -> Resource {
    let cells: Vec<_> = line.split('|').collect();
    let (group, version) = split_version(cells[0]);
    let kind = cells[2].to_owned();
    let subs = cells[7].split(',').filter(|sub| !sub.is_empty()).map(|sub| subresource(sub, &kind)).collect();
    Resource {
        plural: cells[1].to_owned(),
        singular: kind.to_lowercase(),
        namespaced: cells[3] == "n",
        short: words(cells[4]),
        categories: words(cells[5]),
        verbs: words(if cells[6] == "*" { ALL } else { cells[6] }),
        subs,
        custom: false,
        fields: schema::of(&group, &version, &kind),
        columns: Vec::new(),
        group,
        version,
        kind,
    }
}

fn subresource(text: &str, kind: &str) -> Sub {
    let parts: Vec<_> = text.split(':').collect();
    if parts.len() == 1 {
        let (kind, foreign) = if text == "scale" { ("Scale", Some(("autoscaling".to_owned(), "v1".to_owned()))) } else { (kind, None) };
        return Sub { name: text.to_owned(), kind: kind.to_owned(), foreign, verbs: words("get patch update") };
    }
    let (kind, foreign) = parts[1].split_once('@').unwrap_or((parts[1], ""));
    let foreign = (!foreign.is_empty()).then(|| split_version(foreign));
    Sub { name: parts[0].to_owned(), kind: kind.to_owned(), foreign, verbs: words(parts[2]) }
}

/// Everything that is served now.
pub(super) fn all(store: &Store) -> Vec<Arc<Resource>> {
    let mut all = BUILT_IN.clone();
    if store.metrics {
        all.extend(MEASURED.iter().cloned());
    }
    for crd in store.shelf("customresourcedefinitions.apiextensions.k8s.io") {
        all.extend(custom(&crd));
    }
    all
}

pub(super) fn find(store: &Store, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
    all(store).into_iter().find(|found| found.group == group && found.version == version && found.plural == plural)
}

pub(super) fn by_kind(store: &Store, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
    all(store).into_iter().find(|found| found.api_version() == api_version && found.kind == kind)
}

/// A resource for every version that a definition serves.
fn custom(crd: &Value) -> Vec<Arc<Resource>> {
    let names = "/spec/names";
    let served = list(crd, "/spec/versions").iter().filter(|version| version["served"] == true);
    let resource = |version: &Value| {
        let sub = |name: &str| version.pointer(&format!("/subresources/{name}")).is_some();
        let kind = text(crd, &format!("{names}/kind"));
        let subs = ["scale", "status"].into_iter().filter(|name| sub(name)).map(|name| subresource(name, kind)).collect();
        let singular = text(crd, &format!("{names}/singular"));
        Arc::new(Resource {
            group: text(crd, "/spec/group").to_owned(),
            version: text(version, "/name").to_owned(),
            plural: text(crd, &format!("{names}/plural")).to_owned(),
            singular: if singular.is_empty() { kind.to_lowercase() } else { singular.to_owned() },
            kind: kind.to_owned(),
            namespaced: text(crd, "/spec/scope") == "Namespaced",
            short: texts(crd, &format!("{names}/shortNames")),
            categories: texts(crd, &format!("{names}/categories")),
            verbs: words(ALL),
            subs,
            custom: true,
            fields: schema::custom(version.pointer("/schema/openAPIV3Schema").unwrap_or(&Value::Null)),
            columns: list(version, "/additionalPrinterColumns").to_vec(),
        })
    };
    served.map(resource).collect()
}
