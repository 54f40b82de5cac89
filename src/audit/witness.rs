//! What identity has seen, as leaves: `auth.login` for the first use of a token, `key.rotated` for an issuer whose keys changed.

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use crate::audit::{Audit, Unavailable};
use crate::identity::{Event, Witness};
use crate::ledger::{Change, Draft};
use crate::record::with_sign_in;
use crate::refusal::Refusal;

/// Characters of a key id, which is the issuer's own text, that a leaf keeps.
const KEY_ID_MAX: usize = 64;

impl Witness for Audit {
    fn saw<'a>(&'a self, event: Event<'a>) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move { self.witnessed(event).await.map_err(|unavailable| unavailable.refusal()) })
    }
}

impl Audit {
    async fn witnessed(&self, event: Event<'_>) -> Result<(), Unavailable> {
        let (leaf, writes) = match event {
            Event::FirstUse { human, agent, client, sign_in } => {
                let id = self.recorder.human(human);
                let who = json!({ "sub_id": id, "idp": self.recorder.issuer(&human.issuer) });
                let mut body = Map::from_iter([
                    ("human".to_owned(), with_sign_in(who, sign_in)),
                    ("door".to_owned(), Value::from(if agent.is_some() { "mcp" } else { "inbox" })),
                ]);
                body.extend(client.map(|client| ("client".to_owned(), Value::from(client))));
                let mut leaf = Draft::new("auth.login", body).of_human(id);
                if let Some(agent) = agent {
                    let id = self.recorder.agent(agent);
                    leaf = leaf.with("agent", json!({ "id": id, "depth": agent.chain.len() })).of_agent(id);
                }
                (leaf, self.recorder.subjects(human, agent))
            }
            Event::KeysChanged { issuer, before, now } => {
                let names = |ids: &[String]| ids.iter().map(|id| id.chars().take(KEY_ID_MAX).collect::<String>()).collect::<Vec<_>>();
                let body = Map::from_iter([
                    ("idp".to_owned(), Value::from(issuer)),
                    ("keys".to_owned(), json!({ "before": names(before), "now": names(now) })),
                ]);
                (Draft::new("key.rotated", body), Vec::new())
            }
        };
        self.ledger.commit(Change { leaves: vec![leaf], writes, payloads: Vec::new() }).await.inspect_err(|_| self.recorder.forget())?;
        Ok(())
    }
}
