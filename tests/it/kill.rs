//! Kill -9 at random points under load, on a SQLite and a PostgreSQL target: nothing is done without a durable intent, nothing twice, nothing
//! that was acknowledged is lost, and what was open is closed as unresolved.
//!
//! `COUNTERSIGN_ROUNDS` says how many rounds, `COUNTERSIGN_SEED` replays a run; `tests/long` runs them in full.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use countersign::clock::Clock;
use countersign::identity::development::{DevelopmentIssuer, TokenRequest};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{Executor, Row};

use crate::harness::cluster::Cluster;
use crate::harness::process::{Process, free_port};
use crate::harness::{Agent, Human, POLICY, next, setting};

/// A broker's folder, and a target with an empty `journal` that would hold a number twice if it were written twice.
struct Site {
    dir: tempfile::TempDir,
    port: u16,
    base: String,
    issuer: DevelopmentIssuer,
    cluster: Option<Cluster>,
}

const JOURNAL: &str = "CREATE TABLE journal (entry BIGINT NOT NULL)";

impl Site {
    async fn new(cluster: Option<Cluster>) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let base = format!("http://127.0.0.1:{port}");
        let issuer = DevelopmentIssuer::open(&dir.path().join("issuer"), &format!("{base}/issuer"), Clock::system()).unwrap();
        std::fs::create_dir(dir.path().join("policies")).unwrap();
        std::fs::write(dir.path().join("policies/kill.cedar"), POLICY).unwrap();
        let target = match &cluster {
            None => {
                rusqlite::Connection::open(dir.path().join("shop.db")).unwrap().execute_batch(JOURNAL).unwrap();
                "engine = \"sqlite\"\npath = \"shop.db\"".to_owned()
            }
            Some(cluster) => {
                let roles = "CREATE ROLE support; CREATE ROLE broker LOGIN PASSWORD 'broker-secret'; GRANT support TO broker;";
                let schema = format!("{JOURNAL}; {roles} GRANT SELECT, INSERT ON journal TO support;");
                cluster.admin().await.execute(sqlx::AssertSqlSafe(schema)).await.unwrap();
                std::fs::write(dir.path().join("broker.password"), "broker-secret").unwrap();
                format!(
                    "engine = \"postgres\"\nhost = \"127.0.0.1\"\nport = {}\ndatabase = \"postgres\"\ntls = false\nsearch_path = [\"public\"]\n\
                     [target.service]\nuser = \"broker\"\npassword = \"file:broker.password\"\n[[target.role]]\nteam = \"support\"\nrole = \"support\"",
                    cluster.port
                )
            }
        };
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\n[store]\npath = \"data\"\n[ledger]\norigin = \"kill.invalid/log\"\n\
             [[issuer]]\nurl = \"{base}/issuer\"\njwks_file = \"issuer/issuer.jwks.json\"\nalgorithms = [\"EdDSA\"]\nhuman_clients = [\"countersign-cli\"]\n\
             [approval]\ngrant_ttl_s = 86400\n[policy]\npath = \"policies\"\nteams = [\"support\", \"approvers\"]\n\
             [[target]]\nname = \"shop\"\nenvironment = \"demo\"\n{target}\n"
        );
        std::fs::write(dir.path().join("countersign.toml"), config).unwrap();
        Self { dir, port, base, issuer, cluster }
    }

    fn start(&self) -> Process {
        Process::serve(&self.dir.path().join("countersign.toml"), self.port)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn token(&self, subject: &str, team: &str, door: &str, actor: Option<&str>) -> String {
        let request = TokenRequest {
            subject: subject.to_owned(),
            name: None,
            teams: vec![team.to_owned()],
            audience: format!("{}/{door}", self.base),
            client: "countersign-cli".to_owned(),
            actor: actor.map(ToOwned::to_owned),
            scope: "mcp:read mcp:write".to_owned(),
            lifetime: TimeDelta::hours(1),
        };
        self.issuer.mint(&request).expose_secret().to_owned()
    }

    fn agent(&self) -> Agent {
        let token = self.token("alice", "support", "mcp", Some("demo-agent"));
        Agent { base: self.base.clone(), token, http: reqwest::Client::new(), headers: BTreeMap::new() }
    }

    fn approver(&self) -> Human {
        Human { base: self.base.clone(), token: self.token("bob", "approvers", "inbox", None), http: reqwest::Client::new() }
    }

    /// What the target holds, as its owner sees it.
    async fn journal(&self) -> Vec<i64> {
        match &self.cluster {
            Some(cluster) => {
                let rows = cluster.admin().await.fetch_all("SELECT entry FROM journal ORDER BY entry").await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
            None => {
                let shop = rusqlite::Connection::open(self.dir.path().join("shop.db")).unwrap();
                let mut statement = shop.prepare("SELECT entry FROM journal ORDER BY entry").unwrap();
                statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
            }
        }
    }
}

/// What was acknowledged before the broker died.
#[derive(Default)]
struct Acknowledged {
    /// Numbers that were written.
    numbers: Vec<i64>,
    /// Requests that bob was told are approved.
    decisions: Vec<String>,
    /// The number whose call had no answer.
    open: Option<i64>,
}

/// Writes one number after the other, each approved by bob, until the broker dies.
async fn write(agent: Agent, approver: Human, from: i64) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    for entry in from.. {
        let sql = format!("INSERT INTO journal (entry) VALUES ({entry})");
        let decisions = &mut acknowledged.decisions;
        let approve = async {
            loop {
                tokio::time::sleep(Duration::from_millis(2)).await;
                let url = format!("{}/approvals", approver.base);
                let Ok(pending) = approver.http.get(&url).bearer_auth(&approver.token).send().await else { return };
                let Ok(pending) = pending.json::<Value>().await else { return };
                for approval in pending["approvals"].as_array().into_iter().flatten() {
                    let id = approval["approval_id"].as_str().unwrap();
                    let decision = format!("{url}/{id}/decision");
                    let sent = approver.http.post(decision).bearer_auth(&approver.token).json(&json!({"decision": "approve"})).send().await;
                    let Ok(sent) = sent else { return };
                    let is_told = sent.status() == 200;
                    if sent.json::<Value>().await.is_ok_and(|told| is_told && told["state"] == "approved") {
                        decisions.push(id.to_owned());
                    }
                }
            }
        };
        let answer = tokio::select! {
            answer = agent.try_call("db_execute", json!({"target": "shop", "sql": sql})) => answer,
            () = approve => None,
        };
        match answer {
            Some(answer) if answer["status"] == "ok" => acknowledged.numbers.push(entry),
            _ => {
                acknowledged.open = Some(entry);
                break;
            }
        }
    }
    acknowledged
}

/// The call that had no answer is made again by whoever finds its approval still there: that holds, and once. Whether it was claimed.
async fn claim(site: &Site, entry: i64) -> bool {
    let (_, approved) = site.approver().get("/approvals?state=approved").await;
    let is_given = approved["approvals"].to_string().contains(&format!("VALUES ({entry})"));
    let before = site.journal().await.iter().filter(|number| **number == entry).count();
    if !is_given {
        return false;
    }
    assert_eq!(before, 0, "{entry} was done, and its approval is still there");
    let sql = format!("INSERT INTO journal (entry) VALUES ({entry})");
    let answer = site.agent().call("db_execute", json!({"target": "shop", "sql": sql})).await;
    assert_eq!(answer["status"], "ok", "{answer}");
    true
}

/// Pages through the trail; newest first.
async fn trail(approver: &Human, query: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let below = all.last().map_or_else(String::new, |entry| format!("&below={}", entry["index"]));
        let page = approver.trail(&format!("{query}{below}")).await;
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn rounds(cluster: Option<Cluster>) {
    let engine = if cluster.is_some() { "postgres" } else { "sqlite" };
    let count = setting("COUNTERSIGN_ROUNDS", || 4);
    let seed = setting("COUNTERSIGN_SEED", || std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into());
    println!("COUNTERSIGN_SEED={seed} COUNTERSIGN_ROUNDS={count} target={engine}");
    let site = Site::new(cluster).await;
    let mut state = seed;
    let (mut acknowledged, mut claimed) = (Acknowledged::default(), 0);
    for round in 0..count {
        let process = site.start();
        let kill_after = Duration::from_millis(50 + next(&mut state) % 950);
        if let Some(entry) = acknowledged.open.take()
            && claim(&site, entry).await
        {
            acknowledged.numbers.push(entry);
            claimed += 1;
        }
        let reader = site.agent();
        let reads = tokio::spawn(async move {
            let query = json!({"target": "shop", "sql": "SELECT count(*) FROM journal"});
            while reader.try_call("db_query", query.clone()).await.is_some() {}
        });
        let writes = tokio::spawn(write(site.agent(), site.approver(), i64::try_from(round).unwrap() * 10_000));
        tokio::time::sleep(kill_after).await;
        process.kill();
        let more = writes.await.unwrap();
        acknowledged.numbers.extend(more.numbers);
        acknowledged.decisions.extend(more.decisions);
        acknowledged.open = more.open;
        reads.await.unwrap();
        println!("round {round}: killed after {kill_after:?}, {} writes acknowledged so far", acknowledged.numbers.len());
    }
    left_open(&site).await;
    println!("{claimed} approvals were claimed after the broker had died");
    judge(&site, engine, seed, &acknowledged).await;
}

/// A call that surely is open when the broker dies: the next start says that it is unresolved, and what was about to be done.
async fn left_open(site: &Site) {
    let process = site.start();
    let agent = site.agent();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let call = tokio::spawn(async move { agent.try_call("db_query", json!({"target": "shop", "sql": endless})).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    process.kill();
    assert_eq!(call.await.unwrap(), None);
}

async fn judge(site: &Site, engine: &str, seed: u64, acknowledged: &Acknowledged) {
    let last = site.start();
    let approver = site.approver();
    let unresolved = trail(&approver, "&kind=exec.unresolved").await;
    let newest = &unresolved[0];
    assert_eq!(newest["leaf"]["res"]["code"], "target.unresolved", "{newest}");
    let (_, call) = approver.get(&format!("/audit/calls/{}", newest["leaf"]["call"].as_str().unwrap())).await;
    assert_eq!(call["entries"][0]["leaf_hash"], newest["leaf"]["par"], "{call}");
    assert!(call["payloads"]["request"].to_string().contains("RECURSIVE"), "{call}");
    // Every number that reached the target stands in the payload of an admitted, approved call.
    let mut intents = BTreeSet::new();
    for entry in trail(&approver, "&kind=call.admitted&tool=db_execute").await {
        if entry["leaf"].get("preview_of").is_some() {
            continue;
        }
        assert_eq!(entry["leaf"]["policy"]["decision"], "approved", "{entry}");
        let (_, call) = approver.get(&format!("/audit/calls/{}", entry["leaf"]["call"].as_str().unwrap())).await;
        let asked = call["payloads"]["request"].to_string();
        intents.insert(asked.split("VALUES (").nth(1).and_then(|rest| rest.split(')').next()).unwrap().parse::<i64>().unwrap());
    }
    // Every decision that was acknowledged is on record, and its approval is there or was used: none is lost.
    let decided: BTreeSet<String> = trail(&approver, "&kind=approval.decided")
        .await
        .iter()
        .map(|entry| entry["leaf"]["appr"]["id"].as_str().unwrap().to_owned())
        .collect();
    for id in &acknowledged.decisions {
        assert!(decided.contains(id), "{id} was acknowledged and is not in the ledger");
        let (_, request) = approver.get(&format!("/approvals/{id}")).await;
        assert!(["approved", "spent"].contains(&request["state"].as_str().unwrap()), "{request}");
    }
    last.kill();
    let stored = site.journal().await;
    let once: BTreeSet<i64> = stored.iter().copied().collect();
    assert_eq!(once.len(), stored.len(), "a number stands twice");
    assert!(once.is_subset(&intents), "done without an intent: {:?}", once.difference(&intents));
    let lost: Vec<&i64> = acknowledged.numbers.iter().filter(|entry| !once.contains(entry)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let report = countersign::ledger::verify::verify(&site.data(), &Default::default()).unwrap();
    assert!(report.ok, "{report:#?}");
    assert_eq!(report.open_calls, 0, "what was open is closed at the next start");
    println!(
        "| kill -9 | {engine} | {seed} | {} | {} | {} | {} | {} | {} |",
        intents.len(),
        stored.len(),
        acknowledged.numbers.len(),
        acknowledged.decisions.len(),
        unresolved.len(),
        report.size
    );
}

#[tokio::test]
async fn killed_on_a_sqlite_target() {
    rounds(None).await;
}

#[tokio::test]
async fn killed_on_a_postgres_target() {
    rounds(Some(Cluster::start())).await;
}
