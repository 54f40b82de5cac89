//! Policies from files: parsed, re-keyed by `@id`, validated strictly, or every problem with its file and line.
//!
//! Ids parsed from text are positional (`policy0`), so evidence would point nowhere after the next edit: `@id` is demanded. A permit without an
//! action, an unknown annotation, a template, or a name of a team or target that the configuration does not know is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_lc_rs::digest;
use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy as CedarPolicy, PolicyId, PolicySet, Schema, ValidationMode, Validator};

use crate::approval::{Escalation, Terms};
use crate::clock::Clock;
use crate::policy::Policy;
use crate::policy::entities::{Named, Names};
use crate::policy::terms::terms;

/// One file of policies.
#[derive(Debug, Clone)]
pub struct PolicyFile {
    /// Its path, for messages.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Something wrong in a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: String,
    /// The line on which the policy starts, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// What a set is loaded with.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The schema; [`SCHEMA`] unless the operator extends it.
    pub schema: String,
    /// The files, in order.
    pub files: Vec<PolicyFile>,
    /// Issuer URL → namespace.
    pub namespaces: BTreeMap<String, String>,
    /// Names of the configured targets.
    pub targets: BTreeSet<String>,
    /// Environments of the configured targets.
    pub environments: BTreeSet<String>,
    /// Teams that the configuration lists; empty = any team may be named.
    pub teams: BTreeSet<String>,
    /// Whether a channel tells of a broken glass.
    pub glass_is_told: bool,
    /// For each channel that tells of requests that nobody decides: the team that it is for, if it is for one.
    pub escalations_told_to: Vec<Option<String>>,
}

/// The schema that the broker speaks.
pub const SCHEMA: &str = include_str!("../../policies/schema.cedarschema");

/// The largest policy file, in bytes.
pub const FILE_MAX_BYTES: usize = 1 << 20;

/// One policy's text and where it starts.
struct Piece<'a> {
    line: usize,
    text: &'a str,
}

/// Splits a file at the `;` that end policies, outside comments and strings.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut line, mut start_line) = (None, 1, 1);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' => line += 1,
            '/' if chars.peek().is_some_and(|(_, next)| *next == '/') => while chars.next_if(|(_, c)| *c != '\n').is_some() {},
            '"' => {
                start.get_or_insert_with(|| {
                    start_line = line;
                    at
                });
                while let Some((_, c)) = chars.next() {
                    match c {
                        '\\' => drop(chars.next()),
                        '\n' => line += 1,
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ';' => {
                let from = start.take().unwrap_or(at);
                pieces.push(Piece { line: start_line, text: text.get(from..=at).unwrap_or_default() });
            }
            c if c.is_whitespace() => {}
            _ => drop(start.get_or_insert_with(|| {
                start_line = line;
                at
            })),
        }
    }
    if let Some(from) = start {
        pieces.push(Piece { line: start_line, text: text.get(from..).unwrap_or_default() });
    }
    pieces
}

/// Collects problems while policies are read.
struct Loader<'a> {
    settings: &'a Settings,
    policies: Vec<CedarPolicy>,
    terms: BTreeMap<String, Terms>,
    owners: BTreeMap<String, String>,
    named: Named,
    places: BTreeMap<String, (String, usize)>,
    problems: Vec<Problem>,
}

impl Policy {
    /// Loads and validates a set.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(settings: &Settings, clock: Clock) -> Result<Self, Vec<Problem>> {
        let at_schema = |message: String| vec![Problem { path: "schema".to_owned(), line: 1, message }];
        let (schema, _warnings) = Schema::from_cedarschema_str(&settings.schema).map_err(|error| at_schema(error.to_string()))?;
        let mut loader = Loader {
            settings,
            policies: Vec::new(),
            terms: BTreeMap::new(),
            owners: BTreeMap::new(),
            named: Named::default(),
            places: BTreeMap::new(),
            problems: Vec::new(),
        };
        for file in &settings.files {
            loader.read(file);
        }
        let mut set = PolicySet::new();
        for policy in std::mem::take(&mut loader.policies) {
            let id = policy.id().to_string();
            if let Err(error) = set.add(policy) {
                loader.problem_at(&id, error.to_string());
            }
        }
        let outcome = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        for error in outcome.validation_errors() {
            loader.problem_at(error.policy_id().as_ref(), error.to_string());
        }
        for warning in outcome.validation_warnings() {
            loader.problem_at(warning.policy_id().as_ref(), warning.to_string());
        }
        if !loader.problems.is_empty() {
            return Err(loader.problems);
        }
        let mut text = settings.schema.clone();
        let mut by_id: Vec<_> = set.policies().collect();
        by_id.sort_by_key(|policy| policy.id().to_string());
        for policy in by_id {
            text.push('\n');
            text.push_str(&policy.to_string());
        }
        let set_hash = hex::encode(digest::digest(&digest::SHA256, text.as_bytes()));
        let names = Names::new(settings.namespaces.clone());
        Ok(Self { set, schema, set_hash, text, terms: loader.terms, owners: loader.owners, named: loader.named, names, clock })
    }
}

impl Loader<'_> {
    fn problem(&mut self, path: &str, line: usize, message: impl Into<String>) {
        self.problems.push(Problem { path: path.to_owned(), line, message: message.into() });
    }

    fn problem_at(&mut self, id: &str, message: String) {
        let (path, line) = self.places.get(id).cloned().unwrap_or_default();
        self.problem(&path, line, message);
    }

    fn read(&mut self, file: &PolicyFile) {
        if file.text.len() > FILE_MAX_BYTES {
            self.problem(&file.path, 1, format!("the file is larger than {FILE_MAX_BYTES} bytes"));
            return;
        }
        for piece in pieces(&file.text) {
            match CedarPolicy::parse(None, piece.text) {
                Ok(policy) => self.take(&file.path, piece.line, &policy),
                Err(error) => {
                    let why: Vec<String> = error.iter().map(ToString::to_string).collect();
                    self.problem(&file.path, piece.line, format!("failed to parse the policy: {}", why.join("; ")));
                }
            }
        }
    }

    fn take(&mut self, path: &str, line: usize, policy: &CedarPolicy) {
        let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()).map(ToOwned::to_owned) else {
            self.problem(path, line, "the policy has no `@id(\"…\")`, which records need to name it");
            return;
        };
        if let Some((first, first_line)) = self.places.get(&id) {
            let message = format!("the id `{id}` is taken by the policy at {first}:{first_line}");
            self.problem(path, line, message);
            return;
        }
        self.places.insert(id.clone(), (path.to_owned(), line));
        if policy.effect() == Effect::Permit && policy.action_constraint() == ActionConstraint::Any {
            self.problem(path, line, format!("the permit `{id}` names no action: it would permit approving as well as invoking"));
        }
        self.check_names(path, line, policy);
        if policy.effect() == Effect::Permit && names_action(policy, "break_glass") && !self.settings.glass_is_told {
            let message = format!(
                "`{id}` lets humans break the glass, and no [[channel]] has `glass_broken` among its `events`: nobody would be told"
            );
            self.problem(path, line, message);
        }
        let asks = names_action(policy, "request");
        let alone = names_action(policy, "work_alone");
        match policy.annotation("owner").filter(|owner| !owner.is_empty()) {
            Some(owner) if alone => drop(self.owners.insert(id.clone(), owner.to_owned())),
            Some(_) => self.problem(path, line, format!("`{id}` names an owner, but is no policy for `Action::\"work_alone\"`")),
            None if alone && policy.effect() == Effect::Permit => {
                self.problem(
                    path,
                    line,
                    format!("`{id}` lets an agent work alone: `@owner(\"…\")` must name the human who answers for it"),
                );
            }
            None => {}
        }
        match terms(policy) {
            Ok(Some(_)) if !asks => {
                self.problem(path, line, format!("`{id}` has terms of approval, but is no policy for `Action::\"request\"`"))
            }
            Ok(terms) if asks => {
                let terms = terms.unwrap_or_default();
                self.check_escalations(path, line, &id, &terms);
                self.terms.insert(id.clone(), terms);
            }
            Ok(_) => {}
            Err(message) => self.problem(path, line, message),
        }
        self.policies.push(policy.new_id(PolicyId::new(id)));
    }

    /// A team that nobody tells of a request is never asked.
    fn check_escalations(&mut self, path: &str, line: usize, id: &str, terms: &Terms) {
        for Escalation { to, .. } in &terms.escalations {
            if !self.settings.teams.is_empty() && !self.settings.teams.contains(to) {
                self.problem(path, line, format!("`{id}` escalates to the team `{to}`, which the configuration does not know"));
            }
            if !self.settings.escalations_told_to.iter().any(|team| team.as_ref().is_none_or(|team| team == to)) {
                let message = format!(
                    "`{id}` escalates to `{to}`, and no [[channel]] has `escalated` among its `events` and `{to}` as its `team`, or none: nobody would be told"
                );
                self.problem(path, line, message);
            }
        }
    }

    /// Names that the configuration does not know are typing errors, and a typing error in a forbid lets calls through.
    fn check_names(&mut self, path: &str, line: usize, policy: &CedarPolicy) {
        for literal in policy.entity_literals() {
            let id = literal.id().unescaped().to_string();
            let head = id.split('/').next().unwrap_or_default().to_owned();
            let (known, what) = match literal.type_name().to_string().as_str() {
                "Target" => (self.settings.targets.contains(&id), "target"),
                "Schema" | "Table" | "Namespace" | "Object" | "Program" | "Path" => (self.settings.targets.contains(&head), "target"),
                "Environment" => (self.settings.environments.contains(&id), "environment"),
                "Team" => (self.settings.teams.is_empty() || self.settings.teams.contains(&id), "team"),
                "Kind" => (true, "kind"),
                _ => continue,
            };
            if !known {
                self.problem(path, line, format!("`{literal}` names a {what} that the configuration does not know"));
            }
            self.named.note(&literal.type_name().to_string(), &id);
        }
    }
}

fn names_action(policy: &CedarPolicy, action: &str) -> bool {
    let is = |uid: &EntityUid| uid.id().unescaped() == action;
    match policy.action_constraint() {
        ActionConstraint::Any => false,
        ActionConstraint::Eq(uid) => is(&uid),
        ActionConstraint::In(uids) => uids.iter().any(is),
    }
}
