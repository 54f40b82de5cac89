//! Random sequences of asking, voting, denying, losing roles, expiring, taking back, crashing and repeating, beside a model of a few lines: what the desk does is what the
//! model says, in every order; and whatever ran stands on an approval that the ledger's own verifier finds.
//!
//! `COUNTERSIGN_RUNS` says how many sequences, `COUNTERSIGN_SEED` replays them; `tests/long` runs more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use countersign::approval::{self, Decision, Desk, Event, Filed, Found, Herald, Scope, Shown, State};
use countersign::audit::Audit;
use countersign::call::{Line, Origin, Request};
use countersign::catalog::{self, Catalog};
use countersign::clock::{Clock, Timestamp};
use countersign::id::ApprovalId;
use countersign::identity::development::{DevelopmentIssuer, TokenRequest};
use countersign::identity::{self, Algorithm, Delegation, Identity, IssuerSettings, KeySource, Person};
use countersign::ledger::{self, Ledger, Row, Write};
use countersign::mask::{Masks, Rules};
use countersign::policy::{Policy, PolicyFile, Ruling};
use countersign::record::Recorder;
use http::{HeaderMap, HeaderValue};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::fuzz::properties::Alone;
use crate::harness::{next, setting, shop};

/// Tables with terms of their own: one human; two; three; the asking one too; with grants.
const TABLES: [(&str, u8, bool, bool); 6] = [
    ("orders", 1, false, false),
    ("products", 2, false, false),
    ("notes", 3, false, false),
    ("order_items", 1, true, false),
    ("customers", 1, false, true),
    ("payments", 2, false, true),
];
const TTL: TimeDelta = TimeDelta::minutes(30);
const GRANT_TTL: TimeDelta = TimeDelta::minutes(15);
const MEMORY: TimeDelta = TimeDelta::minutes(5);
const GRANT_MINUTES: u32 = 18;
const GRANT_CALLS: u32 = 3;
/// Sequences on one ledger: every restart reads it whole.
const OF_ONE_LEDGER: u64 = 100;

/// Somebody hears of everything: a row of the store each, and nothing goes out.
struct Book;

impl Herald for Book {
    fn notices(&self, event: Event, filed: &Filed) -> Vec<Write> {
        vec![Write::Ensure(Row::new("heard", &format!("{} {}", filed.id, event.as_str()), "told", "", None, Vec::new()))]
    }
}

/// The line of a caller for whom nothing is watched.
fn line() -> Line {
    Line {
        gone: CancellationToken::new(),
        cancelled: CancellationToken::new(),
        draining: CancellationToken::new(),
        progress: None,
        shows_pages: false,
    }
}

fn policies() -> String {
    let mut text = "@id(\"own\") permit (principal, action == Action::\"invoke\", resource is Broker);\n\
        @id(\"decide\") permit (principal in Team::\"approvers\", action == Action::\"approve\", resource);\n\
        @id(\"glass\") permit (principal in Team::\"oncall\", action == Action::\"break_glass\", resource);\n"
        .to_owned();
    for (table, quorum, self_approval, grants) in TABLES {
        let own = if self_approval { "@self_approval(\"allowed\")" } else { "" };
        let grant = if grants { format!("@grant(\"{GRANT_MINUTES}m, {GRANT_CALLS} calls\")") } else { String::new() };
        text.push_str(&format!(
            "@id(\"{table}\") @quorum(\"{quorum}\") @ttl(\"30m\") {own} {grant}\npermit (principal, action == Action::\"request\", resource == Table::\"shop/main/{table}\") when {{ context.risk == 2 }};\n"
        ));
    }
    text
}

/// Humans who may lose the role of an approver, and get it back.
const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Whoever acts, with proofs that last, and who says who they are.
struct Cast {
    issuer: DevelopmentIssuer,
    identity: Identity,
    agents: Vec<Arc<Delegation>>,
    /// alice (whose agent it is, and an approver), bob, carol, dave; last eve, who is none.
    humans: Vec<Person>,
    oncall: Person,
}

impl Cast {
    async fn new(dir: &Path, clock: &Clock) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let url = "http://127.0.0.1:1/issuer";
        let issuer = DevelopmentIssuer::open(&dir.join("issuer"), url, clock.clone()).unwrap();
        let settings = identity::Settings {
            resource: "http://127.0.0.1:1/mcp".to_owned(),
            inbox_resource: "http://127.0.0.1:1/inbox".to_owned(),
            public_url: "http://127.0.0.1:1".to_owned(),
            issuers: vec![IssuerSettings {
                human_clients: vec!["countersign-cli".to_owned()],
                ..IssuerSettings::new(url, KeySource::File(issuer.jwks_file().to_owned()), vec![Algorithm::EdDsa])
            }],
            skew: Duration::from_secs(5),
            bound_required: false,
        };
        let identity = Identity::new(settings, clock.clone(), Arc::new(Alone), Arc::new(Alone)).unwrap();
        let oncall = identity.person(&headers(&issuer, ("olga", "oncall"), "inbox", None), "/").await.unwrap();
        let mut cast = Self { issuer, identity, agents: Vec::new(), humans: Vec::new(), oncall };
        for (human, agent) in [("alice", "one"), ("alice", "two"), ("zoe", "one")] {
            let headers = headers(&cast.issuer, (human, "support"), "mcp", Some(agent));
            cast.agents.push(cast.identity.agent(&headers).await.unwrap());
        }
        for human in NAMES {
            cast.humans.push(cast.person(human, true).await);
        }
        cast.humans.push(cast.person("eve", false).await);
        cast
    }

    /// A human as their issuer has them now.
    async fn person(&self, human: &str, approves: bool) -> Person {
        let team = if approves { "approvers" } else { "support" };
        self.identity.person(&headers(&self.issuer, (human, team), "inbox", None), "/").await.unwrap()
    }
}

fn headers(issuer: &DevelopmentIssuer, (subject, team): (&str, &str), door: &str, actor: Option<&str>) -> HeaderMap {
    let token = issuer.mint(&TokenRequest {
        subject: subject.to_owned(),
        name: None,
        teams: vec![team.to_owned()],
        audience: format!("http://127.0.0.1:1/{door}"),
        client: "countersign-cli".to_owned(),
        actor: actor.map(ToOwned::to_owned),
        scope: "mcp:read mcp:write".to_owned(),
        lifetime: TimeDelta::days(3_650),
    });
    let bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).unwrap();
    HeaderMap::from_iter([(http::header::AUTHORIZATION, bearer)])
}

/// The stages that a call passes, over one ledger.
struct Stage {
    data: std::path::PathBuf,
    clock: Clock,
    catalog: Catalog,
    policy: Policy,
    desk: Desk,
    audit: Audit,
}

impl Stage {
    fn open(dir: &Path, data: &Path, clock: &Clock) -> Self {
        let known = countersign::broker::known_target(&shop(dir));
        let environments = BTreeSet::from([known.facts.environment.clone()]);
        let catalog = Catalog::new(vec![known], &[], catalog::Bounds::default()).unwrap_or_else(|problems| panic!("{problems:?}"));
        let settings = countersign::policy::Settings {
            glass_is_told: true,
            escalations_told_to: vec![None],
            schema: countersign::policy::load::SCHEMA.to_owned(),
            files: vec![PolicyFile { path: "model.cedar".to_owned(), text: policies() }],
            targets: BTreeSet::from(["shop".to_owned()]),
            environments,
            ..Default::default()
        };
        let policy = Policy::load(&settings, clock.clone()).unwrap_or_else(|problems| panic!("{problems:?}"));
        let ledger =
            Ledger::open(ledger::Settings { dir: data.to_owned(), origin: "model.invalid/log".to_owned() }, clock.clone()).unwrap();
        let recorder = Arc::new(Recorder::new(ledger.clone()));
        let audit = Audit::new(ledger.clone(), Arc::clone(&recorder), Masks::new(Rules::new(Vec::new())));
        let mut approvals = approval::Settings::new("http://127.0.0.1:1/approvals".to_owned());
        approvals.open_max = u64::from(u32::MAX);
        approvals.alike_max = u64::from(u32::MAX);
        let desk = Desk::new(ledger, recorder, clock.clone(), approvals, Arc::new(Book));
        Self { data: data.to_owned(), clock: clock.clone(), catalog, policy, desk, audit }
    }

    /// One call, as the pipeline makes it; nothing waits.
    async fn call(&self, agent: &Arc<Delegation>, sql: &str) -> Came {
        let arguments = json!({"target": "shop", "sql": sql}).as_object().unwrap().clone();
        let request = Request::new(Arc::clone(agent), "db_execute".to_owned(), arguments, Origin::default(), line());
        let call = self.catalog.parse(request).unwrap_or_else(|stop| panic!("{stop:?}"));
        let Ruling::Pending(pending) = self.policy.rule(call) else { panic!("{sql} did not ask") };
        match self.desk.find(pending.asking(), &self.policy).await.unwrap() {
            Found::Granted(approval) => {
                let authorized = self.policy.release(*pending, *approval).unwrap_or_else(|stop| panic!("{stop:?}"));
                match self.audit.open(authorized).await.unwrap() {
                    Ok(_) => Came::Ran,
                    Err(_) => Came::Late,
                }
            }
            Found::Open(_) => Came::Waits,
            Found::Denied(refusal) => Came::Refused(refusal.code().as_str()),
            Found::Nothing => {
                self.desk.file(pending.asking(), Shown::default(), &self.policy).await.unwrap().unwrap();
                Came::Asked
            }
        }
    }
}

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Ran,
    /// Somebody else used the approval first.
    Late,
    Waits,
    Asked,
    Refused(&'static str),
}

/// A request, as the model has it.
#[derive(Debug, Clone)]
struct Asked {
    id: ApprovalId,
    state: State,
    /// Who said yes, and whether to more than the one call.
    yes: BTreeMap<usize, bool>,
    asked_at: Timestamp,
    until: Timestamp,
    ended_at: Timestamp,
    calls_left: Option<u32>,
}

/// One agent's one call, over and over.
struct Model {
    quorum: usize,
    self_approval: bool,
    grants: bool,
    asked: Vec<Asked>,
    /// Who is an approver.
    roles: [bool; 5],
    ran: usize,
    given: usize,
}

impl Model {
    fn expire(&mut self, now: Timestamp) {
        for asked in &mut self.asked {
            let is_over = match asked.state {
                State::Pending => now >= asked.asked_at + TTL,
                State::Approved | State::Granted => now >= asked.until,
                _ => false,
            };
            if is_over {
                asked.state = State::Expired;
            }
        }
    }

    /// What the same call comes to now; `Asked` and `Waits` change what the caller keeps.
    fn called(&mut self, now: Timestamp) -> Came {
        self.expire(now);
        let mut found = Came::Asked;
        for asked in self.asked.iter_mut().rev() {
            let is_fresh = found == Came::Asked && now < asked.ended_at + MEMORY;
            match asked.state {
                State::Approved => {
                    asked.state = State::Spent;
                    self.ran += 1;
                    return Came::Ran;
                }
                State::Pending => found = Came::Waits,
                State::Denied if is_fresh => found = Came::Refused("approval.denied"),
                State::Revoked if is_fresh && asked.calls_left.is_none() => found = Came::Refused("approval.revoked"),
                _ => {}
            }
        }
        // Who said no to this very call said it against a grant of before, too.
        if matches!(found, Came::Refused(_)) {
            return found;
        }
        let roles = self.roles;
        for asked in self.asked.iter_mut().rev().filter(|asked| asked.state == State::Granted) {
            // A grant stands on those who gave it.
            let stands = asked.yes.keys().filter(|human| roles[**human]).count() >= self.quorum;
            if let Some(left @ 1..) = asked.calls_left.filter(|_| stands) {
                asked.calls_left = Some(left - 1);
                if left == 1 {
                    asked.state = State::Spent;
                }
                self.ran += 1;
                return Came::Ran;
            }
        }
        found
    }

    /// What a vote on the newest request comes to: its state afterwards, or the code.
    fn voted(&mut self, human: usize, yes: bool, scope: bool, now: Timestamp) -> Result<State, &'static str> {
        self.expire(now);
        let (quorum, self_approval, grants) = (self.quorum, self.self_approval, self.grants);
        let asked = self.asked.last_mut().unwrap();
        if !self.roles[human] {
            return Err("approval.unknown");
        }
        match asked.state {
            State::Pending => {}
            State::Expired => return Err("approval.expired"),
            _ => return Err("approval.already_decided"),
        }
        if yes && human == 0 && !self_approval {
            return Err("approval.not_allowed");
        }
        if yes && asked.yes.contains_key(&human) {
            return Err("approval.already_decided");
        }
        if scope && !grants {
            return Err("request.malformed");
        }
        if !yes {
            asked.state = State::Denied;
            asked.ended_at = now;
            return Ok(State::Denied);
        }
        // Who has lost the role since has no say any more, and would have to say it again.
        asked.yes.retain(|human, _| self.roles[*human]);
        asked.yes.insert(human, scope);
        if asked.yes.len() >= quorum {
            // It reaches further only if each of them said so.
            asked.calls_left = asked.yes.values().all(|scoped| *scoped).then_some(GRANT_CALLS - 1);
            asked.state = if asked.calls_left.is_some() { State::Granted } else { State::Approved };
            asked.until = now + if asked.calls_left.is_some() { TimeDelta::minutes(i64::from(GRANT_MINUTES)) } else { GRANT_TTL };
            self.given += 1;
        }
        Ok(asked.state)
    }
}

fn decision(yes: bool, table: &str, scope: bool) -> Decision {
    let scope = scope.then(|| Scope {
        tools: BTreeSet::from(["db_execute".to_owned()]),
        target: "shop".to_owned(),
        on: BTreeSet::from([table.to_owned()]),
        verbs: BTreeSet::new(),
        risk: "write".to_owned(),
        minutes: GRANT_MINUTES,
        calls: GRANT_CALLS - 1,
    });
    Decision { approve: yes, reason: Some("for the model".to_owned()), scope, mark: None }
}

struct Run<'a> {
    stage: Option<Stage>,
    cast: Cast,
    dir: &'a Path,
    random: u64,
}

impl Run<'_> {
    fn stage(&self) -> &Stage {
        self.stage.as_ref().unwrap()
    }

    fn below(&mut self, most: u64) -> u64 {
        next(&mut self.random) % most
    }

    /// One sequence: the steps that it took, approvals that were given in it, and calls that ran.
    async fn sequence(&mut self, number: u64) -> [usize; 3] {
        let (table, quorum, self_approval, grants) = TABLES[usize::try_from(self.below(6)).unwrap()];
        let agent = Arc::clone(&self.cast.agents[usize::try_from(number % 3).unwrap()]);
        // An own call is one of alice: of zoe's, alice is anybody.
        let is_alices = number % 3 < 2;
        let mut model = Model {
            quorum: quorum.into(),
            self_approval: self_approval || !is_alices,
            grants,
            asked: Vec::new(),
            roles: [true, true, true, true, false],
            ran: 0,
            given: 0,
        };
        let sql = format!("UPDATE {table} SET rowid = rowid WHERE rowid = {number}");
        let mut steps = vec![format!("{sql} by {}", number % 3)];
        for _ in 0..3 + self.below(10) {
            let step = if model.asked.is_empty() { 0 } else { self.below(100) };
            let human = usize::try_from(self.below(5)).unwrap();
            let now = self.stage().clock.now();
            let told = match step {
                0..30 => self.again(&mut model, &agent, &sql).await,
                30..60 => {
                    let (yes, scope) = (self.below(4) > 0, grants && self.below(2) == 0);
                    self.vote(&mut model, human, yes, yes && scope, table, now).await
                }
                60..70 => self.race(&mut model, &agent, &sql).await,
                70..80 => self.end(&mut model, &agent, human, now).await,
                80..85 => self.glass(&mut model, now).await,
                85..91 => self.role(&mut model, 1 + human % 3).await,
                91..97 => {
                    let by = 4 * i64::try_from(1 + self.below(5)).unwrap();
                    self.stage().clock.turn(TimeDelta::minutes(by));
                    if self.below(2) == 0 {
                        self.stage().desk.sweep().await.unwrap();
                    }
                    "time".to_owned()
                }
                _ => {
                    let before = self.stage.take().unwrap();
                    let (data, clock) = (before.data.clone(), before.clock.clone());
                    // As a crash leaves it: nothing is told to anybody first.
                    drop(before);
                    self.stage = Some(Stage::open(self.dir, &data, &clock));
                    "restart".to_owned()
                }
            };
            steps.push(told);
            assert!(!steps.last().unwrap().starts_with('!'), "{steps:#?}");
        }
        for human in (1..4).filter(|human| !model.roles[*human]).collect::<Vec<_>>() {
            self.role(&mut model, human).await;
        }
        // What was granted would reach the next sequence's call too.
        self.stage().clock.turn(TimeDelta::minutes(i64::from(GRANT_MINUTES) + 2));
        [steps.len(), model.given, model.ran]
    }

    /// The call is made again; where the model says so, a request was filed.
    async fn again(&self, model: &mut Model, agent: &Arc<Delegation>, sql: &str) -> String {
        let now = self.stage().clock.now();
        let expected = model.called(now);
        let came = self.stage().call(agent, sql).await;
        if came == Came::Asked {
            model.asked.push(self.newest(now).await);
        }
        if came == expected { format!("call {came:?}") } else { format!("! call {came:?}, the model {expected:?}") }
    }

    async fn newest(&self, now: Timestamp) -> Asked {
        // Whoever may break the glass sees what waits.
        let all = self.stage().desk.list(&self.cast.oncall, &[State::Pending], None, &self.stage().policy).await.unwrap();
        let id = ApprovalId::parse(&all.views.last().unwrap().filed.id).unwrap();
        Asked { id, state: State::Pending, yes: BTreeMap::new(), asked_at: now, until: now, ended_at: now, calls_left: None }
    }

    /// Somebody is an approver no longer, or again: their issuer says so when they next come.
    async fn role(&mut self, model: &mut Model, human: usize) -> String {
        // The later of two words counts, and they are told apart by the second.
        self.stage().clock.turn(TimeDelta::seconds(1));
        model.roles[human] = !model.roles[human];
        self.cast.humans[human] = self.cast.person(NAMES[human], model.roles[human]).await;
        self.stage().desk.met(&self.cast.humans[human]).await.unwrap();
        format!("{human} approves: {}", model.roles[human])
    }

    async fn vote(&self, model: &mut Model, human: usize, yes: bool, scope: bool, table: &str, now: Timestamp) -> String {
        let id = model.asked.last().unwrap().id.clone();
        let expected = model.voted(human, yes, scope, now);
        let decided =
            self.stage().desk.decide(&self.cast.humans[human], &id, decision(yes, table, scope), &self.stage().policy).await.unwrap();
        let came = decided.map(|decided| decided.view.state).map_err(|refusal| refusal.code().as_str());
        if came == expected {
            format!("{human} says {yes} {scope}: {came:?}")
        } else {
            format!("! {human} says {yes} {scope}: {came:?}, the model {expected:?}")
        }
    }

    /// Two at once: two votes against each other, or two claims of one approval.
    async fn race(&mut self, model: &mut Model, agent: &Arc<Delegation>, sql: &str) -> String {
        let now = self.stage().clock.now();
        model.expire(now);
        let newest = model.asked.last_mut().unwrap();
        let id = newest.id.clone();
        match newest.state {
            State::Pending if newest.yes.is_empty() && model.roles[1] && model.roles[2] => {
                let (desk, policy) = (&self.stage().desk, &self.stage().policy);
                let (yes, no) = tokio::join!(
                    desk.decide(&self.cast.humans[1], &id, decision(true, "", false), policy),
                    desk.decide(&self.cast.humans[2], &id, decision(false, "", false), policy)
                );
                let (yes, no) = (yes.unwrap().map(|it| it.view.state), no.unwrap().map(|it| it.view.state));
                // One is first; the other finds it decided, or one vote short.
                match (&yes, &no, model.quorum) {
                    (Ok(State::Approved), Err(_), 1) => {
                        (newest.state, newest.until) = (State::Approved, now + GRANT_TTL);
                        newest.yes.insert(1, false);
                        model.given += 1;
                    }
                    (Err(_), Ok(State::Denied), _) | (Ok(State::Pending), Ok(State::Denied), 2..) => {
                        (newest.state, newest.ended_at) = (State::Denied, now)
                    }
                    _ => return format!("! race {yes:?} {no:?}"),
                }
                format!("race {yes:?} {no:?}")
            }
            State::Approved => {
                let (one, two) = tokio::join!(self.stage().call(agent, sql), self.stage().call(agent, sql));
                let done = [one, two].iter().filter(|came| **came == Came::Ran).count();
                newest.state = State::Spent;
                model.ran += 1;
                let mut filed = false;
                for came in [one, two] {
                    filed |= came == Came::Asked;
                }
                if filed {
                    let newest = self.newest(now).await;
                    model.asked.push(newest);
                }
                format!("{}claims {one:?} {two:?}", if done == 1 { "" } else { "! " })
            }
            _ => "no race".to_owned(),
        }
    }

    /// The newest is taken back by a human, or withdrawn by its agent.
    async fn end(&mut self, model: &mut Model, agent: &Arc<Delegation>, human: usize, now: Timestamp) -> String {
        model.expire(now);
        let newest = model.asked.last_mut().unwrap();
        let (came, expected) = if self.below(2) == 0 {
            let revoked =
                self.stage().desk.revoke(&self.cast.humans[human], &newest.id, Some("not any more"), &self.stage().policy).await.unwrap();
            let expected = match newest.state {
                _ if !model.roles[human] => Err("approval.unknown"),
                State::Approved | State::Granted => Ok(State::Revoked),
                _ => Err("approval.already_decided"),
            };
            (revoked, expected)
        } else {
            let request = Request::new(Arc::clone(agent), "approval_withdraw".to_owned(), Default::default(), Origin::default(), line());
            let withdrawn = self.stage().desk.withdraw(&newest.id, request.facts()).await.unwrap();
            let expected = match newest.state {
                State::Pending | State::Approved | State::Granted => Ok(State::Withdrawn),
                _ => Err("approval.already_decided"),
            };
            (withdrawn, expected)
        };
        let came = came.map(|view| view.state).map_err(|refusal| refusal.code().as_str());
        if let Ok(state) = came {
            (newest.state, newest.ended_at) = (state, now);
        }
        if came == expected { format!("end {came:?}") } else { format!("! end {came:?}, the model {expected:?}") }
    }

    async fn glass(&self, model: &mut Model, now: Timestamp) -> String {
        model.expire(now);
        let newest = model.asked.last_mut().unwrap();
        let broken =
            self.stage().desk.break_glass(&self.cast.oncall, &newest.id, (Some("it burns"), None), &self.stage().policy).await.unwrap();
        let came = broken.map(|view| view.state).map_err(|refusal| refusal.code().as_str());
        let expected = match newest.state {
            State::Pending => Ok(State::Approved),
            State::Expired => Err("approval.expired"),
            _ => Err("approval.already_decided"),
        };
        if came.is_ok() {
            (newest.state, newest.until, newest.calls_left) = (State::Approved, now + GRANT_TTL, None);
            model.given += 1;
        }
        if came == expected { format!("glass {came:?}") } else { format!("! glass {came:?}, the model {expected:?}") }
    }
}

async fn sequences(share: u64) {
    let count = setting("COUNTERSIGN_RUNS", || 10_000) / 2;
    let seed = setting("COUNTERSIGN_SEED", || std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into()) + share;
    println!("COUNTERSIGN_SEED={} COUNTERSIGN_RUNS={}", seed - share, count * 2);
    let dir = tempfile::tempdir().unwrap();
    let (mut done, mut sums, mut leaves) = (0, [0; 3], 0);
    while done < count {
        let clock = Clock::system();
        let cast = Cast::new(dir.path(), &clock).await;
        let data = dir.path().join(format!("data-{done}"));
        let mut run = Run { stage: Some(Stage::open(dir.path(), &data, &clock)), cast, dir: dir.path(), random: seed ^ done << 20 };
        for _ in 0..OF_ONE_LEDGER.min(count - done) {
            sums.iter_mut().zip(run.sequence(done).await).for_each(|(sum, more)| *sum += more);
            done += 1;
        }
        drop(run);
        let report = countersign::ledger::verify::verify(&data, &Default::default()).unwrap();
        assert!(report.ok, "COUNTERSIGN_SEED={}: {report:#?}", seed - share);
        leaves += report.size;
        std::fs::remove_dir_all(&data).unwrap();
    }
    let [steps, given, ran] = sums;
    assert!(given > 0 && ran > 0, "nothing was approved or ran in {done} sequences");
    println!("| approvals | {} | {done} | {steps} | {given} | {ran} | {leaves} |", seed - share);
}

#[tokio::test]
async fn a_desk_does_what_the_model_says_one() {
    sequences(0).await;
}

#[tokio::test]
async fn a_desk_does_what_the_model_says_two() {
    sequences(1).await;
}
