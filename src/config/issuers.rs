//! Issuers from the configuration: the ready-made mapping of a provider, and where it is told otherwise.

use std::time::Duration;

use toml::Spanned;

use crate::config::targets::secret;
use crate::config::{Reader, file};
use crate::identity::{Algorithm, ClaimPath, Introspection, IssuerSettings, KeySource, Mapping, Provider};

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
    let mut mapping = Mapping::of(provider);
    for (to, told) in
        [(&mut mapping.human, issuer.claims.human), (&mut mapping.name, issuer.claims.name), (&mut mapping.teams, issuer.claims.teams)]
    {
        if let Some(told) = told {
            *to = ClaimPath::parse(&told);
        }
    }
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
