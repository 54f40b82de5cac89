//! Channels by which people are told: of which kind each is, where it leads, and which requests it tells of.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use lettre::message::Mailbox;
use toml::Spanned;

use crate::approval::Event;
use crate::config::credentials::reference;
use crate::config::vouchers::humans;
use crate::config::{Reader, file};
use crate::credential::secret::Reference;
use crate::identity::{IssuerSettings, Signing, Voucher};
use crate::notice::{Address, CHANNELS_MAX, Channel, Command, Email, Interactions, Kind, Place, Settings, Slack, Teams, Tls, Way, Webhook};
use crate::operation::Risk;
use crate::signature::is_key;

/// The longest that one attempt may be given, in seconds.
const TIMEOUT_MAX_S: u64 = 60;
/// Humans that one mail goes to.
const TO_MAX: usize = 50;
/// Where Slack's API is.
const SLACK_API: &str = "https://slack.com/api";
/// The host that what came of a click is posted to.
const SLACK_ANSWERS: &str = "hooks.slack.com";

/// What channels lean on.
pub(super) struct Ground<'a> {
    pub(super) environments: &'a BTreeSet<String>,
    pub(super) issuers: &'a [IssuerSettings],
    /// Those of `[policy]`; none where any may be.
    pub(super) teams: &'a BTreeSet<String>,
    pub(super) vault: bool,
}

impl Ground<'_> {
    /// A team that no policy could know is a typing error.
    pub(super) fn knows_team(&self, team: &str) -> Result<(), String> {
        match self.teams.is_empty() || self.teams.contains(team) {
            true => Ok(()),
            false => Err(format!("the team `{team}` is none of `teams` in [policy]")),
        }
    }
}

/// An id that Slack gives: a letter that says of what it is, then letters and digits.
fn is_slack_id(text: &str, kinds: &[char]) -> bool {
    text.len() >= 5 && text.starts_with(kinds) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// One channel as it is read, with its place.
struct Site<'r, 'p, 'a> {
    reader: &'r mut Reader<'p>,
    span: Range<usize>,
    ground: &'a Ground<'a>,
}

pub(super) fn settings(reader: &mut Reader<'_>, listed: Vec<Spanned<file::Channel>>, ground: &Ground<'_>) -> Settings {
    if let Some(more) = listed.get(CHANNELS_MAX) {
        reader.problem(more.span(), format!("there are more than {CHANNELS_MAX} channels"));
    }
    let mut channels: Vec<Channel> = Vec::new();
    for channel in listed {
        let span = channel.span();
        let mut site = Site { reader: &mut *reader, span, ground };
        let Some(channel) = site.channel(channel.into_inner()) else { continue };
        if channels.iter().any(|other| other.name == channel.name) {
            site.problem(format!("another [[channel]] has the name `{}`", channel.name));
        }
        channels.push(channel);
    }
    Settings { channels, ..Settings::default() }
}

/// Keys that belong to some kinds alone, and whether they are given.
fn keys(given: &file::Channel) -> [(&'static str, &'static [&'static str], bool); 21] {
    [
        ("url", &["webhook", "slack", "teams"], given.url.is_some()),
        ("allow_http", &["webhook", "slack", "teams"], given.allow_http),
        ("allow_private", &["webhook", "slack", "teams", "email"], given.allow_private),
        ("secrets", &["webhook"], !given.secrets.is_empty()),
        ("include_preview", &["webhook", "command", "slack"], given.include_preview),
        ("token", &["slack"], given.token.is_some()),
        ("channel", &["slack"], given.channel.is_some()),
        ("api_url", &["slack"], given.api_url.is_some()),
        ("signing_secret", &["slack"], given.signing_secret.is_some()),
        ("team_id", &["slack"], given.team_id.is_some()),
        ("app_id", &["slack"], given.app_id.is_some()),
        ("users", &["slack"], !given.users.is_empty()),
        ("host", &["email"], given.host.is_some()),
        ("port", &["email"], given.port.is_some()),
        ("tls", &["email"], given.tls.is_some()),
        ("ca", &["email"], given.ca.is_some()),
        ("user", &["email"], given.user.is_some()),
        ("password", &["email"], given.password.is_some()),
        ("from", &["email"], given.from.is_some()),
        ("to", &["email"], !given.to.is_empty()),
        ("argv", &["command"], !given.argv.is_empty()),
    ]
}

/// Where a secret is kept that is one for everybody.
pub(super) fn shared_secret(reader: &mut Reader<'_>, span: &Range<usize>, text: &str, vault: bool) -> Option<Reference> {
    let found = reference(reader, span, text)?;
    let message = if !found.is_fixed() {
        "this secret is one for everybody: it has no `{human.login}`"
    } else if found.is_lease() {
        "this secret in Vault needs its `#FIELD`"
    } else if found.is_in_vault() && !vault {
        "a reference to Vault needs [vault]"
    } else {
        return Some(found);
    };
    reader.problem(span.clone(), message);
    None
}

impl Site<'_, '_, '_> {
    fn problem(&mut self, message: impl Into<String>) {
        self.reader.problem(self.span.clone(), message);
    }

    /// The value, or a problem.
    fn must<T>(&mut self, value: Result<T, String>) -> Option<T> {
        value.map_err(|message| self.problem(message)).ok()
    }

    fn channel(&mut self, mut given: file::Channel) -> Option<Channel> {
        let keys = keys(&given);
        let users = std::mem::take(&mut given.users);
        let given = &given;
        let name = &given.name;
        if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
            self.problem(format!("the channel's name `{name}` must be letters, digits, `_`, `-` and `.`, at most 64"));
        }
        if !(1..=TIMEOUT_MAX_S).contains(&given.timeout_s) {
            self.problem(format!("`timeout_s` must be 1 to {TIMEOUT_MAX_S}, and is {}", given.timeout_s));
        }
        for environment in given.environments.iter().filter(|name| !self.ground.environments.contains(*name)).collect::<Vec<_>>() {
            self.problem(format!("no [[target]] is in the environment `{environment}`: the channel would never tell of one"));
        }
        if let Some(team) = &given.team {
            self.must(self.ground.knows_team(team));
        }
        for (key, kinds, is_given) in keys {
            if is_given && !kinds.contains(&given.kind.as_str()) {
                self.problem(format!("`{key}` belongs to a channel of the kind {}", kinds.join(" or ")));
            }
        }
        let risk_at_least = match given.risk_at_least.as_deref() {
            None => Some(Risk::Read),
            Some(risk) => {
                self.must(Risk::parse(risk).ok_or_else(|| "`risk_at_least` must be read, write, destructive or admin".to_owned()))
            }
        };
        let events = self.events(given.events.as_deref());
        let kind = match given.kind.as_str() {
            "webhook" => self.webhook(given),
            "slack" => self.slack(given, users),
            "teams" => self.teams(given),
            "email" => self.email(given),
            "command" => self.command(given),
            other => {
                self.problem(format!("the kind `{other}` is not one of webhook, slack, teams, email, command"));
                None
            }
        };
        Some(Channel {
            name: name.clone(),
            events: events?,
            environments: given.environments.clone(),
            risk_at_least: risk_at_least?,
            team: given.team.clone(),
            timeout: Duration::from_secs(given.timeout_s),
            kind: kind?,
        })
    }

    fn events(&mut self, given: Option<&[String]>) -> Option<Vec<Event>> {
        let Some(given) = given else { return Some(Event::ALL.to_vec()) };
        let parse = |name: &String| Event::ALL.into_iter().find(|event| event.as_str().strip_prefix("approval.") == Some(name));
        let events: Option<Vec<Event>> = given.iter().map(parse).collect();
        let events = events.filter(|events| !events.is_empty());
        if events.is_none() {
            let names: Vec<&str> = Event::ALL.iter().filter_map(|event| event.as_str().strip_prefix("approval.")).collect();
            self.problem(format!("`events` must be some of {}", names.join(", ")));
        }
        events
    }

    fn secret(&mut self, text: &str) -> Option<Reference> {
        shared_secret(self.reader, &self.span, text, self.ground.vault)
    }

    /// Where messages go. What can be read now is judged now.
    fn place(&mut self, given: &file::Channel, is_secret: bool) -> Option<Place> {
        let Some(url) = given.url.as_deref() else {
            self.problem(format!("a {} channel needs `url`", given.kind));
            return None;
        };
        let by_reference = ["env:", "file:", "vault:"].iter().any(|prefix| url.starts_with(prefix));
        if !by_reference && is_secret {
            // Not echoed: whoever knows it can post.
            self.problem(
                "this `url` is a secret, since whoever knows it can post: give a reference, `env:NAME`, `file:PATH` or `vault:PATH#FIELD`",
            );
            return None;
        }
        let (address, text) = if by_reference {
            let found = self.secret(url)?;
            let text = if found.is_in_vault() { None } else { found.read_here(None).ok() };
            (Address::Secret(found), text)
        } else {
            (Address::Plain(url.to_owned()), Some(url.to_owned().into()))
        };
        let place = Place { address, allow_http: given.allow_http, allow_private: given.allow_private };
        if let Some(text) = text {
            use secrecy::ExposeSecret as _;
            self.must(place.judge(text.expose_secret()))?;
        }
        Some(place)
    }

    fn webhook(&mut self, given: &file::Channel) -> Option<Kind> {
        if !(1..=2).contains(&given.secrets.len()) {
            self.problem("a webhook channel needs `secrets`: a reference to its key, or two while it is being changed");
        }
        let mut secrets = Vec::new();
        for text in &given.secrets {
            let secret = self.secret(text)?;
            if !secret.is_in_vault() && secret.read_here(None).is_ok_and(|key| !is_key(&key)) {
                self.problem(format!("the secret `{}` must be `whsec_` and 24 to 64 random bytes in Base64", secret.text()));
            }
            secrets.push(secret);
        }
        Some(Kind::Webhook(Webhook { place: self.place(given, false)?, secrets, include_preview: given.include_preview }))
    }

    fn slack(&mut self, given: &file::Channel, users: BTreeMap<String, file::Spoken>) -> Option<Kind> {
        let way = match (&given.url, &given.token, &given.channel) {
            (Some(_), None, None) if given.api_url.is_none() => Way::Webhook(self.place(given, true)?),
            (None, Some(token), Some(channel)) => {
                let url = format!("{}/chat.postMessage", given.api_url.as_deref().unwrap_or(SLACK_API).trim_end_matches('/'));
                let place =
                    Place { address: Address::Plain(url.clone()), allow_http: given.allow_http, allow_private: given.allow_private };
                self.must(place.judge(&url))?;
                Way::Bot { place, token: self.secret(token)?, channel: channel.clone() }
            }
            _ => {
                self.problem("a slack channel needs either `url` (an incoming webhook), or `token` and `channel` (a bot)");
                return None;
            }
        };
        let interactions = match (&given.signing_secret, &given.team_id, &given.app_id) {
            (None, None, None) if users.is_empty() => None,
            (Some(secret), Some(team), Some(app)) => {
                for (key, id, kinds, example) in [("team_id", team, &['T', 'E'][..], "T0123ABCD"), ("app_id", app, &['A'], "A0123ABCD")] {
                    if !is_slack_id(id, kinds) {
                        self.problem(format!("`{key}` is an id that Slack gives, as `{example}`, and `{id}` is none"));
                    }
                }
                for user in users.keys().filter(|user| !is_slack_id(user, &['U', 'W'])) {
                    self.reader.problem(
                        self.span.clone(),
                        format!("[channel.users] has the member ids of Slack, as `U0123ABCDE`, and `{user}` is none"),
                    );
                }
                let humans = humans(self.reader, &self.span, users, self.ground);
                let host = given.api_url.as_deref().and_then(|url| url.parse::<http::Uri>().ok()?.host().map(ToOwned::to_owned));
                Some(Interactions {
                    voucher: Voucher { name: format!("slack:{}", given.name), signing: Signing::Slack, humans },
                    signing_secret: self.secret(secret)?,
                    team: team.clone(),
                    app: app.clone(),
                    answers_at: host.unwrap_or_else(|| SLACK_ANSWERS.to_owned()),
                })
            }
            _ => return self.must(Err("buttons need `signing_secret`, `team_id`, `app_id` and [channel.users]".to_owned())),
        };
        Some(Kind::Slack(Slack { way, interactions, include_preview: given.include_preview }))
    }

    fn teams(&mut self, given: &file::Channel) -> Option<Kind> {
        Some(Kind::Teams(Teams { place: self.place(given, true)? }))
    }

    fn email(&mut self, given: &file::Channel) -> Option<Kind> {
        let (Some(host), Some(from), false) = (&given.host, &given.from, given.to.is_empty()) else {
            self.problem("an email channel needs `host`, `from` and `to`");
            return None;
        };
        let (tls, port) = match given.tls.as_deref() {
            None | Some("starttls") => (Tls::StartTls, 587),
            Some("implicit") => (Tls::Implicit, 465),
            Some("none") if ["localhost", "127.0.0.1", "::1"].contains(&host.as_str()) => (Tls::Loopback, 25),
            Some("none") => return self.must(Err("`tls = \"none\"` is for a server on this machine alone".to_owned())),
            Some(_) => return self.must(Err("`tls` must be starttls, implicit or none".to_owned())),
        };
        if given.to.len() > TO_MAX {
            self.problem(format!("`to` has more than {TO_MAX} addresses"));
        }
        let mut mailbox =
            |text: &String| self.must(text.parse::<Mailbox>().map_err(|error| format!("`{text}` is no mail address: {error}")));
        let from = mailbox(from);
        let to: Option<Vec<Mailbox>> = given.to.iter().map(mailbox).collect();
        let login = match (&given.user, &given.password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some((user.clone(), self.secret(password)?)),
            _ => return self.must(Err("`user` and `password` stand together".to_owned())),
        };
        let ca = match &given.ca {
            None => None,
            Some(path) => {
                let read = std::fs::read(self.reader.beside(path)).map_err(|error| format!("failed to read `{}`: {error}", path.display()));
                Some(self.must(read)?)
            }
        };
        let email = Email {
            host: host.clone(),
            port: given.port.unwrap_or(port),
            tls,
            allow_private: given.allow_private,
            ca,
            login,
            from: from?,
            to: to?,
        };
        self.must(email.check())?;
        Some(Kind::Email(email))
    }

    fn command(&mut self, given: &file::Channel) -> Option<Kind> {
        let Some((program, arguments)) = given.argv.split_first().filter(|(program, _)| program.contains('/')) else {
            self.problem("a command channel needs `argv`: the path of a program, with a `/` in it, and its arguments");
            return None;
        };
        let program = self.reader.beside(program.as_ref());
        let found = std::path::absolute(&program).ok().filter(|program| program.is_file());
        let program = self.must(found.ok_or_else(|| format!("there is no program `{}`", program.display())))?;
        Some(Kind::Command(Command { program, arguments: arguments.to_vec(), include_preview: given.include_preview }))
    }
}
