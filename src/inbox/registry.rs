//! Agents and delegations over HTTP: lists, and every change by a `Person`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, Path, Query, Request, State};
use chrono::TimeDelta;
use http::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::identity::Person;
use crate::inbox::door::{Action, demand, person, person_for};
use crate::inbox::{Inbox, Problem};
use crate::operation::Risk;
use crate::refusal::{Code, Refusal};
use crate::registry::Lending;

fn malformed(why: String) -> Problem {
    Problem::refused(Refusal::new(Code::Malformed).detail(why))
}

/// Read once it is known who sends it: a stranger's body is not waited for.
async fn body<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    Json::<T>::from_request(request, &()).await.map(|Json(body)| body).map_err(|rejection| malformed(rejection.body_text()))
}

/// The issuer that was named, or the person's own: most companies have one.
fn issuer(named: Option<String>, person: &Person) -> String {
    named.unwrap_or_else(|| person.human().issuer.clone())
}

pub(super) async fn agents(State(inbox): State<Arc<Inbox>>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    person(&inbox, &headers).await?;
    let agents: Vec<Value> = inbox.registry.agents().iter().map(crate::registry::Registered::shown).collect();
    Ok(Json(json!({ "agents": agents })))
}

/// The body of a registration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration {
    agent: String,
    issuer: Option<String>,
    #[serde(default)]
    description: String,
}

pub(super) async fn register(State(inbox): State<Arc<Inbox>>, request: Request) -> Result<Json<Value>, Problem> {
    let person = person_for(&inbox, request.headers(), Action::Manage).await?;
    let said: Registration = body(request).await?;
    let issuer = issuer(said.issuer, &person);
    let registered = inbox.registry.register(&person, &*inbox.policy, (&issuer, &said.agent), &said.description).await?;
    registered.map(|registered| Json(registered.shown())).map_err(Problem::refused)
}

/// The body of a change of state.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    agent: String,
    issuer: Option<String>,
    state: Wanted,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Active,
    Suspended,
}

pub(super) async fn set_state(State(inbox): State<Arc<Inbox>>, request: Request) -> Result<Json<Value>, Problem> {
    let person = person(&inbox, request.headers()).await?;
    let said: Change = body(request).await?;
    let issuer = issuer(said.issuer, &person);
    let suspend = said.state == Wanted::Suspended;
    if !suspend {
        demand(&inbox, &person, Action::Manage).await?;
    }
    let changed = inbox.registry.set_suspended(&person, &*inbox.policy, (&issuer, &said.agent), suspend, &said.reason).await?;
    changed.map(|registered| Json(registered.shown())).map_err(Problem::refused)
}

/// `?all=true`: everybody's, for those who may review.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    #[serde(default)]
    all: bool,
}

pub(super) async fn delegations(
    State(inbox): State<Arc<Inbox>>,
    headers: HeaderMap,
    whose: Result<Query<Whose>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let person = person(&inbox, &headers).await?;
    let Query(whose) = whose.map_err(|rejection| malformed(rejection.body_text()))?;
    if whose.all {
        demand(&inbox, &person, Action::Review).await?;
    }
    if whose.all && !inbox.policy.may_review(person.human()) {
        return Err(Problem::refused(Refusal::new(Code::PolicyDenied).detail("everybody's are for those whom a policy lets `review`")));
    }
    let now = inbox.clock.now();
    let delegations: Vec<Value> = inbox.registry.delegations(&person, whose.all).iter().map(|lent| lent.shown(now)).collect();
    Ok(Json(json!({ "delegations": delegations })))
}

/// The body of a delegation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Loan {
    agent: String,
    issuer: Option<String>,
    #[serde(default)]
    targets: BTreeSet<String>,
    #[serde(default)]
    tools: BTreeSet<String>,
    highest_risk: String,
    lasting_s: u32,
}

pub(super) async fn lend(State(inbox): State<Arc<Inbox>>, request: Request) -> Result<Json<Value>, Problem> {
    let person = person_for(&inbox, request.headers(), Action::Delegate).await?;
    let said: Loan = body(request).await?;
    let risk =
        Risk::parse(&said.highest_risk).ok_or_else(|| malformed("`highest_risk` must be read, write, destructive or admin".to_owned()))?;
    let lending = Lending {
        issuer: issuer(said.issuer, &person),
        agent: said.agent,
        targets: said.targets.into_iter().collect(),
        tools: said.tools.into_iter().collect(),
        risk,
        lasting: TimeDelta::seconds(i64::from(said.lasting_s)),
    };
    let lent = inbox.registry.lend(&person, lending).await?.map_err(Problem::refused)?;
    Ok(Json(lent.shown(inbox.clock.now())))
}

/// The body of a revocation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    #[serde(default)]
    reason: String,
}

pub(super) async fn revoke(State(inbox): State<Arc<Inbox>>, Path(id): Path<String>, request: Request) -> Result<Json<Value>, Problem> {
    let person = person(&inbox, request.headers()).await?;
    let said: Why = body(request).await?;
    let revoked = inbox.registry.revoke(&person, &*inbox.policy, &id, &said.reason).await?.map_err(Problem::refused)?;
    Ok(Json(revoked.shown(inbox.clock.now())))
}
