//! What a caller without a good token is told: RFC 6750 and RFC 9728, one `WWW-Authenticate` header.
//!
//! `error` stands there only if a token was sent. What exactly was wrong goes into the description in words that hold nothing of the token.

use http::{HeaderValue, StatusCode};

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

/// The scope that reaches a risk.
pub(super) const fn scope_for(risk: Risk) -> &'static str {
    match risk {
        Risk::Read => "mcp:read",
        Risk::Write | Risk::Destructive => "mcp:read mcp:write",
        Risk::Admin => "mcp:read mcp:write mcp:admin",
    }
}

impl Challenge {
    fn new(status: StatusCode, public_url: &str, door: &str, more: &str, refusal: Refusal) -> Self {
        let text = format!("Bearer resource_metadata=\"{public_url}/.well-known/oauth-protected-resource/{door}\"{more}");
        let text: String = text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
        let www_authenticate = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        Self { status, www_authenticate, refusal }
    }

    /// What a refusal is answered with at a door: 401 for a token that is missing or not good, 403 for one that is and does not reach, 503 where
    /// nobody can tell.
    pub(super) fn refused(public_url: &str, door: &str, refusal: Refusal) -> Self {
        match refusal.code() {
            Code::InsufficientScope => Self::insufficient(public_url, Risk::Read, refusal),
            Code::NotAPerson => Self::new(StatusCode::FORBIDDEN, public_url, door, ", error=\"insufficient_scope\"", refusal),
            Code::IssuerUnreachable | Code::LedgerUnavailable => Self::new(StatusCode::SERVICE_UNAVAILABLE, public_url, door, "", refusal),
            _ => Self::unauthorized(public_url, door, refusal),
        }
    }

    fn unauthorized(public_url: &str, door: &str, refusal: Refusal) -> Self {
        let scope = if door == "mcp" { ", scope=\"mcp:read\"" } else { "" };
        let more = if refusal.code() == Code::MissingToken {
            scope.to_owned()
        } else {
            format!("{scope}, error=\"invalid_token\", error_description=\"{}\"", refusal.message().replace(['"', '\\'], "'"))
        };
        Self::new(StatusCode::UNAUTHORIZED, public_url, door, &more, refusal)
    }

    pub(super) fn insufficient(public_url: &str, needed: Risk, refusal: Refusal) -> Self {
        let more = format!(", error=\"insufficient_scope\", scope=\"{}\"", scope_for(needed));
        Self::new(StatusCode::FORBIDDEN, public_url, "mcp", &more, refusal)
    }
}
