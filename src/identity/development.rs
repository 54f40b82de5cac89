//! A token issuer for development and the quickstart: a key in a file, and tokens by command. Not for a company: whoever reads the key file can be
//! anybody. A company configures its identity provider instead.

use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::identity::signing::SigningKey;

/// What a token is to say.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// `sub`.
    pub subject: String,
    /// `name`.
    pub name: Option<String>,
    /// `groups`.
    pub teams: Vec<String>,
    /// `aud`.
    pub audience: String,
    /// `client_id`.
    pub client: String,
    /// `act.sub`, where an agent acts.
    pub actor: Option<String>,
    /// `scope`.
    pub scope: String,
    /// How long it is good.
    pub lifetime: TimeDelta,
}

/// The issuer.
pub struct DevelopmentIssuer {
    url: String,
    key: SigningKey,
    jwks: PathBuf,
    clock: Clock,
}

impl DevelopmentIssuer {
    /// Opens the issuer in a folder, or makes one: `issuer.key` (0600) and `issuer.jwks.json`.
    ///
    /// # Errors
    /// The key cannot be read, written, or is readable by others.
    pub fn open(dir: &Path, url: &str, clock: Clock) -> Result<Self, String> {
        std::fs::create_dir_all(dir).map_err(|error| format!("`{}`: {error}", dir.display()))?;
        let key = SigningKey::open(&dir.join("issuer.key"))?;
        let jwks = dir.join("issuer.jwks.json");
        let set = json!({ "keys": [key.jwk()] });
        std::fs::write(&jwks, format!("{set:#}\n")).map_err(|error| format!("`{}`: {error}", jwks.display()))?;
        Ok(Self { url: url.to_owned(), key, jwks, clock })
    }

    /// The file with its public keys.
    #[must_use]
    pub fn jwks_file(&self) -> &Path {
        &self.jwks
    }

    /// Mints a token.
    #[must_use]
    pub fn mint(&self, request: &TokenRequest) -> SecretString {
        let now = self.clock.now();
        let jti = crate::id::CallId::mint();
        let mut claims = json!({
            "iss": self.url,
            "sub": request.subject,
            "aud": request.audience,
            "client_id": request.client,
            "iat": now.timestamp(),
            "exp": (now + request.lifetime).timestamp(),
            "jti": jti.as_str(),
            "scope": request.scope,
            "groups": request.teams,
        });
        if let Some(members) = claims.as_object_mut() {
            if let Some(name) = &request.name {
                members.insert("name".to_owned(), Value::from(name.as_str()));
            }
            if let Some(actor) = &request.actor {
                members.insert("act".to_owned(), json!({ "sub": actor }));
            }
        }
        SecretString::from(self.key.sign(&claims))
    }
}
