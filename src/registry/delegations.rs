//! Delegations: made by a human in their own name alone, and taken back at once by them or by whom a policy lets `manage` the agent.

use chrono::TimeDelta;
use serde_json::{Map, json};

use crate::clock::{Timestamp, rfc3339};
use crate::id::DelegationId;
use crate::identity::{Agent, Person};
use crate::ledger::{Draft, Row, Write};
use crate::operation::Risk;
use crate::record::Unavailable;
use crate::refusal::{Code, Refusal};
use crate::registry::agents::{named, plain, who};
use crate::registry::{DELEGATION, Lent, REVOKED, ROWS_MAX, Registry, Stewards, Who};

/// What a human wants to lend.
#[derive(Debug, Clone)]
pub struct Lending {
    /// The agent's issuer.
    pub issuer: String,
    /// The agent's id.
    pub agent: String,
    /// Targets; empty = all.
    pub targets: Vec<String>,
    /// Tools; empty = all.
    pub tools: Vec<String>,
    /// The highest risk.
    pub risk: Risk,
    /// For how long.
    pub lasting: TimeDelta,
}

/// The longest delegation.
const LASTING_MAX: TimeDelta = TimeDelta::days(366);
/// Names that one delegation may list.
const NAMES_MAX: usize = 64;
/// Delegations that one human may have made, those that are over among them, and all humans together.
const MADE_MAX: usize = 1_000;
/// Delegations between one human and one agent that may stand at once.
const LIVE_MAX: usize = 32;

impl Registry {
    /// Delegations that this person made, or all of them.
    #[must_use]
    pub fn delegations(&self, person: &Person, everybodys: bool) -> Vec<Lent> {
        self.snapshot().all_lent().filter(|lent| everybodys || lent.human.is(person.human())).cloned().collect()
    }

    /// Lends. It narrows what the human's tokens and the policies allow, and never widens it.
    ///
    /// # Errors
    /// Outer: it could not be recorded. Inner: the refusal, recorded.
    pub async fn lend(&self, person: &Person, lending: Lending) -> Result<Result<Lent, Refusal>, Unavailable> {
        let _turn = self.inner.turn.lock().await;
        let now = self.inner.clock.now();
        let (agent, lent) = match self.judge(person, &lending, now) {
            Ok(judged) => judged,
            Err(refusal) => return Ok(Err(self.refused(person, "delegate", &lending.agent, refusal).await?)),
        };
        let leaf = self.delegation_leaf("delegation.granted", person, &agent, &lent, &[]);
        let row = Row::new(DELEGATION, lent.id.as_str(), "active", "", Some(lent.until), lent.to_bytes());
        Ok(self.change(leaf, Write::Insert(row), person, Code::AlreadyRegistered).await?.map(|()| lent))
    }

    fn judge(&self, person: &Person, lending: &Lending, now: Timestamp) -> Result<(Agent, Lent), Refusal> {
        let malformed = |why: String| Refusal::new(Code::Malformed).detail(why);
        let agent = named(&lending.issuer, &lending.agent)?;
        let settings = &self.inner.settings;
        for (what, names, known) in [("target", &lending.targets, &settings.targets), ("tool", &lending.tools, &settings.tools)] {
            if names.len() > NAMES_MAX {
                return Err(malformed(format!("at most {NAMES_MAX} {what}s may be named")));
            }
            if let Some(unknown) = names.iter().find(|name| !known.contains(*name)) {
                return Err(malformed(format!("there is no {what} `{unknown}`; leave it out for all of them")));
            }
        }
        if lending.lasting <= TimeDelta::zero() || lending.lasting > LASTING_MAX {
            return Err(malformed(format!("it must last longer than nothing and at most {} days", LASTING_MAX.num_days())));
        }
        let snapshot = self.snapshot();
        match snapshot.agent(&agent) {
            Some(known) if known.is_suspended => return Err(Refusal::new(Code::AgentSuspended)),
            None if settings.agents_required => return Err(Refusal::new(Code::AgentUnknown)),
            _ => {}
        }
        // Before the row is there: a registry that is too full to be read stops everybody.
        let made = snapshot.all_lent().filter(|lent| lent.human.is(person.human())).count();
        if made >= MADE_MAX || snapshot.all_lent().count() >= ROWS_MAX - MADE_MAX {
            return Err(malformed(format!(
                "at most {MADE_MAX} delegations may be made by one human, and the registry has room for {ROWS_MAX}"
            )));
        }
        if snapshot.lent(person.human(), &agent).iter().filter(|lent| lent.is_live(now)).count() >= LIVE_MAX {
            return Err(malformed(format!("at most {LIVE_MAX} delegations to one agent may stand at once: revoke some")));
        }
        let id = DelegationId::mint().map_err(|_| Refusal::new(Code::LedgerUnavailable).cause("no randomness"))?;
        let to = Who { issuer: agent.issuer.clone(), id: agent.id.clone() };
        let lent = Lent {
            id,
            human: who(person.human()),
            agent: to,
            targets: lending.targets.clone(),
            tools: lending.tools.clone(),
            risk: lending.risk,
            until: now + lending.lasting,
            made_at: now,
            is_revoked: false,
            reason: None,
            version: 0,
        };
        Ok((agent, lent))
    }

    /// Takes a delegation back. Calls that wait hear of it at once.
    ///
    /// # Errors
    /// As with [`Registry::lend`]. Somebody else's is not found, unless a policy lets this person manage the agent.
    pub async fn revoke(
        &self,
        person: &Person,
        stewards: &dyn Stewards,
        id: &str,
        reason: &str,
    ) -> Result<Result<Lent, Refusal>, Unavailable> {
        let _turn = self.inner.turn.lock().await;
        let snapshot = self.snapshot();
        let found = snapshot.all_lent().find(|lent| lent.id.as_str() == id);
        let judged = found.ok_or_else(|| Refusal::new(Code::NotFound)).and_then(|lent| {
            let agent = named(&lent.agent.issuer, &lent.agent.id)?;
            let policies = if lent.human.is(person.human()) {
                Vec::new()
            } else {
                let owns = snapshot.agent(&agent).is_some_and(|known| known.owner.is(person.human()));
                stewards.may_manage(person.human(), &agent, "revoke", owns).map_err(|_| Refusal::new(Code::NotFound))?
            };
            if lent.is_revoked {
                return Err(Refusal::new(Code::AlreadyRegistered).detail("the delegation is revoked already"));
            }
            Ok((agent, lent, policies, plain("reason", reason)?))
        });
        let (agent, lent, policies, reason) = match judged {
            Ok(judged) => judged,
            Err(refusal) => return Ok(Err(self.refused(person, "revoke", id, refusal).await?)),
        };
        let changed = Lent { is_revoked: true, reason: Some(reason).filter(|reason| !reason.is_empty()), ..lent.clone() };
        let leaf = self.delegation_leaf("delegation.revoked", person, &agent, &changed, &policies);
        let write = Write::MoveIf {
            kind: DELEGATION.to_owned(),
            id: lent.id.as_str().to_owned(),
            from: "active".to_owned(),
            to: REVOKED.to_owned(),
            version: lent.version,
            expires_at: Some(lent.until),
            body: changed.to_bytes(),
        };
        Ok(self.change(leaf, write, person, Code::AlreadyRegistered).await?.map(|()| changed))
    }

    fn delegation_leaf(&self, kind: &'static str, person: &Person, agent: &Agent, lent: &Lent, policies: &[String]) -> Draft {
        let lender = crate::identity::Human {
            issuer: lent.human.issuer.clone(),
            subject: lent.human.id.clone(),
            name: None,
            teams: Vec::new(),
            person: None,
        };
        let body = Map::from_iter([
            ("agent".to_owned(), json!({ "id": self.agent_id(agent) })),
            (
                "dlg".to_owned(),
                json!({ "id": lent.id.as_str(), "exp": rfc3339(lent.until), "targets": lent.targets, "tools": lent.tools, "risk": lent.risk.level(), "of": self.inner.recorder.human(&lender) }),
            ),
            ("policy".to_owned(), json!({ "ids": policies })),
            ("res".to_owned(), json!({ "status": kind.rsplit('.').next() })),
        ]);
        self.inner.recorder.personal(kind, person, body).of_agent(self.agent_id(agent))
    }
}
