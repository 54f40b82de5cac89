//! The catalogue: the tools that agents can call, their schemas, and the one parser that turns a request into a typed call.
//!
//! What can be done is defined here; what an operator declares in `tools/` narrows it (one target, one statement, typed parameters) and may raise
//! its risk, never lower it. Schemas are made from the types that parse the arguments, so neither can say what the other does not.

pub mod approvals;
pub mod arguments;
mod builtin;
mod common;
pub mod definition;
pub mod kube;
mod parse;
mod schema;
pub mod ssh;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::call::{TargetFacts, ToolFacts};
use crate::operation::Risk;
use crate::operation::sql::Engine;

use builtin::Builtin;
pub use definition::{Declared, DeclaredFile, Problem};

/// A target as the catalogue knows it.
#[derive(Debug, Clone)]
pub struct Target {
    /// What records and policies know of it.
    pub facts: TargetFacts,
    /// What tools need to know of it.
    pub of: TargetOf,
}

/// What tools need to know of a target of each kind.
#[derive(Debug, Clone)]
pub enum TargetOf {
    /// A database.
    Sql {
        /// Its dialect.
        engine: Engine,
        /// Whether humans share its login: then a statement may call only what is known to only read.
        is_shared: bool,
    },
    /// A cluster.
    Kube {
        /// Images that `k8s_debug` may put beside a pod's containers; one that ends in `*` stands for all that begin so.
        debug_images: Vec<String>,
    },
    /// A host.
    Ssh {
        /// Folders below which files may be read and written.
        roots: Vec<String>,
        /// Variables that a caller may set.
        env: Vec<String>,
        /// The shell that reads a caller's text, where that is allowed at all.
        shell: Option<String>,
        /// Groups of hosts that it is in.
        groups: Vec<String>,
    },
}

impl TargetOf {
    /// `sql`, `kube` or `ssh`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sql { .. } => "sql",
            Self::Kube { .. } => "kube",
            Self::Ssh { .. } => "ssh",
        }
    }
}

/// Defaults and most of what a caller may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Without `timeout_ms`.
    pub timeout: Duration,
    /// The largest `timeout_ms`.
    pub timeout_max: Duration,
    /// Without `max_bytes`.
    pub bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), timeout_max: Duration::from_secs(300), bytes: 1 << 20 }
    }
}

/// A tool, as it is listed.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Its name.
    pub name: String,
    /// A title for people.
    pub title: String,
    /// What it is for, for the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: Arc<Map<String, Value>>,
    /// JSON Schema of its envelope.
    pub output_schema: Arc<Map<String, Value>>,
    /// `readOnly`, `destructive`, `idempotent`, `openWorld`.
    pub annotations: [bool; 4],
    /// The risk of its mildest call.
    pub min_risk: Risk,
    /// The verb of that call.
    pub verb: &'static str,
    /// `local`, `sql`, `kube` or `ssh`.
    pub kind: &'static str,
    /// Targets that it can be used on; none for the broker's own.
    pub targets: Vec<TargetFacts>,
    /// A tool that it is made of: whoever may not know of that need not know of this.
    pub made_of: Option<&'static str>,
}

/// What a tool does with its arguments.
enum Action {
    Builtin(builtin::Builtin),
    Declared(Box<Declared>),
}

struct Tool {
    listing: Listing,
    facts: ToolFacts,
    validator: jsonschema::Validator,
    action: Action,
}

/// All tools.
pub struct Catalog {
    tools: BTreeMap<String, Tool>,
    listings: Vec<Listing>,
    targets: BTreeMap<String, Target>,
    bounds: Bounds,
}

impl Catalog {
    /// The built-in tools, and these declared ones.
    ///
    /// # Errors
    /// Everything that is wrong with the declared ones.
    pub fn new(targets: Vec<Target>, declared: &[DeclaredFile], bounds: Bounds) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let targets: BTreeMap<String, Target> = targets.into_iter().map(|target| (target.facts.name.clone(), target)).collect();
        let mut tools = BTreeMap::new();
        let has_hosts = targets.values().any(|target| matches!(target.of, TargetOf::Ssh { .. }));
        for builtin in builtin::all().filter(|builtin| has_hosts || *builtin != Builtin::MultiExec) {
            let listing = builtin.listing(targets.values());
            match Tool::new(listing, Action::Builtin(builtin), "") {
                Ok(tool) => drop(tools.insert(tool.listing.name.clone(), tool)),
                Err(why) => problems.push(Problem { file: "built-in".to_owned(), line: 1, message: why }),
            }
        }
        for file in declared {
            match Declared::parse(file, &targets) {
                Ok(declared) if tools.contains_key(&declared.name) => {
                    problems.push(Problem {
                        file: file.path.clone(),
                        line: 1,
                        message: format!("there is another tool named `{}`", declared.name),
                    });
                }
                Ok(declared) => {
                    let (listing, definition) = (declared.listing(), declared.definition());
                    match Tool::new(listing, Action::Declared(Box::new(declared)), &definition) {
                        Ok(tool) => drop(tools.insert(tool.listing.name.clone(), tool)),
                        Err(why) => problems.push(Problem { file: file.path.clone(), line: 1, message: why }),
                    }
                }
                Err(more) => problems.extend(more),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let listings = tools.values().map(|tool| tool.listing.clone()).collect();
        Ok(Self { tools, listings, targets, bounds })
    }

    /// Every tool, by name. Who may know of which is the policy's to say.
    #[must_use]
    pub fn listings(&self) -> &[Listing] {
        &self.listings
    }
}

impl Tool {
    fn new(listing: Listing, action: Action, definition: &str) -> Result<Self, String> {
        let validator = jsonschema::draft202012::options()
            .build(&Value::Object((*listing.input_schema).clone()))
            .map_err(|error| format!("the input schema of `{}` is not valid: {error}", listing.name))?;
        let hashed = serde_json::json!([
            listing.name,
            listing.title,
            listing.description,
            *listing.input_schema,
            *listing.output_schema,
            listing.annotations,
            definition,
        ]);
        let facts = ToolFacts {
            name: listing.name.clone(),
            schema_hash: hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, sorted(&hashed).as_bytes())),
            annotations: listing.annotations,
            mildest: (listing.verb, listing.min_risk),
        };
        Ok(Self { listing, facts, validator, action })
    }
}

/// The value with all names sorted, whatever order a map has.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let members: Vec<String> =
                members.into_iter().map(|(name, member)| format!("{}:{}", Value::from(name.as_str()), sorted(member))).collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}
