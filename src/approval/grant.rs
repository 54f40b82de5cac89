//! `Approval`: humans said yes to this call: to exactly this one, once, or to a bounded number within a scope. Minted from a row in state `approved`,
//! spent by `audit.open` in the transaction that writes the admitted leaf; the rows decide a race, not this value.

use aws_lc_rs::digest;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::approval::decide::may_decide;
use crate::approval::{Asking, Desk, Electorate, Filed, Shown, State, View};
use crate::call::Bound;
use crate::clock::rfc3339;
use crate::id::{ApprovalId, CallId};
use crate::ledger::{Row, Write, canonical};
use crate::record::Unavailable;
use crate::refusal::{Code, Refusal};

/// Proof that humans approved this very call. Not `Clone`, no public constructor.
#[derive(Debug)]
pub struct Approval {
    id: ApprovalId,
    call: CallId,
    commit: String,
    bound: Option<Bound>,
    is_of_broken_glass: bool,
    spending: Vec<(Write, Code)>,
}

/// Rows that say that a call used a grant.
const USE: &str = "grant_use";
const USED: &str = "used";

impl Approval {
    /// Whether it was handed out for this call.
    #[must_use]
    pub fn is_for(&self, call: &CallId) -> bool {
        self.call == *call
    }

    /// Which request.
    #[must_use]
    pub const fn id(&self) -> &ApprovalId {
        &self.id
    }

    /// The commitment to what was approved, as the leaves carry it.
    #[must_use]
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Whether one human let it go ahead alone, and somebody is to look at that.
    #[must_use]
    pub const fn is_of_broken_glass(&self) -> bool {
        self.is_of_broken_glass
    }

    /// What the approver was shown the call would touch; `None` of a grant, whose approver saw its scope. Consumes the proof: it is spent by then.
    #[must_use]
    pub fn into_bound(self) -> Option<Bound> {
        self.bound
    }

    /// The writes that spend it, each with what the caller is told where it cannot be made: the whole change is refused then.
    pub fn spend(&mut self) -> Vec<(Write, Code)> {
        std::mem::take(&mut self.spending)
    }
}

impl Desk {
    /// The call digest (HMAC under the store's key): equal for an identical call by the same human and agent under the same policies, and for
    /// nothing else. It lives in state rows only.
    pub(super) fn digest(&self, asking: Asking<'_>) -> Result<String, Refusal> {
        let call = asking.call;
        let delegation = &call.facts.delegation;
        let bound = json!({
            "v": 1,
            "tool": call.tool.name,
            "schema_hash": call.tool.schema_hash,
            "target": call.target.as_ref().map_or(json!(""), |target| json!([target.name, target.engine, target.environment, target.place])),
            "arguments": stringified(&call.arguments),
            "human": [delegation.human().issuer, delegation.human().subject],
            "agent": [delegation.agent().issuer, delegation.agent().id, delegation.agent().chain.join(" ")],
            "unattended": delegation.is_unattended(),
            "policy": asking.judgement.set_hash,
        });
        let bytes = canonical(&bound).map_err(|error| Refusal::new(Code::InvalidArguments).cause(error))?;
        Ok(hex::encode(self.ledger.keys().digest(&bytes)))
    }

    /// The commitment that leaves carry: SHA-256("approval/v1" ‖ salt ‖ digest ‖ rows ‖ objects ‖ expiry).
    pub(super) fn commitment(salt: &[u8; 32], digest_hex: &str, filed: &Filed) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"approval/v1");
        context.update(salt);
        context.update(digest_hex.as_bytes());
        context.update(filed.max_rows.map_or_else(|| "-".to_owned(), |rows| rows.to_string()).as_bytes());
        for seen in &filed.objects {
            let none = || "-".to_owned();
            for part in [seen.object.clone(), seen.uid.clone().unwrap_or_else(none), seen.content.clone().unwrap_or_else(none)] {
                // Lengths keep ("ab", "c") apart from ("a", "bc").
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part.as_bytes());
            }
        }
        context.update(b"|");
        context.update(rfc3339(filed.expires_at()).as_bytes());
        hex::encode(context.finish())
    }

    /// The approval for the very call that was approved, while it can be claimed.
    pub(super) fn mint(&self, asking: Asking<'_>, view: &View) -> Result<Approval, Refusal> {
        let filed = &view.filed;
        let unknown = || Refusal::new(Code::ApprovalUnknown);
        let digest = self.digest(asking)?;
        let salt: [u8; 32] = hex::decode(&filed.salt).ok().and_then(|salt| salt.try_into().ok()).ok_or_else(unknown)?;
        // Opened against the arguments that are about to run, not against what the row says they were.
        if Self::commitment(&salt, &digest, filed) != filed.commit {
            return Err(unknown());
        }
        let mut spent = filed.clone();
        spent.claimed_by = Some(asking.call.facts.id.to_string());
        let claim = Write::MoveIf {
            kind: Filed::KIND.to_owned(),
            id: filed.id.clone(),
            from: State::Approved.as_str().to_owned(),
            to: State::Spent.as_str().to_owned(),
            version: view.version,
            expires_at: filed.grant_until,
            body: spent.to_bytes(),
        };
        Ok(Approval {
            id: ApprovalId::parse(&filed.id).map_err(|_| unknown())?,
            call: asking.call.facts.id.clone(),
            commit: filed.commit.clone(),
            bound: Some(Bound { rows: filed.max_rows, objects: filed.objects.clone() }),
            is_of_broken_glass: filed.glass.is_some(),
            // By the time of the commit, and not of this look.
            spending: vec![(self.still(filed), Code::ApprovalExpired), (claim, Code::ApprovalSpent)],
        })
    }

    /// That what was given was not taken back, and has not run out.
    fn still(&self, filed: &Filed) -> Write {
        let ended = [State::Expired, State::Revoked, State::Withdrawn].map(|state| state.as_str().to_owned()).to_vec();
        Write::Unless { kind: Filed::KIND.to_owned(), id: filed.id.clone(), states: ended, live: true }
    }

    /// Whether a grant was made for this very tool, as it is defined now, for what its target's name stands for now, and for this way of coming: the same
    /// actors, with or without a human there.
    fn is_of_its_kind(asking: Asking<'_>, filed: &Filed) -> bool {
        let delegation = &asking.call.facts.delegation;
        let facts = asking.call.target.as_ref();
        let target = facts.map(|target| (target.name.clone(), target.engine.to_owned(), target.environment.clone()));
        let place = facts.map_or("", |target| target.place.as_str());
        filed.schema_hashes.get(&asking.call.tool.name) == Some(&asking.call.tool.schema_hash)
            && filed.target == target
            && filed.place == place
            && filed.chain == delegation.agent().chain
            && filed.is_unattended == delegation.is_unattended()
    }

    /// The approval for a call that a grant reaches, if those who gave it might approve this very call now. A use is a row of its own, so that two at once
    /// do not hinder each other, and no more are written than the grant has calls.
    pub(super) async fn by_grant(
        &self,
        asking: Asking<'_>,
        view: &View,
        electorate: &dyn Electorate,
    ) -> Result<Option<Approval>, Unavailable> {
        let filed = &view.filed;
        let (Some(scope), Some(most)) = (&filed.scope, asking.terms.grant) else { return Ok(None) };
        let began = filed.grant_until.map(|until| until - TimeDelta::minutes(i64::from(scope.minutes)));
        // What the policies allow now holds, if it is less than when the grant was made.
        let is_live = began.is_some_and(|began| self.clock.now() < began + TimeDelta::minutes(i64::from(most.minutes)));
        let calls = scope.calls.min(most.calls);
        if view.state_at(self.clock.now()) != State::Granted
            || !is_live
            || !scope.reaches(asking.call)
            || !Self::is_of_its_kind(asking, filed)
        {
            return Ok(None);
        }
        let this = Filed::new(&filed.id, asking, Shown::default(), filed.asked_at, filed.expires_at());
        let mut standing = 0;
        for vote in filed.votes.iter().filter(|vote| vote.approve && !vote.lapsed) {
            let Some(voter) = self.voter(vote).await? else { continue };
            let is_another = !this.is_by(&voter) || this.self_approval;
            standing += usize::from(is_another && may_decide(&voter, &this, electorate).is_ok());
        }
        let Ok(id) = ApprovalId::parse(&filed.id) else { return Ok(None) };
        if standing < usize::from(filed.quorum.max(asking.terms.quorum)) {
            return Ok(None);
        }
        let uses = self.uses(filed).await?;
        if uses >= u64::from(calls) {
            return Ok(None);
        }
        // What was previewed binds the call that it was shown for, the first time that this very call is made, whatever others were made before.
        let Ok(digest) = self.digest(asking) else { return Ok(None) };
        let is_shown = !filed.is_access() && self.mint(asking, view).is_ok();
        let is_first = !self.ledger.by_key(USE, &digest).await?.iter().any(|used| used.group == filed.id);
        let row = Row::new(USE, asking.call.facts.id.as_str(), USED, &digest, None, Vec::new()).grouped(&filed.id);
        let counted = Write::InsertUnlessKey { row, states: Vec::new(), group_max: Some((vec![USED.to_owned()], u64::from(calls))) };
        Ok(Some(Approval {
            id,
            call: asking.call.facts.id.clone(),
            commit: filed.commit.clone(),
            bound: (is_shown && is_first).then(|| Bound { rows: filed.max_rows, objects: filed.objects.clone() }),
            is_of_broken_glass: false,
            spending: vec![(self.still(filed), Code::ApprovalRevoked), (counted, Code::ApprovalSpent)],
        }))
    }

    /// The request with how often it was used, where it is a grant; one that was used as often as it may be is spent.
    pub(super) async fn counted(&self, mut view: View) -> Result<View, Unavailable> {
        if view.filed.scope.is_some() && view.filed.grant_until.is_some() {
            let uses = self.uses(&view.filed).await?;
            if view.state == State::Granted && view.filed.scope.as_ref().is_some_and(|scope| uses >= u64::from(scope.calls)) {
                view.state = State::Spent;
            }
            view.filed.uses = Some(uses);
        }
        Ok(view)
    }

    /// How many calls have used a grant.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn uses(&self, filed: &Filed) -> Result<u64, Unavailable> {
        Ok(self.ledger.count(USE, &filed.id, USED).await?)
    }
}

/// Floats have no canonical form in the ledger's profile; their shortest round-trip text does.
fn stringified(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => Value::from(format!("f:{number}")),
        Value::Number(number) => Value::from(format!("n:{number}")),
        Value::String(text) => Value::from(format!("s:{text}")),
        Value::Null => Value::from("null"),
        Value::Array(items) => items.iter().map(stringified).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (hex::encode(name), stringified(value))).collect(),
        Value::Bool(_) => value.clone(),
    }
}
