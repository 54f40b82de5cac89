//! How a hostile SSH server goes wrong once it is past the handshake: logins, channels, programs and files.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use russh::keys::Certificate;
use russh::server::{Auth, ChannelOpenHandle, Handle, Handler, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, ChannelOpenFailure, Disconnect, Error, MethodSet, Sig};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::hostile_ssh::{ESCAPES, Evil, Evil::*, SECRET, Seen, noise};
use Step::*;

/// What `Floods` says, again and again: 16 GiB of it, which no test reads to its end.
static FLOOD: [u8; 256 * 1024] = [b'y'; 256 * 1024];

/// One connection's end of the protocol.
pub struct Wicked {
    pub evil: Evil,
    pub seen: Arc<Seen>,
    pub stop: watch::Receiver<()>,
    pub cut: Arc<Notify>,
    /// Openings that get no answer; to drop one is to refuse.
    pub unanswered: Vec<ChannelOpenHandle>,
    /// Channels that speak of files, with what came so far and how often a folder was read since it was opened.
    pub files: Vec<(ChannelId, Vec<u8>, usize)>,
}

impl Wicked {
    /// Silence until the server is dropped; keepalives get no answer either.
    async fn stall<T>(&mut self) -> Result<T, Error> {
        drop(self.stop.changed().await);
        Err(Error::Disconnect)
    }

    async fn auth(&mut self, method: String) -> Result<Auth, Error> {
        let none = method == "none";
        self.seen.note(format!("auth {method}"));
        Ok(match self.evil {
            StallsBeforeAuth => self.stall().await?,
            RefusesAuth => Auth::reject(),
            AsksForMore => Auth::Reject { proceed_with_methods: Some(MethodSet::server_supported()), partial_success: !none },
            _ if none => Auth::reject(),
            _ => Auth::Accept,
        })
    }

    async fn opened(&mut self, kind: &str, mut channel: Channel<Msg>, reply: ChannelOpenHandle) -> Result<(), Error> {
        self.seen.note(format!("open {kind}"));
        let seen = Arc::clone(&self.seen);
        tokio::spawn(async move {
            while let Some(message) = channel.wait().await {
                if !matches!(message, ChannelMsg::Data { .. } | ChannelMsg::WindowAdjusted { .. }) {
                    seen.note(format!("{message:?}"));
                }
            }
        });
        match self.evil {
            StallsAfterAuth => self.unanswered.push(reply),
            RefusesChannels => reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await,
            _ => reply.accept().await,
        }
        Ok(())
    }

    /// The request for a program, and how it goes on.
    fn run(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        match self.evil {
            StallsOnExec => return Ok(()),
            CutsOnExec => {
                self.cut.notify_one();
                return Ok(());
            }
            RefusesExec => return session.channel_failure(id),
            TellsOnDisconnect => return session.disconnect(Disconnect::ByApplication, &format!("{ESCAPES}{SECRET}"), ESCAPES),
            _ => session.channel_success(id)?,
        }
        let (handle, cut, evil) = (session.handle(), Arc::clone(&self.cut), self.evil);
        if evil == Dribbles {
            tokio::spawn(async move {
                while handle.data(id, &b"."[..]).await.is_ok() {
                    sleep(Duration::from_millis(50)).await;
                }
            });
        }
        if evil == DropsMidOutput {
            tokio::spawn(async move {
                sleep(Duration::from_millis(200)).await;
                cut.notify_one();
            });
        }
        let long = "A".repeat(10_000);
        let script = match evil {
            SaysNothing | OnlyPings | Dribbles => vec![],
            Floods => vec![Out(&FLOOD); 64 * 1024],
            FloodsBoth => [Out(&FLOOD), Odd(1)].repeat(32 * 1024),
            TakesNoInput => vec![Out(b"ready\n")],
            DropsMidOutput => vec![Out(b"half of a li")],
            NoExitStatus => vec![Out(b"some\n"), Eof, Close],
            NeverCloses => vec![Out(b"ok\n"), Status(0), Eof],
            StatusThenMore => vec![Status(0), Out(b"more\n"), Status(9), Eof, Close],
            MoreAfterEof => vec![Out(b"ok\n"), Eof, Status(0), Out(b"more\n"), Close],
            HugeStatus => vec![Status(u32::MAX), Eof, Close],
            OddStreams => vec![Odd(0), Odd(2), Odd(u32::MAX), Status(0), Eof, Close],
            LyingSignal => vec![Killed("TERM\n[x]"), Eof, Close],
            LongSignal => vec![Killed(&long), Eof, Close],
            ForeignSignal => vec![Killed("TÉRM\u{202e}\u{0}\u{85}"), Eof, Close],
            _ => vec![Out(b"ok\n"), Status(0), Eof, Close],
        };
        script.into_iter().try_for_each(|step| match step {
            Out(bytes) => session.data(id, bytes),
            Odd(stream) => session.extended_data(id, stream, if stream == 1 { &FLOOD } else { &b"odd\n"[..] }),
            Status(status) => session.exit_status_request(id, status),
            Killed(name) => session.exit_signal_request(id, Sig::Custom(name.to_owned()), true, &format!("{ESCAPES}{SECRET}"), ESCAPES),
            Eof => session.eof(id),
            Close => session.close(id),
        })
    }
}

/// A step of a program's end; an odd stream is one of extended data.
#[derive(Clone, Copy)]
enum Step<'a> {
    Out(&'static [u8]),
    Odd(u32),
    Status(u32),
    Killed(&'a str),
    Eof,
    Close,
}

/// Opens what no client that asked for nothing lets a server open.
async fn opens(handle: Handle, seen: Arc<Seen>) {
    for kind in ["forwarded-tcpip", "x11", "auth-agent", "session", "direct-tcpip", "forwarded-streamlocal", "tcpip-forward"] {
        let opened = timeout(Duration::from_secs(2), async {
            match kind {
                "forwarded-tcpip" => handle.channel_open_forwarded_tcpip("127.0.0.1", 22, "127.0.0.1", 4444).await.map(drop),
                "x11" => handle.channel_open_x11("127.0.0.1", 6000).await.map(drop),
                "auth-agent" => handle.channel_open_agent().await.map(drop),
                "session" => handle.channel_open_session().await.map(drop),
                "direct-tcpip" => handle.channel_open_direct_tcpip("169.254.169.254", 80, "127.0.0.1", 4444).await.map(drop),
                "forwarded-streamlocal" => handle.channel_open_forwarded_streamlocal("/run/docker.sock").await.map(drop),
                _ => handle.forward_tcpip("0.0.0.0".to_owned(), 0).await.map(drop).map_err(|()| Error::RequestDenied),
            }
        });
        match opened.await {
            Ok(Ok(())) => seen.accepted.lock().unwrap().push(kind.to_owned()),
            Ok(Err(_)) => seen.note(format!("refused {kind}")),
            Err(_) => seen.note(format!("unanswered {kind}")),
        }
    }
}

impl Handler for Wicked {
    type Error = Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Error> {
        let banner = |length| Some(format!("{ESCAPES}{SECRET}\n{}", "b".repeat(length)));
        Ok(match self.evil {
            TellsTooMuch => banner(200 * 1024),
            BannerTooLarge => banner(1 << 20),
            _ => None,
        })
    }

    async fn auth_none(&mut self, _: &str) -> Result<Auth, Error> {
        self.auth("none".to_owned()).await
    }

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, Error> {
        self.auth(format!("password {password}")).await
    }

    async fn auth_publickey_offered(&mut self, _: &str, _: PublicKeyOffer<'_>) -> Result<Auth, Error> {
        if self.evil == StallsBeforeAuth { self.stall().await } else { Ok(Auth::Accept) }
    }

    async fn auth_publickey(&mut self, user: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, Error> {
        self.auth(format!("publickey {user}")).await
    }

    async fn auth_openssh_certificate(&mut self, user: &str, certificate: &Certificate) -> Result<Auth, Error> {
        self.auth(format!("certificate {user} {}", certificate.key_id())).await
    }

    async fn auth_keyboard_interactive<'a>(&'a mut self, _: &str, _: &str, said: Option<Response<'a>>) -> Result<Auth, Error> {
        let said: Vec<String> = said.into_iter().flatten().map(|word| String::from_utf8_lossy(&word).into_owned()).collect();
        let answer = self.auth(format!("keyboard-interactive {}", said.join(" "))).await?;
        let prompts = vec![(format!("{ESCAPES}Password: ").into(), false)].into();
        let asks = Auth::Partial { name: ESCAPES.into(), instructions: "Once more".into(), prompts };
        Ok(if self.evil == AsksForMore { asks } else { answer })
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Error> {
        match self.evil {
            OpensChannels => drop(tokio::spawn(opens(session.handle(), Arc::clone(&self.seen)))),
            TellsTooMuch => {
                (0..5).try_for_each(|_| session.debug(true, &format!("{ESCAPES}{SECRET}{}", "d".repeat(200 * 1024)), ESCAPES))?
            }
            _ => {}
        }
        Ok(())
    }

    async fn channel_open_session(&mut self, channel: Channel<Msg>, reply: ChannelOpenHandle, _: &mut Session) -> Result<(), Error> {
        self.opened("session", channel, reply).await
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.opened(&format!("direct-tcpip {host}:{port}"), channel, reply).await
    }

    /// By now the library has an answer ready: only who says nothing more keeps it back, and who has more to say first.
    async fn channel_close(&mut self, _: ChannelId, _: &mut Session) -> Result<(), Error> {
        if matches!(self.evil, SaysNothing | NeverCloses | StallsOnExec) { self.stall().await } else { Ok(()) }
    }

    async fn env_request(&mut self, id: ChannelId, _: &str, _: &str, session: &mut Session) -> Result<(), Error> {
        session.channel_success(id)
    }

    async fn tcpip_forward(&mut self, address: &str, port: &mut u32, _: &mut Session) -> Result<bool, Error> {
        self.seen.note(format!("global tcpip-forward {address}:{port}"));
        Ok(true)
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Error> {
        self.seen.commands.lock().unwrap().push(String::from_utf8_lossy(command).into_owned());
        self.run(id, session)
    }

    async fn subsystem_request(&mut self, id: ChannelId, _: &str, session: &mut Session) -> Result<(), Error> {
        if !matches!(self.evil, SftpGarbage | SftpGarbageLater | SftpSaysNothing | SftpWrongIds | SftpLies | SftpEndless | SftpTells) {
            return self.run(id, session);
        }
        self.files.push((id, Vec::new(), 0));
        session.channel_success(id)
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Error> {
        let Some((_, so_far, listed)) = self.files.iter_mut().find(|(channel, ..)| *channel == id) else { return Ok(()) };
        so_far.extend_from_slice(data);
        while let Some((length, rest)) = so_far.split_first_chunk()
            && let Some(request) = rest.get(..u32::from_be_bytes(*length) as usize).map(<[u8]>::to_vec)
        {
            so_far.drain(..4 + request.len());
            self.seen.note(format!("sftp {}", request[0]));
            let garbage = if request[0] == 1 { 0 } else { self.seen.garbage.fetch_add(1, SeqCst) };
            session.data(id, answer(self.evil, &request, garbage, *listed))?;
            *listed = if request[0] == 12 { *listed + 1 } else { 0 };
        }
        Ok(())
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn packet(kind: u8, id: u32, parts: &[&[u8]]) -> Vec<u8> {
    string(&[&[kind], &id.to_be_bytes()[..], &parts.concat()].concat())
}

/// The names of a folder, all files of no attributes; the long one has a title for the terminal.
fn names(id: u32, names: &[Vec<u8>]) -> Vec<u8> {
    let entries: Vec<u8> = names.iter().flat_map(|name| [string(name), string(ESCAPES.as_bytes()), vec![0; 4]].concat()).collect();
    packet(104, id, &[&(names.len() as u32).to_be_bytes(), &entries])
}

/// The answer to one request without its length, by draft-ietf-secsh-filexfer-02; `garbage` counts requests, `listed` reads of one folder.
fn answer(evil: Evil, request: &[u8], garbage: usize, listed: usize) -> Vec<u8> {
    let number = |at: usize| request.get(at..at + 4).map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
    let (kind, id) = (request[0], number(1).wrapping_add(u32::from(evil == SftpWrongIds)));
    let (first, lies) = (request.get(9..9 + number(5) as usize).unwrap_or_default(), evil == SftpLies);
    let status = |code: u32, message: &str| packet(101, id, &[&code.to_be_bytes(), &string(message.as_bytes()), &string(b"")]);
    match (evil, kind) {
        (SftpGarbage, _) => string(&noise(100)),
        (_, 1) => packet(2, 3, &[&string(b"posix-rename@openssh.com"), &string(b"1")]),
        (SftpSaysNothing, _) => Vec::new(),
        (SftpGarbageLater, _) => match garbage % 7 {
            0 => string(&noise(100)),
            1 => vec![0; 4],
            2 => [&[0xff; 4][..], &noise(100)].concat(),
            3 => packet(250, id, &[b"?"]),
            4 => packet(104, id, &[&[0xff; 4]]),
            5 => packet(103, id, &[&[0xff; 4], b"data"]),
            _ => packet(102, id, &[&string(&noise(64 * 1024))]),
        },
        (SftpTells, _) => status(4, &format!("{ESCAPES}{SECRET}{}", "m".repeat(200 * 1024))),
        // OPEN and OPENDIR.
        (_, 3 | 11) => packet(102, id, &[&string(b"handle")]),
        // READ: the handle, its offset of 8 bytes, a length.
        (_, 5) => match (number(9 + first.len() + 8) as usize, number(9 + first.len() + 4)) {
            (asked, 0) if lies => packet(103, id, &[&string(&vec![b'z'; asked.min(64 * 1024) + 4096])]),
            (asked, _) if evil == SftpEndless => packet(103, id, &[&string(&vec![b'z'; asked.min(255 * 1024)])]),
            _ => status(1, "end"),
        },
        // LSTAT, FSTAT, STAT: size and permissions.
        (_, 7 | 8 | 17) => {
            let file = kind == 8 || first.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.contains(&b'.'));
            let (size, mode) = (if lies { u64::MAX } else { 10 }, if file { 0o100_644_u32 } else { 0o040_755 });
            packet(105, id, &[&5_u32.to_be_bytes(), &size.to_be_bytes(), &mode.to_be_bytes()])
        }
        (SftpLies, 16 | 19) => names(id, &[b"/etc/shadow".to_vec()]),
        (_, 16 | 19) => names(id, &[first.to_vec()]),
        (SftpLies, 12) if listed == 0 => {
            let told: [&[u8]; 9] =
                [b"\xff\xfe.txt", b"../../etc/shadow", b"/etc/shadow", b".", b"..", b"", b"a\0b", b"a\nb.txt", ESCAPES.as_bytes()];
            names(id, &told.map(<[u8]>::to_vec))
        }
        (SftpEndless, 12) => {
            let told = (0..100).map(|entry| format!("{listed}-{entry}{ESCAPES}{}", "n".repeat(if entry == 99 { 200 * 1024 } else { 1 })));
            names(id, &told.map(String::into_bytes).collect::<Vec<_>>())
        }
        (_, 12) => status(1, "end"),
        _ => status(0, "ok"),
    }
}
