//! A signed POST, as the Standard Webhooks specification has it: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
//!
//! The id is the notice's, the same at each attempt, so that a receiver can tell a repetition. While a secret is being changed there are two, and two
//! signatures: a receiver that knows either is satisfied.

use crate::credential::secret::Reference;
use crate::notice::Message;
use crate::notice::courier::{Courier, Undelivered};
use crate::notice::place::Place;
use crate::signature::sign;

/// A webhook.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where to.
    pub place: Place,
    /// One key, or two while it is being changed.
    pub secrets: Vec<Reference>,
    /// Whether rows of a preview are sent along.
    pub include_preview: bool,
}

impl Webhook {
    pub(super) async fn send(&self, courier: &Courier, message: &Message) -> Result<String, Undelivered> {
        let mut secrets = Vec::with_capacity(self.secrets.len());
        for reference in &self.secrets {
            secrets.push(courier.secret(reference).await?);
        }
        let (body, timestamp) = (message.payload(self.include_preview), message.now.timestamp());
        let signature = sign(&secrets, &message.id, timestamp, &body)
            .ok_or_else(|| Undelivered::later("its secret is not `whsec_` and 24 to 64 bytes in Base64"))?;
        let headers = [("webhook-id", message.id.clone()), ("webhook-timestamp", timestamp.to_string()), ("webhook-signature", signature)];
        courier.post(&self.place, &headers, body).await.map(|answer| answer.said())
    }
}
