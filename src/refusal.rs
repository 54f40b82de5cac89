//! Every way to say no: a stable code, a public sentence, advice, and a private cause.
//!
//! The code is what programs match on and never changes its meaning; the sentence and the advice are what an agent or a human reads; the cause
//! is for operators and stays in the broker's own log. A refusal never carries data of a target: what a database said is masked before it
//! becomes a sentence here. `Code::ALL` generates the table in the README.

use std::fmt;

macro_rules! codes {
    ($($variant:ident = $code:literal, $sentence:literal, $advice:literal;)+) => {
        /// The stable name of one way to say no, `area.reason`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $sentence] $variant,)+
        }

        impl Code {
            /// Every code, in the order of the path of a call.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// The stable text, `area.reason`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $code),+ }
            }

            /// What it means, as a sentence without a full stop.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Code::$variant => $sentence),+ }
            }

            /// What the caller can do about it.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Code::$variant => $advice),+ }
            }
        }
    };
}

codes! {
    MissingToken = "identity.missing_token", "no access token was sent", "send `Authorization: Bearer <token>`; the metadata named in WWW-Authenticate says who issues one";
    InvalidToken = "identity.invalid_token", "the access token is not valid here", "get a new token from the issuer for exactly this resource";
    TokenExpired = "identity.expired", "the access token or the delegation has expired", "get a new token and repeat the call";
    InsufficientScope = "identity.insufficient_scope", "the token's scope does not reach this operation", "do it another way if the message shows one; else ask the human for a token with the scope that is needed";
    NotAPerson = "identity.not_a_person", "this door is for humans; the token belongs to an agent or to another audience", "sign in as a human for the inbox's own resource";
    SignInFailed = "identity.sign_in_failed", "the sign-in with a browser did not come about", "begin again at /login";
    SessionEnded = "identity.session_ended", "the browser's session has ended, or was none", "sign in again at /login";
    BadCsrf = "identity.csrf", "a session came with a change that its page cannot be shown to have asked for", "send the `csrf` of /whoami in the header x-countersign-csrf, from a page of this broker";
    StepUpRequired = "identity.step_up_required", "this action demands a stronger or a more recent sign-in", "sign in again as the message says, and repeat it";
    InvalidClient = "identity.invalid_client", "the token service does not know this agent, or what it shows is not good", "check the client id and how the agent authenticates in [token_service]";
    InvalidGrant = "identity.invalid_grant", "what was shown to the token service is not good for a token", "sign in again, or ask the human to lend the agent what it needs";
    InvalidScope = "identity.invalid_scope", "the token service may not give this agent such a scope", "ask for what the message names, or for no scope at all";
    InvalidTarget = "identity.invalid_target", "the token service makes tokens for the agent's door alone", "leave `resource` and `audience` out, or name what the message names";
    UnsupportedGrant = "identity.unsupported_grant", "the token service knows no such grant", "use token exchange (RFC 8693) or client_credentials";
    NoResponsibleHuman = "identity.no_responsible_human", "no policy names a human who answers for what this agent does alone", "exchange a human's token, or let a policy with `@owner` permit `work_alone`";
    InvalidProof = "identity.invalid_proof", "the proof that the token is in the right hands is missing or not good", "send a fresh DPoP proof for this method, address and token (RFC 9449), or use the certificate that the token is bound to";
    InvalidSignature = "identity.invalid_signature", "the message is not signed by the system that it is said to come from, or not now", "sign the bytes that are sent with the configured key, and the time of now";
    Replayed = "identity.replayed", "this message has been taken before", "look at the request's state; what is still wanted needs a message of its own, with an id of its own";
    NotSpokenFor = "identity.not_spoken_for", "this system may not speak for that human", "decide on the page, after signing in; the operator says for whom a system speaks";
    TokenRevoked = "identity.token_revoked", "the access token was taken back", "get a new token and repeat the call";
    IssuerUnreachable = "identity.issuer_unreachable", "the token's issuer could not be asked, so nobody can tell whether the token is good", "try again shortly; tell the operator if it lasts";
    AgentSuspended = "identity.agent_suspended", "this agent is suspended", "stop; only the agent's owner or an administrator can let it work again";
    AgentUnknown = "identity.agent_unknown", "this agent is not registered here", "its owner must register it first: `countersign agents register`";
    NoDelegation = "identity.no_delegation", "the human has not delegated to this agent here", "ask the human to lend you what you need: `countersign delegate`";
    DelegationRevoked = "identity.delegation_revoked", "the human's delegation to this agent was revoked", "stop, and ask the human; do not try another way";
    OutsideDelegation = "identity.outside_delegation", "the human's delegation to this agent does not reach so far", "use what it covers, or ask the human for a wider one";
    NotASteward = "registry.not_allowed", "no policy lets you manage this agent or this delegation", "the agent's owner, or whom a policy lets `manage` it, must do it";
    AlreadyRegistered = "registry.already_there", "the registry has this already", "look at what is there; change its state, or choose another";
    UnknownTool = "request.unknown_tool", "there is no such tool for this caller", "call tools/list for the tools you may use";
    InvalidArguments = "request.invalid_arguments", "the arguments do not fit the tool's input schema", "correct the argument that the message names and call again";
    UnknownTarget = "request.unknown_target", "there is no such target for this caller", "call list_targets for the targets you may use";
    UnknownSession = "request.unknown_session", "there is no such session of this caller on this host", "open it with ssh_session_open; one that was not used for its time is forgotten";
    TooLarge = "request.too_large", "the request is larger than the limit", "send less in one call";
    Malformed = "request.malformed", "the request could not be taken as it is", "correct what the message names and send it again";
    NotFound = "request.not_found", "there is nothing here by that name that you may see", "check the id, and whose it is";
    Unparsable = "operation.unparsable", "the statement could not be parsed", "correct the syntax that the message names";
    SeveralStatements = "operation.several_statements", "only one statement may be sent in a call", "send each statement in a call of its own";
    UnsupportedStatement = "operation.unsupported_statement", "statements of this kind are not accepted", "transaction control, session settings, COPY, DO and the like never pass; state the effect you want as one query or one change";
    NotRead = "operation.not_read", "the call does more than read, or runs something that is not known to only read", "for reads, leave out what the message names; changes are for other tools (db_execute, ssh_exec)";
    FunctionAsColumn = "operation.function_as_column", "a name behind a dot may be a function of the target's that takes a row, and would run without having been judged", "write a function as a call, `name(row)`; if a column was meant, name it in a view or an alias that no function shares";
    FunctionNotAllowed = "operation.function_not_allowed", "a function, operator or type of the statement is not allowed here, since it is not known to only read", "leave out what the message names; where humans share a login, ask the operator for one of the human's own";
    TooComplex = "operation.too_complex", "the statement is deeper or longer than the limit", "split it into simpler statements";
    InvalidParameters = "operation.invalid_parameters", "the parameters do not fit the statement's placeholders", "send one value for each placeholder, of the type the message names";
    InvalidName = "operation.invalid_name", "a name, selector or field is not one that Kubernetes knows", "correct what the message names and call again";
    InvalidManifest = "operation.invalid_manifest", "the manifest is not one that can be applied", "correct the object that the message names; give each object a document of its own";
    InvalidPatch = "operation.invalid_patch", "the patch is not one of its type", "correct what the message names: an object for strategic and merge, a list of operations for json";
    UnknownKind = "operation.unknown_kind", "the cluster knows no such kind, or several by that name", "give `api_version` and `kind` as the message or k8s_api_resources lists them";
    RiskierOutcome = "operation.riskier_outcome", "what would come of the call is, or may be, of a higher risk than it was judged for", "say in the call itself what the message names, so that it is judged for what it does";
    ImageNotAllowed = "operation.image_not_allowed", "the target does not allow this image for debugging", "use one that the message names, or ask the target's owner";
    InvalidPath = "operation.invalid_path", "a path is not one that can be told for sure", "give an absolute path without `..` and control characters";
    OutsideRoots = "operation.outside_roots", "the target does not allow files there", "use a path below what the message names, or ask the target's owner";
    ShellNotAllowed = "operation.shell_not_allowed", "the target takes no text for a shell", "give `argv`, a program with its arguments, or ask the target's owner";
    PolicyDenied = "policy.denied", "no policy allows this call", "do not try another way; ask the human who delegated you, or use a tool or target that list_targets shows";
    PolicyFailed = "policy.failed", "the policy could not be evaluated, so the call was denied", "tell the operator; the broker's log has the cause under this call id";
    ApprovalDenied = "approval.denied", "a human denied this call", "do not repeat or rephrase it; read the reason and ask the human who delegated you";
    ApprovalExpired = "approval.expired", "nobody decided in time, or the grant was not used in time", "make the call again to ask anew";
    ApprovalSpent = "approval.spent", "this approval has been used already", "make the call again to ask for a new one";
    ApprovalRevoked = "approval.revoked", "a human took this approval back", "do not repeat or rephrase it; tell the human who delegated you";
    ApprovalWithdrawn = "approval.withdrawn", "this request was withdrawn: its call was cancelled, its human declined it, or its agent took it back", "make the call again only if it is still wanted";
    ApprovalUnjustified = "approval.unjustified", "a reason is missing, or does not say what it must", "say in `reason` what the message names, and send it again; a signed message, with an id of its own";
    ApprovalTooAlike = "approval.too_alike", "too many requests like this one were made in a short time", "wait, or ask for access with request_access; do not vary the call";
    ApprovalUnknown = "approval.unknown", "there is no such approval for this caller", "check the approval id; only the human and agent that asked may see it, and who may decide it";
    ApprovalNotAllowed = "approval.not_allowed", "you may not decide this request", "another human must decide; the policy says who";
    ApprovalDecided = "approval.already_decided", "this request has been decided already", "look at its state; a decision is final";
    ApprovalChanged = "approval.changed_since_preview", "the effect would be other than what the approver was shown, so it was not made or was rolled back", "make the call again, so that a human sees the effect as it is now";
    ApprovalMoved = "approval.changed_since_shown", "the request has changed since it was shown, so nothing was decided", "look at it as it is now, and decide then";
    ApprovalsFull = "approval.too_many_open", "too many requests for approval are open for this agent", "wait until some are decided or expire";
    PreviewFailed = "approval.preview_failed", "the effect of the call could not be shown to an approver, so nobody was asked", "the message says what the target answered; correct the call";
    TargetUnreachable = "target.unreachable", "the target could not be reached", "try again later; tell the operator if it lasts";
    TargetRefused = "target.refused", "the target does not accept this human's login, role or right", "the human lacks a login, role or right on that target; ask its owner";
    CredentialUnavailable = "target.no_credential", "the credential for the target could not be read", "try again later; tell the operator if it lasts";
    HostKeyUnknown = "target.host_key_unknown", "nobody has said yet whether the host's key is its own", "have the host's owner look at what the message names, and the operator add the line that it has";
    HostKeyChanged = "target.host_key_changed", "the host shows another key than the one that is known, or one that was revoked", "do not try again: somebody may stand between; tell the operator, who compares the fingerprint with the host's owner";
    TargetFailed = "target.failed", "the target rejected the call", "read the message, correct what it names, call again";
    ObjectNotFound = "target.not_found", "there is no such object on the target", "look for its name with the tools that list";
    Conflict = "target.conflict", "the object has changed, is there already, or has fields that others own", "read the object again and repeat the change on what is there now";
    ListExpired = "target.list_expired", "the list that was being continued has expired on the target", "list again from the beginning";
    NotInstalled = "target.not_installed", "the target does not have what the call needs", "do without, or ask the target's owner to install what the message names";
    TargetTimeout = "target.timeout", "the target did not finish in time and was stopped", "ask for less, or raise timeout_ms within the limit";
    TargetCancelled = "target.cancelled", "the call was cancelled and the target was stopped", "make the call again if it is still wanted";
    TargetBusy = "target.busy", "too many calls are at work on this target", "try again shortly";
    TooManyRows = "target.too_many_rows", "the change would touch more rows than expect_max_rows; it was rolled back", "narrow the statement, or raise expect_max_rows";
    IdentityLost = "target.identity_lost", "the session was no longer the human's when the statement had run; it was rolled back and its result withheld", "tell the operator: a function, view or trigger of the target changes the role or the session";
    MaskFailed = "mask.failed", "the result could not be masked, so it was withheld", "tell the operator; the broker's log has the cause under this call id";
    ResultTooLarge = "mask.result_too_large", "the first row alone is larger than the limit, so the result was withheld", "select fewer columns, cut long values, or raise max_bytes within the limit";
    LedgerUnavailable = "ledger.unavailable", "the ledger could not record the call, so nothing was done or released", "try again later; tell the operator if it lasts";
    Overloaded = "server.overloaded", "the broker has more calls than it accepts at once", "try again shortly";
    TooManyRequests = "server.too_many_requests", "too many requests came from this address or for this identity", "wait as long as Retry-After says; get a good token before trying again";
    Draining = "server.draining", "the broker is shutting down", "try again shortly";
    RequestTimeout = "server.timeout", "the request took longer than the limit", "try again; ask for less in one call";
    ForeignOrigin = "server.foreign_origin", "the Host or Origin of the request is not one of this broker's", "use the broker's own address; the operator can add hosts and origins to [server]";
    CannotRollBack = "target.cannot_roll_back", "a change there could not be taken back, so its bounds could not be kept", "change tables of an engine that rolls back (InnoDB); ask the target's owner about others";
    Unresolved = "target.unresolved", "the broker or its connection was lost while the call was open; whether the target did the work is not known", "look at the target before repeating the call";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One refusal, ready to be recorded and said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: Code,
    detail: Option<String>,
    cause: Option<String>,
}

impl Refusal {
    /// The longest detail that is told, in bytes; the rest is cut at a character.
    pub const DETAIL_MAX_BYTES: usize = 1_000;
    /// The longest that is kept. Far more than is told: cut before it is masked, half of a secret might read like none.
    const KEPT_MAX_BYTES: usize = 64 * 1024;

    /// A refusal that says no more than its code does.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Self { code, detail: None, cause: None }
    }

    /// Adds the public detail: what was wrong and where. Never data of a target.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(Self::KEPT_MAX_BYTES));
        self.detail = Some(detail);
        self
    }

    /// The same with another detail: the mask room passes what a target said through its rules.
    #[must_use]
    pub fn map_detail(mut self, change: impl FnOnce(&str) -> String) -> Self {
        self.detail = self.detail.as_deref().map(change);
        self
    }

    /// Adds the private cause, for the operator's log alone.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What the caller reads: the sentence, and the detail where there is one.
    #[must_use]
    pub fn message(&self) -> String {
        match &self.detail {
            Some(detail) if detail.len() > Self::DETAIL_MAX_BYTES => {
                let told = detail.get(..detail.floor_char_boundary(Self::DETAIL_MAX_BYTES)).unwrap_or_default();
                format!("{}: {told}…", self.code.sentence())
            }
            Some(detail) => format!("{}: {detail}", self.code.sentence()),
            None => self.code.sentence().to_owned(),
        }
    }

    /// What the caller can do.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        self.code.advice()
    }

    /// What the operator should know and the caller must not.
    #[must_use]
    pub fn private_cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_of_the_form_area_reason() {
        let texts: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            let (area, reason) = code.as_str().split_once('.').unwrap_or_default();
            assert!(!area.is_empty() && !reason.is_empty(), "{code}");
            assert!(!code.sentence().ends_with('.') && !code.advice().is_empty(), "{code}");
        }
    }
}
