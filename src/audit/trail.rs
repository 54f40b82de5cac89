//! Reading the trail: by a person, with names where the person may see them, and recorded before anything is shown.
//!
//! Who may review reads everybody's; everybody else reads what was done in their own name.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::audit::{Audit, Unavailable};
use crate::identity::Person;
use crate::ledger::{Change, Entries, Stored};
use crate::record::Recorder;

/// What a person asks of the trail; texts as people write them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// An agent's id.
    pub agent: Option<String>,
    /// A human's subject.
    pub human: Option<String>,
    /// The rest, as the ledger has it.
    pub entries: Entries,
}

/// Rows of `subject` that a name is looked up in.
const SUBJECTS_MAX: usize = 10_000;

/// Leaves of one call: a recording has one a second, for as long as a call may take.
const CALL_MAX: usize = 512;

impl Audit {
    /// Leaves that fit, newest first, with the names of who is in them.
    ///
    /// # Errors
    /// The reading could not be recorded, or the store not be read.
    pub async fn search(&self, person: &Person, reviews: bool, question: Question) -> Result<Value, Unavailable> {
        self.record_reading(person, &question).await?;
        let Some(entries) = self.entries(person, reviews, question).await? else { return Ok(json!({ "entries": [] })) };
        let found = self.ledger.entries(entries).await?;
        let names = self.names(&found).await?;
        let entries: Vec<Value> = found.iter().map(|stored| shown(stored, &names)).collect();
        Ok(json!({ "entries": entries }))
    }

    /// One call whole: its leaves, oldest first, and what was asked and answered; `None` if there is no such call that the person may see.
    ///
    /// # Errors
    /// As with [`Audit::search`], or a payload that does not hold.
    pub async fn call(&self, person: &Person, reviews: bool, call: &str) -> Result<Option<Value>, Unavailable> {
        let question =
            Question { entries: Entries { call: Some(call.to_owned()), limit: CALL_MAX, ..Entries::default() }, ..Question::default() };
        self.record_reading(person, &question).await?;
        let Some(entries) = self.entries(person, true, question).await? else { return Ok(None) };
        let mut found = self.ledger.entries(entries).await?;
        found.reverse();
        // A leaf about the call may be an approver's; whose call it is, its own leaves say.
        let own = self.recorder.human(person.human());
        let is_own =
            found.iter().any(|stored| field(stored, "/human/sub_id").as_deref() == Some(&own) && field(stored, "/agent/id").is_some());
        if found.is_empty() || !(reviews || is_own) {
            return Ok(None);
        }
        let names = self.names(&found).await?;
        let (mut payloads, mut recording, mut decisions) = (Map::new(), Vec::new(), Vec::new());
        for stored in &found {
            let leaf: Value = serde_json::from_str(&stored.leaf).map_err(Unavailable::because)?;
            for pay in leaf.pointer("/pay").and_then(Value::as_array).into_iter().flatten() {
                let (Some(role), Some(commit)) = (pay.get("role").and_then(Value::as_str), pay.get("commit").and_then(Value::as_str))
                else {
                    continue;
                };
                let opened = self.ledger.open_payload(commit).await?;
                if role == "recording" {
                    // A recording comes in parts, oldest first: each is lines of asciicast.
                    recording.push((stored.index, opened.map_or_else(String::new, |bytes| String::from_utf8_lossy(&bytes).into_owned())));
                    continue;
                }
                let value =
                    opened.map_or_else(|| json!("erased"), |bytes| serde_json::from_slice(&bytes).unwrap_or_else(|_| json!("not JSON")));
                // Several humans may have said something of one call.
                if role == "decision" {
                    decisions.push((stored.index, json!({ "index": stored.index, "said": value })));
                    continue;
                }
                payloads.insert(role.to_owned(), value);
            }
        }
        if !recording.is_empty() {
            recording.sort();
            payloads.insert("recording".to_owned(), Value::from(recording.into_iter().map(|(_, part)| part).collect::<String>()));
        }
        if !decisions.is_empty() {
            decisions.sort_by_key(|(index, _)| *index);
            payloads.insert("decisions".to_owned(), decisions.into_iter().map(|(_, said)| said).collect());
        }
        let entries: Vec<Value> = found.iter().map(|stored| shown(stored, &names)).collect();
        Ok(Some(json!({ "call": call, "entries": entries, "payloads": payloads })))
    }

    /// Records that a person reads these requests for approval, which show what is asked and what it would touch.
    ///
    /// # Errors
    /// The reading could not be recorded, so nothing may be shown.
    pub async fn read_approvals(&self, person: &Person, ids: &[&str]) -> Result<(), Unavailable> {
        self.record_reading(person, &format!("approvals {}", ids.join(" "))).await
    }

    /// Leaves as the tree has them, oldest first, from an index on: what an export is made of.
    ///
    /// # Errors
    /// As with [`Audit::search`].
    pub async fn leaves(&self, person: &Person, from: u64, limit: usize) -> Result<Vec<String>, Unavailable> {
        self.record_reading(person, &format!("leaves from {from} on")).await?;
        Ok(self.ledger.leaves(from, limit).await?)
    }

    /// The public key that verifies the head, as C2SP notes write keys.
    #[must_use]
    pub fn verifier(&self) -> String {
        self.ledger.keys().verifier().text()
    }

    /// The signed head.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn checkpoint(&self) -> Result<Option<String>, Unavailable> {
        Ok(self.ledger.checkpoint().await?)
    }

    /// Remembered checkpoints of more leaves than `above`, smallest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn checkpoints(&self, above: u64, limit: usize) -> Result<Vec<String>, Unavailable> {
        Ok(self.ledger.checkpoints(above, limit).await?)
    }

    /// The question in the ledger's terms; `None` if it names somebody who is not known, whose trail is empty.
    async fn entries(&self, person: &Person, reviews: bool, question: Question) -> Result<Option<Entries>, Unavailable> {
        let Question { agent, human, mut entries } = question;
        let own = self.recorder.human(person.human());
        if let Some(agent) = agent {
            let Some(id) = self.subject("agent", &agent).await? else { return Ok(None) };
            entries.agent = Some(id);
        }
        if let Some(human) = human {
            let Some(id) = self.subject("human", &human).await? else { return Ok(None) };
            entries.human = Some(id);
        }
        if let Some(run) = entries.run.take().filter(|run| !run.starts_with("run_")) {
            // A run is scoped by who reports it, so both must be named to find it by its own name.
            let (Some(human), Some(agent)) = (&entries.human, &entries.agent) else { return Ok(None) };
            entries.run = Some(self.recorder.run(human, agent, &run));
        }
        if !reviews {
            if entries.human.as_ref().is_some_and(|human| *human != own) {
                return Ok(None);
            }
            entries.human = Some(own);
        }
        Ok(Some(entries))
    }

    /// The opaque id of somebody by the name they go by; an opaque id stands for itself.
    async fn subject(&self, kind: &str, name: &str) -> Result<Option<String>, Unavailable> {
        let rows = self.ledger.list(Recorder::SUBJECT, &["known"], SUBJECTS_MAX).await?;
        Ok(rows
            .into_iter()
            .find(|row| {
                let body: Value = serde_json::from_slice(&row.body).unwrap_or_default();
                row.id == name
                    || (body.get("kind").and_then(Value::as_str) == Some(kind) && body.get("id").and_then(Value::as_str) == Some(name))
            })
            .map(|row| row.id))
    }

    async fn names(&self, found: &[Stored]) -> Result<BTreeMap<String, String>, Unavailable> {
        let mut names = BTreeMap::new();
        for stored in found {
            for pointer in ["/human/sub_id", "/agent/id", "/agent/client", "/cred/ref", "/cred/account"] {
                let Some(id) = field(stored, pointer).filter(|id| !names.contains_key(id)) else { continue };
                let row = self.ledger.get(Recorder::SUBJECT, &id).await?;
                let name = row
                    .and_then(|row| serde_json::from_slice::<Value>(&row.body).ok())
                    .and_then(|body| body.get("id").and_then(Value::as_str).map(ToOwned::to_owned));
                names.insert(id.clone(), name.unwrap_or(id));
            }
        }
        Ok(names)
    }

    /// The audit log is itself audited: the reading is durable before anything is shown.
    async fn record_reading(&self, person: &Person, question: &impl std::fmt::Debug) -> Result<(), Unavailable> {
        let asked = serde_json::to_vec(&json!({ "question": format!("{question:?}") })).map_err(Unavailable::because)?;
        let payloads = vec![self.payload("request", "request", &asked)?];
        let body = Map::from_iter([("pay".to_owned(), super::references(&payloads))]);
        let leaf = self.recorder.personal("audit.queried", person, body);
        let writes = self.recorder.subjects(person.human(), None);
        self.ledger.commit(Change { leaves: vec![leaf], writes, payloads }).await.inspect_err(|_| self.recorder.forget())?;
        Ok(())
    }
}

fn field(stored: &Stored, pointer: &str) -> Option<String> {
    serde_json::from_str::<Value>(&stored.leaf).ok()?.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned)
}

fn shown(stored: &Stored, names: &BTreeMap<String, String>) -> Value {
    let leaf: Value = serde_json::from_str(&stored.leaf).unwrap_or_default();
    let name = |pointer: &str| leaf.pointer(pointer).and_then(Value::as_str).and_then(|id| names.get(id)).cloned();
    json!({
        "index": stored.index,
        "leaf_hash": hex::encode(stored.hash),
        "human": name("/human/sub_id"),
        "agent": name("/agent/id"),
        "client": name("/agent/client"),
        "credential": name("/cred/ref"),
        "account": name("/cred/account"),
        "leaf": leaf,
    })
}
