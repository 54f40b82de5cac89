//! Refusals of people at the human's door that no other room records: `auth.refused`.

use serde_json::{Map, json};

use crate::audit::{Audit, Unavailable};
use crate::identity::Person;
use crate::ledger::Change;
use crate::refusal::Refusal;

impl Audit {
    /// Puts on record that a person was refused what they wanted.
    ///
    /// # Errors
    /// It could not be recorded.
    pub async fn refuse_person(&self, person: &Person, wanted: &'static str, refusal: &Refusal) -> Result<(), Unavailable> {
        let body = Map::from_iter([("res".to_owned(), json!({ "status": "refused", "code": refusal.code().as_str(), "wanted": wanted }))]);
        let leaf = self.recorder.personal("auth.refused", person, body);
        let writes = self.recorder.subjects(person.human(), None);
        self.ledger.commit(Change { leaves: vec![leaf], writes, payloads: Vec::new() }).await.inspect_err(|_| self.recorder.forget())?;
        Ok(())
    }
}
