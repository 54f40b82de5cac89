//! Connections: accepted, shaken hands with, served, drained in two steps. Nothing that a client does or leaves undone holds up the next one.
//!
//! hyper is used directly, since `axum::serve` sets neither limits on headers nor a time within which they must come. Each connection is a task;
//! dropping the set of them at the end of the grace cuts what is left.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::identity::ClientCertificate;
use crate::server::Transport;
use crate::server::caller::{Network, block};
use crate::server::places::{Place, Places};
use crate::server::tls::{self, Tls};

/// Handshakes at once: they are what costs most before anybody has said who they are. More than one address may have connections, so that who
/// never finishes his cannot keep the others from theirs.
const HANDSHAKES_MAX: usize = 1_024;
/// Bytes of a request's line and headers; a token has up to 16 KiB. hyper itself takes at most 100 headers.
const HEAD_MAX_BYTES: usize = 32 * 1024;
/// How long the listener rests when the system has no more descriptors to give.
const REST: Duration = Duration::from_secs(1);

/// A listener with what connections are opened with.
pub struct Listening {
    listener: TcpListener,
    opener: Arc<Opener>,
    closing: CancellationToken,
}

struct Opener {
    tls: Option<Arc<Tls>>,
    trusted_proxies: Vec<Network>,
    places: Arc<Places>,
    handshakes: Semaphore,
    within: Duration,
}

impl Listening {
    /// A listener as the settings want it.
    ///
    /// # Errors
    /// The certificates cannot be used.
    pub fn new(listener: TcpListener, transport: &Transport, closing: CancellationToken) -> Result<Self, tls::Problem> {
        let tls = transport.tls.clone().map(|settings| Tls::open(settings, closing.clone())).transpose()?;
        let opener = Opener {
            tls,
            trusted_proxies: transport.trusted_proxies.clone(),
            places: Arc::default(),
            handshakes: Semaphore::new(HANDSHAKES_MAX),
            within: transport.opening,
        };
        Ok(Self { listener, opener: Arc::new(opener), closing })
    }

    /// Serves until `draining` fires; then takes nothing new, lets what is under way end within the grace, and closes.
    ///
    /// # Errors
    /// None so far: a listener that fails for one connection is asked again.
    pub async fn serve(self, router: Router, draining: CancellationToken, grace: Duration) -> io::Result<()> {
        let Self { listener, opener, closing } = self;
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = draining.cancelled() => break,
                Some(_ended) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => match opener.place(peer) {
                        Some(place) => {
                            let connection = Arc::clone(&opener).open(stream, peer, router.clone(), graceful.watcher(), draining.clone());
                            connections.spawn(async move {
                                connection.await;
                                drop(place);
                            });
                        }
                        None => tracing::warn!("a connection was closed as it came: there are too many, in all or of its address"),
                    },
                    Err(error) => rest(&error).await,
                },
            }
        }
        drop(listener);
        let deadline = async {
            tokio::time::sleep(grace).await;
            closing.cancel();
            // What does not end now is cut.
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        tokio::select! {
            () = graceful.shutdown() => {}
            () = deadline => {}
        }
        closing.cancel();
        Ok(())
    }
}

/// A connection that broke before it was taken is nobody's fault; anything else is the system's, which gets time to recover.
async fn rest(error: &io::Error) {
    let is_theirs =
        matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset);
    if !is_theirs {
        tracing::error!(%error, "no connection could be accepted");
        tokio::time::sleep(REST).await;
    }
}

impl Opener {
    fn place(&self, peer: SocketAddr) -> Option<Place> {
        let peer = peer.ip().to_canonical();
        let is_proxy = self.trusted_proxies.iter().any(|network| network.contains(peer));
        self.places.take((!is_proxy).then(|| block(peer)))
    }

    async fn open(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, router: Router, watcher: Watcher, draining: CancellationToken) {
        // Without it every event of a stream waits for the acknowledgment of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was not set");
        }
        let Some(tls) = &self.tls else { return self.speak(stream, peer, None, router, watcher).await };
        let handshake = async {
            let _turn = self.handshakes.acquire().await.map_err(io::Error::other)?;
            tls.acceptor().accept(stream).await
        };
        let shaken = tokio::select! {
            () = draining.cancelled() => return,
            shaken = tokio::time::timeout(self.within, handshake) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => {
                let chain = stream.get_ref().1.peer_certificates();
                let certificate = chain.and_then(<[_]>::first).map(|certificate| ClientCertificate::verified(certificate));
                self.speak(stream, peer, certificate, router, watcher).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    /// HTTP, on a connection that is open. What it is told about the connection is put into each request, over anything that might be there.
    async fn speak<T>(&self, stream: T, peer: SocketAddr, certificate: Option<ClientCertificate>, router: Router, watcher: Watcher)
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let routes = TowerToHyperService::new(router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            if let Some(certificate) = &certificate {
                request.extensions_mut().insert(certificate.clone());
            }
            routes.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // The time between two requests counts in it as well: clients keep connections for a while.
            .header_read_timeout(self.within * 3)
            .max_header_size(HEAD_MAX_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection ended with an error");
        }
    }
}
