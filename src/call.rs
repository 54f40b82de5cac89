//! A call: who asks for what, before anybody judged it.
//!
//! `Request` is what came in at the agent's door, bound to a delegation (it cannot be built without one). `Call` is the same after the catalogue
//! parsed it: a typed operation on a named target. `Facts` is the part of both that every record needs, even of a call that was refused before
//! it could be parsed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::id::{ApprovalId, CallId, DelegationId};
use crate::identity::{Delegation, Reach};
use crate::operation::ssh::Kept;
use crate::operation::{Operation, Risk};
use crate::refusal::Refusal;

/// What the caller says of itself and of the run the call belongs to. Recorded as self-reported, never judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The protocol revision of the request.
    pub protocol_version: Option<String>,
    /// `clientInfo`.
    pub client: Option<Client>,
    /// The run this call belongs to: `_meta["countersign/run"]`, else the trace id, else the token's id.
    pub run: Option<String>,
    /// The W3C trace context, `traceparent`.
    pub traceparent: Option<String>,
}

/// The program that speaks for the agent, by its own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

/// What every record of a call needs.
#[derive(Debug, Clone)]
pub struct Facts {
    /// This call.
    pub id: CallId,
    /// The call that this one is a preview of.
    pub parent: Option<CallId>,
    /// The call that this one is a part of.
    pub part_of: Option<CallId>,
    /// In whose name.
    pub delegation: Arc<Delegation>,
    /// The tool's name as it was asked for.
    pub tool: String,
    /// The arguments as they were sent.
    pub arguments: Arc<Map<String, Value>>,
    /// What the caller says of itself.
    pub origin: Origin,
}

/// What a waiting caller is told, a sentence at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Seconds since the wait began.
    pub elapsed_s: u64,
    /// A sentence for the agent.
    pub message: String,
}

/// The caller's end of the line: how it learns of progress, and how the call learns that the caller has gone.
#[derive(Debug, Clone)]
pub struct Line {
    /// Fires when the caller hangs up, or cancels.
    pub gone: CancellationToken,
    /// Fires, with `gone`, when the caller cancels in so many words: what waits for a human is not wanted any more.
    pub cancelled: CancellationToken,
    /// Fires when the broker drains: whoever only waits should answer now.
    pub draining: CancellationToken,
    /// Where progress goes, if the caller asked for it. Full = the message is dropped.
    pub progress: Option<mpsc::Sender<Progress>>,
    /// Whether the caller can show its human a page of ours, and has not been asked to for this call.
    pub shows_pages: bool,
}

/// A tool call at the agent's door.
#[derive(Debug)]
pub struct Request {
    facts: Facts,
    line: Line,
    /// Sessions of its human and agent, by id, where its tool asks for them.
    sessions: BTreeMap<String, Kept>,
}

impl Request {
    /// The longest tool name that is kept, in characters.
    pub const TOOL_NAME_MAX: usize = 128;

    /// A request in the name of `delegation`.
    #[must_use]
    pub fn new(delegation: Arc<Delegation>, tool: String, arguments: Map<String, Value>, origin: Origin, line: Line) -> Self {
        // The name is the caller's own text until a tool is found by it.
        let tool = tool.chars().filter(|c| !c.is_control()).take(Self::TOOL_NAME_MAX).collect();
        let facts = Facts { id: CallId::mint(), parent: None, part_of: None, delegation, tool, arguments: Arc::new(arguments), origin };
        Self { facts, line, sessions: BTreeMap::new() }
    }

    /// With the sessions of its human and agent on hand.
    #[must_use]
    pub fn with_sessions(mut self, sessions: BTreeMap<String, Kept>) -> Self {
        self.sessions = sessions;
        self
    }

    /// A part of another call, in the same name: a call of its own, which is judged and recorded like any other.
    #[must_use]
    pub fn part_of(whole: &Facts, line: Line, tool: &'static str, arguments: Map<String, Value>) -> Self {
        let mut request = Self::new(Arc::clone(&whole.delegation), tool.to_owned(), arguments, whole.origin.clone(), line);
        request.facts.part_of = Some(whole.id.clone());
        request
    }

    /// What every record of it needs.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The caller's end of the line.
    #[must_use]
    pub const fn line(&self) -> &Line {
        &self.line
    }

    pub(crate) fn into_parts(self) -> (Facts, Line, BTreeMap<String, Kept>) {
        (self.facts, self.line, self.sessions)
    }
}

/// The tool that a call uses, as the catalogue had it at that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolFacts {
    /// Its name.
    pub name: String,
    /// SHA-256 of its definition (name, description, schemas, statement), hexadecimal: a changed tool has another.
    pub schema_hash: String,
    /// The four MCP hints, as `readOnly`, `destructive`, `idempotent`, `openWorld`.
    pub annotations: [bool; 4],
    /// The verb and risk of its mildest call, by which policy tells whether a caller may know of it.
    pub mildest: (&'static str, Risk),
}

/// The engine of a target that is a cluster.
pub const KUBERNETES: &str = "kubernetes";
/// The engine of a target that is a host.
pub const SSH: &str = "ssh";

/// The target of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFacts {
    /// Its name in the configuration.
    pub name: String,
    /// `sqlite`, `postgres`, `mysql`, `kubernetes`, `ssh`.
    pub engine: &'static str,
    /// Its environment label, such as `production`.
    pub environment: String,
    /// Where it is, as far as its configuration says: another place under the same name is another target.
    pub place: String,
    /// The schemas in which unqualified names are looked up, in order.
    pub search_path: Vec<String>,
}

/// The credential that a call used on its target, as it is recorded: never the secret, only where it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFacts {
    /// `login` (the human's own), `role` (a shared login that became the human's role), `impersonation`, `file`, `certificate` (the human's own, of the
    /// broker's authority), `shared_key` and `shared_password` (an identity that a host cannot tell from others').
    pub form: &'static str,
    /// Where the secret is kept, as it is configured; none for a file.
    pub reference: Option<String>,
    /// Whether the reference is one human's own, so that it may hold a name.
    pub is_personal: bool,
    /// The connection to a host that it opened, once it is known.
    pub connection: Option<ConnectionFacts>,
}

/// A connection to a host, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// Its id, which the host has in the certificate's key id.
    pub id: String,
    /// The account on the host.
    pub account: String,
    /// The certificate's serial number, as the host's log has it.
    pub serial: Option<u64>,
    /// Whether it serves this call alone.
    pub is_own: bool,
    /// The fingerprint of the host's key, or of the authority that signed it.
    pub host_key: String,
}

/// What an approver was shown of an effect, in so far as it binds the call: more rows are rolled back, other objects are left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Rows that the call would touch.
    pub rows: Option<u64>,
    /// Objects that it would touch, as they were.
    pub objects: Vec<Seen>,
}

/// An object as an approver saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which: kind, namespace, name.
    pub object: String,
    /// Its id; none where there was no such object.
    pub uid: Option<String>,
    /// What it said, but for its status and its counters: SHA-256, hexadecimal. None where only the id binds.
    pub content: Option<String>,
}

/// Bounds on one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The target's work is stopped after this long.
    pub timeout: Duration,
    /// Rows of the result; more are cut off and the answer says so.
    pub rows: u32,
    /// Bytes of the result; as with rows.
    pub bytes: u64,
}

/// A parsed call, before policy.
#[derive(Debug)]
pub struct Call {
    /// What every record of it needs.
    pub facts: Facts,
    /// The tool.
    pub tool: ToolFacts,
    /// The target; `None` for the broker's own tools.
    pub target: Option<TargetFacts>,
    /// What it would do.
    pub operation: Operation,
    /// A declared tool may raise the risk; it can never lower what the parser found.
    pub raised_risk: Option<Risk>,
    /// The canonical arguments: after defaults, without `reason`.
    pub arguments: Value,
    /// The agent's own reason, untrusted.
    pub reason: Option<String>,
    /// Its bounds.
    pub limits: Limits,
    /// The caller's end of the line.
    pub line: Line,
}

impl Call {
    /// The risk of the operation, or the tool's where that is higher.
    #[must_use]
    pub fn risk(&self) -> Risk {
        self.raised_risk.map_or_else(|| self.operation.risk(), |raised| raised.max(self.operation.risk()))
    }

    /// Whether what the human lent still stands, and reaches so far.
    ///
    /// # Errors
    /// The token expired, the agent is suspended, or the delegation is over or does not reach so far.
    pub fn still_lent(&self, now: Timestamp) -> Result<(), Refusal> {
        let target = self.target.as_ref().map(|target| target.name.as_str());
        let reach = Reach { tool: &self.tool.name, target, risk: self.risk() };
        self.facts.delegation.covers(reach, now).map(|_| ())
    }

    /// The call that shows an approver what this one would do: a read-only operation of its own, with its own id.
    #[must_use]
    pub fn preview(&self) -> Option<Self> {
        let operation = self.operation.preview()?;
        let mut facts = self.facts.clone();
        facts.parent = Some(facts.id);
        facts.id = CallId::mint();
        Some(Self {
            facts,
            tool: self.tool.clone(),
            target: self.target.clone(),
            operation,
            raised_risk: None,
            arguments: self.arguments.clone(),
            reason: None,
            limits: self.limits,
            line: self.line.clone(),
        })
    }
}

/// What the policy said of a call, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// SHA-256 of the policy set, hexadecimal.
    pub set_hash: String,
    /// The policies that decided, sorted.
    pub ids: Vec<String>,
    /// `allowed`, `approved`, `preview`, `pending`, `denied`, `error`.
    pub decision: &'static str,
    /// The risk that was judged.
    pub risk: Risk,
    /// The registered delegation that covers the call, where there is one.
    pub covered_by: Option<DelegationId>,
}

/// A call that waits for a human, as the caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The request for approval.
    pub approval: ApprovalId,
    /// Where a human decides it; carries the id and nothing else.
    pub url: String,
    /// Until when it can be decided.
    pub expires_at: Timestamp,
    /// Who may decide, in a few words.
    pub deciders: String,
    /// The human in whose name the call is made may, and the caller can show them the page: it is asked to.
    pub asks_the_caller: bool,
}

/// Why a call did not go ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// No.
    Refused(Refusal),
    /// Not yet.
    Waiting(Waiting),
}

/// A call that stops before it acts, with all that its record needs.
#[derive(Debug)]
pub struct Stop {
    /// What every record needs.
    pub facts: Facts,
    /// The tool, if there is one by that name.
    pub tool: Option<ToolFacts>,
    /// The target, if it was found.
    pub target: Option<TargetFacts>,
    /// The risk, if the call could be parsed.
    pub risk: Option<Risk>,
    /// What the policy said, if it was asked.
    pub judgement: Option<Judgement>,
    /// What the caller is told.
    pub answer: Answer,
}
