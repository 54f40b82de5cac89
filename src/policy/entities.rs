//! From delegations, targets and touches to Cedar entities; names are escaped here and nowhere else.
//!
//! Teams, humans and agents are issuer-scoped: two issuers can never speak for each other's `oncall`, because a name's own `/` is escaped and
//! the issuer's namespace is not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;

use cedar_policy::{Context, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};

use crate::approval::Subject;
use crate::call::TargetFacts;
use crate::identity::{Agent, Delegation, Human};
use crate::operation::kube::Reach;
use crate::operation::{Place, Touch, ssh};

/// Knows the namespace of each issuer.
#[derive(Debug, Clone, Default)]
pub struct Names {
    namespaces: BTreeMap<String, String>,
}

/// An entity's id; `None` only if the type name were no Cedar name.
pub(super) fn uid(kind: &str, id: &str) -> Option<EntityUid> {
    Some(EntityUid::from_type_name_and_id(EntityTypeName::from_str(kind).ok()?, EntityId::new(id)))
}

fn escape(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

fn bare(uid: EntityUid) -> Entity {
    Entity::new_no_attrs(uid, HashSet::new())
}

/// Each entity once: the human who decides may be the human who asked.
pub(super) fn distinct(entities: Vec<Entity>) -> Vec<Entity> {
    let mut seen = HashSet::new();
    entities.into_iter().filter(|entity| seen.insert(entity.uid())).collect()
}

/// What policies know of one touch.
pub(super) fn touch_context(tool: &str, kind: &str, touch: &Touch) -> Option<Context> {
    Context::from_pairs([
        ("tool".to_owned(), RestrictedExpression::new_string(tool.to_owned())),
        ("kind".to_owned(), RestrictedExpression::new_string(kind.to_owned())),
        ("verb".to_owned(), RestrictedExpression::new_string(touch.verb.to_owned())),
        ("subresource".to_owned(), RestrictedExpression::new_string(touch.on.subresource().to_owned())),
        ("risk".to_owned(), RestrictedExpression::new_long(i64::from(touch.risk.level()))),
        ("risk_name".to_owned(), RestrictedExpression::new_string(touch.risk.as_str().to_owned())),
    ])
    .ok()
}

/// What policies know of a request that a human would decide.
pub(super) fn approve_context(subject: &Subject, own: bool, same_issuer: bool) -> Option<Context> {
    Context::from_pairs([
        ("tool".to_owned(), RestrictedExpression::new_string(subject.tool.clone())),
        ("verb".to_owned(), RestrictedExpression::new_string(subject.verb.clone())),
        ("risk".to_owned(), RestrictedExpression::new_long(i64::from(subject.risk.level()))),
        ("risk_name".to_owned(), RestrictedExpression::new_string(subject.risk.as_str().to_owned())),
        ("own".to_owned(), RestrictedExpression::new_bool(own)),
        ("same_issuer".to_owned(), RestrictedExpression::new_bool(same_issuer)),
    ])
    .ok()
}

/// What policies know of who would manage an agent.
pub(super) fn manage_context(verb: &str, own: bool) -> Option<Context> {
    Context::from_pairs([
        ("verb".to_owned(), RestrictedExpression::new_string(verb.to_owned())),
        ("own".to_owned(), RestrictedExpression::new_bool(own)),
    ])
    .ok()
}

impl Names {
    /// Names for issuers by URL; an issuer that is not listed, or listed with an empty namespace, has none.
    #[must_use]
    pub const fn new(namespaces: BTreeMap<String, String>) -> Self {
        Self { namespaces }
    }

    fn scoped(&self, issuer: &str, name: &str) -> String {
        match self.namespaces.get(issuer).filter(|namespace| !namespace.is_empty()) {
            Some(namespace) => format!("{namespace}/{}", escape(name)),
            None => escape(name),
        }
    }

    /// A human by the name that policies call them by: `alice`, or `corp/alice` of the issuer with that namespace.
    pub(super) fn human_named(&self, name: &str) -> Option<Human> {
        let (namespace, subject) = name.split_once('/').unwrap_or(("", name));
        let mut of = self.namespaces.iter().filter(|(_, known)| known.as_str() == namespace).map(|(issuer, _)| issuer);
        let (issuer, None) = (of.next()?, of.next()) else { return None };
        let subject = subject.replace("%2F", "/").replace("%25", "%");
        Some(Human { issuer: issuer.clone(), subject, name: None, teams: Vec::new(), person: None })
    }

    pub(super) fn human(&self, human: &Human) -> Option<EntityUid> {
        uid("Human", &self.scoped(&human.issuer, &human.subject))
    }

    pub(super) fn approval(&self, id: &str) -> Option<EntityUid> {
        uid("Approval", id)
    }

    /// The human and their teams.
    pub(super) fn human_entities(&self, human: &Human) -> Option<Vec<Entity>> {
        let teams: Option<HashSet<EntityUid>> = human.teams.iter().map(|team| uid("Team", &self.scoped(&human.issuer, team))).collect();
        let teams = teams?;
        let mut entities: Vec<Entity> = teams.iter().cloned().map(bare).collect();
        entities.push(Entity::new_no_attrs(self.human(human)?, teams));
        Some(entities)
    }

    /// An agent as a resource.
    pub(super) fn agent_entities(&self, agent: &Agent) -> Option<(EntityUid, Vec<Entity>)> {
        let agent = uid("Agent", &self.scoped(&agent.issuer, &agent.id))?;
        Some((agent.clone(), vec![bare(agent)]))
    }

    /// The principal of a call, and its parents.
    pub(super) fn delegation_entities(&self, delegation: &Delegation) -> Option<(EntityUid, Vec<Entity>)> {
        let human = self.human(delegation.human())?;
        let agent_name = self.scoped(&delegation.agent().issuer, &delegation.agent().id);
        let agent = uid("Agent", &agent_name)?;
        let principal = uid("Delegation", &format!("{} for {}", agent_name, human.id().unescaped()))?;
        let mut entities = self.human_entities(delegation.human())?;
        entities.push(bare(agent.clone()));
        entities.push(Entity::new_no_attrs(principal.clone(), HashSet::from([human, agent])));
        Some((principal, entities))
    }

    /// A request for approval with its parents and the two it speaks of.
    pub(super) fn approval_entities(&self, approval: &EntityUid, subject: &Subject) -> Option<Vec<Entity>> {
        let human = uid("Human", &self.scoped(&subject.human.issuer, &subject.human.subject))?;
        let agent = uid("Agent", &self.scoped(&subject.agent.issuer, &subject.agent.id))?;
        let mut entities = vec![bare(human.clone()), bare(agent.clone())];
        let mut parents = HashSet::new();
        if let Some(target) = &subject.target {
            let (target_uid, more) = target_entities(target)?;
            entities.extend(more);
            parents.insert(target_uid);
        }
        let attributes = HashMap::from([
            ("human".to_owned(), RestrictedExpression::new_entity_uid(human)),
            ("agent".to_owned(), RestrictedExpression::new_entity_uid(agent)),
        ]);
        entities.push(Entity::new(approval.clone(), attributes, parents).ok()?);
        Some(entities)
    }
}

/// An id from its parts, each of them escaped.
fn joined<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    parts.into_iter().map(escape).collect::<Vec<_>>().join("/")
}

/// What a touch is judged on, with its parents: table, schema, target, environment; object, namespace, kind, target; program, target; path, folders,
/// target. Without a target, the broker.
pub(super) fn resource(target: Option<&TargetFacts>, on: &Place) -> Option<(EntityUid, Vec<Entity>)> {
    let Some(target) = target else {
        let broker = uid("Broker", "self")?;
        return Some((broker.clone(), vec![bare(broker)]));
    };
    let (target_uid, mut entities) = target_entities(target)?;
    match on {
        Place::Target => Some((target_uid, entities)),
        Place::Table(path) => {
            let (_, schema) = path.split_last()?;
            let schema = uid("Schema", &joined(std::iter::once(&target.name).chain(schema).map(String::as_str)))?;
            let table = uid("Table", &joined(std::iter::once(&target.name).chain(path).map(String::as_str)))?;
            entities.push(Entity::new_no_attrs(schema.clone(), HashSet::from([target_uid])));
            entities.push(Entity::new_no_attrs(table.clone(), HashSet::from([schema])));
            Some((table, entities))
        }
        Place::Program(name) => {
            let program = uid("Program", &joined([target.name.as_str(), name]))?;
            let attributes = HashMap::from([("name".to_owned(), RestrictedExpression::new_string(name.clone()))]);
            entities.push(Entity::new(program.clone(), attributes, HashSet::from([target_uid])).ok()?);
            Some((program, entities))
        }
        Place::Path(path) => {
            let mut above = HashSet::from([target_uid]);
            let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
            // A file is in every folder above it, up to the root.
            let folder =
                |length: usize| uid("Path", &joined(std::iter::once(target.name.as_str()).chain(parts.iter().take(length).copied())));
            for length in 0..parts.len() {
                let folder = if length == 0 { uid("Path", &joined([target.name.as_str(), ""]))? } else { folder(length)? };
                entities.push(Entity::new_no_attrs(folder.clone(), above.clone()));
                above.insert(folder);
            }
            let whole = folder(parts.len())?;
            if !above.contains(&whole) {
                entities.push(Entity::new_no_attrs(whole.clone(), above));
            }
            Some((whole, entities))
        }
        Place::Object(reach) => {
            let kind = uid("Kind", &kind_name(&reach.group, &reach.kind))?;
            entities.push(bare(kind.clone()));
            let mut parents = HashSet::from([kind, target_uid.clone()]);
            // All namespaces are in none of them: what is allowed in one does not reach all.
            if let Some(namespace) = reach.namespace.as_deref().filter(|namespace| *namespace != "*") {
                let namespace = uid("Namespace", &joined([target.name.as_str(), namespace]))?;
                entities.push(Entity::new_no_attrs(namespace.clone(), HashSet::from([target_uid])));
                parents.insert(namespace);
            }
            let namespace = reach.namespace.as_deref().unwrap_or_default();
            let object = uid("Object", &joined([target.name.as_str(), namespace, &reach.group, &reach.kind, &reach.name]))?;
            let attributes = HashMap::from([("name".to_owned(), RestrictedExpression::new_string(reach.name.clone()))]);
            entities.push(Entity::new(object.clone(), attributes, parents).ok()?);
            Some((object, entities))
        }
    }
}

/// `Pod`, `apps/Deployment`.
fn kind_name(group: &str, kind: &str) -> String {
    if group.is_empty() { escape(kind) } else { joined([group, kind]) }
}

/// What policies name below targets: where a caller who may not touch a target as a whole may still touch something.
#[derive(Debug, Default)]
pub struct Named {
    tables: BTreeMap<String, Vec<Vec<String>>>,
    namespaces: BTreeMap<String, Vec<String>>,
    kinds: Vec<(String, String)>,
    /// Namespace, group, kind and name, by target.
    objects: BTreeMap<String, Vec<[String; 4]>>,
    /// Programs and paths, by target.
    on_hosts: BTreeMap<String, Vec<Place>>,
}

/// Places that are looked at before a tool counts as hidden.
const PLACES_MAX: usize = 256;

impl Named {
    /// Notes what a policy names.
    pub(super) fn note(&mut self, kind: &str, id: &str) {
        let parts: Vec<String> = id.split('/').map(|part| part.replace("%2F", "/").replace("%25", "%")).collect();
        match (kind, parts.as_slice()) {
            ("Table", [target, path @ ..]) if !path.is_empty() => self.tables.entry(target.clone()).or_default().push(path.to_vec()),
            // A table below the schema stands for it: a schema itself is never touched.
            ("Schema", [target, path @ ..]) => {
                let below = path.iter().cloned().chain(["*".to_owned()]).collect();
                self.tables.entry(target.clone()).or_default().push(below);
            }
            ("Namespace", [target, namespace]) => self.namespaces.entry(target.clone()).or_default().push(namespace.clone()),
            ("Object", [target, namespace, group, kind, name]) => {
                let object = [namespace, group, kind, name].map(Clone::clone);
                self.objects.entry(target.clone()).or_default().push(object);
                self.namespaces.entry(target.clone()).or_default().push(namespace.clone());
                self.kinds.push((group.clone(), kind.clone()));
            }
            ("Program", [target, name]) => self.on_hosts.entry(target.clone()).or_default().push(Place::Program(name.clone())),
            ("Path", [target, path @ ..]) => {
                let path = path.join("/");
                let path = if path.starts_with('~') { path } else { format!("/{path}") };
                self.on_hosts.entry(target.clone()).or_default().push(Place::Path(path));
            }
            ("Kind", [kind]) => self.kinds.push((String::new(), kind.clone())),
            ("Kind", [group, kind]) => self.kinds.push((group.clone(), kind.clone())),
            _ => {}
        }
    }

    /// What a touch of all namespaces, or of all objects, touches among others: what policies name. A forbid on one of them is not passed by asking for
    /// more than it.
    pub(super) fn within(&self, target: Option<&TargetFacts>, touch: &Touch) -> Vec<Touch> {
        let Some(target) = target else { return Vec::new() };
        let reach = match &touch.on {
            Place::Object(reach) => reach,
            // What is done to a folder may be done to all in it; its names alone say little of them.
            Place::Path(folder) if touch.verb != "list" => return self.below_path(target, folder, touch),
            _ => return Vec::new(),
        };
        let mut found = Vec::new();
        if reach.namespace.as_deref() == Some("*") {
            let namespaces = self.namespaces.get(&target.name).into_iter().flatten().filter(|namespace| !namespace.is_empty());
            found.extend(namespaces.map(|namespace| Reach { namespace: Some(namespace.clone()), ..reach.clone() }));
        }
        if reach.name == "*" {
            let fits = |[namespace, group, kind, _]: &&[String; 4]| {
                let in_place = match reach.namespace.as_deref() {
                    Some("*") => !namespace.is_empty(),
                    place => place.unwrap_or_default() == namespace,
                };
                in_place && *group == reach.group && *kind == reach.kind
            };
            let objects = self.objects.get(&target.name).into_iter().flatten().filter(fits);
            found.extend(objects.map(|[namespace, _, _, name]| Reach {
                namespace: Some(namespace.clone()).filter(|namespace| !namespace.is_empty()),
                name: name.clone(),
                ..reach.clone()
            }));
        }
        found.into_iter().map(|reach| Touch { on: Place::Object(reach), ..touch.clone() }).collect()
    }

    fn below_path(&self, target: &TargetFacts, folder: &str, touch: &Touch) -> Vec<Touch> {
        let named = self.on_hosts.get(&target.name).into_iter().flatten();
        let inside = named.filter(|place| matches!(place, Place::Path(path) if path != folder && ssh::file::is_below(path, folder)));
        inside.map(|place| Touch { on: place.clone(), ..touch.clone() }).collect()
    }

    /// The places below a target that could be allowed where the target itself is not.
    pub(super) fn below(&self, target: Option<&TargetFacts>, kind: &str) -> Vec<Place> {
        let Some(target) = target else { return Vec::new() };
        if kind == "ssh" {
            return self.on_hosts.get(&target.name).into_iter().flatten().take(PLACES_MAX).cloned().collect();
        }
        if kind != "kube" {
            return self.tables.get(&target.name).into_iter().flatten().cloned().map(Place::Table).collect();
        }
        let namespaces = self.namespaces.get(&target.name).into_iter().flatten().cloned().map(Some).chain([Some("*".to_owned()), None]);
        let any = [(String::new(), "*".to_owned())];
        let object = |namespace: Option<String>, (group, kind): &(String, String)| {
            Place::Object(Reach { namespace, group: group.clone(), kind: kind.clone(), name: "*".to_owned(), subresource: "" })
        };
        namespaces
            .flat_map(|namespace| self.kinds.iter().chain(&any).map(move |kind| object(namespace.clone(), kind)))
            .take(PLACES_MAX)
            .collect()
    }
}

fn target_entities(target: &TargetFacts) -> Option<(EntityUid, Vec<Entity>)> {
    let environment = uid("Environment", &escape(&target.environment))?;
    let target_uid = uid("Target", &escape(&target.name))?;
    let attributes = HashMap::from([("engine".to_owned(), RestrictedExpression::new_string(target.engine.to_owned()))]);
    let entity = Entity::new(target_uid.clone(), attributes, HashSet::from([environment.clone()])).ok()?;
    Some((target_uid, vec![bare(environment), entity]))
}
