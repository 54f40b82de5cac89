//! `Approval`: a human said yes to exactly this call. Minted from a row in state `approved`, spent by `audit.open` in the transaction that
//! writes the admitted leaf; the row's state decides a race, not this value.

use aws_lc_rs::digest;
use serde_json::{Value, json};

use crate::approval::{Asking, Desk, Filed};
use crate::call::Bound;
use crate::clock::rfc3339;
use crate::id::{ApprovalId, CallId};
use crate::ledger::{Write, canonical};
use crate::refusal::{Code, Refusal};

/// Proof that humans approved this very call. Not `Clone`, no public constructor.
#[derive(Debug)]
pub struct Approval {
    id: ApprovalId,
    call: CallId,
    commit: String,
    bound: Bound,
    spent: Filed,
}

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

    /// What the approver was shown the call would touch. Consumes the proof: it is spent by then.
    #[must_use]
    pub fn into_bound(self) -> Bound {
        self.bound
    }

    /// The write that spends it: approved → spent, or the whole change is refused.
    #[must_use]
    pub fn spend(&self) -> Write {
        Write::Move {
            kind: Filed::KIND.to_owned(),
            id: self.id.as_str().to_owned(),
            from: "approved".to_owned(),
            to: "spent".to_owned(),
            body: Some(self.spent.to_bytes()),
        }
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
            "target": call.target.as_ref().map_or(Value::from(""), |target| Value::from(target.name.as_str())),
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

    /// The approval for a call whose request is approved and whose grant still holds.
    pub(super) fn mint(&self, asking: Asking<'_>, filed: &Filed) -> Result<Approval, Refusal> {
        let unknown = || Refusal::new(Code::ApprovalUnknown);
        let digest = self.digest(asking)?;
        let salt: [u8; 32] = hex::decode(&filed.salt).ok().and_then(|salt| salt.try_into().ok()).ok_or_else(unknown)?;
        // Opened against the arguments that are about to run, not against what the row says they were.
        if Self::commitment(&salt, &digest, filed) != filed.commit {
            return Err(unknown());
        }
        let mut spent = filed.clone();
        spent.claimed_by = Some(asking.call.facts.id.to_string());
        Ok(Approval {
            id: ApprovalId::parse(&filed.id).map_err(|_| unknown())?,
            call: asking.call.facts.id.clone(),
            commit: filed.commit.clone(),
            bound: Bound { rows: filed.max_rows, objects: filed.objects.clone() },
            spent,
        })
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
