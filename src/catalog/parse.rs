//! From a request to a typed call, or a refusal that knows as much of it as could be told.

mod hosts;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::call::{Answer, Call, Facts, Limits, Line, Request, Stop, TargetFacts, ToolFacts};
use crate::catalog::arguments::{self, BYTES_MAX, Describe, Execute, Nothing, Query, SearchObjects};
use crate::catalog::builtin::Builtin;
use crate::catalog::definition::{Does, Parameter};
use crate::catalog::kube;
use crate::catalog::{Action, Catalog, Declared, Target, TargetOf, Tool};
use crate::identity::Delegation;
use crate::operation::kube::Kube;
use crate::operation::local::Local;
use crate::operation::sql::{Detail, Engine, Mode, ObjectType, Objects, Param, Sql, Statement};
use crate::operation::ssh::Kept;
use crate::operation::{Operation, Risk};
use crate::refusal::{Code, Refusal};

/// Bytes of all arguments.
const ARGUMENTS_MAX_BYTES: usize = 256 * 1024;

/// Rows of an answer from a cluster whose call does not say how many.
const KUBE_ROWS: u32 = 5_000;

/// Who calls, and the sessions that are theirs.
#[derive(Clone, Copy)]
struct Whose<'a> {
    delegation: &'a Delegation,
    sessions: &'a BTreeMap<String, Kept>,
}

/// What the arguments came to.
pub(super) struct Parsed {
    target: Option<Target>,
    operation: Operation,
    raised: Option<Risk>,
    arguments: Value,
    reason: Option<String>,
    limits: Limits,
}

/// A refusal, with the target if it was found.
pub(super) type Refused = (Refusal, Option<TargetFacts>);

impl Catalog {
    /// Parses a request into a call.
    ///
    /// # Errors
    /// The stop, with what is known of the call.
    pub fn parse(&self, request: Request) -> Result<Call, Box<Stop>> {
        let (facts, line, sessions) = request.into_parts();
        let stop = |facts: Facts, tool: Option<ToolFacts>, target, refusal| {
            Box::new(Stop { facts, tool, target, risk: None, judgement: None, answer: Answer::Refused(refusal) })
        };
        let Some(tool) = self.tools.get(&facts.tool) else {
            return Err(stop(facts, None, None, Refusal::new(Code::UnknownTool)));
        };
        match self.arguments(tool, &facts.arguments, Whose { delegation: &facts.delegation, sessions: &sessions }) {
            Ok(parsed) => Ok(call(facts, line, tool, parsed)),
            Err((refusal, target)) => Err(stop(facts, Some(tool.facts.clone()), target, refusal)),
        }
    }

    fn arguments(&self, tool: &Tool, arguments: &Map<String, Value>, caller: Whose<'_>) -> Result<Parsed, Refused> {
        let value = Value::Object(arguments.clone());
        let length = value.to_string().len();
        if length > ARGUMENTS_MAX_BYTES {
            return Err((
                Refusal::new(Code::TooLarge).detail(format!("the arguments have {length} bytes, and {ARGUMENTS_MAX_BYTES} are the most")),
                None,
            ));
        }
        if let Some(error) = tool.validator.iter_errors(&value).next() {
            return Err((Refusal::new(Code::InvalidArguments).detail(describe(&error)), None));
        }
        match &tool.action {
            Action::Builtin(Builtin::Ssh(tool)) => self.ssh(*tool, value, caller),
            Action::Builtin(builtin) => self.builtin(*builtin, value),
            Action::Declared(declared) => self.declared(declared, arguments, &value, caller),
        }
    }

    fn builtin(&self, builtin: Builtin, value: Value) -> Result<Parsed, Refused> {
        match builtin {
            Builtin::ListTargets => self.local(Local::ListTargets, read::<Nothing>(value)?, Duration::ZERO),
            Builtin::Whoami => self.local(Local::Whoami, read::<Nothing>(value)?, Duration::ZERO),
            Builtin::ApprovalStatus => self.approval_status(value),
            Builtin::ApprovalWait => self.approval_wait(value),
            Builtin::ApprovalWithdraw => self.approval_withdraw(value),
            Builtin::RequestAccess => self.request_access(value),
            Builtin::DbQuery => self.query(read(value)?),
            Builtin::DbExecute => self.execute(read(value)?),
            Builtin::MultiExec => self.multi_exec(read(value)?),
            Builtin::Kube(tool) => self.kube(tool, value),
            // Whose call it is matters there.
            Builtin::Ssh(_) => Err((Refusal::new(Code::UnknownTool), None)),
            Builtin::DbSearchObjects => {
                let (search, arguments): (SearchObjects, Value) = read(value)?;
                let (target, _) = self.database(&search.target, "db_search_objects")?;
                let operation = Operation::SqlObjects(Objects::Search {
                    object: match search.object_type {
                        arguments::ObjectType::Schema => ObjectType::Schema,
                        arguments::ObjectType::Table => ObjectType::Table,
                        arguments::ObjectType::View => ObjectType::View,
                        arguments::ObjectType::Column => ObjectType::Column,
                        arguments::ObjectType::Index => ObjectType::Index,
                    },
                    pattern: search.pattern,
                    schema: search.schema,
                    table: search.table,
                    detail: match search.detail_level {
                        arguments::Detail::Names => Detail::Names,
                        arguments::Detail::Summary => Detail::Summary,
                        arguments::Detail::Full => Detail::Full,
                    },
                    limit: search.limit,
                });
                Ok(Parsed {
                    target: Some(target),
                    operation,
                    raised: None,
                    arguments,
                    reason: search.reason,
                    limits: self.limits(search.timeout_ms, search.limit, None),
                })
            }
            Builtin::DbDescribe => {
                let (describe, arguments): (Describe, Value) = read(value)?;
                let (target, _) = self.database(&describe.target, "db_describe")?;
                let operation = Operation::SqlObjects(Objects::Describe { schema: describe.schema, name: describe.name });
                Ok(Parsed {
                    target: Some(target),
                    operation,
                    raised: None,
                    arguments,
                    reason: describe.reason,
                    limits: self.limits(describe.timeout_ms, 1, None),
                })
            }
        }
    }

    fn kube(&self, tool: kube::Tool, value: Value) -> Result<Parsed, Refused> {
        let asked = kube::parse(tool, value)?;
        let target = self.target(&asked.target)?;
        let refuse = |refusal| (refusal, Some(target.facts.clone()));
        let TargetOf::Kube { debug_images } = &target.of else { return Err(refuse(other_kind(&target, tool.name()))) };
        if let Kube::Debug(debug) = &asked.operation {
            image_allowed(debug_images, &debug.image).map_err(refuse)?;
        }
        let limits = self.limits(asked.timeout_ms, asked.rows.unwrap_or(KUBE_ROWS), asked.bytes);
        Ok(Parsed {
            operation: Operation::Kube(asked.operation),
            raised: None,
            arguments: asked.arguments,
            reason: asked.reason,
            limits,
            target: Some(target),
        })
    }

    pub(super) fn local(&self, local: Local, (read, arguments): (Nothing, Value), wait: Duration) -> Result<Parsed, Refused> {
        let limits = Limits { timeout: self.bounds.timeout.max(wait), rows: 1, bytes: self.bounds.bytes };
        Ok(Parsed { target: None, operation: Operation::Local(local), raised: None, arguments, reason: read.reason, limits })
    }

    fn query(&self, (query, arguments): (Query, Value)) -> Result<Parsed, Refused> {
        let (target, (engine, _)) = self.database(&query.target, "db_query")?;
        let refuse = |refusal| (refusal, Some(target.facts.clone()));
        let statement = Statement::parse(engine, &query.sql).map_err(refuse)?;
        if !statement.is_read() {
            let why = statement.why_not_read().unwrap_or("it is no query");
            return Err(refuse(Refusal::new(Code::NotRead).detail(why)));
        }
        let params = params(&statement, &query.params).map_err(refuse)?;
        let operation = Operation::Sql(Sql { statement, params, mode: Mode::Query, expect_max_rows: None });
        let limits = self.limits(query.timeout_ms, query.max_rows, query.max_bytes);
        Ok(Parsed { target: Some(target), operation, raised: None, arguments, reason: query.reason, limits })
    }

    fn execute(&self, (execute, arguments): (Execute, Value)) -> Result<Parsed, Refused> {
        let (target, (engine, is_shared)) = self.database(&execute.target, "db_execute")?;
        let refuse = |refusal| (refusal, Some(target.facts.clone()));
        let statement = Statement::parse(engine, &execute.sql).map_err(refuse)?;
        pure_if_shared(is_shared, &statement).map_err(refuse)?;
        if statement.is_read() {
            return Err(refuse(Refusal::new(Code::InvalidArguments).detail("`sql` only reads: use db_query for it")));
        }
        if execute.expect_max_rows.is_some() && !statement.counts_rows() {
            return Err(refuse(Refusal::new(Code::InvalidArguments).detail(format!(
                "`expect_max_rows` bounds INSERT, UPDATE and DELETE; of {} nobody counts the rows",
                statement.verb().to_uppercase()
            ))));
        }
        let params = params(&statement, &execute.params).map_err(refuse)?;
        let operation = Operation::Sql(Sql { statement, params, mode: Mode::Execute, expect_max_rows: execute.expect_max_rows });
        let limits = self.limits(execute.timeout_ms, execute.max_rows, None);
        Ok(Parsed { target: Some(target), operation, raised: None, arguments, reason: execute.reason, limits })
    }

    fn declared(&self, declared: &Declared, given: &Map<String, Value>, value: &Value, caller: Whose<'_>) -> Result<Parsed, Refused> {
        let of_target = |refusal| (refusal, Some(declared.target.facts.clone()));
        let mut canonical = Map::new();
        for parameter in &declared.parameters {
            let value = given.get(&parameter.name).or_else(|| parameter.schema.get("default")).cloned().unwrap_or(Value::Null);
            canonical.insert(parameter.name.clone(), value);
        }
        let timeout_ms = value.get("timeout_ms").and_then(Value::as_u64);
        let (operation, limits) = match &declared.does {
            Does::Sql { statement, is_shared, row_limit } => {
                pure_if_shared(*is_shared, statement).map_err(of_target)?;
                let bound = |parameter: &Parameter| param(canonical.get(&parameter.name).unwrap_or(&Value::Null));
                let params = declared.parameters.iter().map(bound).collect::<Result<_, _>>().map_err(of_target)?;
                let mode = if statement.is_read() { Mode::Query } else { Mode::Execute };
                let sql = Sql { statement: (**statement).clone(), params, mode, expect_max_rows: None };
                (Operation::Sql(sql), self.limits(timeout_ms, *row_limit, None))
            }
            Does::Call(fixed) => {
                let filled = fixed.fill(&declared.target.facts.name, &canonical, timeout_ms).map_err(of_target)?;
                // The built-in tool's own schema judges what came of it.
                let validator = self.tools.get(fixed.tool.name()).map(|tool| &tool.validator);
                let error = validator.map(|validator| validator.iter_errors(&filled).next());
                if let Some(error) = error.ok_or_else(|| of_target(Refusal::new(Code::UnknownTool)))? {
                    return Err(of_target(Refusal::new(Code::InvalidArguments).detail(describe(&error))));
                }
                let parsed = match fixed.tool {
                    Builtin::Ssh(tool) => self.ssh(tool, filled, caller),
                    tool => self.builtin(tool, filled),
                };
                let parsed = parsed.map_err(|(refusal, _)| of_target(refusal))?;
                // What was filled in, a session's folder among it, is approved with the rest.
                canonical.insert("call".to_owned(), parsed.arguments);
                (parsed.operation, parsed.limits)
            }
        };
        canonical.insert("timeout_ms".to_owned(), timeout_ms.map_or(Value::Null, Value::from));
        Ok(Parsed {
            target: Some(declared.target.clone()),
            operation,
            raised: declared.raised,
            arguments: Value::Object(canonical),
            reason: value.get("reason").and_then(Value::as_str).map(ToOwned::to_owned),
            limits,
        })
    }

    pub(super) fn target(&self, name: &str) -> Result<Target, Refused> {
        self.targets.get(name).cloned().ok_or_else(|| (Refusal::new(Code::UnknownTarget), None))
    }

    /// A target that is a database: with its dialect, and whether humans share its login.
    fn database(&self, name: &str, tool: &str) -> Result<(Target, (Engine, bool)), Refused> {
        let target = self.target(name)?;
        match target.of {
            TargetOf::Sql { engine, is_shared } => Ok((target, (engine, is_shared))),
            TargetOf::Kube { .. } | TargetOf::Ssh { .. } => Err((other_kind(&target, tool), Some(target.facts.clone()))),
        }
    }

    fn limits(&self, timeout_ms: Option<u64>, rows: u32, bytes: Option<u64>) -> Limits {
        let timeout = timeout_ms.map_or(self.bounds.timeout, Duration::from_millis).min(self.bounds.timeout_max);
        Limits { timeout, rows, bytes: bytes.unwrap_or(self.bounds.bytes).min(BYTES_MAX) }
    }
}

fn other_kind(target: &Target, tool: &str) -> Refusal {
    let what = match target.of {
        TargetOf::Sql { .. } => "a database: use the db_ tools",
        TargetOf::Kube { .. } => "a cluster: use the k8s_ tools",
        TargetOf::Ssh { .. } => "a host: use the ssh_ and sftp_ tools",
    };
    Refusal::new(Code::InvalidArguments).detail(format!("`{tool}` is not for `{}`, which is {what}", target.facts.name))
}

/// Images that give a pod a shell are named by the target.
fn image_allowed(allowed: &[String], image: &str) -> Result<(), Refusal> {
    let fits = |pattern: &String| pattern.strip_suffix('*').map_or(pattern == image, |start| image.starts_with(start));
    if allowed.iter().any(fits) {
        return Ok(());
    }
    let allowed = if allowed.is_empty() { "it allows none".to_owned() } else { format!("it allows {}", allowed.join(", ")) };
    Err(Refusal::new(Code::ImageNotAllowed).detail(allowed))
}

/// Through a shared login nothing may run that nobody here has judged: a function's body could take another role. The connector asks again.
fn pure_if_shared(is_shared: bool, statement: &Statement) -> Result<(), Refusal> {
    match statement.impure() {
        Some(why) if is_shared => Err(Refusal::new(Code::FunctionNotAllowed).detail(why)),
        _ => Ok(()),
    }
}

fn call(facts: Facts, line: Line, tool: &Tool, parsed: Parsed) -> Call {
    let Parsed { target, operation, raised, arguments, reason, limits } = parsed;
    Call {
        facts,
        tool: tool.facts.clone(),
        target: target.map(|target| target.facts),
        operation,
        raised_risk: raised,
        arguments,
        reason,
        limits,
        line,
    }
}

/// The arguments as their type, and in canonical form: after defaults, without `reason`.
pub(super) fn read<T: DeserializeOwned + Serialize>(value: Value) -> Result<(T, Value), Refused> {
    let invalid = |error: serde_json::Error| (Refusal::new(Code::InvalidArguments).detail(error.to_string()), None);
    let read: T = serde_json::from_value(value).map_err(invalid)?;
    let mut canonical = serde_json::to_value(&read).map_err(invalid)?;
    if let Some(members) = canonical.as_object_mut() {
        members.remove("reason");
    }
    Ok((read, canonical))
}

fn params(statement: &Statement, values: &[Value]) -> Result<Vec<Param>, Refusal> {
    if values.len() != statement.placeholders() {
        return Err(Refusal::new(Code::InvalidParameters).detail(format!(
            "the statement has {} placeholders and `params` {} values",
            statement.placeholders(),
            values.len()
        )));
    }
    values.iter().map(param).collect()
}

fn param(value: &Value) -> Result<Param, Refusal> {
    match value {
        Value::Null => Ok(Param::Null),
        Value::Bool(truth) => Ok(Param::Bool(*truth)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(Param::Integer(whole)),
            (None, Some(float)) if number.is_f64() && float.is_finite() => Ok(Param::Number(float)),
            _ => Err(Refusal::new(Code::InvalidParameters).detail("a whole number must be within 64 bits; send a larger one as a string")),
        },
        Value::String(text) if text.contains('\0') => Err(Refusal::new(Code::InvalidParameters).detail("a string holds a NUL character")),
        Value::String(text) => Ok(Param::Text(text.clone())),
        Value::Array(_) | Value::Object(_) => {
            Err(Refusal::new(Code::InvalidParameters).detail("a parameter must be null, boolean, number or string"))
        }
    }
}

/// The failing argument and rule, without a long value.
fn describe(error: &jsonschema::ValidationError<'_>) -> String {
    let path = error.instance_path().to_string();
    let place = if path.is_empty() { "the arguments".to_owned() } else { format!("`{path}`") };
    let why = error.masked().to_string();
    format!("{place}: {}", why.chars().filter(|c| !c.is_control()).take(300).collect::<String>())
}
