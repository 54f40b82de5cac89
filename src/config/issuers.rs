//! Issuers from the configuration: the ready-made mapping of a provider, and where it is told otherwise.

use std::ops::Range;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use toml::Spanned;

use crate::config::{Reader, file, humans};
use crate::identity::service::{ActorSettings, Proof};
use crate::identity::{Algorithm, ClaimPath, Introspection, IssuerSettings, KeySource, Mapping, Provider};
use crate::token_service;

/// The longest that keys may be used while their issuer cannot be reached.
const KEYS_MAX_AGE_S: u64 = 7 * 24 * 3600;

/// What a provider signs with, where the configuration does not say: RS256 is what they all do unless told otherwise.
const USUAL: Algorithm = Algorithm::Rs256;

pub(super) fn issuer(reader: &mut Reader<'_>, issuer: Spanned<file::Issuer>) -> IssuerSettings {
    let span = issuer.span();
    let issuer = issuer.into_inner();
    let provider = match issuer.provider.as_deref().map(|name| (name, Provider::parse(name))) {
        None => Provider::Generic,
        Some((_, Some(provider))) => provider,
        Some((name, None)) => {
            reader.problem(span.clone(), format!("the provider `{name}` is not one of {}", Provider::names()));
            Provider::Generic
        }
    };
    let mut algorithms = Vec::new();
    for name in &issuer.algorithms {
        match Algorithm::parse(name) {
            Some(algorithm) => algorithms.push(algorithm),
            None => reader.problem(span.clone(), format!("the algorithm `{name}` is not one of RS256, PS256, ES256, ES384, EdDSA")),
        }
    }
    if issuer.algorithms.is_empty() && provider != Provider::Generic {
        algorithms.push(USUAL);
    }
    let keys = match (issuer.jwks_file, issuer.jwks_url) {
        (Some(_), Some(_)) => {
            reader.problem(
                span.clone(),
                "an issuer has either `jwks_file` or `jwks_url`, or neither: then its own metadata says where its keys are",
            );
            KeySource::Discovered
        }
        (Some(file), None) => KeySource::File(reader.beside(&file)),
        (None, Some(url)) => KeySource::Url(url),
        (None, None) => KeySource::Discovered,
    };
    let introspection = issuer.introspection.and_then(|asked| {
        let client_secret = secret(reader, &span, &asked.client_secret)?;
        Some(Introspection { url: asked.url, client_id: asked.client_id, client_secret })
    });
    let browser = issuer.browser.and_then(|client| humans::browser(reader, &span, client));
    let mut mapping = Mapping::of(provider);
    for (to, told) in
        [(&mut mapping.human, issuer.claims.human), (&mut mapping.name, issuer.claims.name), (&mut mapping.teams, issuer.claims.teams)]
    {
        if let Some(told) = told {
            *to = ClaimPath::parse(&told);
        }
    }
    mapping.person = issuer.claims.person.as_deref().map(ClaimPath::parse);
    mapping.agent = issuer.claims.agent.as_deref().map(ClaimPath::parse).or(mapping.agent);
    mapping.plain_jwt = issuer.plain_jwt.unwrap_or(mapping.plain_jwt);
    mapping.demands = issuer.require.iter().map(|(claim, wanted)| (ClaimPath::parse(claim), wanted.clone())).collect();
    let mut settings = IssuerSettings {
        scope_prefix: issuer.scope_prefix.unwrap_or_default(),
        namespace: issuer.namespace,
        mapping,
        human_clients: issuer.human_clients,
        audience: issuer.audience,
        inbox_audience: issuer.inbox_audience,
        introspection,
        browser,
        ..IssuerSettings::new(&issuer.url, keys, algorithms)
    };
    if let Some(age) = issuer.keys_max_age_s {
        if age > KEYS_MAX_AGE_S {
            reader.problem(
                span.clone(),
                format!("`keys_max_age_s` is at most {KEYS_MAX_AGE_S} (a week): a key that was withdrawn must not live on"),
            );
        }
        settings.keys_max_age = Duration::from_secs(age);
    }
    for message in settings.problems() {
        reader.problem(span.clone(), format!("issuer `{}`: {message}", settings.url));
    }
    settings
}

/// Scopes that the broker's tokens can have.
const SCOPES: [&str; 3] = ["mcp:read", "mcp:write", "mcp:admin"];

/// The token service's agents.
pub(super) fn token_service(reader: &mut Reader<'_>, service: Option<file::TokenService>) -> token_service::Settings {
    let Some(service) = service else { return token_service::Settings::default() };
    let lifetime = Duration::from_secs(service.lifetime_s);
    let mut actors: Vec<ActorSettings> = Vec::new();
    for actor in service.actor {
        let span = actor.span();
        let mut problem = |message: String| reader.problem(span.clone(), message);
        let actor = actor.into_inner();
        if lifetime > token_service::LIFETIME_MAX || lifetime.is_zero() {
            problem(format!("`lifetime_s` must be 1 to {}", token_service::LIFETIME_MAX.as_secs()));
        }
        if actors.iter().any(|known| known.id == actor.id) || actor.id.is_empty() {
            problem(format!("the actor's id `{}` is empty, or another actor has it", actor.id));
        }
        if actor.scopes.is_empty() || actor.scopes.iter().any(|scope| !SCOPES.contains(&scope.as_str())) {
            problem(format!("`scopes` must be some of {}", SCOPES.join(", ")));
        }
        let mut algorithms: Vec<Algorithm> = actor.algorithms.iter().filter_map(|name| Algorithm::parse(name)).collect();
        if algorithms.len() != actor.algorithms.len() {
            problem("`algorithms` must be some of RS256, PS256, ES256, ES384, EdDSA".to_owned());
        }
        if algorithms.is_empty() {
            algorithms = vec![Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256];
        }
        let proof = match (actor.secret, actor.jwks_file, actor.workload) {
            (Some(reference), None, None) => {
                let found = secret(reader, &span, &reference);
                if found.as_ref().is_some_and(|secret| is_guessed(secret.expose_secret())) {
                    let message = format!("the secret of the actor `{}` must be {SECRET_MIN} random characters or more", actor.id);
                    reader.problem(span.clone(), message);
                }
                found.map(Proof::Secret)
            }
            (None, Some(file), None) => {
                // Its own assertions name itself as their issuer; the address only has to be one.
                let issuer = IssuerSettings::new("https://actor.invalid", KeySource::File(reader.beside(&file)), algorithms);
                Some(Proof::Key(issuer))
            }
            (None, None, Some(workload)) => {
                let keys = match (workload.jwks_file, workload.jwks_url) {
                    (Some(file), _) => KeySource::File(reader.beside(&file)),
                    (None, Some(url)) => KeySource::Url(url),
                    (None, None) => KeySource::Discovered,
                };
                Some(Proof::Workload { issuer: IssuerSettings::new(&workload.issuer, keys, algorithms), subject: workload.subject })
            }
            _ => {
                problem(
                    "an actor has exactly one of `secret`, `jwks_file` (private_key_jwt) and `[token_service.actor.workload]`".to_owned(),
                );
                None
            }
        };
        let Some(proof) = proof else { continue };
        if let Proof::Key(issuer) | Proof::Workload { issuer, .. } = &proof {
            for message in issuer.problems() {
                reader.problem(span.clone(), format!("actor `{}`: {message}", actor.id));
            }
        }
        actors.push(ActorSettings { id: actor.id, scopes: actor.scopes, proof });
    }
    token_service::Settings { actors, lifetime, namespace: service.namespace.unwrap_or_else(|| "countersign".to_owned()) }
}

/// The shortest secret of an actor, in bytes: whoever can ask the token service could guess a shorter one (RFC 6749, 10.10).
const SECRET_MIN: usize = 16;

/// Whether a secret is too short, or one byte over and over.
fn is_guessed(secret: &str) -> bool {
    secret.len() < SECRET_MIN || secret.bytes().all(|byte| secret.bytes().next() == Some(byte))
}

/// The longest secret, in bytes.
const SECRET_MAX: usize = 4096;

pub(super) fn secret(reader: &mut Reader<'_>, span: &Range<usize>, reference: &str) -> Option<SecretString> {
    let found = match reference.split_once(':') {
        Some(("env", name)) => std::env::var(name).map_err(|_| format!("the environment has no `{name}`")),
        Some(("file", path)) => {
            let path = reader.beside(path.as_ref());
            std::fs::read_to_string(&path)
                .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
                .map_err(|error| format!("failed to read `{}`: {error}", path.display()))
        }
        // Not echoed: it may be the secret itself.
        _ => Err("a secret must be a reference, `env:NAME` or `file:PATH`; it must not stand in the configuration".to_owned()),
    };
    match found {
        Ok(secret) if secret.is_empty() || secret.len() > SECRET_MAX => {
            reader.problem(span.clone(), "a secret is empty or too long");
            None
        }
        Ok(secret) => Some(SecretString::from(secret)),
        Err(message) => {
            reader.problem(span.clone(), message);
            None
        }
    }
}
