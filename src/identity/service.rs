//! The identity side of the token service: who signed in (`SignedIn`), which agent asks (`Actor`), and the token that says both (RFC 8693).
//!
//! It exists for identity providers that cannot mint delegated tokens themselves. Only what was verified here becomes a token: a `SignedIn` and an
//! `Actor` have no other constructor. What may be asked for, and whether the human lent it, the token service's own room judges.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::id::{CallId, DelegationId};
use crate::identity::claims::SignIn;
use crate::identity::delegation::{Agent, Human};
use crate::identity::issuer::{Issuer, IssuerSettings, KeySource};
use crate::identity::possession::Proofs;
use crate::identity::token::{self, Parts, Verified};
use crate::identity::{Identity, SigningKeys};
use crate::refusal::{Code, Refusal};

/// How an agent proves to the token service which one it is.
#[derive(Debug, Clone)]
pub enum Proof {
    /// A secret (RFC 6749, 2.3.1).
    Secret(SecretString),
    /// A key of its own, by a signed assertion (RFC 7523, `private_key_jwt`).
    Key(IssuerSettings),
    /// The platform that it runs on says so: a Kubernetes service account's token, a SPIFFE JWT-SVID.
    Workload {
        /// The platform, as an issuer.
        issuer: IssuerSettings,
        /// The workload's name there, `sub`.
        subject: String,
    },
}

/// An agent that the token service serves.
#[derive(Debug, Clone)]
pub struct ActorSettings {
    /// Its id: `client_id` at the token service, `act.sub` in tokens.
    pub id: String,
    /// What its tokens may say at most.
    pub scopes: Vec<String>,
    /// How it proves which one it is.
    pub proof: Proof,
}

/// What an agent shows to prove which one it is.
pub enum Shown<'a> {
    /// Its secret.
    Secret(&'a SecretString),
    /// An assertion of its own or its platform's.
    Assertion(&'a SecretString),
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

/// An agent that proved which one it is. Not `Clone`, no public constructor.
#[derive(Debug)]
pub struct Actor {
    agent: Agent,
    scopes: Vec<String>,
}

/// A human who signed in at a trusted issuer, as a token says that the token service may take. Not `Clone`, no public constructor.
#[derive(Debug)]
pub struct SignedIn {
    human: Human,
    chain: Vec<String>,
    issuer: String,
    token_id: Option<String>,
    scopes: Option<Vec<String>>,
    sign_in: SignIn,
    may_act: Option<String>,
    expires_at: Timestamp,
}

impl Actor {
    /// Which.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// What its tokens may say at most.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }
}

impl SignedIn {
    /// Who.
    #[must_use]
    pub const fn human(&self) -> &Human {
        &self.human
    }

    /// The scopes of what was shown, where it has any that are this broker's: a token made from it says no more.
    #[must_use]
    pub fn scopes(&self) -> Option<&[String]> {
        self.scopes.as_deref()
    }

    /// The agents that act by what was shown already, nearest first: its actors, or the client that it was issued to.
    #[must_use]
    pub fn agents(&self) -> Vec<Agent> {
        let agent = |id: &String| Agent { issuer: self.issuer.clone(), id: id.clone(), chain: Vec::new() };
        self.chain.iter().map(agent).collect()
    }

    /// Its `jti`.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// When what was shown ends: a token made from it ends no later.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// A longer assertion is no answer to a question asked now.
const ASSERTION_MAX: TimeDelta = TimeDelta::minutes(10);

/// One agent with what its assertions are checked with.
struct Served {
    settings: ActorSettings,
    issuer: Option<Arc<Issuer>>,
}

/// The agents that the token service serves, and the keys that it signs with.
pub struct Service {
    url: String,
    resource: String,
    keys: Arc<SigningKeys>,
    actors: Vec<Served>,
    used: Proofs,
    skew: TimeDelta,
}

fn no(why: &str) -> Refusal {
    Refusal::new(Code::InvalidClient).detail(why)
}

fn digest_of(text: &str) -> digest::Digest {
    digest::digest(&digest::SHA256, text.as_bytes())
}

impl Identity {
    /// The identity side of a token service for these agents.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn service(&self, keys: Arc<SigningKeys>, actors: &[ActorSettings]) -> Result<Service, Vec<String>> {
        let load = |actor: &ActorSettings| {
            let settings = match &actor.proof {
                Proof::Secret(_) => None,
                Proof::Key(issuer) | Proof::Workload { issuer, .. } => Some(issuer),
            };
            let issuer = settings.map(|settings| self.issuer(settings.clone())).transpose()?;
            Ok(Served { settings: actor.clone(), issuer })
        };
        Ok(Service {
            url: self.settings.public_url.clone(),
            resource: self.settings.resource.clone(),
            keys,
            actors: actors.iter().map(load).collect::<Result<_, Vec<String>>>()?,
            used: Proofs::default(),
            skew: TimeDelta::from_std(self.settings.skew).unwrap_or_default(),
        })
    }

    /// Who signed in, by the token that the token service is shown.
    ///
    /// # Errors
    /// The token is not good, is of a machine, or is for the human's door.
    pub async fn subject(&self, token: &SecretString) -> Result<SignedIn, Refusal> {
        let Verified { issuer, claims } = token::subject(self, token.expose_secret(), self.clock.now()).await?;
        let settings = issuer.settings();
        let issuer = settings.url.clone();
        // The client that holds it acts for the human already, unless it is one that humans sign in with.
        let holder = claims.client.filter(|client| claims.actors.is_empty() && !settings.human_clients.contains(client));
        if claims.is_machine || claims.is_unattended {
            return Err(Refusal::new(Code::InvalidToken).detail("no human stands behind it"));
        }
        if claims.bound.is_some() {
            // Whoever shows it here is not the one whose key it is bound to.
            return Err(Refusal::new(Code::InvalidProof).detail("the token is bound to a key, and the agent cannot show that it has it"));
        }
        let own: Vec<String> = claims.scopes.into_iter().filter(|scope| scope.starts_with("mcp:")).collect();
        Ok(SignedIn {
            human: Human {
                issuer: claims.human_issuer.unwrap_or_else(|| issuer.clone()),
                subject: claims.subject,
                name: claims.name,
                teams: claims.teams,
                person: claims.person,
            },
            chain: claims.actors.into_iter().chain(holder).collect(),
            issuer,
            token_id: claims.token_id,
            scopes: claims.has_scopes.then_some(own),
            sign_in: claims.sign_in,
            may_act: claims.may_act,
            expires_at: claims.expires_at,
        })
    }
}

impl Identity {
    /// The agent's door as a resource.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.settings.resource
    }

    /// A good token of the token service itself: its id, its agent, and when it ends.
    ///
    /// # Errors
    /// It is not good, or not of this service.
    pub async fn own_token(&self, token: &SecretString) -> Result<(String, String, Timestamp), Refusal> {
        let now = self.clock.now();
        let Verified { issuer, claims } = token::verify(self, token.expose_secret(), token::Door::Mcp, now).await?;
        let is_own = matches!(issuer.settings().keys, KeySource::Own(_));
        match (claims.token_id, claims.actors.into_iter().next()) {
            (Some(id), Some(agent)) if is_own => Ok((id, agent, claims.expires_at)),
            _ => Err(Refusal::new(Code::InvalidToken)),
        }
    }
}

impl Identity {
    /// The thumbprint of the key that a token from the token service is to be bound to; `None` where the request brings no proof.
    ///
    /// # Errors
    /// There is a proof, and it is not good.
    pub fn wanted_binding(&self, headers: &http::HeaderMap) -> Result<Option<String>, Refusal> {
        if !headers.contains_key("dpop") {
            return Ok(None);
        }
        let address = format!("{}/oauth/token", self.settings.public_url);
        let skew = TimeDelta::from_std(self.settings.skew).unwrap_or_default();
        self.proofs.check(headers, &http::Method::POST, &address, (None, None), skew, self.clock.now()).map(Some)
    }
}

impl Service {
    /// The issuer's URL and its endpoint for tokens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The keys that tokens are checked with.
    #[must_use]
    pub const fn keys(&self) -> &Arc<SigningKeys> {
        &self.keys
    }

    /// The agent that asks.
    ///
    /// # Errors
    /// `identity.invalid_client`: it is not known, or what it shows is not good. Which of the two is not said.
    pub async fn actor(&self, id: &str, shown: Shown<'_>, now: Timestamp) -> Result<Actor, Refusal> {
        let served = self.actors.iter().find(|served| served.settings.id == id);
        let proven = match (served, shown) {
            (Some(Served { settings: ActorSettings { proof: Proof::Secret(secret), .. }, .. }), Shown::Secret(given)) => {
                let (secret, given) = (digest_of(secret.expose_secret()), digest_of(given.expose_secret()));
                verify_slices_are_equal(secret.as_ref(), given.as_ref()).map_err(|_| no("the agent is not known, or its secret is another"))
            }
            (Some(served), Shown::Assertion(assertion)) => self.assertion(served, assertion.expose_secret(), now).await,
            _ => Err(no("the agent is not known, or proves itself in another way")),
        };
        proven?;
        let settings = served.map(|served| &served.settings).ok_or_else(|| no("the agent is not known"))?;
        let agent = Agent { issuer: self.url.clone(), id: settings.id.clone(), chain: Vec::new() };
        Ok(Actor { agent, scopes: settings.scopes.clone() })
    }

    async fn assertion(&self, served: &Served, assertion: &str, now: Timestamp) -> Result<(), Refusal> {
        let unfit =
            |refusal: Refusal| Refusal::new(Code::InvalidClient).detail(format!("its assertion is not good: {}", refusal.message()));
        let Some(issuer) = &served.issuer else { return Err(no("the agent proves itself by its secret")) };
        let parts = Parts::of(assertion).map_err(unfit)?;
        issuer
            .check_signature(&parts.header.alg, parts.header.kid.as_deref(), parts.message.as_bytes(), parts.signature)
            .await
            .map_err(unfit)?;
        let claims = &parts.claims;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let time = |name: &str| claims.get(name).map(|value| value.as_i64().and_then(|at| Timestamp::from_timestamp(at, 0)).ok_or(()));
        let named = match &served.settings.proof {
            // Its own assertion names itself twice (RFC 7523, 3).
            Proof::Key(_) => text("iss") == Some(&served.settings.id) && text("sub") == Some(&served.settings.id),
            // A JWT-SVID names no issuer: the trust bundle that it was checked with is one trust domain's.
            Proof::Workload { issuer, subject } => {
                let iss = claims.get("iss").map(|iss| iss.as_str() == Some(&issuer.url));
                text("sub") == Some(subject) && iss.unwrap_or(subject.starts_with("spiffe://"))
            }
            Proof::Secret(_) => false,
        };
        let audiences = [self.url.clone(), format!("{}/oauth/token", self.url)];
        let is_ours = |value: &Value| value.as_str().is_some_and(|one| audiences.iter().any(|own| own == one));
        let for_us = match claims.get("aud") {
            Some(Value::Array(several)) => several.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        };
        let Some(Ok(until)) = time("exp") else { return Err(no("its assertion has no `exp`")) };
        let begun = time("nbf").is_none_or(|nbf| nbf.is_ok_and(|nbf| nbf <= now + self.skew));
        // A platform's tokens live as long as the platform says; an agent makes its own for the one request.
        let brief = !matches!(served.settings.proof, Proof::Key(_)) || until <= now + ASSERTION_MAX;
        if !(named && for_us && begun && brief && now < until + self.skew) {
            return Err(no("its assertion is of another agent, for another audience, too long, or over"));
        }
        if !matches!(served.settings.proof, Proof::Key(_)) {
            return Ok(());
        }
        // Made for one request (OpenID Connect Core, 9): overheard, it is worth nothing.
        let id = text("jti").filter(|id| !id.is_empty() && id.len() <= 255).ok_or_else(|| no("its assertion has no `jti`"))?;
        let used = self.used.first_use(format!("{}.{id}", served.settings.id), until + self.skew, now);
        used.map_err(|_| no("its assertion was used before"))
    }

    /// A token that says: this agent, for this human. Not longer than what was shown to get it.
    ///
    /// # Errors
    /// The human's token names another actor (`may_act`), the chain goes in a circle or is too deep, or there is no key to sign with.
    pub fn mint(&self, subject: &SignedIn, actor: &Actor, grant: &Grant<'_>, now: Timestamp) -> Result<Minted, Refusal> {
        let id = &actor.agent.id;
        if subject.may_act.as_ref().is_some_and(|named| named != id) {
            return Err(Refusal::new(Code::InvalidGrant).detail("the human's token names another actor (`may_act`)"));
        }
        if subject.chain.contains(id) || subject.human.subject == *id || subject.chain.len() >= 4 {
            return Err(Refusal::new(Code::InvalidGrant).detail("the chain of actors would go in a circle, or be deeper than 4"));
        }
        let earlier =
            subject.chain.iter().rev().fold(None, |act: Option<Value>, sub| {
                Some(act.map_or_else(|| json!({ "sub": sub }), |act| json!({ "sub": sub, "act": act })))
            });
        let act = earlier.map_or_else(|| json!({ "sub": id }), |act| json!({ "sub": id, "act": act }));
        let mut claims = self.claims(&subject.human, id, grant, now);
        if let Some(members) = claims.as_object_mut() {
            members.insert("act".to_owned(), act);
            members.extend(subject.sign_in.acr.as_ref().map(|acr| ("acr".to_owned(), Value::from(acr.as_str()))));
            members.extend(subject.sign_in.at.map(|at| ("auth_time".to_owned(), Value::from(at.timestamp()))));
            if !subject.sign_in.amr.is_empty() {
                members.insert("amr".to_owned(), json!(subject.sign_in.amr));
            }
        }
        self.signed(claims, grant, now)
    }

    /// A token for an agent that works while nobody is there, in the name of the human who answers for it (client credentials, RFC 6749, 4.4).
    ///
    /// # Errors
    /// There is no key to sign with.
    pub fn mint_unattended(&self, owner: &Human, actor: &Actor, grant: &Grant<'_>, now: Timestamp) -> Result<Minted, Refusal> {
        let mut claims = self.claims(owner, &actor.agent.id, grant, now);
        if let Some(members) = claims.as_object_mut() {
            members.insert("unattended".to_owned(), Value::Bool(true));
            members.insert("act".to_owned(), json!({ "sub": actor.agent.id }));
        }
        self.signed(claims, grant, now)
    }

    fn claims(&self, human: &Human, agent: &str, grant: &Grant<'_>, now: Timestamp) -> Value {
        let mut claims = json!({
            "iss": self.url, "sub": human.subject, "sub_id": { "format": "iss_sub", "iss": human.issuer, "sub": human.subject },
            "aud": self.resource, "client_id": agent, "iat": now.timestamp(), "exp": grant.until.timestamp(), "jti": CallId::mint().as_str(),
            "scope": grant.scopes.join(" "), "groups": human.teams,
        });
        if let Some(members) = claims.as_object_mut() {
            members.extend(human.person.as_ref().map(|person| ("person".to_owned(), Value::from(person.as_str()))));
            members.extend(human.name.as_ref().map(|name| ("name".to_owned(), Value::from(name.as_str()))));
            members.extend(grant.delegation.map(|id| ("dlg".to_owned(), Value::from(id.as_str()))));
            members.extend(grant.bound_to.map(|jkt| ("cnf".to_owned(), json!({ "jkt": jkt }))));
        }
        claims
    }

    fn signed(&self, claims: Value, grant: &Grant<'_>, now: Timestamp) -> Result<Minted, Refusal> {
        let token_id = claims.get("jti").and_then(Value::as_str).unwrap_or_default().to_owned();
        let token =
            self.keys.sign(&claims, now).ok_or_else(|| Refusal::new(Code::LedgerUnavailable).cause("there is no key to sign with"))?;
        Ok(Minted { token: SecretString::from(token), token_id, expires_in: (grant.until - now).num_seconds().max(0) })
    }
}

/// What a token is to say beside who.
#[derive(Debug)]
pub struct Grant<'a> {
    /// Scopes.
    pub scopes: &'a [String],
    /// The registered delegation that it stands on.
    pub delegation: Option<&'a DelegationId>,
    /// The thumbprint of the key that it is bound to (RFC 9449).
    pub bound_to: Option<&'a str>,
    /// Until when.
    pub until: Timestamp,
}

/// A token, ready to be handed out once it is on record.
#[derive(Debug)]
pub struct Minted {
    /// The token.
    pub token: SecretString,
    /// Its `jti`.
    pub token_id: String,
    /// Seconds that it is good.
    pub expires_in: i64,
}
