//! Browser sessions: from the first redirect to signing out.
//!
//! A session is a row of the ledger under the hash of its cookie, so it survives a restart, every broker on the same store knows it, and nobody
//! who reads the store can be anybody. It ends by the human, after a fixed time, and after a while without use; a human has a bounded number of
//! them. An attempt to sign in is no row, since strangers make attempts: all of it is in a cookie that only this ledger's key can have made.

mod attempt;
mod cookie;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{constant_time, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

use crate::clock::{Clock, Timestamp, rfc3339};
use crate::identity::browser::Answered;
use crate::identity::{Identity, Person};
use crate::ledger::{Change, CommitError, Draft, Ledger, Row, StoreError, Write};
use crate::record::{Recorder, Unavailable};
use crate::refusal::{Code, Refusal};

use attempt::Pending;
pub use attempt::Wanted;
use cookie::Cookies;

/// The rows of sessions.
const SESSION: &str = "session";
/// The state of one that goes on.
const OPEN: &str = "open";
/// The rows of attempts whose answer was taken, so that it is taken once.
const ATTEMPT: &str = "sign_in";
const TAKEN: &str = "taken";

/// Sessions of one human that go on at once.
const OF_ONE_MAX: usize = 20;
/// Sessions of all.
const ALL_MAX: usize = 10_000;
/// How long a human may take to sign in.
const ATTEMPT_FOR: TimeDelta = TimeDelta::minutes(10);
/// Use is written down when it is this much later than what stands there: a session may end a minute early, never late.
const TOUCH_EVERY: TimeDelta = TimeDelta::seconds(60);

/// How long sessions last.
#[derive(Debug, Clone)]
pub struct Settings {
    /// At most.
    pub lifetime: Duration,
    /// Without use.
    pub idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(8 * 3600), idle: Duration::from_secs(30 * 60) }
    }
}

/// Keeps the sessions.
pub struct Sessions {
    ledger: Ledger,
    recorder: Arc<Recorder>,
    identity: Arc<Identity>,
    clock: Clock,
    settings: Settings,
    cookies: Cookies,
}

/// A session that goes on.
pub struct Session {
    /// Whose.
    pub person: Person,
    id: String,
    csrf: String,
}

/// What a browser is told: where to go, and what to keep.
#[derive(Debug)]
pub struct Told {
    /// Where it goes next.
    pub to: String,
    /// `Set-Cookie` headers.
    pub cookies: Vec<HeaderValue>,
}

/// Why nothing came of it.
#[derive(Debug)]
pub enum Stopped {
    /// It is not to be.
    Refused(Refusal),
    /// It could not be recorded or looked up.
    Unavailable(Unavailable),
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<CommitError> for Stopped {
    fn from(error: CommitError) -> Self {
        Self::Unavailable(error.into())
    }
}

fn failed(why: &str) -> Refusal {
    Refusal::new(Code::SignInFailed).detail(why)
}

fn hash(text: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or_default()
}

impl Session {
    /// What a page of this broker must say with every change, and no other page can know.
    #[must_use]
    pub fn csrf(&self) -> &str {
        &self.csrf
    }

    /// Whether it was said.
    #[must_use]
    pub fn has_csrf(&self, said: &str) -> bool {
        constant_time::verify_slices_are_equal(said.as_bytes(), self.csrf.as_bytes()).is_ok()
    }
}

impl Sessions {
    /// Over a ledger, for a broker at this public URL.
    #[must_use]
    pub fn new(
        ledger: Ledger,
        recorder: Arc<Recorder>,
        identity: Arc<Identity>,
        clock: Clock,
        settings: Settings,
        public_url: &str,
    ) -> Self {
        Self { ledger, recorder, identity, clock, settings, cookies: Cookies { secure: public_url.starts_with("https://") } }
    }

    /// HMAC under the ledger's key, for one use of it.
    fn mac(&self, purpose: &str, bytes: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.ledger.keys().digest(format!("countersign browser {purpose}/v1\0{bytes}").as_bytes()))
    }

    /// Sends a browser to its issuer.
    ///
    /// # Errors
    /// What was asked for cannot be, or the issuer cannot be reached.
    pub async fn begin(&self, wanted: Wanted, headers: &HeaderMap) -> Result<Told, Stopped> {
        let issuer = match &wanted.issuer {
            Some(named) => named.clone(),
            None => self.only_issuer()?,
        };
        let replaces = self.cookies.session(headers).map(hash);
        let pending = Pending::new(issuer, wanted.back, self.clock.now() + ATTEMPT_FOR, replaces)?;
        let attempt = pending.attempt(|purpose, bytes| self.mac(purpose, bytes));
        let to = self.identity.sign_in_page(&pending.issuer, &attempt, &wanted.strength).await?;
        let kept = pending.sealed(|purpose, bytes| self.mac(purpose, bytes));
        Ok(Told { to, cookies: vec![self.cookies.set_attempt(&kept, ATTEMPT_FOR)] })
    }

    fn only_issuer(&self) -> Result<String, Refusal> {
        let mut issuers = self.identity.browser_issuers();
        match (issuers.next(), issuers.next()) {
            (Some(only), None) => Ok(only.to_owned()),
            (None, _) => Err(Refusal::new(Code::NotFound).detail("nobody signs in here with a browser")),
            (Some(_), Some(_)) => {
                let all: Vec<&str> = self.identity.browser_issuers().collect();
                Err(Refusal::new(Code::Malformed).detail(format!("say at which `issuer`: {}", all.join(", "))))
            }
        }
    }

    /// Takes an issuer's answer, in the browser that was sent there, once.
    ///
    /// # Errors
    /// It is no answer to what this browser asked, or the sign-in came to nothing.
    pub async fn finish(&self, path: &str, answer: &[(String, String)], headers: &HeaderMap) -> Result<Told, Stopped> {
        let twice = answer.iter().enumerate().any(|(at, (name, _))| answer.iter().skip(at + 1).any(|(other, _)| other == name));
        if twice {
            return Err(failed("a part of the answer stands twice").into());
        }
        let get = |name: &str| answer.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let kept = self.cookies.attempt(headers).ok_or_else(|| failed("this browser has asked for none, or took too long"))?;
        let now = self.clock.now();
        let pending = Pending::opened(kept, |purpose, bytes| self.mac(purpose, bytes))
            .filter(|pending| now < pending.until)
            .ok_or_else(|| failed("this browser has asked for none, or took too long"))?;
        let attempt = pending.attempt(|purpose, bytes| self.mac(purpose, bytes));
        let state = get("state").unwrap_or_default();
        if constant_time::verify_slices_are_equal(state.as_bytes(), attempt.state.as_bytes()).is_err() {
            return Err(failed("the answer is not to what this browser asked (`state`)").into());
        }
        let taken = hash(state);
        if self.ledger.get(ATTEMPT, &taken).await?.is_some() {
            return Err(failed("its answer was taken already").into());
        }
        let answered = Answered { path, code: get("code"), issuer: get("iss"), error: get("error") };
        let person = self.identity.signed_in(&pending.issuer, &attempt, &answered).await?;
        let secret = attempt::random()?;
        self.sweep(&person, now).await?;
        self.open(&person, &secret, Row::new(ATTEMPT, &taken, TAKEN, "", Some(pending.until), Vec::new())).await?;
        if let Some(id) = pending.replaces {
            // The browser forgets it now; it was there until a moment ago, or is gone already.
            drop(self.remove(Vec::new(), &id).await);
        }
        Ok(Told { to: pending.back, cookies: vec![self.cookies.set_session(&secret), self.cookies.drop_attempt()] })
    }

    async fn open(&self, person: &Person, secret: &str, taken: Row) -> Result<(), Stopped> {
        let now = self.clock.now();
        let until = now + delta(self.settings.lifetime);
        let human = self.recorder.human(person.human());
        let body = json!({ "v": 1, "until_us": until.timestamp_micros(), "person": URL_SAFE_NO_PAD.encode(person.to_bytes()) });
        let row =
            Row::new(SESSION, &hash(secret), OPEN, "", Some(self.idle_end(now, until)), body.to_string().into_bytes()).grouped(&human);
        let open = Write::InsertUnlessKey { row, states: Vec::new(), group_max: Some((vec![OPEN.to_owned()], OF_ONE_MAX as u64)) };
        let more = Map::from_iter([
            ("door".to_owned(), Value::from("inbox")),
            ("via".to_owned(), Value::from("browser")),
            ("until".to_owned(), Value::from(rfc3339(until))),
        ]);
        let leaf = self.recorder.personal("auth.login", person, more);
        let mut writes = vec![Write::Insert(taken), open];
        writes.extend(self.recorder.subjects(person.human(), None));
        let change = Change { leaves: vec![leaf], writes, payloads: Vec::new() };
        match self.ledger.commit(change).await.inspect_err(|_| self.recorder.forget()) {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict { write: 0 }) => Err(failed("its answer was taken already").into()),
            Err(CommitError::Conflict { .. }) => Err(failed("too many of your sessions are open: sign out of one").into()),
            Err(error) => Err(error.into()),
        }
    }

    fn idle_end(&self, now: Timestamp, until: Timestamp) -> Timestamp {
        until.min(now + delta(self.settings.idle))
    }

    /// Removes what has ended, and makes sure that there is room: of a human's own sessions the one that was not used for longest gives way, so that
    /// no page which makes a browser sign in again and again can keep its human out.
    async fn sweep(&self, person: &Person, now: Timestamp) -> Result<(), Stopped> {
        let mut open = 0;
        let human = self.recorder.human(person.human());
        for (kind, state) in [(SESSION, OPEN), (ATTEMPT, TAKEN)] {
            let (ended, goes_on): (Vec<Row>, Vec<Row>) = self
                .ledger
                .list(kind, &[state], 2 * ALL_MAX)
                .await?
                .into_iter()
                .partition(|row| row.expires_at.is_some_and(|until| until <= now));
            let gone = |row: Row| Write::Remove { kind: kind.to_owned(), id: row.id, from: state.to_owned() };
            let writes: Vec<Write> = ended.into_iter().map(gone).collect();
            if !writes.is_empty() {
                // A conflict is somebody who sweeps at the same time.
                drop(self.ledger.commit(Change { leaves: Vec::new(), writes, payloads: Vec::new() }).await);
            }
            open = open.max(goes_on.len());
            let mut own: Vec<Row> = goes_on.into_iter().filter(|row| kind == SESSION && row.group == human).collect();
            own.sort_by_key(|row| row.expires_at);
            let too_many = (own.len() + 1).saturating_sub(OF_ONE_MAX);
            for row in own.into_iter().take(too_many) {
                let more = Map::from_iter([("door".to_owned(), Value::from("inbox")), ("via".to_owned(), Value::from("a newer session"))]);
                drop(self.remove(vec![self.recorder.personal("auth.logout", person, more)], &row.id).await);
            }
        }
        if open >= ALL_MAX { Err(Refusal::new(Code::Overloaded).into()) } else { Ok(()) }
    }

    /// Whether the request comes with a session's cookie, good or not.
    #[must_use]
    pub fn is_shown(&self, headers: &HeaderMap) -> bool {
        self.cookies.is_shown(headers)
    }

    /// The session of a request.
    ///
    /// # Errors
    /// There is none, or it has ended.
    pub async fn resume(&self, headers: &HeaderMap) -> Result<Session, Stopped> {
        let ended = || Refusal::new(Code::SessionEnded);
        let secret = self.cookies.session(headers).ok_or_else(ended)?;
        let now = self.clock.now();
        let row = self.ledger.get(SESSION, &hash(secret)).await?.filter(|row| row.state == OPEN).ok_or_else(ended)?;
        let body: Value = serde_json::from_slice(&row.body).map_err(|_| ended())?;
        let until = body.get("until_us").and_then(Value::as_i64).and_then(Timestamp::from_timestamp_micros).ok_or_else(ended)?;
        let idle_end = row.expires_at.ok_or_else(ended)?;
        // Both, whatever was configured when it began.
        if now >= until || now >= idle_end {
            return Err(ended().into());
        }
        let kept = body.get("person").and_then(Value::as_str).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or_else(ended)?;
        let person = self.identity.resumed(&kept, until)?;
        let later = self.idle_end(now, until);
        if later - idle_end >= TOUCH_EVERY {
            let touch = Write::MoveIf {
                kind: SESSION.to_owned(),
                id: row.id.clone(),
                from: OPEN.to_owned(),
                to: OPEN.to_owned(),
                version: row.version,
                expires_at: Some(later),
                body: row.body,
            };
            match self.ledger.commit(Change { leaves: Vec::new(), writes: vec![touch], payloads: Vec::new() }).await {
                // Another request of the same session was first, or its end was: the next one knows.
                Ok(_) | Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Session { person, csrf: self.mac("csrf", secret), id: row.id })
    }

    /// Ends a session; answers the issuer's own page for signing out there, where it has one.
    ///
    /// # Errors
    /// It could not be recorded.
    pub async fn end(&self, session: Session) -> Result<(Option<String>, HeaderValue), Unavailable> {
        let leaf = self.recorder.personal("auth.logout", &session.person, Map::from_iter([("door".to_owned(), Value::from("inbox"))]));
        match self.remove(vec![leaf], &session.id).await {
            Ok(()) | Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok((self.identity.sign_out_page(&session.person).await, self.cookies.drop_session()))
    }

    async fn remove(&self, leaves: Vec<Draft>, id: &str) -> Result<(), CommitError> {
        let gone = Write::Remove { kind: SESSION.to_owned(), id: id.to_owned(), from: OPEN.to_owned() };
        self.ledger.commit(Change { leaves, writes: vec![gone], payloads: Vec::new() }).await.map(|_| ())
    }
}
