//! TLS at the listener: the broker's own certificate, and the certificates of clients where they are asked for.
//!
//! A pair that cannot be used is an error at start; later it leaves the pair that was, and a warning. The files are looked at every two seconds,
//! so that a renewal needs no restart; connections that are open go on with what they began with. No early data, no tickets that outlive the
//! process, and nothing older than TLS 1.2.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Which files, and whether clients need a certificate.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The chain, PEM, the broker's own certificate first.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// Clients' certificates, if they are asked for.
    pub clients: Option<Clients>,
}

/// How clients' certificates are judged.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Who may issue them, PEM.
    pub ca_file: PathBuf,
    /// No handshake without one; otherwise one that is sent must be good.
    pub required: bool,
}

/// Which of the files is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `cert_file`.
    Certificate,
    /// `key_file`.
    Key,
    /// `client_ca_file`.
    ClientCa,
}

/// Files that TLS cannot be served with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub part: Part,
    why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Problem {}

/// The largest of the files, in bytes.
const FILE_MAX_BYTES: u64 = 256 * 1024;
/// They are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// When a file was changed, how long it is, and which it is: a renewal that renames or relinks shows in one of them.
type Stamp = Option<(i64, i64, u64, u64)>;

fn stamps(settings: &Settings) -> Vec<Stamp> {
    let files = [Some(&settings.cert_file), Some(&settings.key_file), settings.clients.as_ref().map(|clients| &clients.ca_file)];
    let stamp = |path: &PathBuf| std::fs::metadata(path).ok().map(|found| (found.mtime(), found.mtime_nsec(), found.len(), found.ino()));
    files.into_iter().flatten().map(stamp).collect()
}

/// What the listener shakes hands with.
pub(super) struct Tls {
    settings: Settings,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files, and keeps looking at them until `closing` fires.
    ///
    /// # Errors
    /// They cannot be used.
    pub(super) fn open(settings: Settings, closing: CancellationToken) -> Result<Arc<Self>, Problem> {
        let seen = stamps(&settings);
        let current = RwLock::new(Arc::new(load(&settings)?));
        let tls = Arc::new(Self { settings, current });
        tokio::spawn(Arc::clone(&tls).watch(seen, closing));
        Ok(tls)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }

    async fn watch(self: Arc<Self>, mut seen: Vec<Stamp>, closing: CancellationToken) {
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let (tls, before) = (Arc::clone(&self), seen.clone());
            // Looked at before they are read: what changes in between is seen the next time.
            match tokio::task::spawn_blocking(move || tls.reload(before)).await {
                Ok(now) => seen = now,
                Err(error) => tracing::error!(%error, "the certificates were not looked at"),
            }
        }
    }

    fn reload(&self, seen: Vec<Stamp>) -> Vec<Stamp> {
        let now = stamps(&self.settings);
        if now == seen {
            return seen;
        }
        match load(&self.settings) {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!(cert_file = %self.settings.cert_file.display(), "the certificate was read again");
            }
            // A pair is two files: between the one and the other they do not match, and the next look finds them whole.
            Err(problem) => tracing::warn!(%problem, "the certificate could not be read again, so the old one stays"),
        }
        now
    }
}

/// Everything that a handshake needs, from the files.
///
/// # Errors
/// The first file that cannot be used.
pub fn load(settings: &Settings) -> Result<ServerConfig, Problem> {
    let problem = |part: Part, path: &Path, why: &dyn fmt::Display| Problem { part, why: format!("`{}`: {why}", path.display()) };
    let (cert, key) = (settings.cert_file.as_path(), settings.key_file.as_path());
    let chain = certificates(cert).map_err(|why| problem(Part::Certificate, cert, &why))?;
    // What a parser says of a key may quote it, so nothing of that is told.
    let private = read(key)
        .and_then(|pem| PrivateKeyDer::from_pem_slice(&pem).map_err(|_| "there is no private key in it, or it is damaged".to_owned()))
        .map_err(|why| problem(Part::Key, key, &why))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| problem(Part::Certificate, cert, &error))?;
    let builder = match &settings.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let verifier = verifier(clients, provider).map_err(|why| problem(Part::ClientCa, &clients.ca_file, &why))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, private).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            problem(Part::Key, key, &format!("it is not the key of the certificate `{}`", cert.display()))
        }
        rustls::Error::InvalidCertificate(why) => problem(Part::Certificate, cert, &format!("the certificate cannot be used: {why:?}")),
        _ => problem(Part::Key, key, &"the key cannot be used"),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(clients: &Clients, provider: Arc<rustls::crypto::CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&clients.ca_file)? {
        roots.add(certificate).map_err(|error| format!("a certificate in it cannot be used: {error}"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| error.to_string())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path)?;
    let found: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| "it is no PEM, or damaged".to_owned())?;
    if found.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(found) }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: std::io::Error| format!("failed to read it: {error}");
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > FILE_MAX_BYTES {
        return Err(format!("it is larger than {FILE_MAX_BYTES} bytes"));
    }
    std::fs::read(path).map(Zeroizing::new).map_err(failed)
}
