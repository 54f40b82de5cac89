//! What the token service grants: token exchange for an agent of a human, client credentials for one that works alone, and taking a token back.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use crate::clock::{Timestamp, rfc3339};
use crate::identity::service::{Actor, Grant, Minted};
use crate::identity::{Event, Human};
use crate::ledger::{Change, Draft, Write};
use crate::operation::Risk;
use crate::record::Unavailable;
use crate::refusal::{Code, Refusal};
use crate::registry::{Lent, Registry};
use crate::token_service::TokenService;
use crate::token_service::request::Form;

/// A token as it is handed out.
pub(super) struct Issued {
    pub(super) minted: Minted,
    pub(super) scopes: Vec<String>,
    pub(super) is_bound: bool,
}

/// Types of subject token (RFC 8693, 3).
const SUBJECT_TYPES: [&str; 3] =
    ["urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:jwt"];

fn invalid_grant(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidGrant).detail(why)
}

/// The risk that a scope reaches; scopes that are not the broker's reach none.
fn reach(scope: &str) -> Option<Risk> {
    match scope {
        "mcp:read" => Some(Risk::Read),
        "mcp:write" => Some(Risk::Destructive),
        "mcp:admin" => Some(Risk::Admin),
        _ => None,
    }
}

impl TokenService {
    /// Token exchange.
    pub(super) async fn exchange(
        &self,
        actor: &Actor,
        form: &Form,
        bound_to: Option<&str>,
    ) -> Result<Result<Issued, Refusal>, Unavailable> {
        let now = self.clock.now();
        let judged = async {
            self.check_resource(form)?;
            let kind = form.required("subject_token_type")?;
            if !SUBJECT_TYPES.contains(&secrecy::ExposeSecret::expose_secret(kind)) {
                return Err(
                    Refusal::new(Code::Malformed).detail("`subject_token_type` must be access_token, id_token or jwt (RFC 8693, 3)")
                );
            }
            let subject = self.identity.subject(form.required("subject_token")?).await?;
            self.registry.check_shown(&subject)?;
            let lent = self.registry.lent_now(subject.human(), actor.agent(), now)?;
            let scopes = scopes(form, actor, subject.scopes(), lent.as_ref())?;
            let until = self.until(now, Some(subject.expires_at()), lent.as_ref());
            let grant = Grant { scopes: &scopes, delegation: lent.as_ref().map(|lent| &lent.id), bound_to, until };
            let minted = self.service.mint(&subject, actor, &grant, now)?;
            Ok((subject.human().clone(), minted, scopes, lent, until))
        };
        match judged.await {
            Ok((human, minted, scopes, lent, until)) => {
                self.hand_out("token_exchange", &human, actor, (minted, scopes, until), lent, bound_to).await
            }
            Err(refusal) => Ok(Err(self.refuse("token_exchange", actor, refusal).await?)),
        }
    }

    /// Turns the signing keys over where it is time, and puts it on record.
    pub(super) async fn turn_keys(&self) -> Result<(), Unavailable> {
        let now = self.clock.now();
        if !self.service.keys().is_due(now) {
            return Ok(());
        }
        let keys = Arc::clone(self.service.keys());
        let turned = tokio::task::spawn_blocking(move || keys.turn(now)).await.map_err(Unavailable::because)?;
        let Some((before, now)) = turned.map_err(Unavailable::because)? else { return Ok(()) };
        let event = Event::KeysChanged { issuer: self.service.url(), before: &before, now: &now };
        self.witness.saw(event).await.map_err(|refusal| Unavailable::because(refusal.message()))
    }

    /// Client credentials: the agent alone, where a policy names who answers for it.
    pub(super) async fn alone(&self, actor: &Actor, form: &Form, bound_to: Option<&str>) -> Result<Result<Issued, Refusal>, Unavailable> {
        let now = self.clock.now();
        let judged = || {
            self.check_resource(form)?;
            let owner = self.policy.answers_for(actor.agent())?;
            let lent = self.registry.lent_now(&owner, actor.agent(), now)?;
            let scopes = scopes(form, actor, None, lent.as_ref())?;
            let until = self.until(now, None, lent.as_ref());
            let grant = Grant { scopes: &scopes, delegation: lent.as_ref().map(|lent| &lent.id), bound_to, until };
            let minted = self.service.mint_unattended(&owner, actor, &grant, now)?;
            Ok((owner, minted, scopes, lent, until))
        };
        match judged() {
            Ok((owner, minted, scopes, lent, until)) => {
                self.hand_out("client_credentials", &owner, actor, (minted, scopes, until), lent, bound_to).await
            }
            Err(refusal) => Ok(Err(self.refuse("client_credentials", actor, refusal).await?)),
        }
    }

    /// Takes back a token of this service; only the agent that holds it may.
    pub(super) async fn revoke(&self, actor: &Actor, form: &Form) -> Result<Result<(), Refusal>, Unavailable> {
        let token = match form.required("token") {
            Ok(token) => token,
            Err(refusal) => return Ok(Err(refusal)),
        };
        // A token that is not good is over already, and there is nothing to tell (RFC 7009, 2.2).
        let Ok((token_id, agent, until)) = self.identity.own_token(token).await else { return Ok(Ok(())) };
        if agent != actor.agent().id {
            return Ok(Err(Refusal::new(Code::InvalidClient).detail("the token is another agent's")));
        }
        let id = self.recorder.agent(actor.agent());
        let body = Map::from_iter([("agent".to_owned(), json!({ "id": id })), ("jti".to_owned(), Value::from(token_id.as_str()))]);
        let leaf = Draft::new("token.revoked", body).of_agent(id);
        self.registry.revoke_token(leaf, &token_id, until).await?;
        Ok(Ok(()))
    }

    fn until(&self, now: Timestamp, shown: Option<Timestamp>, lent: Option<&Lent>) -> Timestamp {
        let most = now + TimeDelta::from_std(self.lifetime).unwrap_or_default();
        [shown, lent.map(|lent| lent.until)].into_iter().flatten().fold(most, Timestamp::min)
    }

    /// Tokens are for the agent's door and for nothing else.
    fn check_resource(&self, form: &Form) -> Result<(), Refusal> {
        let door = self.identity.resource();
        match ["resource", "audience"].iter().find(|name| form.get(name).is_some_and(|named| named != door)) {
            Some(name) => Err(Refusal::new(Code::InvalidTarget).detail(format!("`{name}` must be `{door}`"))),
            None => Ok(()),
        }
    }

    async fn hand_out(
        &self,
        grant: &'static str,
        human: &Human,
        actor: &Actor,
        made: (Minted, Vec<String>, Timestamp),
        lent: Option<Lent>,
        bound_to: Option<&str>,
    ) -> Result<Result<Issued, Refusal>, Unavailable> {
        let (minted, scopes, until) = made;
        let (human_id, agent_id) = (self.recorder.human(human), self.recorder.agent(actor.agent()));
        let mut body = Map::from_iter([
            ("human".to_owned(), json!({ "sub_id": human_id, "idp": self.recorder.issuer(&human.issuer) })),
            ("agent".to_owned(), json!({ "id": agent_id })),
            ("grant".to_owned(), Value::from(grant)),
            ("jti".to_owned(), Value::from(minted.token_id.as_str())),
            ("scopes".to_owned(), json!(scopes)),
            ("exp".to_owned(), Value::from(rfc3339(until))),
        ]);
        body.extend(lent.as_ref().map(|lent| ("dlg".to_owned(), json!({ "id": lent.id.as_str() }))));
        body.extend(bound_to.map(|jkt| ("cnf".to_owned(), json!({ "jkt": jkt }))));
        let leaf = Draft::new("token.issued", body).of_human(human_id).of_agent(agent_id);
        // What the token stands on must still stand at this very moment.
        let demands = Registry::still(&self.recorder, actor.agent(), lent.as_ref().map(|lent| &lent.id));
        let (mut writes, codes): (Vec<Write>, Vec<Code>) = demands.into_iter().unzip();
        writes.extend(self.recorder.subjects(human, Some(actor.agent())));
        match self.ledger.commit(Change { leaves: vec![leaf], writes, payloads: Vec::new() }).await {
            Ok(_) => Ok(Ok(Issued { minted, scopes, is_bound: bound_to.is_some() })),
            Err(crate::ledger::CommitError::Conflict { write }) => {
                self.recorder.forget();
                let refusal = Refusal::new(codes.get(write).copied().unwrap_or(Code::LedgerUnavailable));
                Ok(Err(self.refuse(grant, actor, refusal).await?))
            }
            Err(error) => {
                self.recorder.forget();
                Err(error.into())
            }
        }
    }

    /// A refusal of an agent that proved itself, on record.
    pub(super) async fn refuse(&self, grant: &'static str, actor: &Actor, refusal: Refusal) -> Result<Refusal, Unavailable> {
        let id = self.recorder.agent(actor.agent());
        let body = Map::from_iter([
            ("agent".to_owned(), json!({ "id": id })),
            ("grant".to_owned(), Value::from(grant)),
            ("res".to_owned(), json!({ "status": "refused", "code": refusal.code().as_str() })),
        ]);
        let leaf = Draft::new("token.refused", body).of_agent(id);
        self.ledger.commit(Change { leaves: vec![leaf], writes: Vec::new(), payloads: Vec::new() }).await?;
        Ok(refusal)
    }
}

/// The scopes of the token: what is asked for, or all that the agent, the human's own token and the delegation let it have.
fn scopes(form: &Form, actor: &Actor, shown: Option<&[String]>, lent: Option<&Lent>) -> Result<Vec<String>, Refusal> {
    let may = |scope: &String| {
        let lends = lent.is_none_or(|lent| {
            reach(scope).is_none_or(|reach| reach <= lent.risk || (reach == Risk::Destructive && lent.risk == Risk::Write))
        });
        shown.is_none_or(|shown| shown.contains(scope)) && lends
    };
    let able: Vec<String> = actor.scopes().iter().filter(|scope| may(scope)).cloned().collect();
    let Some(asked) = form.get("scope") else {
        return if able.is_empty() {
            Err(invalid_grant("neither the human's token nor the delegation leaves it any scope"))
        } else {
            Ok(able)
        };
    };
    let asked: BTreeSet<String> = asked.split(' ').filter(|scope| !scope.is_empty()).map(ToOwned::to_owned).collect();
    match asked.iter().find(|scope| !able.contains(scope)) {
        Some(_) => Err(Refusal::new(Code::InvalidScope)
            .detail(format!("it may have {}", if able.is_empty() { "none".to_owned() } else { able.join(" ") }))),
        None => Ok(asked.into_iter().collect()),
    }
}
