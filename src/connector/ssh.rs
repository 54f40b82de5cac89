//! Hosts: programs and files, as the human, by a certificate that says who and for what.
//!
//! What changes anything has a connection of its own, whose certificate names the call and, where it can, allows that one command and nothing else. Reads
//! share one. A program that is to stop is ended on the host, and looked for there; what was not confirmed is said to be unconfirmed.

mod client;
mod command;
mod exec;
mod facts;
mod files;
mod known;
mod pool;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use russh::Channel;
use russh::client::Msg;
use russh_sftp::client::{Config, RawSftpSession};
use serde_json::{Value, json};

use crate::audit::Permit;
use crate::call::{Bound, Call};
use crate::clock::Clock;
use crate::connector::stop::told_to_stop;
use crate::connector::{Failed, Out, send};
use crate::credential::host::Scope;
use crate::credential::{Credential, HostLogin};
use crate::mask::{Done, Piece};
use crate::operation::ssh::{Command, FileWork, Keep, NO_JOB, Run, Ssh, Telling};
use crate::operation::{Operation, Risk};
use crate::refusal::{Code, Refusal};

use client::{Connection, Errand};
use exec::{Confirmed, End, NotStarted, Why};
use pool::{Lease, Link as _, Pool, Whose};

pub use client::{Place, Route};
pub use known::Trust;

/// What the supervisor ends with where there is no such folder, or where it starts nothing for another reason that it says.
const NO_FOLDER: u32 = 254;
/// The longest line that a login shell can be handed: Linux takes no longer argument (`MAX_ARG_STRLEN`, with the NUL at its end).
const LINE_MAX_BYTES: usize = 128 * 1024 - 1;
/// The longest command that a certificate holds; a longer one is bound by the record alone.
const FORCED_MAX_BYTES: usize = 16 * 1024;
/// What a certificate allows that is for files alone: OpenSSH's own server, whatever is configured.
const ONLY_FILES: &str = "internal-sftp";
/// How long the last look at a program may take once its connection is lost.
const LOOK: Duration = Duration::from_secs(10);
/// How often what a program wrote is put down: what it wrote is there a second later, since the end of it waits for the next time.
const TICK: Duration = Duration::from_millis(500);
/// The largest packet of SFTP that is taken.
const PACKET_MAX_BYTES: u32 = 512 * 1024;

/// A host.
pub(super) struct Target {
    route: Route,
    connect_timeout: Duration,
    clock: Clock,
    pool: Pool<Connection>,
}

/// The work of one call.
struct Work<'a> {
    host: &'a Target,
    permit: &'a Permit,
    call: &'a Call,
    login: &'a HostLogin,
    credential: &'a Credential,
    out: &'a Out,
}

impl Target {
    pub(super) fn new(route: Route, connect_timeout: Duration, clock: Clock) -> Self {
        Self { route, connect_timeout, clock, pool: Pool::default() }
    }

    /// Ends what is kept open.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Runs the permit's operation.
    pub(super) async fn run(&self, permit: &Permit, credential: &Credential, out: &Out) -> Result<Done, Failed> {
        let login = credential.host().ok_or_else(|| Refusal::new(Code::CredentialUnavailable).cause("no login for a host"))?;
        let work = Work { host: self, permit, call: permit.call(), login, credential, out };
        match &permit.call().operation {
            Operation::Ssh(Ssh::Run(run)) => work.program(run).await,
            Operation::Ssh(Ssh::File(file)) => work.file(file, false).await,
            Operation::SshPreview(Ssh::File(file)) => work.file(file, true).await,
            _ => Err(Refusal::new(Code::TargetFailed).cause("an operation of another kind of target").into()),
        }
    }
}

impl Work<'_> {
    fn is_own(&self) -> bool {
        // What an approver is shown is a read, whatever the tool's own risk.
        matches!(self.call.operation, Operation::Ssh(_)) && self.call.risk() >= Risk::Write
    }

    fn errand(&self, scope: Scope) -> Errand<'_> {
        let call = self.is_own().then_some(&self.call.facts.id);
        Errand { login: self.login, call, scope, now: self.host.clock.now() }
    }

    async fn open(&self, scope: Scope) -> Result<Connection, Refusal> {
        self.host.route.open(&self.errand(scope), self.host.connect_timeout).await
    }

    fn whose(&self) -> Whose {
        Whose::of(self.call, self.permit.lent().map(crate::id::DelegationId::as_str))
    }

    /// A channel, on a connection of its own or on the shared one; a shared one that turns out to be dead is opened anew, since nothing ran yet.
    async fn channel(&self, scope: Scope) -> Result<(Arc<Connection>, Channel<Msg>), Refusal> {
        let dead = |error: russh::Error| Refusal::new(Code::TargetUnreachable).detail("the host opens no channel").cause(error);
        if self.is_own() {
            let connection = Arc::new(self.open(scope).await?);
            self.used(&connection).await?;
            let channel = connection.channel().await.map_err(dead)?;
            return Ok((connection, channel));
        }
        let (whose, patience) = (self.whose(), self.host.connect_timeout);
        for is_last in [false, true] {
            let lease = || Lease::of(self.call, &self.host.clock);
            let connection = self.host.pool.get(&whose, lease, patience, self.open(Scope::Session)).await?;
            match tokio::time::timeout(patience, connection.channel()).await {
                Ok(Ok(channel)) => {
                    self.used(&connection).await?;
                    return Ok((connection, channel));
                }
                Ok(Err(error)) if is_last => return Err(dead(error)),
                Err(_) if is_last => return Err(Refusal::new(Code::TargetUnreachable).detail("the host does not answer")),
                _ => self.host.pool.forget(&whose, &connection).await,
            }
        }
        Err(Refusal::new(Code::TargetUnreachable))
    }

    /// Which connection, for the record.
    async fn used(&self, connection: &Connection) -> Result<(), Refusal> {
        let mut facts = self.credential.facts().clone();
        facts.connection = Some(connection.facts.clone());
        send(self.out, Piece::Used(facts)).await.map_err(|failed| failed.refusal)
    }

    async fn put(&self, piece: Piece) -> Result<(), Refusal> {
        send(self.out, piece).await.map_err(|failed| failed.refusal)
    }

    /// A program, from its start to its end.
    async fn program(&self, run: &Run) -> Result<Done, Failed> {
        let tag = self.call.facts.id.as_str();
        let command = command::supervised(run, tag);
        if command.len() > LINE_MAX_BYTES {
            let why =
                format!("the command is {} bytes as the host's shell would read it, and {LINE_MAX_BYTES} are the most", command.len());
            return Err(Refusal::new(Code::TooLarge).detail(why).into());
        }
        let scope = if command.len() <= FORCED_MAX_BYTES { Scope::Command(command.clone()) } else { Scope::Session };
        let stop = told_to_stop(self.call, &self.host.clock);
        tokio::pin!(stop);
        let sent = AtomicBool::new(false);
        let asked = Instant::now();
        let started = tokio::select! {
            started = self.start(scope, command, &sent) => started,
            code = &mut stop => return Err(self.stopped_early(run, code, sent.load(Ordering::Relaxed), asked).await),
        };
        let (connection, channel) = match started {
            Ok(started) => started,
            Err(NotStarted::Refused(refusal)) => return Err(refusal.into()),
            Err(NotStarted::Unheard) => return Err(self.unheard(run, asked).await),
        };
        let began = Instant::now();
        let begins = Piece::Began { command: shown(run.command()), timestamp: self.host.clock.now().timestamp() };
        let heard = async {
            self.put(begins).await?;
            self.hear(run, channel, began, stop).await
        };
        let end = match heard.await {
            Ok(end) => end,
            // What it does can be put down no longer: it must not go on unseen.
            Err(refusal) => return Err(Failed { stopped: Some(self.look_again(run, asked).await), ..refusal.into() }),
        };
        let is_own = self.is_own();
        if is_own {
            connection.close().await;
        }
        self.ended(run, end, began, asked).await
    }

    /// Whether the host had heard of the command by then, only the host knows.
    async fn stopped_early(&self, run: &Run, code: Code, was_sent: bool, asked: Instant) -> Failed {
        let confirmed = !was_sent || self.look_again(run, asked).await;
        let why = match (was_sent, confirmed) {
            (false, _) => "before anything ran",
            (true, true) => "while it was being started; nothing of it is left",
            (true, false) => "while it was being started; whether it runs is not known",
        };
        Failed { stopped: Some(confirmed), ..Refusal::new(code).detail(why).into() }
    }

    /// The connection was lost between the command and the host's word that it runs.
    async fn unheard(&self, run: &Run, asked: Instant) -> Failed {
        let confirmed = self.look_again(run, asked).await;
        let known = if confirmed { "nothing of it is left" } else { "whether it runs is not known" };
        let why =
            format!("the connection was lost while the command was being started; {known}, and what it had done by then is not known");
        Failed { stopped: Some(confirmed), ..Refusal::new(Code::Unresolved).detail(why).into() }
    }

    async fn start(&self, scope: Scope, command: String, sent: &AtomicBool) -> Result<(Arc<Connection>, Channel<Msg>), NotStarted> {
        let (connection, mut channel) = self.channel(scope).await?;
        sent.store(true, Ordering::Relaxed);
        exec::start(&mut channel, command).await?;
        Ok((connection, channel))
    }

    /// Hears it to its end, and has what it wrote put down as it comes.
    async fn hear(&self, run: &Run, channel: Channel<Msg>, began: Instant, stop: impl Future<Output = Code>) -> Result<End, Refusal> {
        let input = command::input(run, self.call.facts.id.as_str());
        let heard = exec::hear(channel, input, run.limit_bytes(), stop, Some(self.out));
        tokio::pin!(heard);
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                end = &mut heard => return end,
                _ = ticks.tick() => self.put(Piece::Ticked { at: elapsed(began) }).await?,
            }
        }
    }

    /// What is told of how it ended.
    async fn ended(&self, run: &Run, end: End, began: Instant, asked: Instant) -> Result<Done, Failed> {
        let (end, lost) = match end {
            End::Lost => {
                let confirmed = if self.look_again(run, asked).await { Confirmed::Gone } else { Confirmed::Unheard };
                (End::Stopped { confirmed, why: Why::Told(Code::Unresolved) }, true)
            }
            // A program may end as the supervisor would once it has ended that, and whoever watched it knows what looking afterwards does not show: both
            // must say that it is gone.
            End::Stopped { confirmed, why } => {
                let is_gone = self.look_again(run, asked).await && confirmed != Confirmed::Left;
                (End::Stopped { confirmed: if is_gone { Confirmed::Gone } else { Confirmed::Left }, why }, false)
            }
            end => (end, false),
        };
        let at = elapsed(began);
        let (exit_code, signal, truncated, confirmed) = match end {
            End::Code(code) => (Some(code), exec::signal_of(code).map(ToOwned::to_owned), false, None),
            End::Signal(signal) => (None, Some(signal), false, None),
            End::Stopped { confirmed, why: Why::TooMuch } => (None, None, true, Some(confirmed == Confirmed::Gone)),
            End::Stopped { confirmed, .. } if lost => {
                let confirmed = confirmed == Confirmed::Gone;
                let known = if confirmed { "what it had started was ended" } else { "whether it still runs is not known" };
                let why = format!("the connection was lost while the program ran; {known}, and what it had done by then is not known");
                return Err(Failed { stopped: Some(confirmed), ..Refusal::new(Code::Unresolved).detail(why).into() });
            }
            End::Stopped { confirmed, why: Why::Told(code) } => {
                let confirmed = confirmed == Confirmed::Gone;
                let known =
                    if confirmed { "the program and all it had started are gone" } else { "whether the program still runs is not known" };
                let why = if code == Code::TargetTimeout {
                    format!("after {} ms; {known}", self.call.limits.timeout.as_millis())
                } else {
                    known.to_owned()
                };
                return Err(Failed { stopped: Some(confirmed), ..Refusal::new(code).detail(why).into() });
            }
            End::Lost => return Err(Refusal::new(Code::Unresolved).into()),
        };
        if let Some(refusal) = exit_code.and_then(|code| not_there(run.telling(), code)) {
            return Err(refusal.into());
        }
        let exit = exit_code.map_or_else(|| Value::from(signal.clone().unwrap_or_else(|| "stopped".to_owned())), Value::from);
        let mut document = json!({
            "exit_code": exit_code, "signal": signal, "truncated": truncated, "stopped_confirmed": confirmed, "duration_ms": at,
        });
        if let (Some(Keep::For(_, kept)), Some(members)) = (run.keep(), document.as_object_mut()) {
            members.insert("cwd".to_owned(), Value::from(kept.cwd.clone()));
        }
        let piece = match run.telling() {
            Telling::Streams => Piece::Ran { document, exit, at },
            // What went wrong is told in the program's own words; a unit is told as it is now whether or not it did what was asked.
            telling if exit_code != Some(0) && !matches!(telling, Telling::Acted | Telling::Ended) => Piece::Ran { document, exit, at },
            telling => Piece::Said { document, exit, at, telling: facts::reader(telling) },
        };
        self.put(piece).await?;
        // One that goes into another folder stays where it was, if that is not there.
        let keep = run.keep().filter(|keep| matches!(keep, Keep::Forget(_)) || exit_code != Some(NO_FOLDER)).cloned();
        let keep = keep.map(|keep| (keep, self.host.clock.now()));
        Ok(Done { truncated, stopped: confirmed, keep, ..Done::default() })
    }

    /// Over another connection: what carries the call's tag is ended, and looked for; whether none of it is left.
    /// It was asked for at `asked`; what began before is not of it.
    async fn look_again(&self, run: &Run, asked: Instant) -> bool {
        let command = command::reaper(run.account(), self.call.facts.id.as_str(), asked.elapsed() + LOOK);
        let look = async {
            let errand = Errand { call: Some(&self.call.facts.id), ..self.errand(Scope::Command(command.clone())) };
            let connection = self.host.route.open(&errand, self.host.connect_timeout).await?;
            let mut channel = connection.channel().await.map_err(|error| Refusal::new(Code::TargetUnreachable).cause(error))?;
            exec::start(&mut channel, command).await.map_err(|not_started| match not_started {
                NotStarted::Refused(refusal) => refusal,
                NotStarted::Unheard => Refusal::new(Code::TargetUnreachable),
            })?;
            let end = exec::hear(channel, None, u64::MAX, std::future::pending(), None).await?;
            connection.close().await;
            Ok::<End, Refusal>(end)
        };
        matches!(tokio::time::timeout(LOOK, look).await, Ok(Ok(End::Code(command::NOTHING_LEFT))))
    }

    /// A file, over SFTP.
    async fn file(&self, file: &FileWork, is_preview: bool) -> Result<Done, Failed> {
        let asked = AtomicBool::new(false);
        let work = self.file_work(file, is_preview, &asked);
        tokio::pin!(work);
        let stop = told_to_stop(self.call, &self.host.clock);
        let code = tokio::select! {
            outcome = &mut work => return outcome.map_err(|refusal| {
                let stopped = (refusal.code() == Code::Unresolved).then_some(false);
                Failed { stopped, ..refusal.into() }
            }),
            code = stop => code,
        };
        // What was not asked of the host by now never is.
        if !asked.load(Ordering::Relaxed) {
            let refusal = Refusal::new(code);
            let refusal = if file.reads() || is_preview { refusal } else { refusal.detail("before anything was changed") };
            return Err(Failed { stopped: Some(true), ..refusal.into() });
        }
        // A change is a few steps: they are let come to their end rather than left in the middle.
        match tokio::time::timeout(LOOK, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(refusal)) if refusal.code() != Code::Unresolved => Err(refusal.into()),
            _ => Err(Failed {
                stopped: Some(false),
                ..Refusal::new(Code::Unresolved).detail("the change was under way when it was to stop").into()
            }),
        }
    }

    async fn file_work(&self, file: &FileWork, is_preview: bool, asked: &AtomicBool) -> Result<Done, Refusal> {
        let (connection, channel) = self.channel(Scope::Command(ONLY_FILES.to_owned())).await?;
        let no = |error: russh::Error| Refusal::new(Code::NotInstalled).detail("SFTP, on this host or for this account").cause(error);
        let mut channel = channel;
        channel.request_subsystem(true, "sftp").await.map_err(no)?;
        if !matches!(channel.wait().await, Some(russh::ChannelMsg::Success | russh::ChannelMsg::WindowAdjusted { .. })) {
            return Err(Refusal::new(Code::NotInstalled).detail("SFTP, on this host or for this account"));
        }
        let seconds = self.call.limits.timeout.as_secs().max(1);
        let config = Config { max_packet_len: PACKET_MAX_BYTES, request_timeout_secs: seconds, ..Config::default() };
        let session = RawSftpSession::new_with_config(channel.into_stream(), config);
        session.init().await.map_err(|error| Refusal::new(Code::NotInstalled).detail("SFTP that works, on this host").cause(error))?;
        let files = files::Files { session, file, call: self.call.facts.id.to_string(), asked };
        let bound: Option<&Bound> = self.permit.bound();
        let outcome = if is_preview { files.preview().await } else { files.perform(bound).await };
        drop(files.session.close_session());
        if self.is_own() {
            connection.close().await;
        }
        let (pieces, done) = outcome?;
        for piece in pieces {
            self.put(piece).await?;
        }
        Ok(done)
    }
}

/// What our own commands look for, and end with such a code where there is none.
fn not_there(telling: &Telling, code: u32) -> Option<Refusal> {
    let not_found = |what: &str| Some(Refusal::new(Code::ObjectNotFound).detail(what));
    match (telling, code) {
        (Telling::Lines | Telling::Ended, NO_JOB) => not_found("a job of this agent by that id, on this host: ssh_job_list shows them"),
        (Telling::Folder, NO_FOLDER) => not_found("a folder by that name that the account may enter"),
        _ => None,
    }
}

fn elapsed(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A command as the recording has it.
fn shown(command: &Command) -> String {
    match command {
        Command::Argv(argv) => argv.iter().map(|word| command::readable(word)).collect::<Vec<_>>().join(" "),
        Command::Shell { text, .. } => text.clone(),
    }
}
