//! `countersign login`, `logout`, `whoami`: a human signs in at the broker's issuer, and the other commands act in their name.
//!
//! A sign-in is kept only once the broker has taken its token: an issuer that does not know the broker as a resource gives tokens for something
//! else, and that is to be said here and not by the command after.

use clap::Args;
use secrecy::SecretString;

use crate::cli::client::{Client, negative};
use crate::cli::oauth::metadata::{Issuer, Resource};
use crate::cli::oauth::session::Credentials;
use crate::cli::oauth::store::{self, Slot};
use crate::cli::oauth::tokens::{Granted, revoke};
use crate::cli::oauth::{Asked, Door, Http, broker, browser, device};
use crate::cli::output::{cell, inert, json as print_json, say};
use crate::cli::{Failure, Remote, URL};

/// Sign in to a broker at its issuer; the commands that reach it then need no token file.
#[derive(Debug, Args)]
#[command(after_help = "\
The sign-in is kept in a file of your own (0600) under $XDG_CONFIG_HOME/countersign, one for each broker and door, and renewed when it is used.
`approvals`, `audit` and `whoami` use the inbox's; `tools` and `connect` use the one of --door mcp, which an agent may be lent.")]
pub(super) struct Login {
    /// The broker's address.
    #[arg(long, env = "COUNTERSIGN_URL", default_value = URL)]
    url: String,
    /// The door to sign in to.
    #[arg(long, value_enum, default_value = "inbox")]
    door: Door,
    /// Confirm a code in any browser (RFC 8628); the default where this machine has no desktop.
    #[arg(long, conflicts_with = "browser")]
    device: bool,
    /// Use a browser on this machine.
    #[arg(long)]
    browser: bool,
    /// Ask the issuer for a stronger sign-in: one of these classes (`acr_values`).
    #[arg(long, value_name = "CLASSES")]
    acr: Option<String>,
    /// Ask the issuer for a sign-in no longer ago than this.
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<u32>,
    #[command(flatten)]
    at: At,
}

/// What to ask which issuer for.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct At {
    /// The issuer, where the broker takes tokens of several.
    #[arg(long, env = "COUNTERSIGN_ISSUER", value_name = "URL")]
    pub(super) issuer: Option<String>,
    /// The client to sign in with, as it is registered at the issuer [default: countersign-cli at the inbox, countersign-connect at the mcp door].
    #[arg(long, env = "COUNTERSIGN_CLIENT_ID", value_name = "ID")]
    pub(super) client_id: Option<String>,
    /// What the token is to reach [default: what the broker's metadata names].
    #[arg(long, value_name = "SCOPES")]
    pub(super) scope: Option<String>,
    /// Print addresses, open nothing.
    #[arg(long)]
    pub(super) no_browser: bool,
    /// Parameters that ask for a better sign-in (RFC 9470).
    #[arg(skip)]
    pub(super) step_up: Vec<(&'static str, String)>,
}

/// How to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// By a code.
    Device,
    /// By a browser on this machine.
    Browser,
    /// What the machine and the issuer have.
    Either,
}

impl Login {
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        let acr = self.acr.take().map(|classes| ("acr_values", classes));
        let max_age = self.max_age.map(|seconds| ("max_age", seconds.to_string()));
        self.at.step_up = acr.into_iter().chain(max_age).collect();
        let how = match (self.device, self.browser) {
            (true, _) => How::Device,
            (_, true) => How::Browser,
            _ if browser::has_desktop() && !self.at.no_browser => How::Browser,
            _ => How::Either,
        };
        let broker = broker(&self.url)?;
        let who = sign_in(&broker, self.door, how, &self.at).await?;
        say(&format!("signed in to {broker} ({}){who}", self.door.as_str()));
        Ok(())
    }
}

/// Signs in, shows the token to the broker, and keeps it; answers who it is, where the door says so.
pub(super) async fn sign_in(broker: &str, door: Door, how: How, at: &At) -> Result<String, Failure> {
    let http = Http::new()?;
    let slot = Slot::of(broker, door)?;
    let resource = Resource::ask(&http, broker, door).await?;
    let issuer = Issuer::ask(&http, resource.issuer(at.issuer.as_deref())?).await?;
    let client = at.client_id.as_deref().unwrap_or(door.client());
    let wanted = at.scope.as_deref().map_or(resource.scopes.clone(), |scopes| scopes.split(' ').map(ToOwned::to_owned).collect());
    let own = issuer.own_scopes.iter().filter(|own| !wanted.iter().any(|scope| scope == *own));
    let scope = own.copied().chain(wanted.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let asked = Asked {
        http: &http,
        issuer: &issuer,
        client,
        resource: &resource.url,
        scope: &scope,
        browser: !at.no_browser,
        step_up: &at.step_up,
    };
    let granted = match how {
        How::Device => device::sign_in(&asked).await?,
        How::Either if issuer.device.is_some() => device::sign_in(&asked).await?,
        How::Browser | How::Either => browser::sign_in(&asked).await?,
    };
    let who = accepted(&http, broker, door, &granted.access, &issuer).await?;
    let Granted { access, expires_at, refresh } = granted;
    let login = store::Login { resource: resource.url, issuer: issuer.url, client: client.to_owned(), access, expires_at, refresh };
    slot.write(&login, &slot.lock().await?)?;
    Ok(who)
}

/// Shows a new token to the broker; whom it takes the human for, where the door says so.
async fn accepted(http: &Http, broker: &str, door: Door, token: &SecretString, issuer: &Issuer) -> Result<String, Failure> {
    let (status, body) = http.show(broker, door, token).await?;
    if !status.is_success() {
        let why = negative(status, &body);
        return Err(Failure::Negative(format!(
            "the issuer `{}` gave a token that the broker does not take, so it was not kept: {}",
            inert(&issuer.url),
            inert(why.message())
        )));
    }
    Ok(match door {
        Door::Inbox => format!(" as {}", inert(&cell(&body, "/subject"))),
        Door::Mcp => String::new(),
    })
}

/// Forget a sign-in, and have the issuer end it.
#[derive(Debug, Args)]
pub(super) struct Logout {
    /// The broker's address.
    #[arg(long, env = "COUNTERSIGN_URL", default_value = URL)]
    url: String,
    /// The door.
    #[arg(long, value_enum, default_value = "inbox")]
    door: Door,
}

impl Logout {
    /// The file goes in any case; whether the issuer was told is said.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let broker = broker(&self.url)?;
        let slot = Slot::of(&broker, self.door)?;
        let lock = slot.lock().await?;
        let kept = slot.read_to_end_it();
        slot.remove(&lock)?;
        drop(lock);
        let Some(login) = kept? else {
            say(&format!("you were not signed in to {broker} ({})", self.door.as_str()));
            return Ok(());
        };
        let told = end(&login).await.map_err(|failure| {
            Failure::Unreachable(format!("signed out here, but the issuer still knows the sign-in: {}", failure.message()))
        })?;
        let unsaid = if told { "" } else { "; its issuer takes no word of it, so a copy of the token is good until it expires" };
        say(&format!("signed out of {broker} ({}){unsaid}", self.door.as_str()));
        Ok(())
    }
}

/// Has the issuer end a sign-in: the refresh token, with which its access tokens go, or else the access token alone.
async fn end(login: &store::Login) -> Result<bool, Failure> {
    let http = Http::new()?;
    let issuer = Issuer::ask(&http, &login.issuer).await?;
    match &login.refresh {
        Some(refresh) => revoke(&http, &issuer, &login.client, refresh, "refresh_token").await,
        None => revoke(&http, &issuer, &login.client, &login.access, "access_token").await,
    }
}

/// Say who the broker takes you for.
#[derive(Debug, Args)]
pub(super) struct Whoami {
    #[command(flatten)]
    remote: Remote,
}

impl Whoami {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let answer = Client::new(&self.remote, Door::Inbox)?.get("/whoami", &[]).await?;
        if self.remote.json {
            print_json(&answer);
            return Ok(());
        }
        for (title, pointer) in [
            ("human", "/subject"),
            ("name", "/name"),
            ("issuer", "/issuer"),
            ("teams", "/teams"),
            ("client", "/client"),
            ("until", "/expires_at"),
        ] {
            say(&format!("{title:<8} {}", inert(&cell(&answer, pointer))));
        }
        if let Credentials::Login(session) = Credentials::new(&self.remote.url, Door::Inbox, self.remote.token_file)?
            && session.kept()?.is_some_and(|login| login.refresh.is_some())
        {
            say("         and renewed until the issuer ends the sign-in");
        }
        Ok(())
    }
}
