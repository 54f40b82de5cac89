//! How a leaf speaks of a call: opaque ids for humans and agents, the run, the judgement; never a name, an e-mail or an argument.
//!
//! Names live beside the log in `subject` rows, so that erasing a person leaves an opaque id. Only the approval and audit rooms write leaves, and
//! both build them here, so that one call reads the same in all of them.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::call::{Client, CredentialFacts, Facts, Judgement, Origin, TargetFacts, ToolFacts};
use crate::clock::rfc3339;
use crate::identity::{Agent, Delegation, Human, Person, SignIn};
use crate::ledger::{CommitError, Draft, Ledger, Row, StoreError, Write};
use crate::refusal::{Code, Refusal};

/// The ledger could not record, so nothing may be done or released.
#[derive(Debug)]
pub struct Unavailable {
    cause: String,
}

impl Unavailable {
    /// For a cause that is no store's error (no randomness, say).
    pub fn because(cause: impl fmt::Display) -> Self {
        Self { cause: cause.to_string() }
    }

    /// What it was, for the operator.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// The same as a refusal; the cause stays private.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        Refusal::new(Code::LedgerUnavailable).cause(&self.cause)
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ledger is unavailable")
    }
}

impl std::error::Error for Unavailable {}

impl From<CommitError> for Unavailable {
    fn from(error: CommitError) -> Self {
        Self::because(error)
    }
}

impl From<StoreError> for Unavailable {
    fn from(error: StoreError) -> Self {
        Self::because(error)
    }
}

/// Subjects whose rows are known to be stored; more are looked up again.
const KNOWN_MAX: usize = 100_000;

/// Builds leaves.
pub struct Recorder {
    ledger: Ledger,
    known: Mutex<HashSet<String>>,
}

impl Recorder {
    /// The kind of the rows that say who an opaque id is.
    pub const SUBJECT: &'static str = "subject";

    /// A recorder with the ledger's pseudonym key.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, known: Mutex::new(HashSet::new()) }
    }

    fn opaque(&self, prefix: &str, parts: &[&str]) -> String {
        // Lengths keep ("ab","c") apart from ("a","bc").
        let mut bytes = prefix.as_bytes().to_vec();
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        let mac = hex::encode(self.ledger.keys().pseudonym(&bytes));
        format!("{prefix}_{}", mac.get(..24).unwrap_or(&mac))
    }

    /// The opaque id of a human.
    #[must_use]
    pub fn human(&self, human: &Human) -> String {
        self.opaque("hum", &[&human.issuer, &human.subject])
    }

    /// The opaque id of an agent.
    #[must_use]
    pub fn agent(&self, agent: &Agent) -> String {
        self.opaque("agt", &[&agent.issuer, &agent.id])
    }

    /// The opaque id of an issuer.
    #[must_use]
    pub fn issuer(&self, url: &str) -> String {
        self.opaque("idp", &[url])
    }

    /// The opaque id of the program that an agent says it speaks through.
    fn client(&self, client: &Client) -> String {
        self.opaque("cli", &[&client.name])
    }

    /// The opaque id of a run, which is self-reported and therefore scoped by the human and the agent that report it.
    #[must_use]
    pub fn run(&self, human: &str, agent: &str, run: &str) -> String {
        self.opaque("run", &[human, agent, run])
    }

    /// A leaf about a call, with what every such leaf has; `more` adds to it.
    #[must_use]
    pub fn draft(&self, kind: &'static str, facts: &Facts, more: Map<String, Value>) -> Draft {
        let mut body = more;
        body.insert("call".to_owned(), Value::from(facts.id.as_str()));
        if let Some(parent) = &facts.parent {
            body.insert("preview_of".to_owned(), Value::from(parent.as_str()));
        }
        if let Some(whole) = &facts.part_of {
            body.insert("part_of".to_owned(), Value::from(whole.as_str()));
        }
        if let Some((trace, span)) = facts.origin.traceparent.as_deref().and_then(traceparent) {
            body.insert("trace".to_owned(), json!({ "trace_id": trace, "span_id": span }));
        }
        self.delegated(kind, &facts.delegation, &facts.origin, body)
    }

    /// A leaf about what an agent did for a human. The run is what the caller calls it, else the token names it.
    #[must_use]
    pub fn delegated(&self, kind: &'static str, delegation: &Delegation, origin: &Origin, more: Map<String, Value>) -> Draft {
        let (human, agent) = (self.human(delegation.human()), self.agent(delegation.agent()));
        let mut body = more;
        if let Some(run) = origin.run.as_deref().or_else(|| delegation.token_id()) {
            body.insert("run".to_owned(), Value::from(self.run(&human, &agent, run)));
        }
        let idp = self.issuer(&delegation.human().issuer);
        body.insert("human".to_owned(), with_sign_in(json!({ "sub_id": human, "idp": idp }), delegation.sign_in()));
        body.insert("agent".to_owned(), self.acting(&agent, delegation, origin.client.as_ref()));
        let mut lent =
            json!({ "exp": rfc3339(delegation.expires_at()), "scopes_hash": self.opaque("scp", &[&delegation.scopes().join(" ")]) });
        if let Some(members) = lent.as_object_mut()
            && let Some(earlier) = delegation.agent().chain.first()
        {
            // Through whom it came: the actor before this one.
            let earlier = Agent { issuer: delegation.agent().issuer.clone(), id: earlier.clone(), chain: Vec::new() };
            members.insert("parent".to_owned(), Value::from(self.agent(&earlier)));
        }
        if let (Some(lent), Some(Value::Object(more))) = (lent.as_object_mut(), body.remove("dlg")) {
            lent.extend(more);
        }
        body.insert("dlg".to_owned(), lent);
        Draft::new(kind, body).of_agent(agent).of_human(human)
    }

    /// The agent, as leaves have it: who it is, by which key this one of it is told from others where its tokens are bound to one, and through what
    /// program of what release it says it speaks. A version is free text, so only its numbers are taken.
    fn acting(&self, id: &str, delegation: &Delegation, client: Option<&Client>) -> Value {
        let mut agent =
            Map::from_iter([("id".to_owned(), Value::from(id)), ("depth".to_owned(), Value::from(delegation.agent().chain.len()))]);
        agent.extend(delegation.instance().map(|key| ("inst".to_owned(), Value::from(self.opaque("ins", &[key])))));
        if let Some(client) = client {
            agent.insert("client".to_owned(), Value::from(self.client(client)));
            agent.extend(release(&client.version).map(|version| ("ver".to_owned(), Value::from(version))));
        }
        Value::Object(agent)
    }

    /// A leaf about what a person did at the human's door.
    #[must_use]
    pub fn personal(&self, kind: &'static str, person: &Person, more: Map<String, Value>) -> Draft {
        let human = self.human(person.human());
        let mut body = more;
        let idp = self.issuer(&person.human().issuer);
        let mut who = json!({ "sub_id": human, "idp": idp, "teams": person.human().teams, "client": person.client() });
        if let (Some(members), Some(system)) = (who.as_object_mut(), person.vouched_by()) {
            members.insert("vouched_by".to_owned(), Value::from(system));
        }
        body.insert("human".to_owned(), with_sign_in(who, person.sign_in()));
        Draft::new(kind, body).of_human(human)
    }

    /// The rows that say who the opaque ids of a call are; none once they are known to be stored.
    #[must_use]
    pub fn subjects(&self, human: &Human, agent: Option<&Agent>) -> Vec<Write> {
        let human = (self.human(human), json!({ "kind": "human", "issuer": human.issuer, "id": human.subject, "name": human.name }));
        let agent = agent.map(|agent| (self.agent(agent), json!({ "kind": "agent", "issuer": agent.issuer, "id": agent.id })));
        [Some(human), agent].into_iter().flatten().filter_map(|(id, body)| self.ensure(id, &body)).collect()
    }

    /// The same for a call, whose caller may have said through what program it speaks.
    #[must_use]
    pub fn subjects_of(&self, facts: &Facts) -> Vec<Write> {
        let client = facts.origin.client.as_ref();
        let client = client.and_then(|client| self.ensure(self.client(client), &json!({ "kind": "client", "id": client.name })));
        self.subjects(facts.delegation.human(), Some(facts.delegation.agent())).into_iter().chain(client).collect()
    }

    /// The credential that was used, as leaves have it: its form, and where its secret is kept. A reference that is one human's own may hold a
    /// name, so it is an opaque id, and the row says what it stands for.
    #[must_use]
    pub fn credential(&self, used: &CredentialFacts) -> (Value, Vec<Write>) {
        let (mut leaf, mut rows) = match &used.reference {
            None => (json!({ "form": used.form }), Vec::new()),
            Some(reference) if used.is_personal => {
                let id = self.opaque("crd", &[reference]);
                let row = self.ensure(id.clone(), &json!({ "kind": "credential", "id": reference }));
                (json!({ "form": used.form, "ref": id }), Vec::from_iter(row))
            }
            Some(reference) => (json!({ "form": used.form, "ref": reference }), Vec::new()),
        };
        if let (Some(members), Some(connection)) = (leaf.as_object_mut(), &used.connection) {
            members.insert("conn".to_owned(), Value::from(connection.id.as_str()));
            let account = self.opaque("acc", &[&connection.account]);
            rows.extend(self.ensure(account.clone(), &json!({ "kind": "account", "id": connection.account })));
            members.insert("account".to_owned(), Value::from(account));
            members.insert("host_key".to_owned(), Value::from(connection.host_key.as_str()));
            members.insert("own".to_owned(), Value::from(connection.is_own));
            // A leaf's numbers stay within what every reader counts exactly, so a serial number is a text.
            members.extend(connection.serial.map(|serial| ("serial".to_owned(), Value::from(serial.to_string()))));
        }
        (leaf, rows)
    }

    /// The row that says what an opaque id stands for; none once it is known to be stored.
    fn ensure(&self, id: String, body: &Value) -> Option<Write> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        let row = Row::new(Self::SUBJECT, &id, "known", "", None, body.to_string().into_bytes());
        known.insert(id).then_some(Write::Ensure(row))
    }

    /// Forgets what is known to be stored, after a change that was not.
    pub fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A human, as leaves have it, with how they signed in, as far as the issuer said.
#[must_use]
pub fn with_sign_in(mut human: Value, sign_in: &SignIn) -> Value {
    if let Some(members) = human.as_object_mut() {
        members.extend(sign_in.acr.as_ref().map(|acr| ("acr".to_owned(), Value::from(acr.as_str()))));
        if !sign_in.amr.is_empty() {
            members.insert("auth".to_owned(), Value::from(sign_in.amr.join(" ")));
        }
        members.extend(sign_in.at.map(|at| ("auth_time".to_owned(), Value::from(rfc3339(at)))));
    }
    human
}

/// The judgement, as leaves have it.
#[must_use]
pub fn policy(judgement: &Judgement) -> Value {
    json!({ "set_hash": judgement.set_hash, "ids": judgement.ids, "decision": judgement.decision, "risk": judgement.risk.level() })
}

/// The tool, as leaves have it.
#[must_use]
pub fn tool(tool: &ToolFacts) -> Value {
    let [read_only, destructive, idempotent, open_world] = tool.annotations;
    json!({
        "name": tool.name,
        "schema_hash": tool.schema_hash,
        "annotations": { "read_only": read_only, "destructive": destructive, "idempotent": idempotent, "open_world": open_world },
    })
}

/// The target, as leaves have it.
#[must_use]
pub fn target(target: &TargetFacts) -> Value {
    json!({ "id": target.name, "kind": target.engine, "env": target.environment })
}

/// The numbers that a version begins with, such as `2.1.0`.
fn release(version: &str) -> Option<&str> {
    const PARTS_MAX: usize = 4;
    const DIGITS_MAX: usize = 6;
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    let numbers = version.get(..end)?.trim_end_matches('.');
    let fits = numbers.split('.').count() <= PARTS_MAX && numbers.split('.').all(|part| (1..=DIGITS_MAX).contains(&part.len()));
    fits.then_some(numbers)
}

/// Trace and span of a W3C traceparent, if it is one.
fn traceparent(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('-');
    let (_version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    (is_hex(trace, 32) && is_hex(span, 16)).then_some((trace, span))
}
