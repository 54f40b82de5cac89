//! `[server]`: addresses, certificates and limits. Certificates are read here already, so that `check` names a pair that does not fit.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use crate::config::{Reader, file, own_addresses};
use crate::server::tls::{self, Part};
use crate::server::{BODY_MAX, Network, Settings, Transport};

pub(super) fn settings(reader: &mut Reader<'_>, file: file::Server) -> Settings {
    let scheme = if file.tls.is_some() { "https" } else { "http" };
    let public_url = match file.public_url {
        None => format!("{scheme}://{}", file.listen),
        Some(url) => {
            if file.tls.is_some() && !url.get_ref().starts_with("https://") {
                reader.problem(url.span(), "`public_url` must begin with https://, since there is a [server.tls]");
            }
            url.into_inner()
        }
    };
    let public_url = public_url.trim_end_matches('/').to_owned();
    let (mut hosts, mut origins) = own_addresses(file.listen, &public_url);
    if file.tls.is_some() {
        // A page that came without TLS may be anybody's.
        origins.retain(|origin| origin.starts_with("https://"));
        origins.extend(hosts.iter().map(|host| format!("https://{host}")));
    }
    hosts.extend(file.allowed_hosts);
    origins.extend(file.allowed_origins);
    let trusted_proxies = file.trusted_proxies.into_iter().filter_map(|network| self::network(reader, &network)).collect();
    let transport = Transport {
        tls: file.tls.and_then(|tls| self::tls(reader, tls)),
        trusted_proxies,
        unauthenticated_per_minute: file.unauthenticated_per_minute,
        requests_per_minute: file.requests_per_minute,
        ..Transport::default()
    };
    Settings {
        listen: file.listen,
        public_url,
        allowed_hosts: hosts,
        allowed_origins: origins,
        body_max: file.max_body_bytes.min(BODY_MAX),
        concurrency: file.max_concurrent,
        timeout: Duration::from_secs(file.timeout_s),
        grace: Duration::from_secs(file.drain_grace_s),
        transport,
    }
}

fn network(reader: &mut Reader<'_>, text: &Spanned<String>) -> Option<Network> {
    Network::parse(text.get_ref()).map_err(|why| reader.problem(text.span(), why)).ok()
}

fn tls(reader: &mut Reader<'_>, tls: Spanned<file::Tls>) -> Option<tls::Settings> {
    let whole = tls.span();
    let file::Tls { cert_file, key_file, client_ca_file, client_certificates } = tls.into_inner();
    let required = match client_certificates.as_ref().map(|mode| mode.get_ref().as_str()) {
        None | Some("required") => true,
        Some("optional") => false,
        Some(_) => {
            let span = client_certificates.as_ref().map_or(whole, Spanned::span);
            reader.problem(span, "`client_certificates` must be optional or required");
            return None;
        }
    };
    if let (None, Some(mode)) = (&client_ca_file, &client_certificates) {
        reader.problem(mode.span(), "`client_certificates` needs a `client_ca_file`: who may issue them?");
        return None;
    }
    let at = |reader: &Reader<'_>, path: &Spanned<PathBuf>| reader.beside(path.get_ref());
    let settings = tls::Settings {
        cert_file: at(reader, &cert_file),
        key_file: at(reader, &key_file),
        clients: client_ca_file.as_ref().map(|path| tls::Clients { ca_file: at(reader, path), required }),
    };
    if let Err(problem) = tls::load(&settings) {
        let span = match problem.part {
            Part::Certificate => cert_file.span(),
            Part::Key => key_file.span(),
            Part::ClientCa => client_ca_file.map_or(whole, |path| path.span()),
        };
        reader.problem(span, problem.to_string());
        return None;
    }
    Some(settings)
}
