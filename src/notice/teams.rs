//! A card in Microsoft Teams, by the URL of a Workflows webhook: an Adaptive Card 1.4 whose one action opens the page that decides.
//!
//! A `TextBlock` and a `Fact` read Markdown, so everything from outside stands in `TextRun`s, which read nothing.

use serde_json::{Value, json};

use crate::notice::Message;
use crate::notice::courier::{Courier, Undelivered};
use crate::notice::place::Place;

/// A Teams channel.
#[derive(Debug, Clone)]
pub struct Teams {
    /// The workflow's URL, which is a secret.
    pub place: Place,
}

/// The longest call in a card, in characters: Teams takes 28 KB in all.
const CALL_MAX: usize = 4_000;

impl Teams {
    pub(super) async fn send(&self, courier: &Courier, message: &Message) -> Result<String, Undelivered> {
        courier.post(&self.place, &[], card(message).to_string().into_bytes()).await.map(|taken| taken.said())
    }
}

fn card(message: &Message) -> Value {
    let run = |text: &str, more: Value| {
        let mut run = json!({ "type": "TextRun", "text": text });
        if let (Some(run), Value::Object(more)) = (run.as_object_mut(), more) {
            run.extend(more);
        }
        run
    };
    let line = |runs: Vec<Value>| json!({ "type": "RichTextBlock", "inlines": runs });
    let mut body = vec![line(vec![run(&message.title, json!({ "weight": "Bolder", "size": "Medium" }))])];
    for (label, text) in &message.facts {
        body.push(line(vec![run(&format!("{label}: "), json!({ "weight": "Bolder" })), run(text, Value::Null)]));
    }
    let call = message.call(CALL_MAX);
    body.extend((!call.is_empty()).then(|| line(vec![run(&call, json!({ "fontType": "Monospace" }))])));
    body.push(line(vec![run(&message.id, json!({ "isSubtle": true, "size": "Small" }))]));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
                "actions": [{ "type": "Action.OpenUrl", "title": "Open the request", "url": message.url }],
            },
        }],
    })
}
