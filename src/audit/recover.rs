//! After a crash: every call that was open is closed as `exec.unresolved`, before the first new call is admitted.
//!
//! Whether the target did the work is not known here and not guessed: the record says so, and the admitted leaf says what was about to be done.

use serde_json::{Map, Value, json};

use crate::audit::{Audit, OPEN_CALL, Unavailable};
use crate::identity::{Agent, Human};
use crate::ledger::{Change, Draft, Entries, Row, Write};
use crate::refusal::Code;

/// Calls that one round closes.
const ROUND_MAX: usize = 256;

impl Audit {
    /// Closes what a dead process left open, and records that this one has started.
    ///
    /// # Errors
    /// The ledger could not record; the broker must not serve then.
    pub async fn recover(&self, policy_hash: &str, policy_text: &str) -> Result<usize, Unavailable> {
        let mut unresolved = 0;
        loop {
            let rows = self.ledger.list(OPEN_CALL, &["open"], ROUND_MAX).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                self.close_unresolved(&row).await?;
                unresolved += 1;
            }
        }
        // Which keys were in use: after a rotation it can still be told which one made what.
        let keys = self.ledger.keys().ids();
        let started = Draft::new(
            "broker.started",
            Map::from_iter([
                ("clean".to_owned(), Value::from(unresolved == 0)),
                ("unresolved".to_owned(), Value::from(unresolved)),
                ("version".to_owned(), Value::from(env!("CARGO_PKG_VERSION"))),
                (
                    "keys".to_owned(),
                    json!({ "log": keys.log, "digest": keys.digest, "pseudonym": keys.pseudonym, "payload": keys.payload }),
                ),
            ]),
        );
        self.ledger.commit(Change { leaves: vec![started], writes: Vec::new(), payloads: Vec::new() }).await?;
        self.record_policy(policy_hash, policy_text).await?;
        Ok(unresolved)
    }

    async fn close_unresolved(&self, row: &Row) -> Result<(), Unavailable> {
        let body: Value = serde_json::from_slice(&row.body).map_err(Unavailable::because)?;
        let text = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let human = self.recorder.human(&Human {
            issuer: text("/human/issuer"),
            subject: text("/human/subject"),
            name: None,
            teams: Vec::new(),
            person: None,
        });
        let agent = self.recorder.agent(&Agent { issuer: text("/agent/issuer"), id: text("/agent/id"), chain: Vec::new() });
        let mut leaf = Map::from_iter([
            ("call".to_owned(), Value::from(row.id.as_str())),
            ("human".to_owned(), json!({ "sub_id": human })),
            ("agent".to_owned(), json!({ "id": agent })),
            ("tool".to_owned(), json!({ "name": text("/tool") })),
            ("res".to_owned(), json!({ "status": "unresolved", "code": Code::Unresolved.as_str() })),
        ]);
        // The leaf that says what was about to be done.
        let admitted = Entries { call: Some(row.id.clone()), kind: Some("call.admitted".to_owned()), limit: 1, ..Entries::default() };
        if let Some(admitted) = self.ledger.entries(admitted).await?.first() {
            leaf.insert("par".to_owned(), Value::from(hex::encode(admitted.hash)));
        }
        if let Some(target) = body.get("target").filter(|target| target.is_object()) {
            leaf.insert("target".to_owned(), target.clone());
        }
        let draft = Draft::new("exec.unresolved", leaf).of_agent(agent).of_human(human);
        let write = Write::Remove { kind: OPEN_CALL.to_owned(), id: row.id.clone(), from: "open".to_owned() };
        self.ledger.commit(Change { leaves: vec![draft], writes: vec![write], payloads: Vec::new() }).await?;
        Ok(())
    }

    /// The policy set is content-addressed: its text is kept as a payload the first time it is in force.
    async fn record_policy(&self, hash: &str, text: &str) -> Result<(), Unavailable> {
        if self.ledger.get("policy_set", hash).await?.is_some_and(|row| row.state == "in_force") {
            return Ok(());
        }
        let old = self.ledger.list("policy_set", &["in_force"], 1).await?.pop();
        let payloads = vec![self.payload("policy", "permanent", text.as_bytes())?];
        let mut body = Map::from_iter([("new".to_owned(), Value::from(hash)), ("pay".to_owned(), super::references(&payloads))]);
        let mut writes = Vec::new();
        if let Some(old) = old {
            body.insert("old".to_owned(), Value::from(old.id.as_str()));
            writes.push(Write::Move { kind: old.kind, id: old.id, from: "in_force".to_owned(), to: "replaced".to_owned(), body: None });
        }
        writes.push(match self.ledger.get("policy_set", hash).await? {
            Some(row) => Write::Move { kind: row.kind, id: row.id, from: row.state, to: "in_force".to_owned(), body: None },
            None => Write::Insert(Row::new("policy_set", hash, "in_force", "", None, Vec::new())),
        });
        self.ledger.commit(Change { leaves: vec![Draft::new("policy.changed", body)], writes, payloads }).await?;
        Ok(())
    }
}
