//! Agents: registered by whoever answers for them, suspended and let work again.

use serde_json::{Map, Value, json};

use crate::identity::{Agent, Human, Person};
use crate::ledger::{Draft, Row, Write};
use crate::record::Unavailable;
use crate::refusal::{Code, Refusal};
use crate::registry::{AGENT, ROWS_MAX, Registered, Registry, SUSPENDED, Stewards, TEXT_MAX_BYTES, Who};

fn malformed(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::Malformed).detail(why)
}

/// A text that people write: bounded, and without anything that would change how a list reads.
pub(super) fn plain(name: &str, text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    if text.len() > TEXT_MAX_BYTES || text.chars().any(char::is_control) {
        return Err(malformed(format!("`{name}` has at most {TEXT_MAX_BYTES} bytes and no control characters")));
    }
    Ok(text.to_owned())
}

/// An agent by its issuer and id.
pub(super) fn named(issuer: &str, id: &str) -> Result<Agent, Refusal> {
    let fits = |text: &str| !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control);
    if !fits(issuer) || !fits(id) {
        return Err(malformed("an agent is named by its issuer and its id, at most 255 bytes each"));
    }
    Ok(Agent { issuer: issuer.to_owned(), id: id.to_owned(), chain: Vec::new() })
}

impl Registry {
    /// All registered agents.
    #[must_use]
    pub fn agents(&self) -> Vec<Registered> {
        self.snapshot().agents().cloned().collect()
    }

    /// Registers an agent; the person who does becomes its owner.
    ///
    /// # Errors
    /// Outer: it could not be recorded. Inner: the refusal, recorded.
    pub async fn register(
        &self,
        person: &Person,
        stewards: &dyn Stewards,
        agent: (&str, &str),
        description: &str,
    ) -> Result<Result<Registered, Refusal>, Unavailable> {
        let _turn = self.inner.turn.lock().await;
        let judged = named(agent.0, agent.1).and_then(|agent| {
            let description = plain("description", description)?;
            let policies = stewards.may_manage(person.human(), &agent, "register", false)?;
            if self.snapshot().agents().count() >= ROWS_MAX / 2 {
                return Err(malformed(format!("at most {} agents may be registered", ROWS_MAX / 2)));
            }
            Ok((agent, description, policies))
        });
        let (agent, description, policies) = match judged {
            Ok(judged) => judged,
            Err(refusal) => return Ok(Err(self.refused(person, "register", agent.1, refusal).await?)),
        };
        let registered = Registered {
            agent: Who { issuer: agent.issuer.clone(), id: agent.id.clone() },
            owner: who(person.human()),
            description,
            is_suspended: false,
            reason: None,
            version: 0,
        };
        let leaf = self.agent_leaf("agent.registered", person, &agent, &policies, None);
        let row = Row::new(AGENT, &self.agent_id(&agent), "active", "", None, registered.to_bytes());
        let changed = self.change(leaf, Write::Insert(row), person, Code::AlreadyRegistered).await?;
        Ok(changed.map(|()| registered))
    }

    /// Suspends an agent, or lets it work again. An agent that is not registered is registered as suspended: stopping must not wait for forms.
    ///
    /// # Errors
    /// As with [`Registry::register`].
    pub async fn set_suspended(
        &self,
        person: &Person,
        stewards: &dyn Stewards,
        agent: (&str, &str),
        suspend: bool,
        reason: &str,
    ) -> Result<Result<Registered, Refusal>, Unavailable> {
        let _turn = self.inner.turn.lock().await;
        let verb = if suspend { "suspend" } else { "resume" };
        let snapshot = self.snapshot();
        let judged = named(agent.0, agent.1).and_then(|agent| {
            let known = snapshot.agent(&agent);
            let own = known.is_some_and(|known| known.owner.is(person.human()));
            let policies = stewards.may_manage(person.human(), &agent, verb, own)?;
            let reason = plain("reason", reason)?;
            if reason.is_empty() {
                return Err(malformed("say why: give a `reason`"));
            }
            if known.is_none() && !suspend {
                return Err(Refusal::new(Code::AgentUnknown));
            }
            if known.is_some_and(|known| known.is_suspended == suspend) {
                return Err(Refusal::new(Code::AlreadyRegistered).detail(format!("the agent is {} already", state(suspend))));
            }
            Ok((agent, reason, policies, known))
        });
        let (agent, reason, policies, known) = match judged {
            Ok(judged) => judged,
            Err(refusal) => return Ok(Err(self.refused(person, verb, agent.1, refusal).await?)),
        };
        let mut changed = known.cloned().unwrap_or_else(|| Registered {
            agent: Who { issuer: agent.issuer.clone(), id: agent.id.clone() },
            owner: who(person.human()),
            description: String::new(),
            is_suspended: false,
            reason: None,
            version: 0,
        });
        changed.is_suspended = suspend;
        changed.reason = Some(reason.clone());
        let id = self.agent_id(&agent);
        let write = match known {
            None => Write::Insert(Row::new(AGENT, &id, SUSPENDED, "", None, changed.to_bytes())),
            Some(known) => Write::MoveIf {
                kind: AGENT.to_owned(),
                id,
                from: state(!suspend).to_owned(),
                to: state(suspend).to_owned(),
                version: known.version,
                expires_at: None,
                body: changed.to_bytes(),
            },
        };
        let kind = if suspend { "agent.suspended" } else { "agent.resumed" };
        let leaf = self.agent_leaf(kind, person, &agent, &policies, Some(&reason));
        Ok(self.change(leaf, write, person, Code::AlreadyRegistered).await?.map(|()| changed))
    }

    fn agent_leaf(&self, kind: &'static str, person: &Person, agent: &Agent, policies: &[String], reason: Option<&str>) -> Draft {
        let mut body = Map::from_iter([
            ("agent".to_owned(), json!({ "id": self.agent_id(agent) })),
            ("policy".to_owned(), json!({ "ids": policies })),
            ("res".to_owned(), json!({ "status": kind.rsplit('.').next() })),
        ]);
        if let Some(reason) = reason {
            body.insert("reason_len".to_owned(), Value::from(reason.len()));
        }
        self.inner.recorder.personal(kind, person, body).of_agent(self.agent_id(agent))
    }
}

const fn state(suspended: bool) -> &'static str {
    if suspended { SUSPENDED } else { "active" }
}

pub(super) fn who(human: &Human) -> Who {
    Who { issuer: human.issuer.clone(), id: human.subject.clone() }
}
