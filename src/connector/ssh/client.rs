//! Connections to hosts: through bastions where there are any, each hop's key looked at under its own name, each opened by what was made for it alone.
//!
//! Nothing that a host could ask for is granted: no channel of its own, no forwarding. Only key exchanges that neither CBC, SHA-1 nor a dropped packet
//! can weaken are spoken (strict KEX); a host that knows none of them is not talked to.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, ChannelOpenHandle, Handle, Msg, Session};
use russh::keys::{Algorithm, EcdsaCurve, PublicKeyOrCertificate};
use russh::{Channel, ChannelOpenFailure, Disconnect, Names, Preferred, SshId, cipher, kex, mac};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::call::ConnectionFacts;
use crate::clock::Timestamp;
use crate::connector::ssh::known::{Known, Trust};
use crate::connector::ssh::pool::Link;
use crate::credential::host::{HostLogin, Opener, Scope};
use crate::id::CallId;
use crate::refusal::{Code, Refusal};

/// A host by its name, and its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// The way to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The host.
    pub to: Place,
    /// Bastions on the way, the first one first.
    pub through: Vec<Place>,
    /// What tells their keys from others': pinned ones are the host's alone.
    pub trust: Trust,
}

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::DH_GEX_SHA256,
    kex::DH_G18_SHA512,
    kex::DH_G16_SHA512,
    kex::DH_G14_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];
const CIPHERS: &[cipher::Name] =
    &[cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR, cipher::AES_192_CTR, cipher::AES_128_CTR];
const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM, mac::HMAC_SHA512, mac::HMAC_SHA256];
const HOST_KEYS: [Algorithm; 4] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
];
/// A host that says nothing for so long is asked whether it is there, and given up when it does not answer several times.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVES_MAX: usize = 3;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// Bytes that a channel may be ahead.
const WINDOW_BYTES: u32 = 2 << 20;
/// Messages of a channel that wait for whoever reads them.
const CHANNEL_MESSAGES: usize = 64;

/// Why a connection ended, as its handler has to say it.
#[derive(Debug)]
pub(super) enum Trouble {
    Protocol(russh::Error),
    Refused(Box<Refusal>),
}

impl From<russh::Error> for Trouble {
    fn from(error: russh::Error) -> Self {
        Self::Protocol(error)
    }
}

impl Trouble {
    fn refusal(self, place: &Place) -> Refusal {
        let unreachable = |why: &str| Refusal::new(Code::TargetUnreachable).detail(format!("{}:{}: {why}", place.host, place.port));
        match self {
            Self::Refused(refusal) => *refusal,
            Self::Protocol(error @ russh::Error::NoCommonAlgo { .. }) => {
                unreachable("it speaks no algorithm that is trusted here").cause(error)
            }
            Self::Protocol(error) => unreachable("the protocol broke off").cause(error),
        }
    }
}

/// Looks at a host's key, and at what the host asks for.
pub(super) struct Watch {
    known: Known,
    now: u64,
    vouched: Arc<Mutex<String>>,
    has_begun: bool,
}

fn no() -> ChannelOpenFailure {
    ChannelOpenFailure::AdministrativelyProhibited
}

impl client::Handler for Watch {
    type Error = Trouble;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Trouble> {
        let vouched = self.known.check(key, self.now).map_err(|refusal| Trouble::Refused(Box::new(refusal)))?;
        *self.vouched.lock().unwrap_or_else(PoisonError::into_inner) = vouched;
        Ok(true)
    }

    async fn kex_done(&mut self, _: Option<&[u8]>, names: &Names, _: &mut Session) -> Result<(), Trouble> {
        // Said in the first exchange alone.
        let begins = !std::mem::replace(&mut self.has_begun, true);
        if begins && !names.strict_kex() {
            let why = "the host does not know strict key exchange (CVE-2023-48795): it needs a newer sshd";
            return Err(Trouble::Refused(Box::new(Refusal::new(Code::TargetUnreachable).detail(why))));
        }
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Trouble> {
        reply.reject(no()).await;
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Trouble> {
        reply.reject(no()).await;
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Trouble> {
        reply.reject(no()).await;
        Ok(())
    }

    async fn server_channel_open_session(&mut self, _: Channel<Msg>, reply: ChannelOpenHandle, _: &mut Session) -> Result<(), Trouble> {
        reply.reject(no()).await;
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Trouble> {
        reply.reject(no()).await;
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Trouble> {
        reply.reject(no()).await;
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Trouble> {
        reply.reject(no()).await;
        Ok(())
    }
}

/// A connection that is open and logged in.
pub(super) struct Connection {
    handle: Handle<Watch>,
    /// The bastions before it, which it lives through.
    before: Vec<Handle<Watch>>,
    /// What records say of it.
    pub(super) facts: ConnectionFacts,
}

/// What a connection is opened for.
pub(super) struct Errand<'a> {
    pub(super) login: &'a HostLogin,
    /// The call, where the connection is its own.
    pub(super) call: Option<&'a CallId>,
    pub(super) scope: Scope,
    pub(super) now: Timestamp,
}

fn settings(known: &Known) -> Arc<client::Config> {
    let keys = known.algorithms(&HOST_KEYS);
    let certificates = if known.knows_authority() { HOST_KEYS.to_vec() } else { Vec::new() };
    Arc::new(client::Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-Countersign_", env!("CARGO_PKG_VERSION")))),
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            key: Cow::Owned(keys),
            host_key_certificates: Cow::Owned(certificates),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            ..Preferred::DEFAULT
        },
        window_size: WINDOW_BYTES,
        channel_buffer_size: CHANNEL_MESSAGES,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES_MAX,
        nodelay: true,
        ..client::Config::default()
    })
}

/// Says hello over a stream, and looks at the key under the host's own name.
async fn greet<S>(stream: S, place: &Place, trust: &Trust, now: u64) -> Result<(Handle<Watch>, String), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let known = Known::read(trust, &place.host, place.port)?;
    let vouched = Arc::new(Mutex::default());
    let config = settings(&known);
    let watch = Watch { known, now, vouched: Arc::clone(&vouched), has_begun: false };
    let handle = client::connect_stream(config, stream, watch).await.map_err(|trouble| trouble.refusal(place))?;
    let vouched = vouched.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((handle, vouched))
}

async fn log_in(handle: &mut Handle<Watch>, place: &Place, account: &str, opener: Opener) -> Result<(), Refusal> {
    let broken = |error: russh::Error| {
        Refusal::new(Code::TargetUnreachable).detail(format!("{}:{}: the connection broke off", place.host, place.port)).cause(error)
    };
    let answer = match opener {
        Opener::Certificate(key, certificate) => handle.authenticate_openssh_cert(account, key, *certificate).await,
        Opener::Key(key) => handle.authenticate_publickey(account, russh::keys::PrivateKeyWithHashAlg::new(key, None)).await,
        Opener::Password(password) => {
            use secrecy::ExposeSecret as _;
            handle.authenticate_password(account, password.expose_secret()).await
        }
    };
    if answer.map_err(broken)?.success() {
        return Ok(());
    }
    // A connection that was lost answers as a refusal does.
    if handle.is_closed() {
        return Err(broken(russh::Error::Disconnect));
    }
    let why = format!("{}:{} does not let `{account}` in: its own log says why", place.host, place.port);
    Err(Refusal::new(Code::TargetRefused).detail(why))
}

impl Route {
    /// Opens a connection, hop by hop.
    ///
    /// # Errors
    /// `target.unreachable`, `target.host_key_unknown`, `target.host_key_changed`, `target.refused`, `target.no_credential`.
    pub(super) async fn open(&self, errand: &Errand<'_>, patience: Duration) -> Result<Connection, Refusal> {
        let late = |_| Refusal::new(Code::TargetUnreachable).detail(format!("no connection within {} s", patience.as_secs()));
        tokio::time::timeout(patience, self.travel(errand)).await.map_err(late)?
    }

    async fn travel(&self, errand: &Errand<'_>) -> Result<Connection, Refusal> {
        let now = u64::try_from(errand.now.timestamp()).unwrap_or_default();
        let id = crate::id::LeafId::mint().to_string();
        let account = errand.login.account();
        let mut before: Vec<Handle<Watch>> = Vec::new();
        let hops: Vec<&Place> = self.through.iter().chain([&self.to]).collect();
        let mut hops = hops.into_iter().peekable();
        loop {
            let Some(place) = hops.next() else { return Err(Refusal::new(Code::TargetUnreachable)) };
            let is_last = hops.peek().is_none();
            let trust = if is_last { self.trust.clone() } else { self.trust.of_bastion() };
            let (mut handle, vouched) = match before.last() {
                None => {
                    let unreachable = |error: std::io::Error| {
                        Refusal::new(Code::TargetUnreachable).detail(format!("{}:{}: {error}", place.host, place.port))
                    };
                    let stream = TcpStream::connect((place.host.as_str(), place.port)).await.map_err(unreachable)?;
                    stream.set_nodelay(true).map_err(unreachable)?;
                    greet(stream, place, &trust, now).await?
                }
                Some(bastion) => {
                    let passage = bastion.channel_open_direct_tcpip(place.host.as_str(), u32::from(place.port), "127.0.0.1", 0).await;
                    let passage = passage.map_err(|error| {
                        let why = format!("the bastion does not lead to {}:{}", place.host, place.port);
                        Refusal::new(Code::TargetUnreachable).detail(why).cause(error)
                    })?;
                    greet(passage.into_stream(), place, &trust, now).await?
                }
            };
            let scope = if is_last { &errand.scope } else { &Scope::Passage };
            let opener = errand.login.opener(&id, errand.call, scope, errand.now).await?;
            let serial = if let Opener::Certificate(_, certificate) = &opener { Some(certificate.serial()) } else { None };
            log_in(&mut handle, place, account, opener).await?;
            if is_last {
                let facts = ConnectionFacts { id, account: account.to_owned(), serial, is_own: errand.call.is_some(), host_key: vouched };
                return Ok(Connection { handle, before, facts });
            }
            before.push(handle);
        }
    }
}

impl Link for Connection {
    fn is_closed(&self) -> bool {
        self.handle.is_closed() || self.before.iter().any(Handle::is_closed)
    }

    async fn close(&self) {
        for handle in std::iter::once(&self.handle).chain(self.before.iter().rev()) {
            let goodbye = handle.disconnect(Disconnect::ByApplication, "", "en");
            drop(tokio::time::timeout(GOODBYE, goodbye).await);
        }
    }
}

impl Connection {
    /// A channel for one piece of work.
    ///
    /// # Errors
    /// The connection is gone, or the host opens no more.
    pub(super) async fn channel(&self) -> Result<Channel<Msg>, russh::Error> {
        self.handle.channel_open_session().await
    }
}
