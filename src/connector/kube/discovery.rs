//! What a cluster serves: its kinds with their addresses. Asked once, kept a while, and asked anew when something is missed.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::connector::kube::session::{Ask, Session};
use crate::operation::kube::{Object, Type, name};
use crate::refusal::{Code, Refusal};

/// How long it is kept.
const KEPT: Duration = Duration::from_secs(600);
/// What is missed is looked for anew, but not more often than this.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Bytes of one answer.
const ANSWER_MAX_BYTES: usize = 8 << 20;
/// Group versions, and kinds of all of them.
const VERSIONS_MAX: usize = 500;
const RESOURCES_MAX: usize = 5_000;
/// Group versions that are asked for at once.
const AT_ONCE: usize = 8;
/// Candidates that an answer names.
const CANDIDATES_MAX: usize = 10;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// A kind that the cluster serves.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) plural: String,
    singular: String,
    pub(super) shorts: Vec<String>,
    pub(super) namespaced: bool,
    pub(super) verbs: Vec<String>,
    /// What evictions of it are written as: the group version of the subresource.
    pub(super) eviction: Option<String>,
}

/// All kinds, in the order of the server's preference.
pub(super) type Resources = Arc<Vec<Resource>>;

/// What is known of a cluster.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    known: RwLock<Option<(Instant, Resources)>>,
    /// One asks at a time; the others find what it was told.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceList {
    #[serde(default)]
    resources: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: String,
    #[serde(default)]
    singular_name: String,
    kind: String,
    #[serde(default)]
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    group: String,
    #[serde(default)]
    version: String,
}

impl Resource {
    /// The address of an object, or of all of them.
    ///
    /// # Errors
    /// `operation.invalid_name`: a namespace is missing, or there can be none.
    pub(super) fn path(&self, object: &Object, subresource: &str) -> Result<String, Refusal> {
        let mut path = self.root();
        // Names come from callers, who were checked, and from servers, who were not.
        if let Some(namespace) = &object.namespace {
            name::label("namespace", namespace)?;
        }
        if let Some(called) = &object.name {
            name::object("name", called, &object.kind.group)?;
        }
        match (&object.namespace, self.namespaced) {
            (Some(namespace), true) => path.push_str(&format!("/namespaces/{namespace}")),
            (None, true) if object.name.is_some() => {
                return Err(Refusal::new(Code::InvalidName).detail(format!("`namespace` is missing: a {} is in one", object.kind)));
            }
            (Some(_), false) => {
                return Err(Refusal::new(Code::InvalidName).detail(format!("leave `namespace` out: a {} is in none", object.kind)));
            }
            (None, _) => {}
        }
        path.push('/');
        path.push_str(&self.plural);
        for part in object.name.as_deref().into_iter().chain(Some(subresource).filter(|part| !part.is_empty())) {
            path.push('/');
            path.push_str(part);
        }
        Ok(path)
    }

    fn root(&self) -> String {
        if self.group.is_empty() { format!("/api/{}", self.version) } else { format!("/apis/{}/{}", self.group, self.version) }
    }

    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    fn is_called(&self, name: &str) -> bool {
        let (plain, group) = name.split_once('.').map_or((name, None), |(plain, group)| (plain, Some(group)));
        let mut names = [&self.kind, &self.plural, &self.singular].into_iter().chain(&self.shorts);
        group.is_none_or(|group| group == self.group) && names.any(|known| known.eq_ignore_ascii_case(plain))
    }
}

impl Discovery {
    /// The kinds, as far as they are known; asked for where they are not.
    ///
    /// # Errors
    /// The cluster does not say.
    pub(super) async fn resources(&self, session: &Session<'_>) -> Result<Resources, Refusal> {
        match self.fresh(KEPT) {
            Some(known) => Ok(known),
            None => self.refresh(session, KEPT).await,
        }
    }

    fn fresh(&self, age: Duration) -> Option<Resources> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(asked, _)| asked.elapsed() < age).map(|(_, resources)| Arc::clone(resources))
    }

    /// Asks, unless somebody did within `age` while this waited for its turn.
    async fn refresh(&self, session: &Session<'_>, age: Duration) -> Result<Resources, Refusal> {
        let _turn = self.asking.lock().await;
        if let Some(known) = self.fresh(age) {
            return Ok(known);
        }
        let resources: Resources = Arc::new(ask(session).await?);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), Arc::clone(&resources)));
        Ok(resources)
    }

    /// The resource of a kind, at the version that was named or the one that the server prefers.
    ///
    /// # Errors
    /// `operation.unknown_kind`, with what is like it.
    pub(super) async fn of(&self, session: &Session<'_>, kind: &Type) -> Result<Resource, Refusal> {
        let find = |resources: &Resources| {
            let fits = |known: &&Resource| {
                known.group == kind.group.as_str()
                    && known.kind == kind.kind
                    && kind.version.as_ref().is_none_or(|version| *version == known.version)
            };
            resources.iter().find(fits).cloned()
        };
        if let Some(found) = find(&self.resources(session).await?) {
            return Ok(found);
        }
        let resources = match self.fresh(AGAIN_AFTER) {
            Some(known) => known,
            None => self.refresh(session, AGAIN_AFTER).await?,
        };
        find(&resources).ok_or_else(|| {
            let version = kind.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
            unknown(&format!("{kind}{version}"), &candidates(&resources, &kind.kind))
        })
    }

    /// What a name could mean.
    ///
    /// # Errors
    /// Always: with the candidates, or that there are none.
    pub(super) async fn explain(&self, session: &Session<'_>, name: &str) -> Refusal {
        let resources = match self.resources(session).await {
            Ok(resources) if resources.iter().any(|known| known.is_called(name)) => Ok(resources),
            Ok(_) if self.fresh(AGAIN_AFTER).is_none() => self.refresh(session, AGAIN_AFTER).await,
            other => other,
        };
        match resources {
            Ok(resources) => unknown(name, &candidates(&resources, name)),
            Err(refusal) => refusal,
        }
    }
}

/// Kinds that are called so, each at its preferred version.
fn candidates(resources: &Resources, name: &str) -> Vec<String> {
    let mut found: BTreeMap<(String, String), String> = BTreeMap::new();
    for known in resources.iter().filter(|known| known.is_called(name)) {
        found.entry((known.group.clone(), known.kind.clone())).or_insert_with(|| {
            let scope = if known.namespaced { "in a namespace" } else { "of the whole cluster" };
            format!("api_version `{}`, kind `{}` ({scope})", known.api_version(), known.kind)
        });
    }
    found.into_values().take(CANDIDATES_MAX).collect()
}

fn unknown(name: &str, candidates: &[String]) -> Refusal {
    let refusal = Refusal::new(Code::UnknownKind);
    if candidates.is_empty() {
        return refusal.detail(format!("`{name}`, and nothing like it"));
    }
    refusal.detail(format!("`{name}` could be {}", candidates.join("; or ")))
}

async fn ask(session: &Session<'_>) -> Result<Vec<Resource>, Refusal> {
    let get = |path: &str| Ask::get(path.to_owned()).accepting(AGGREGATED).at_most(ANSWER_MAX_BYTES);
    let core = session.read(&get("/api")).await?;
    let groups = session.read(&get("/apis")).await?;
    let is_aggregated = |answer: &Value| answer.get("kind").and_then(Value::as_str) == Some("APIGroupDiscoveryList");
    let mut resources = Vec::new();
    if is_aggregated(&core) && is_aggregated(&groups) {
        for answer in [&core, &groups] {
            aggregated(answer, &mut resources);
        }
    } else {
        one_by_one(session, &core, &groups, &mut resources).await?;
    }
    Ok(resources)
}

/// An address is made of it: whatever else a server says is not taken.
fn is_plain(text: &str) -> bool {
    text.len() <= 253
        && !text.contains("..")
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-')
}

fn aggregated(answer: &Value, resources: &mut Vec<Resource>) {
    let text = |value: &Value, place: &str| value.pointer(place).and_then(Value::as_str).unwrap_or_default().to_owned();
    let texts = |value: &Value, name: &str| -> Vec<String> {
        let listed = value.get(name).and_then(Value::as_array);
        listed.into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
    };
    let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    for group in list(answer, "items") {
        let group_name = text(&group, "/metadata/name");
        for version in list(&group, "versions") {
            let version_name = text(&version, "/version");
            for known in list(&version, "resources") {
                let resource = Resource {
                    // Of an aggregated API the group may differ from the one it stands in.
                    group: group_name.clone(),
                    version: version_name.clone(),
                    kind: text(&known, "/responseKind/kind"),
                    plural: text(&known, "/resource"),
                    singular: text(&known, "/singularResource"),
                    shorts: texts(&known, "shortNames"),
                    namespaced: text(&known, "/scope") == "Namespaced",
                    verbs: texts(&known, "verbs"),
                    eviction: list(&known, "subresources").iter().find(|one| text(one, "/subresource") == "eviction").map(|one| {
                        let (group, version) = (text(one, "/responseKind/group"), text(one, "/responseKind/version"));
                        if group.is_empty() { version } else { format!("{group}/{version}") }
                    }),
                };
                if resources.len() >= RESOURCES_MAX {
                    return;
                }
                resources.extend(Some(resource).filter(is_usable));
            }
        }
    }
}

fn is_usable(resource: &Resource) -> bool {
    !resource.plural.is_empty()
        && !resource.kind.is_empty()
        && is_plain(&resource.plural)
        && is_plain(&resource.group)
        && is_plain(&resource.version)
}

/// As servers before 1.26 have it: a list of groups, and a list of resources for each version of each of them.
async fn one_by_one(session: &Session<'_>, core: &Value, groups: &Value, resources: &mut Vec<Resource>) -> Result<(), Refusal> {
    let mut versions: Vec<(String, String)> = Vec::new();
    for version in core.get("versions").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        versions.push((String::new(), version.to_owned()));
    }
    for group in groups.get("groups").and_then(Value::as_array).into_iter().flatten() {
        let name = group.get("name").and_then(Value::as_str).unwrap_or_default();
        let preferred = group.pointer("/preferredVersion/version").and_then(Value::as_str);
        let mut of_group: Vec<&str> =
            group.get("versions").and_then(Value::as_array).into_iter().flatten().filter_map(|one| one.get("version")?.as_str()).collect();
        of_group.sort_by_key(|version| Some(*version) != preferred);
        versions.extend(of_group.into_iter().map(|version| (name.to_owned(), version.to_owned())));
    }
    versions.retain(|(group, version)| is_plain(group) && is_plain(version));
    versions.truncate(VERSIONS_MAX);
    let lists = futures::stream::iter(versions.into_iter().map(|(group, version)| async move {
        let path = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let list = match session.read_bytes(&Ask::get(path).at_most(ANSWER_MAX_BYTES)).await {
            Ok(answer) => serde_json::from_slice::<ResourceList>(&answer).unwrap_or_default(),
            Err(refusal) if group.is_empty() || matches!(refusal.code(), Code::TargetTimeout | Code::TargetCancelled) => {
                return Err(refusal);
            }
            // An API behind the API server that does not answer must not hide all the others.
            Err(_) => ResourceList::default(),
        };
        Ok::<_, Refusal>((group, version, list))
    }));
    let lists: Vec<_> = lists.buffered(AT_ONCE).try_collect().await?;
    for (group, version, list) in lists {
        let eviction = list.resources.iter().find(|one| one.name == "pods/eviction").map(|one| format!("{}/{}", one.group, one.version));
        for listed in list.resources.into_iter().filter(|listed| !listed.name.contains('/')) {
            let resource = Resource {
                group: group.clone(),
                version: version.clone(),
                kind: listed.kind,
                plural: listed.name,
                singular: listed.singular_name,
                shorts: listed.short_names,
                namespaced: listed.namespaced,
                verbs: listed.verbs,
                eviction: eviction.clone(),
            };
            if resources.len() >= RESOURCES_MAX {
                return Ok(());
            }
            resources.extend(Some(resource).filter(is_usable));
        }
    }
    Ok(())
}
