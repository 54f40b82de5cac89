//! The token service over HTTP: answers and errors as OAuth has them (RFC 6749 5, RFC 7009 2.2), with our stable code beside.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form as AxumForm, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::identity::Asker;
use crate::identity::service::Actor;
use crate::record::Unavailable;
use crate::refusal::{Code, Refusal};
use crate::token_service::TokenService;
use crate::token_service::grants::Issued;
use crate::token_service::request::{Client, Form};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ALONE: &str = "client_credentials";

type Fields = Result<AxumForm<Vec<(String, String)>>, FormRejection>;

/// The routes.
pub fn router(service: Arc<TokenService>) -> Router {
    Router::new()
        .route("/oauth/token", post(token))
        .route("/oauth/revoke", post(revoke))
        .route("/oauth/jwks", get(jwks))
        .route("/.well-known/oauth-authorization-server", get(metadata))
        .with_state(service)
}

/// RFC 8414.
async fn metadata(State(service): State<Arc<TokenService>>) -> Json<Value> {
    let url = service.service.url();
    let methods = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
    Json(json!({
        "issuer": url,
        "token_endpoint": format!("{url}/oauth/token"),
        "revocation_endpoint": format!("{url}/oauth/revoke"),
        "jwks_uri": format!("{url}/oauth/jwks"),
        "grant_types_supported": [EXCHANGE, ALONE],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256", "ES256", "ES384", "EdDSA"],
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "ES384", "RS256", "PS256"],
        "scopes_supported": ["mcp:read", "mcp:write", "mcp:admin"],
    }))
}

async fn jwks(State(service): State<Arc<TokenService>>) -> Response {
    match service.turn_keys().await {
        Ok(()) => Json(service.service.keys().jwks()).into_response(),
        Err(unavailable) => unavailable_now(&unavailable),
    }
}

/// The form, and the agent that proved itself.
async fn asked(service: &TokenService, headers: &HeaderMap, fields: Fields) -> Result<(Form, Actor), Refusal> {
    let AxumForm(fields) = fields.map_err(|rejection| Refusal::new(Code::Malformed).detail(rejection.body_text()))?;
    let form = Form::read(fields)?;
    let client = Client::of(headers, &form)?;
    let actor = service.service.actor(&client.id, client.shown(), service.clock.now()).await?;
    let paced = service.pace.as_ref().map(|pace| pace.take(client.id.clone(), Instant::now()));
    if let Some(Err(wait)) = paced {
        return Err(Refusal::new(Code::TooManyRequests).detail(format!("again in {} s", wait.seconds())));
    }
    Ok((form, actor))
}

async fn token(State(service): State<Arc<TokenService>>, headers: HeaderMap, fields: Fields) -> Response {
    let (form, actor) = match asked(&service, &headers, fields).await {
        Ok(asked) => asked,
        Err(refusal) => return stranger(refusal),
    };
    if let Err(unavailable) = service.turn_keys().await {
        return unavailable_now(&unavailable);
    }
    let bound_to = match service.identity.wanted_binding(&headers) {
        Ok(bound_to) => bound_to,
        Err(refusal) => {
            let refused_on_record = service.refuse("unknown", &actor, refusal).await;
            return refused_on_record.map_or_else(|unavailable| unavailable_now(&unavailable), |refusal| refused(&refusal));
        }
    };
    let granted = match form.get("grant_type") {
        Some(EXCHANGE) => service.exchange(&actor, &form, bound_to.as_deref()).await,
        Some(ALONE) => service.alone(&actor, &form, bound_to.as_deref()).await,
        _ => service.refuse("unknown", &actor, Refusal::new(Code::UnsupportedGrant)).await.map(Err),
    };
    match granted {
        Ok(Ok(issued)) => known(handed_out(&issued)),
        Ok(Err(refusal)) => known(refused(&refusal)),
        Err(unavailable) => unavailable_now(&unavailable),
    }
}

async fn revoke(State(service): State<Arc<TokenService>>, headers: HeaderMap, fields: Fields) -> Response {
    let (form, actor) = match asked(&service, &headers, fields).await {
        Ok(asked) => asked,
        Err(refusal) => return stranger(refusal),
    };
    match service.revoke(&actor, &form).await {
        Ok(Ok(())) => known(StatusCode::OK.into_response()),
        Ok(Err(refusal)) => known(refused(&refusal)),
        Err(unavailable) => unavailable_now(&unavailable),
    }
}

fn handed_out(issued: &Issued) -> Response {
    let body = json!({
        "access_token": issued.minted.token.expose_secret(),
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": if issued.is_bound { "DPoP" } else { "Bearer" },
        "expires_in": issued.minted.expires_in,
        "scope": issued.scopes.join(" "),
    });
    Json(body).into_response()
}

/// An agent that proved itself, whatever became of what it wanted.
fn known(mut response: Response) -> Response {
    response.extensions_mut().insert(Asker::Known);
    response
}

/// Somebody who proved nothing: counted by the server, and not recorded one by one.
fn stranger(refusal: Refusal) -> Response {
    let mut response = refused(&refusal);
    if response.status() == StatusCode::UNAUTHORIZED {
        response.extensions_mut().insert(Asker::Unknown(refusal));
    }
    response
}

fn refused(refusal: &Refusal) -> Response {
    let (status, error) = match refusal.code() {
        Code::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client"),
        Code::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "slow_down"),
        Code::Malformed => (StatusCode::BAD_REQUEST, "invalid_request"),
        Code::UnsupportedGrant => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        Code::InvalidScope => (StatusCode::BAD_REQUEST, "invalid_scope"),
        Code::InvalidTarget => (StatusCode::BAD_REQUEST, "invalid_target"),
        Code::InvalidProof => (StatusCode::BAD_REQUEST, "invalid_dpop_proof"),
        Code::NoResponsibleHuman => (StatusCode::BAD_REQUEST, "unauthorized_client"),
        Code::IssuerUnreachable | Code::LedgerUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
        _ => (StatusCode::BAD_REQUEST, "invalid_grant"),
    };
    let body = json!({
        "error": error, "error_description": format!("{} ({})", refusal.message(), refusal.advice()), "code": refusal.code().as_str(),
    });
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"countersign\""));
    }
    response
}

fn unavailable_now(unavailable: &Unavailable) -> Response {
    let refusal = unavailable.refusal();
    tracing::error!(cause = refusal.private_cause(), "a token could not be recorded");
    refused(&refusal)
}
