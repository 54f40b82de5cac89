//! A certificate authority of a test: issues pairs, writes them to files, and makes clients that trust it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign::server::tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, PEM.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Pair {
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }

    /// Where a broker finds it.
    pub fn write(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (cert, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        std::fs::write(&cert, &self.cert).unwrap();
        std::fs::write(&key, &self.key).unwrap();
        (cert, key)
    }
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL takes a certificate that is named like its issuer for one that signed itself.
        params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn issue(&self, names: &[&str], usage: ExtendedKeyUsagePurpose) -> Pair {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        Pair { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    pub fn server(&self) -> Pair {
        self.issue(&["127.0.0.1", "localhost"], ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub fn client(&self) -> Pair {
        self.issue(&["agent.example.com"], ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A broker's settings, with a new pair of this authority in a folder.
    pub fn settings(&self, dir: &Path) -> tls::Settings {
        let (cert_file, key_file) = self.server().write(dir, "server");
        tls::Settings { cert_file, key_file, clients: None }
    }

    pub fn clients(&self, dir: &Path, required: bool) -> tls::Clients {
        let ca_file = dir.join("clients.crt");
        std::fs::write(&ca_file, self.pem()).unwrap();
        tls::Clients { ca_file, required }
    }

    /// An HTTP client that trusts this authority alone.
    pub fn http(&self, own: Option<&Pair>) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(self.pem().as_bytes()).unwrap();
        let builder = reqwest::Client::builder().tls_certs_only([root]).pool_max_idle_per_host(0);
        let builder = match own {
            Some(pair) => builder.identity(reqwest::Identity::from_pem(format!("{}{}", pair.cert, pair.key).as_bytes()).unwrap()),
            None => builder,
        };
        builder.build().unwrap()
    }

    /// A handshake by hand: what was agreed on, and whose certificate was shown.
    pub async fn shake(
        &self,
        address: &str,
        versions: &[&'static rustls::SupportedProtocolVersion],
        alpn: &[&str],
        own: Option<&Pair>,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                builder.with_client_auth_cert(vec![pair.der()], PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = tokio::net::TcpStream::connect(address).await?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect("127.0.0.1".try_into().unwrap(), stream).await
    }
}
