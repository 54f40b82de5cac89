//! Which claim says what: ready-made for the identity providers that companies have, and open to be told otherwise.
//!
//! A mapping only names claims; how strictly they are read is the same for all (`claims`). What a provider calls a token of a machine, and what
//! tells its access tokens from its ID tokens, is known here too, because it differs from one to the next.

use serde_json::{Map, Value};

/// Where in a token's claims something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimPath {
    /// A member of the claims, whatever characters its name has (`https://example.com/groups` is one name).
    Name(String),
    /// A JSON Pointer (RFC 6901), such as `/realm_access/roles`.
    Pointer(String),
}

impl ClaimPath {
    /// A text that begins with `/` is a pointer, any other a name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text.starts_with('/') { Self::Pointer(text.to_owned()) } else { Self::Name(text.to_owned()) }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Name(text) | Self::Pointer(text) => text,
        }
    }

    pub(super) fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        match self {
            Self::Name(name) => claims.get(name),
            Self::Pointer(pointer) => {
                let (first, rest) = pointer.get(1..)?.split_once('/').map_or((pointer.get(1..)?, ""), |(first, rest)| (first, rest));
                let member = claims.get(&first.replace("~1", "/").replace("~0", "~"))?;
                if rest.is_empty() { Some(member) } else { member.pointer(&format!("/{rest}")) }
            }
        }
    }
}

/// The kind of identity provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Provider {
    /// Whoever follows RFC 9068.
    #[default]
    Generic,
    /// Keycloak.
    Keycloak,
    /// Microsoft Entra ID.
    Entra,
    /// Okta, a custom authorization server.
    Okta,
    /// Auth0.
    Auth0,
    /// Google: its ID tokens, as subject tokens of the token service.
    Google,
    /// The broker's own token service: the human is of the issuer that `sub_id` names (RFC 9493).
    Own,
}

impl Provider {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Generic, "generic"),
        (Self::Keycloak, "keycloak"),
        (Self::Entra, "entra"),
        (Self::Okta, "okta"),
        (Self::Auth0, "auth0"),
        (Self::Google, "google"),
    ];

    /// By its name in the configuration.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(provider, _)| *provider)
    }

    /// All names, for messages.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(|(_, name)| name).join(", ")
    }

    /// Whether its tokens are good at the broker's doors, and not only as subject tokens of the token service. Google's say who signed in, and
    /// nothing of this broker.
    pub(super) const fn speaks_for_the_doors(self) -> bool {
        !matches!(self, Self::Google)
    }

    /// Whether the claims are those of a machine: no human stands behind them, whoever the subject is.
    pub(super) fn is_machine(self, claims: &Map<String, Value>) -> bool {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        match self {
            Self::Generic | Self::Google | Self::Own => false,
            Self::Keycloak => {
                text("preferred_username").starts_with("service-account-")
                    || ["clientHost", "clientAddress"].iter().any(|name| claims.contains_key(*name))
            }
            // Only what a user consented to has `scp`; facets 11 and 13 are agents that act alone, or by a user account of their own.
            Self::Entra => {
                text("idtyp") == "app"
                    || !claims.contains_key("scp")
                    || text("xms_sub_fct").split(' ').any(|facet| matches!(facet, "11" | "13"))
            }
            Self::Okta => claims.get("sub") == claims.get("cid"),
            Self::Auth0 => {
                text("gty") == "client-credentials"
                    || text("sub").ends_with("@clients")
                    || text("sub").starts_with("agt_")
                    || claims.get("sub_profile").is_some_and(|profile| profile != "user")
            }
        }
    }

    /// Whether the claims are those of another kind of token than the one for access, where the header does not say so.
    pub(super) fn is_other_kind(self, claims: &Map<String, Value>) -> bool {
        // What only ID tokens and logout tokens have (OpenID Connect Core 2, 3.3.2.11; Back-Channel Logout 2.4).
        let marks = ["nonce", "at_hash", "c_hash", "events"];
        let has = |name: &str| claims.contains_key(name);
        marks.iter().any(|name| has(name))
            || match self {
                Self::Keycloak => claims.get("typ").is_some_and(|kind| kind != "Bearer" && kind != "DPoP"),
                // Okta's ID tokens have no mark of their own; what they lack is what an access token always has.
                Self::Okta => !has("cid") || !(has("scp") || has("scope")),
                Self::Generic | Self::Entra | Self::Auth0 | Self::Google | Self::Own => false,
            }
    }
}

/// Which claims say who, in what name, and through which agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The provider.
    pub provider: Provider,
    /// The human's id, stable and unique at the issuer.
    pub human: ClaimPath,
    /// A display name, never judged.
    pub name: ClaimPath,
    /// Teams: a list of texts.
    pub teams: ClaimPath,
    /// What all accounts of one human have in common, such as an employee's number; `None` = the issuer does not tell.
    pub person: Option<ClaimPath>,
    /// The agent, where there is no `act`: the client. `None` = `client_id`, else `azp` (RFC 9068, OpenID Connect).
    pub agent: Option<ClaimPath>,
    /// Whether access tokens come with `typ: JWT` or none, instead of `at+jwt` (RFC 9068).
    pub plain_jwt: bool,
    /// Claims that must say exactly this, such as `hd` of Google, where one issuer serves the whole world.
    pub demands: Vec<(ClaimPath, String)>,
}

impl Mapping {
    /// The ready-made mapping of a provider.
    #[must_use]
    pub fn of(provider: Provider) -> Self {
        let (human, name, teams, agent, plain_jwt) = match provider {
            Provider::Generic => ("sub", "name", "groups", None, false),
            Provider::Own => ("/sub_id/sub", "name", "groups", None, false),
            Provider::Keycloak => ("sub", "name", "groups", Some("azp"), true),
            Provider::Entra => ("oid", "name", "groups", Some("azp"), true),
            Provider::Okta => ("uid", "sub", "groups", Some("cid"), true),
            Provider::Auth0 => ("sub", "name", "https://countersign/groups", None, false),
            Provider::Google => ("sub", "email", "groups", Some("azp"), true),
        };
        Self {
            provider,
            human: ClaimPath::parse(human),
            name: ClaimPath::parse(name),
            teams: ClaimPath::parse(teams),
            person: (provider == Provider::Own).then(|| ClaimPath::parse("person")),
            agent: agent.map(ClaimPath::parse),
            plain_jwt,
            demands: Vec::new(),
        }
    }
}
