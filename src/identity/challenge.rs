//! What a caller without a good token is told: RFC 6750 and RFC 9728, one `WWW-Authenticate` header.
//!
//! `error` stands there only if a token was sent. What exactly was wrong goes into the description in words that hold nothing of the token.

use http::{HeaderValue, StatusCode};

use crate::identity::possession::algorithms;
use crate::operation::Risk;
use crate::refusal::{Code, Refusal};

/// A refusal at a door.
#[derive(Debug)]
pub struct Challenge {
    /// 401 or 403.
    pub status: StatusCode,
    /// The header's value.
    pub www_authenticate: HeaderValue,
    /// Why.
    pub refusal: Refusal,
}

/// A door, as challenges speak of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The public URL of the broker.
    pub(super) public_url: &'a str,
    /// `mcp` or `inbox`.
    pub(super) door: &'static str,
    /// What stands before a scope's name where clients ask for it.
    pub(super) scope_prefix: &'a str,
}

impl Place<'_> {
    /// The scopes that reach a risk, as clients ask for them.
    pub(super) fn scopes(&self, risk: Risk) -> Vec<String> {
        let named: &[&str] = match risk {
            Risk::Read => &["mcp:read"],
            Risk::Write | Risk::Destructive => &["mcp:read", "mcp:write"],
            Risk::Admin => &["mcp:read", "mcp:write", "mcp:admin"],
        };
        named.iter().map(|scope| format!("{}{scope}", self.scope_prefix)).collect()
    }
}

impl Challenge {
    pub(super) fn new(status: StatusCode, place: Place<'_>, more: &str, refusal: Refusal) -> Self {
        let text = format!("Bearer resource_metadata=\"{}/.well-known/oauth-protected-resource/{}\"{more}", place.public_url, place.door);
        let text: String = text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
        let www_authenticate = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        Self { status, www_authenticate, refusal }
    }

    /// What a refusal is answered with at a door: 401 for a token that is missing or not good, 403 for one that is and does not reach, 503 where
    /// nobody can tell.
    pub(super) fn refused(place: Place<'_>, refusal: Refusal) -> Self {
        match refusal.code() {
            Code::InsufficientScope => Self::insufficient(place, Risk::Read, refusal),
            Code::InvalidProof => Self::unproven(place, refusal),
            Code::Overloaded => Self::new(StatusCode::SERVICE_UNAVAILABLE, place, "", refusal),
            Code::NotAPerson => Self::new(StatusCode::FORBIDDEN, place, ", error=\"insufficient_scope\"", refusal),
            Code::IssuerUnreachable | Code::LedgerUnavailable => Self::new(StatusCode::SERVICE_UNAVAILABLE, place, "", refusal),
            _ => Self::unauthorized(place, refusal),
        }
    }

    /// RFC 9449, 7.1: the scheme is DPoP, and which algorithms a proof may be signed with.
    fn unproven(place: Place<'_>, refusal: Refusal) -> Self {
        let said = refusal.message().replace(['"', '\\'], "'");
        let more = format!(", error=\"invalid_dpop_proof\", error_description=\"{said}\", algs=\"{}\"", algorithms().join(" "));
        let mut challenge = Self::new(StatusCode::UNAUTHORIZED, place, &more, refusal);
        let text = challenge.www_authenticate.to_str().unwrap_or_default().replacen("Bearer ", "DPoP ", 1);
        challenge.www_authenticate = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("DPoP"));
        challenge
    }

    fn unauthorized(place: Place<'_>, refusal: Refusal) -> Self {
        let scope = if place.door == "mcp" { format!(", scope=\"{}\"", place.scopes(Risk::Read).join(" ")) } else { String::new() };
        let more = if refusal.code() == Code::MissingToken {
            scope
        } else {
            format!("{scope}, error=\"invalid_token\", error_description=\"{}\"", refusal.message().replace(['"', '\\'], "'"))
        };
        Self::new(StatusCode::UNAUTHORIZED, place, &more, refusal)
    }

    pub(super) fn insufficient(place: Place<'_>, needed: Risk, refusal: Refusal) -> Self {
        let more = format!(", error=\"insufficient_scope\", scope=\"{}\"", place.scopes(needed).join(" "));
        Self::new(StatusCode::FORBIDDEN, place, &more, refusal)
    }
}
