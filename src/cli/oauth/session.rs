//! The token that goes with the next request: from a file that somebody else keeps fresh, or from a sign-in that is renewed here.
//!
//! Nothing is held between two requests: the file is read again each time, so that a new token or a new sign-in counts at once, also for a
//! process that has run for days.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};

use crate::cli::Failure;
use crate::cli::client::read_token;
use crate::cli::oauth::metadata::Issuer;
use crate::cli::oauth::store::{Lock, Login, Slot};
use crate::cli::oauth::tokens::request;
use crate::cli::oauth::{Door, Http, broker, safe};
use crate::cli::output::inert;
use crate::clock::Clock;

/// A token with less than this left is renewed first.
const RENEW_BEFORE: TimeDelta = TimeDelta::seconds(60);

/// Where tokens come from.
pub(in crate::cli) enum Credentials {
    /// A file with an access token.
    File(PathBuf),
    /// A kept sign-in.
    Login(Arc<Session>),
}

impl Credentials {
    /// The file, or else the sign-in at this door.
    pub(in crate::cli) fn new(url: &str, door: Door, token_file: Option<PathBuf>) -> Result<Self, Failure> {
        match token_file {
            Some(path) => Ok(Self::File(path)),
            None => Ok(Self::Login(Arc::new(Session::new(url, door)?))),
        }
    }

    /// The token for the next request.
    pub(in crate::cli) async fn bearer(&self) -> Result<SecretString, Failure> {
        match self {
            Self::File(path) => read_token(path),
            Self::Login(session) => session.bearer().await,
        }
    }

    /// Another token than the one that the broker refused, if there is one to be had.
    pub(in crate::cli) async fn instead_of(&self, refused: &SecretString) -> Result<Option<SecretString>, Failure> {
        match self {
            Self::File(path) => read_token(path).map(|token| Some(token).filter(|token| token.expose_secret() != refused.expose_secret())),
            Self::Login(session) => session.renewed(Some(refused.clone())).await.map(Some),
        }
    }

    /// What to do once the broker has refused the token for good.
    pub(in crate::cli) fn advice(&self) -> String {
        match self {
            Self::File(path) => format!("put a token that is good into `{}`", path.display()),
            Self::Login(session) => format!("run `{}`", session.door.login(&session.broker)),
        }
    }
}

/// A sign-in at a door of a broker.
pub(in crate::cli) struct Session {
    http: Http,
    slot: Slot,
    broker: String,
    door: Door,
}

impl Session {
    fn new(url: &str, door: Door) -> Result<Self, Failure> {
        let broker = broker(url)?;
        safe(&broker, "the broker's address")?;
        Ok(Self { http: Http::new()?, slot: Slot::of(&broker, door)?, broker, door })
    }

    /// The sign-in as it is kept.
    pub(in crate::cli) fn kept(&self) -> Result<Option<Login>, Failure> {
        self.slot.read()
    }

    fn read(&self) -> Result<Login, Failure> {
        self.slot.read()?.ok_or_else(|| {
            Failure::Usage(format!(
                "you are not signed in to `{}` ({}): run `{}`, or name a file with --token-file",
                self.broker,
                self.door.as_str(),
                self.door.login(&self.broker)
            ))
        })
    }

    async fn bearer(self: &Arc<Self>) -> Result<SecretString, Failure> {
        let login = self.read()?;
        if is_fresh(&login) { Ok(login.access) } else { self.renewed(None).await }
    }

    /// Renews in a task of its own: a caller that gives up between the issuer's answer and the file would lose the rotated token.
    async fn renewed(self: &Arc<Self>, refused: Option<SecretString>) -> Result<SecretString, Failure> {
        let session = Arc::clone(self);
        let renewing = tokio::spawn(async move { session.renew(refused.as_ref()).await });
        renewing.await.map_err(|_| Failure::Unreachable("the sign-in could not be renewed".to_owned()))?
    }

    /// A fresh token; never the refused one. Whoever waited for the lock finds what the holder before got, and spends nothing.
    async fn renew(&self, refused: Option<&SecretString>) -> Result<SecretString, Failure> {
        let lock = self.slot.lock().await?;
        let login = self.read()?;
        let is_refused = refused.is_some_and(|refused| refused.expose_secret() == login.access.expose_secret());
        if is_fresh(&login) && !is_refused {
            return Ok(login.access);
        }
        self.refresh(login, &lock).await
    }

    async fn refresh(&self, login: Login, lock: &Lock) -> Result<SecretString, Failure> {
        let again = format!("run `{}`", self.door.login(&self.broker));
        let Some(token) = &login.refresh else {
            return Err(Failure::Negative(format!("the sign-in has ended, and its issuer gave nothing to renew it with: {again}")));
        };
        let issuer = Issuer::ask(&self.http, &login.issuer).await?;
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose_secret()),
            ("client_id", &login.client),
            ("resource", &login.resource),
        ];
        match request(&self.http, &issuer, &form).await? {
            Ok(granted) => {
                let access = granted.access.clone();
                let refresh = granted.refresh.or(login.refresh);
                self.slot.write(&Login { access: granted.access, expires_at: granted.expires_at, refresh, ..login }, lock)?;
                Ok(access)
            }
            Err(refused) if refused.code == "invalid_grant" => {
                Err(Failure::Negative(format!("the issuer `{}` does not renew the sign-in any more: {again}", inert(&issuer.url))))
            }
            Err(refused) => Err(refused.failure(&issuer)),
        }
    }
}

fn is_fresh(login: &Login) -> bool {
    Clock::system().now() + RENEW_BEFORE < login.expires_at
}
