//! A hostile SSH server: every connection to it goes wrong in the one way that a test asks for, and it remembers what the client asked of it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::{PrivateKey, ssh_key::private::Ed25519Keypair};
use russh::server::{Config, run_stream};
use russh::{Limits, Preferred, cipher, kex, mac};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, copy, duplex};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::hostile_wicked::Wicked;

/// What nobody may find in an answer, a log or a trail.
pub const SECRET: &str = "AKIAIOSFODNN7EXAMPLE";
/// A title for the terminal, a cleared screen and a line that looks like another's.
pub const ESCAPES: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[31m\r\nstatus: ok\n\u{202e}";

/// What the server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evil {
    // No SSH at all.
    ClosesAtOnce,
    SilentBanner,       // takes the connection and says nothing, ever
    GarbageBanner,      // random bytes, then silence
    EndlessBanner,      // lines without end, none of them SSH's
    EndlessLine,        // one line without end
    DribbleBanner,      // the identification, a letter at a time, without end
    SpeaksHttp,         // another protocol, and closes
    OldProtocol,        // SSH 1.5
    GarbageAfterBanner, // the identification, then random bytes
    EmptyPacket,        // the identification, then packets of no length
    HugePacket,         // the identification, then a packet of 4 GiB
    // The handshake.
    StallsInKex,      // its KEXINIT, then silence
    CutsInKex,        // its KEXINIT and half of the next packet
    SignsWrong,       // one bit of the signature over the exchange is wrong
    InjectsIgnore,    // a packet more in the handshake, in the clear, as Terrapin's
    BadMac,           // one bit of the first encrypted packet is wrong
    ChangesKey,       // another host key at every connection; known_line has the first
    WithoutStrictKex, // offers no kex-strict-s-v00@openssh.com
    OnlyWeak,         // the three below
    WeakKex,          // only SHA-1
    WeakCipher,       // only CBC
    WeakMac,          // only CTR with HMAC-SHA-1
    OffersNone,       // no encryption, no MAC
    RekeysAlways,     // a new key exchange after every packet
    // Who are you?
    StallsBeforeAuth, // never answers
    RefusesAuth,
    AsksForMore,       // every method is a partial success, and every answer another question
    TellsTooMuch,      // a banner of 200 KiB and as many debug messages, with escapes and a secret
    BannerTooLarge,    // a banner of 1 MB, in one packet
    TellsOnDisconnect, // the program's answer is a disconnect, with escapes and a secret
    // Channels.
    StallsAfterAuth, // never answers the opening of a channel
    RefusesChannels,
    OpensChannels, // opens its own towards the client, see `accepted_channels`
    ZeroPacket,    // takes packets of no bytes only
    // Programs.
    StallsOnExec, // never answers the request
    RefusesExec,
    CutsOnExec,     // takes the request, and the connection is cut
    SaysNothing,    // accepts the program, then nothing; a close is not answered
    OnlyPings,      // the same, with a keepalive every 20 ms that wants an answer
    Dribbles,       // a letter every 50 ms, without end
    Floods,         // as much as the window takes, without end; ignores eof and close
    FloodsBoth,     // the same on stdout and stderr in turn
    TakesNoInput,   // a window of nothing for stdin, some output, no end
    NoExitStatus,   // some output, eof, close
    NeverCloses,    // output, status 0, eof; a close is not answered
    StatusThenMore, // status 0, more output, status 9
    MoreAfterEof,   // eof, status 0, more output
    HugeStatus,     // status 4294967295
    OddStreams,     // extended data of kinds 0, 2 and 4294967295
    LyingSignal,    // killed by "TERM\n[x]"
    LongSignal,     // by 10 000 letters
    ForeignSignal,  // by what is not ASCII, and ends the line
    DropsMidOutput, // some output, then the connection is cut
    // Files; whatever has a dot in its last name is one, all else is a folder.
    SftpGarbage,      // no version, but noise
    SftpGarbageLater, // a version, then another malformed answer to each request
    SftpSaysNothing,  // a version, then nothing
    SftpWrongIds,     // answers to what was not asked
    SftpLies,         // paths elsewhere, names that are not UTF-8 or paths themselves, more data than asked, 16 EiB
    SftpEndless,      // folders and files without end, names with escapes and of 200 KiB
    SftpTells,        // refuses everything, with escapes, a secret and 200 KiB
}

use Evil::*;

/// What it was asked, in order.
#[derive(Default)]
pub struct Seen {
    connections: AtomicUsize,
    pub garbage: AtomicUsize,
    pub commands: Mutex<Vec<String>>,
    pub requests: Mutex<Vec<String>>,
    pub accepted: Mutex<Vec<String>>,
}

pub struct Hostile {
    pub port: u16,
    known: String,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
    _alive: watch::Sender<()>,
}

/// Another key for every port and number.
fn key(port: u16, number: usize) -> PrivateKey {
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&port.to_be_bytes());
    seed[2..10].copy_from_slice(&(number as u64).to_be_bytes());
    PrivateKey::from(Ed25519Keypair::from_seed(&seed))
}

impl Hostile {
    pub async fn start(evil: Evil) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, (alive, stop)) = (Arc::new(Seen::default()), watch::channel(()));
        let remembers = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let number = remembers.connections.fetch_add(1, SeqCst);
                if let Some(words) = no_ssh(evil).filter(|_| evil != ClosesAtOnce) {
                    connections.spawn(async move { drop(says(tcp, words).await) });
                } else if evil != ClosesAtOnce {
                    let key = key(port, if evil == ChangesKey { number } else { 0 });
                    let (seen, stop, cut) = (Arc::clone(&remembers), stop.clone(), Arc::new(Notify::new()));
                    let wicked = Wicked { evil, seen, stop, cut, unanswered: Vec::new(), files: Vec::new() };
                    connections.spawn(serve(tcp, Arc::new(config(evil, key)), wicked));
                }
            }
        });
        let known = format!("[127.0.0.1]:{port} {}", key(port, 0).public_key().to_openssh().unwrap());
        Self { port, known, seen, task, _alive: alive }
    }

    /// The line of known_hosts for its first host key.
    pub fn known_line(&self) -> String {
        self.known.clone()
    }

    /// The commands that it was asked to run.
    pub fn commands(&self) -> Vec<String> {
        self.seen.commands.lock().unwrap().clone()
    }

    /// What `OpensChannels` was let open.
    pub fn accepted_channels(&self) -> Vec<String> {
        self.seen.accepted.lock().unwrap().clone()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    pub fn note(&self, request: impl Into<String>) {
        self.requests.lock().unwrap().push(request.into());
    }
}

/// Bytes without a pattern, the same at every run.
pub fn noise(length: usize) -> Vec<u8> {
    let step = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((*state >> 56) as u8)
    };
    std::iter::repeat_n((), length).scan(42, |state, ()| step(state)).collect()
}

/// What a server says that is none: once, then again and again after so many milliseconds.
fn no_ssh(evil: Evil) -> Option<(Vec<u8>, Vec<u8>, u64)> {
    let after = |bytes: &[u8]| [b"SSH-2.0-x\r\n", bytes].concat();
    Some(match evil {
        ClosesAtOnce | SilentBanner => (Vec::new(), Vec::new(), 0),
        GarbageBanner => (noise(64 * 1024), Vec::new(), 0),
        EndlessBanner => (Vec::new(), format!("Welcome {ESCAPES}\r\n").repeat(100).into(), 0),
        EndlessLine => (Vec::new(), vec![b'x'; 16 * 1024], 0),
        DribbleBanner => (b"SSH-2.0-".to_vec(), b"x".to_vec(), 50),
        SpeaksHttp => (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(), Vec::new(), 0),
        OldProtocol => (b"SSH-1.5-old\r\n".to_vec(), Vec::new(), 0),
        GarbageAfterBanner => (after(&noise(64 * 1024)), Vec::new(), 0),
        EmptyPacket => (after(&[]), vec![0; 1024], 0),
        HugePacket => (after(&[0xff; 4]), vec![0; 16 * 1024], 0),
        _ => return None,
    })
}

async fn says(mut tcp: TcpStream, (once, again, pause): (Vec<u8>, Vec<u8>, u64)) -> std::io::Result<()> {
    tcp.write_all(&once).await?;
    while !again.is_empty() {
        tcp.write_all(&again).await?;
        sleep(Duration::from_millis(pause)).await;
    }
    std::future::pending().await
}

fn config(evil: Evil, key: PrivateKey) -> Config {
    let mut preferred = Preferred::DEFAULT;
    if evil == WithoutStrictKex {
        preferred.kex.to_mut().retain(|name| *name != kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER);
    }
    if matches!(evil, OnlyWeak | WeakKex) {
        preferred.kex = vec![kex::DH_G14_SHA1, kex::DH_G1_SHA1, kex::DH_GEX_SHA1, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER].into();
    }
    (preferred.cipher, preferred.mac) = match evil {
        OnlyWeak => (vec![cipher::AES_128_CBC].into(), vec![mac::HMAC_SHA1].into()),
        WeakCipher => (vec![cipher::AES_128_CBC, cipher::AES_256_CBC].into(), preferred.mac),
        WeakMac => (vec![cipher::AES_256_CTR].into(), vec![mac::HMAC_SHA1, mac::HMAC_SHA1_ETM].into()),
        OffersNone => (vec![cipher::NONE].into(), vec![mac::NONE].into()),
        _ => (preferred.cipher, preferred.mac),
    };
    Config {
        keys: vec![key],
        preferred,
        auth_rejection_time: Duration::ZERO,
        max_auth_attempts: 0,
        inactivity_timeout: None,
        keepalive_interval: (evil == OnlyPings).then_some(Duration::from_millis(20)),
        keepalive_max: 0,
        window_size: if evil == TakesNoInput { 0 } else { 2 << 20 },
        maximum_packet_size: if evil == ZeroPacket { 0 } else { 32 * 1024 },
        limits: if evil == RekeysAlways { Limits::new(1, 1, Duration::from_secs(1)) } else { Limits::default() },
        nodelay: true,
        ..Config::default()
    }
}

/// One connection, with the wire in between, where bits can be turned and which can be cut.
async fn serve(tcp: TcpStream, config: Arc<Config>, wicked: Wicked) {
    let (evil, cut) = (wicked.evil, Arc::clone(&wicked.cut));
    let (near, far) = duplex(256 * 1024);
    let wire = async move {
        let ((mut from_client, to_client), (from_server, mut to_server)) = (tcp.into_split(), tokio::io::split(near));
        let forth = async {
            if copy(&mut from_client, &mut to_server).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = forth => {}
            _ = spoil(evil, from_server, to_client) => {}
            () = cut.notified() => {}
        }
    };
    let session = async move {
        if let Ok(session) = run_stream(config, far, wicked).await {
            drop(session.await);
        }
    };
    tokio::join!(wire, session);
}

/// What the server says to the client, but for the packets of the handshake that are to go wrong: KEXINIT, the reply with the signature, NEWKEYS.
async fn spoil(evil: Evil, mut from: ReadHalf<DuplexStream>, mut to: OwnedWriteHalf) -> std::io::Result<()> {
    if matches!(evil, StallsInKex | CutsInKex | SignsWrong | InjectsIgnore | BadMac) {
        while let byte = from.read_u8().await?
            && to.write_all(&[byte]).await.is_ok()
            && byte != b'\n'
        {}
        for number in 1..=3 {
            let mut packet = vec![0; from.read_u32().await? as usize];
            from.read_exact(&mut packet).await?;
            match (evil, number) {
                (StallsInKex, 2) => std::future::pending().await,
                (CutsInKex, 2) => return to.write_all(&(packet.len() as u32).to_be_bytes()).await,
                (InjectsIgnore, 2) => to.write_all(&[0, 0, 0, 12, 6, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await?,
                // After the payload comes the padding, whose length is the first byte; the signature is the payload's end.
                (SignsWrong, 2) => {
                    let at = packet.len() - usize::from(packet[0]) - 40;
                    packet[at] ^= 1;
                }
                _ => {}
            }
            to.write_all(&[&(packet.len() as u32).to_be_bytes()[..], &packet].concat()).await?;
        }
    }
    if evil == BadMac {
        let mut first = vec![0; 64 * 1024];
        let length = from.read(&mut first).await?.max(1);
        first[length - 1] ^= 1;
        to.write_all(&first[..length]).await?;
    }
    copy(&mut from, &mut to).await.map(drop)
}
