//! A message in Slack, by an incoming webhook or by a bot's `chat.postMessage`: Block Kit, with a link to the page that decides.
//!
//! Everything from outside stands in `plain_text` without emoji, and `&`, `<` and `>` are escaped all the same, so that no `<!channel>`, link or mark-up
//! that somebody wrote into a call is one. Nothing is unfurled, and no name is linked. The message itself decides nothing: where buttons stand in it, a click
//! is Slack's word for one of its users, and judged at the human's door. A button that says yes stands only in a message that shows, whole, what the page
//! shows of the call and its effect.

use http::header;
use reqwest::Url;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::credential::secret::Reference;
use crate::identity::Voucher;
use crate::inert::Inert;
use crate::notice::Message;
use crate::notice::courier::{Courier, Undelivered};
use crate::notice::message::short_of;
use crate::notice::place::{Address, Place};

/// A Slack channel.
#[derive(Debug, Clone)]
pub struct Slack {
    /// How messages get there.
    pub way: Way,
    /// Buttons, and whose clicks count.
    pub interactions: Option<Interactions>,
    /// Whether what a preview shows stands in a message that has buttons. Without it, whatever has a preview is approved on the page alone.
    pub include_preview: bool,
}

/// Whose clicks count.
#[derive(Debug, Clone)]
pub struct Interactions {
    /// Slack, for the users whose humans are known.
    pub voucher: Voucher,
    /// The app's signing secret.
    pub signing_secret: Reference,
    /// The workspace's id, such as `T0123456789`.
    pub team: String,
    /// The app's id, such as `A0123456789`.
    pub app: String,
    /// The host that what came of a click is posted to.
    pub answers_at: String,
}

/// The actions of the buttons.
pub const APPROVE: &str = "countersign.approve";
/// The same for a no.
pub const DENY: &str = "countersign.deny";

/// The block and the element that a reason is written into: a click comes with what stands there, `/state/values/{block}/{element}/value`.
pub const REASON: (&str, &str) = ("countersign.reason", "reason");
/// Its longest, in characters; the desk judges bytes.
const REASON_MAX: u16 = 2_000;

/// How messages get to Slack.
#[derive(Debug, Clone)]
pub enum Way {
    /// An incoming webhook's URL, which is a secret.
    Webhook(Place),
    /// A bot's token, and the channel's id.
    Bot {
        /// `https://slack.com/api/chat.postMessage`, unless it is another that speaks like it.
        place: Place,
        /// The bot's token.
        token: Reference,
        /// Such as `C0123456789`.
        channel: String,
    },
}

/// Slack's own limits, in characters: of a header, of a section's text, of one of its fields; and fields in a section.
const HEADER_MAX: usize = 150;
const TEXT_MAX: usize = 3_000;
const FIELD_MAX: usize = 2_000;
const FIELDS_MAX: usize = 10;

/// What may pass by itself; everything else that Slack says is a matter of the configuration.
const PASSING: [&str; 5] = ["ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"];

impl Slack {
    pub(super) async fn send(&self, courier: &Courier, message: &Message) -> Result<String, Undelivered> {
        let mut body = blocks(message, self.interactions.is_some(), self.include_preview);
        match &self.way {
            Way::Webhook(place) => courier.post(place, &[], body.to_string().into_bytes()).await.map(|taken| taken.said()),
            Way::Bot { place, token, channel } => {
                if let Some(members) = body.as_object_mut() {
                    members.insert("channel".to_owned(), Value::from(channel.as_str()));
                }
                let bearer = format!("Bearer {}", courier.secret(token).await?.expose_secret());
                let taken = courier.post(place, &[(header::AUTHORIZATION.as_str(), bearer)], body.to_string().into_bytes()).await?;
                accepted(&taken.0.body).map(|()| taken.said())
            }
        }
    }
}

impl Slack {
    /// Posts what came of a click to where Slack says, if that is Slack.
    ///
    /// # Errors
    /// It is not, or it did not take it.
    pub async fn answer(&self, courier: &Courier, url: &str, body: Vec<u8>) -> Result<(), Undelivered> {
        let host = Url::parse(url).ok().and_then(|url| url.host_str().map(ToOwned::to_owned));
        let known = self.interactions.as_ref().map(|known| &known.answers_at);
        if host.is_none() || host.as_ref() != known {
            return Err(Undelivered::never("the click's `response_url` does not lead to Slack"));
        }
        let (Way::Webhook(place) | Way::Bot { place, .. }) = &self.way;
        let place = Place { address: Address::Plain(url.to_owned()), ..place.clone() };
        courier.post(&place, &[], body).await.map(|_| ())
    }
}

/// Slack's API answers 200 to what it did not take as well.
fn accepted(answer: &[u8]) -> Result<(), Undelivered> {
    let answer: Value = serde_json::from_slice(answer).map_err(|_| Undelivered::later("it answered no JSON"))?;
    if answer.get("ok") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    let code: String = answer.get("error").and_then(Value::as_str).unwrap_or("no reason").chars().take(60).collect();
    let why = format!("Slack refused it: {}", crate::inert::inert(&code));
    Err(if PASSING.contains(&code.as_str()) { Undelivered::later(why) } else { Undelivered::never(why) })
}

/// Text without the three characters that control Slack's.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Plain text of at most so many characters as Slack counts them.
fn plain(text: &str, longest: usize) -> Value {
    let text = Inert::of(text);
    let fits = |length: &usize| escaped(&short_of(&text, *length)).chars().count() <= longest;
    // Each halving is looked at, so the text is at least half as long as it could be.
    let length = std::iter::successors(Some(longest), |length| Some(length / 2)).take(16).find(fits).unwrap_or(0);
    json!({ "type": "plain_text", "text": escaped(&short_of(&text, length)), "emoji": false })
}

/// What stands in a message that waits for a click, if all that an approver has to see fits into it.
fn decidable(message: &Message, include_preview: bool) -> Option<String> {
    message.whole(include_preview).map(|text| escaped(&text)).filter(|text| text.chars().count() <= TEXT_MAX)
}

fn blocks(message: &Message, has_buttons: bool, include_preview: bool) -> Value {
    let buttons = message.buttons.as_ref().filter(|_| has_buttons);
    let whole = buttons.and_then(|_| decidable(message, include_preview));
    let mut blocks = vec![json!({ "type": "header", "text": plain(&message.title, HEADER_MAX) })];
    for facts in message.facts.chunks(FIELDS_MAX) {
        let fields: Vec<Value> = facts.iter().map(|(label, text)| plain(&format!("{label}\n{text}"), FIELD_MAX)).collect();
        blocks.push(json!({ "type": "section", "fields": fields }));
    }
    let call = message.call(TEXT_MAX);
    if let Some(text) = &whole {
        blocks.push(json!({ "type": "section", "text": { "type": "plain_text", "text": text, "emoji": false } }));
    } else if !call.is_empty() {
        blocks.push(json!({ "type": "section", "text": plain(&call, TEXT_MAX) }));
    }
    let open = json!({ "type": "button", "action_id": "open", "text": plain("Open the request", 75), "url": message.url });
    let decide = |action: &str, label: &str, style: &str, value: &str| json!({ "type": "button", "action_id": action, "text": plain(label, 75), "style": style, "value": value });
    let mut elements = Vec::new();
    if let Some(buttons) = buttons {
        if whole.is_none() {
            let where_to = "Not all of it is shown here, such as what it would change: it is approved on the page.";
            blocks.push(json!({ "type": "section", "text": plain(where_to, TEXT_MAX) }));
        }
        let (block, element) = REASON;
        blocks.push(json!({
            "type": "input",
            "block_id": block,
            "optional": true,
            "label": plain(&message.reason, 200),
            "element": { "type": "plain_text_input", "action_id": element, "max_length": REASON_MAX },
        }));
        // Nobody says yes to what they were not shown.
        elements.extend(whole.is_some().then(|| decide(APPROVE, "Approve", "primary", &buttons.approve)));
        elements.push(decide(DENY, "Deny", "danger", &buttons.deny));
    }
    elements.push(open);
    blocks.push(json!({ "type": "actions", "elements": elements }));
    // By its id, a reader sees that one came twice.
    blocks.push(json!({ "type": "context", "elements": [plain(&message.id, TEXT_MAX)] }));
    json!({
        "text": escaped(&message.title),
        "blocks": blocks,
        "mrkdwn": false,
        "parse": "none",
        "link_names": false,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit_and_say_what_was_left_out() {
        let of = |text: &str, longest| plain(text, longest)["text"].as_str().unwrap().to_owned();
        assert_eq!(of("<!channel> & *x*", 100), "&lt;!channel&gt; &amp; *x*");
        assert_eq!(of("short", 10), "short");
        for text in ["<".repeat(4_000), "a".repeat(4_000), "\u{202e}".repeat(900)] {
            let shown = of(&text, 3_000);
            assert!(shown.chars().count() <= 3_000 && shown.contains("characters more)"), "{shown}");
        }
    }

    #[test]
    fn what_slack_refuses_for_good_is_not_tried_again() {
        for (answer, outcome) in [
            (r#"{"ok":true}"#, Ok(())),
            (r#"{"ok":false,"error":"channel_not_found"}"#, Err(true)),
            (r#"{"ok":false,"error":"ratelimited"}"#, Err(false)),
            (r#"{"ok":"true"}"#, Err(true)),
            ("<html>", Err(false)),
        ] {
            assert_eq!(accepted(answer.as_bytes()).map_err(|undelivered| undelivered.is_final), outcome, "{answer}");
        }
    }
}
