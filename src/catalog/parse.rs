//! From a request to a typed call, or a refusal that knows as much of it as could be told.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::call::{Answer, Call, Facts, Limits, Line, Request, Stop, TargetFacts, ToolFacts};
use crate::catalog::arguments::{self, ApprovalStatus, ApprovalWait, BYTES_MAX, Describe, Execute, Nothing, Query, SearchObjects};
use crate::catalog::builtin::Builtin;
use crate::catalog::{Action, Catalog, Declared, Target, Tool};
use crate::id::ApprovalId;
use crate::operation::local::Local;
use crate::operation::sql::{Detail, Mode, ObjectType, Objects, Param, Sql, Statement};
use crate::operation::{Operation, Risk};
use crate::refusal::{Code, Refusal};

/// Bytes of all arguments.
const ARGUMENTS_MAX_BYTES: usize = 256 * 1024;

/// What the arguments came to.
struct Parsed {
    target: Option<Target>,
    operation: Operation,
    raised: Option<Risk>,
    arguments: Value,
    reason: Option<String>,
    limits: Limits,
}

/// A refusal, with the target if it was found.
type Refused = (Refusal, Option<TargetFacts>);

impl Catalog {
    /// Parses a request into a call.
    ///
    /// # Errors
    /// The stop, with what is known of the call.
    pub fn parse(&self, request: Request) -> Result<Call, Box<Stop>> {
        let (facts, line) = request.into_parts();
        let stop = |facts: Facts, tool: Option<ToolFacts>, target, refusal| {
            Box::new(Stop { facts, tool, target, risk: None, judgement: None, answer: Answer::Refused(refusal) })
        };
        let Some(tool) = self.tools.get(&facts.tool) else {
            return Err(stop(facts, None, None, Refusal::new(Code::UnknownTool)));
        };
        match self.arguments(tool, &facts.arguments) {
            Ok(parsed) => Ok(call(facts, line, tool, parsed)),
            Err((refusal, target)) => Err(stop(facts, Some(tool.facts.clone()), target, refusal)),
        }
    }

    fn arguments(&self, tool: &Tool, arguments: &Map<String, Value>) -> Result<Parsed, Refused> {
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
            Action::Builtin(builtin) => self.builtin(*builtin, value),
            Action::Declared(declared) => self.declared(declared, arguments, value),
        }
    }

    fn builtin(&self, builtin: Builtin, value: Value) -> Result<Parsed, Refused> {
        match builtin {
            Builtin::ListTargets => self.local(Local::ListTargets, read::<Nothing>(value)?, Duration::ZERO),
            Builtin::Whoami => self.local(Local::Whoami, read::<Nothing>(value)?, Duration::ZERO),
            Builtin::ApprovalStatus => {
                let (read, arguments) = read::<ApprovalStatus>(value)?;
                self.local(
                    Local::ApprovalStatus { approval: approval(&read.approval_id)? },
                    (Nothing { reason: None }, arguments),
                    Duration::ZERO,
                )
            }
            Builtin::ApprovalWait => {
                let (read, arguments) = read::<ApprovalWait>(value)?;
                let wait = Duration::from_secs(read.max_wait_s);
                self.local(
                    Local::ApprovalWait { approval: approval(&read.approval_id)?, wait },
                    (Nothing { reason: None }, arguments),
                    wait,
                )
            }
            Builtin::DbQuery => self.query(read(value)?),
            Builtin::DbExecute => self.execute(read(value)?),
            Builtin::DbSearchObjects => {
                let (search, arguments): (SearchObjects, Value) = read(value)?;
                let target = self.target(&search.target)?;
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
                let target = self.target(&describe.target)?;
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

    fn local(&self, local: Local, (read, arguments): (Nothing, Value), wait: Duration) -> Result<Parsed, Refused> {
        let limits = Limits { timeout: self.bounds.timeout.max(wait), rows: 1, bytes: self.bounds.bytes };
        Ok(Parsed { target: None, operation: Operation::Local(local), raised: None, arguments, reason: read.reason, limits })
    }

    fn query(&self, (query, arguments): (Query, Value)) -> Result<Parsed, Refused> {
        let target = self.target(&query.target)?;
        let refuse = |refusal| (refusal, Some(target.facts.clone()));
        let statement = Statement::parse(target.engine, &query.sql).map_err(refuse)?;
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
        let target = self.target(&execute.target)?;
        let refuse = |refusal| (refusal, Some(target.facts.clone()));
        let statement = Statement::parse(target.engine, &execute.sql).map_err(refuse)?;
        pure_if_shared(&target, &statement).map_err(refuse)?;
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

    fn declared(&self, declared: &Declared, given: &Map<String, Value>, value: Value) -> Result<Parsed, Refused> {
        pure_if_shared(&declared.target, &declared.statement).map_err(|refusal| (refusal, Some(declared.target.facts.clone())))?;
        let mut canonical = Map::new();
        let mut params = Vec::new();
        for parameter in &declared.parameters {
            let value = given.get(&parameter.name).or_else(|| parameter.schema.get("default")).cloned().unwrap_or(Value::Null);
            params.push(param(&value).map_err(|refusal| (refusal, Some(declared.target.facts.clone())))?);
            canonical.insert(parameter.name.clone(), value);
        }
        let timeout_ms = value.get("timeout_ms").and_then(Value::as_u64);
        canonical.insert("timeout_ms".to_owned(), timeout_ms.map_or(Value::Null, Value::from));
        let mode = if declared.statement.is_read() { Mode::Query } else { Mode::Execute };
        Ok(Parsed {
            target: Some(declared.target.clone()),
            operation: Operation::Sql(Sql { statement: declared.statement.clone(), params, mode, expect_max_rows: None }),
            raised: declared.raised,
            arguments: Value::Object(canonical),
            reason: value.get("reason").and_then(Value::as_str).map(ToOwned::to_owned),
            limits: self.limits(timeout_ms, declared.row_limit, None),
        })
    }

    fn target(&self, name: &str) -> Result<Target, Refused> {
        self.targets.get(name).cloned().ok_or_else(|| (Refusal::new(Code::UnknownTarget), None))
    }

    fn limits(&self, timeout_ms: Option<u64>, rows: u32, bytes: Option<u64>) -> Limits {
        let timeout = timeout_ms.map_or(self.bounds.timeout, Duration::from_millis).min(self.bounds.timeout_max);
        Limits { timeout, rows, bytes: bytes.unwrap_or(self.bounds.bytes).min(BYTES_MAX) }
    }
}

/// Through a shared login nothing may run that nobody here has judged: a function's body could take another role. The connector asks again.
fn pure_if_shared(target: &Target, statement: &Statement) -> Result<(), Refusal> {
    match statement.impure() {
        Some(why) if target.is_shared => Err(Refusal::new(Code::FunctionNotAllowed).detail(why)),
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
fn read<T: DeserializeOwned + Serialize>(value: Value) -> Result<(T, Value), Refused> {
    let invalid = |error: serde_json::Error| (Refusal::new(Code::InvalidArguments).detail(error.to_string()), None);
    let read: T = serde_json::from_value(value).map_err(invalid)?;
    let mut canonical = serde_json::to_value(&read).map_err(invalid)?;
    if let Some(members) = canonical.as_object_mut() {
        members.remove("reason");
    }
    Ok((read, canonical))
}

fn approval(text: &str) -> Result<ApprovalId, Refused> {
    ApprovalId::parse(text).map_err(|error| (Refusal::new(Code::InvalidArguments).detail(format!("`approval_id` is {error}")), None))
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
