//! One program over one channel: what it writes comes as it is written, bounded; how it ends is what the host says of it, and nothing else.
//!
//! A stop closes the program's lifeline, which the supervisor on the host watches; whether everything of it is gone is what the supervisor ends with. The
//! program may have ended the supervisor and end like it, so another connection looks as well. What was not confirmed is told as not confirmed.

use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, Sig};

use crate::connector::ssh::command::{GONE, LEFT};
use crate::connector::{Out, send};
use crate::mask::Piece;
use crate::refusal::{Code, Refusal};

/// How long a host may be silent once a program has ended, before the rest of what it wrote is given up.
const SILENCE: Duration = Duration::from_secs(2);
/// And how long it is heard at most, then.
const AFTER: Duration = Duration::from_secs(10);
/// How long a word to the host may take.
const SEND: Duration = Duration::from_secs(2);
/// How long a program that is to stop may take: the supervisor asks for two seconds, and takes two more.
const GRACE: Duration = Duration::from_secs(8);

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// With this code.
    Code(u32),
    /// By this signal.
    Signal(String),
    /// It was stopped; whether all of it is gone, as the host says.
    Stopped { confirmed: Confirmed, why: Why },
    /// The connection was lost; nothing is known.
    Lost,
}

/// Whether all of a program is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirmed {
    /// The host says so; by an exit code, which the program can have as well.
    Gone,
    /// The host says that something is left.
    Left,
    /// Nothing was heard.
    Unheard,
}

/// Why a program was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its time was over, its caller gone, or what was lent taken back.
    Told(Code),
    /// It wrote more than it may.
    TooMuch,
}

/// Keeps what fits.
struct Meter {
    left: u64,
}

fn unheard(error: russh::Error) -> Refusal {
    Refusal::new(Code::TargetUnreachable).detail("the host does not take the command").cause(error)
}

/// Why a command is not known to run.
pub(super) enum NotStarted {
    /// It does not: the host said so, or was not asked.
    Refused(Refusal),
    /// The host was asked, and may have started it before it could say so.
    Unheard,
}

impl From<Refusal> for NotStarted {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Starts a command on a channel.
///
/// # Errors
/// `target.unreachable`, `target.refused`; or it is not known whether it was started.
pub(super) async fn start(channel: &mut Channel<Msg>, command: String) -> Result<(), NotStarted> {
    // This fails only where the connection has ended already: nothing was sent.
    channel.exec(true, command).await.map_err(unheard)?;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Failure) => {
                return Err(Refusal::new(Code::TargetRefused).detail("the host starts no command for this account").into());
            }
            Some(ChannelMsg::WindowAdjusted { .. }) => {}
            _ => return Err(NotStarted::Unheard),
        }
    }
}

/// Ends the lifeline; a host that takes nothing any more is not waited for.
async fn end_of_input(channel: &Channel<Msg>) {
    drop(tokio::time::timeout(SEND, channel.eof()).await);
}

/// Hears a program to its end. What is kept of its streams goes to `tell`; `stop` says when it must end.
pub(super) async fn hear(
    mut channel: Channel<Msg>,
    input: Option<Vec<u8>>,
    limit: u64,
    stop: impl Future<Output = Code>,
    tell: Option<&Out>,
) -> Result<End, Refusal> {
    tokio::pin!(stop);
    let mut meter = Meter { left: limit };
    let mut stopping: Option<(Why, std::pin::Pin<Box<tokio::time::Sleep>>)> = None;
    let mut ended: Option<End> = None;
    let mut patience: Option<std::pin::Pin<Box<tokio::time::Sleep>>> = None;
    if let Some(input) = input {
        // A program that has ended does not read; how it ended comes below.
        drop(tokio::time::timeout(GRACE, channel.data_bytes(input)).await);
    }
    loop {
        let message = tokio::select! {
            message = channel.wait() => message,
            code = &mut stop, if stopping.is_none() => {
                // It has ended by itself: what still writes is not the program.
                if ended.is_some() {
                    break;
                }
                end_of_input(&channel).await;
                stopping = Some((Why::Told(code), Box::pin(tokio::time::sleep(GRACE))));
                continue;
            }
            () = async { if let Some((_, over)) = &mut stopping { over.await } }, if stopping.is_some() => break,
            // Whatever still holds its streams when it has ended is not waited for once it is silent.
            () = tokio::time::sleep(SILENCE), if ended.is_some() => break,
            () = async { if let Some(over) = &mut patience { over.await } }, if patience.is_some() => break,
        };
        let (is_err, data) = match message {
            Some(ChannelMsg::Data { data }) => (false, data),
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => (true, data),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                ended.get_or_insert(End::Code(exit_status));
                patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(AFTER)));
                continue;
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                ended.get_or_insert(End::Signal(named(&signal_name)));
                patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(AFTER)));
                continue;
            }
            Some(ChannelMsg::Eof) if ended.is_some() => break,
            Some(ChannelMsg::Close) | None => break,
            Some(_) => continue,
        };
        if stopping.is_some() || data.is_empty() {
            continue;
        }
        let fits = usize::try_from(meter.left).unwrap_or(usize::MAX).min(data.len());
        meter.left -= fits as u64;
        if let Some(out) = tell {
            let piece = Piece::Wrote { is_err, bytes: data.get(..fits).unwrap_or_default().to_vec() };
            send(out, piece).await.map_err(|failed| failed.refusal)?;
        }
        if fits < data.len() {
            end_of_input(&channel).await;
            stopping = Some((Why::TooMuch, Box::pin(tokio::time::sleep(GRACE))));
        }
    }
    drop(tokio::time::timeout(SEND, channel.close()).await);
    Ok(match (stopping, ended) {
        (None, Some(end)) => end,
        (None, None) => End::Lost,
        (Some((why, _)), Some(End::Code(GONE))) => End::Stopped { confirmed: Confirmed::Gone, why },
        (Some((why, _)), Some(End::Code(LEFT))) => End::Stopped { confirmed: Confirmed::Left, why },
        (Some((why, _)), _) => End::Stopped { confirmed: Confirmed::Unheard, why },
    })
}

/// The signal that a shell means by this code. A program may have exited with it as well: no shell tells the two apart.
pub(super) fn signal_of(code: u32) -> Option<&'static str> {
    // As Linux has them on nearly every processor.
    const SIGNALS: [&str; 15] =
        ["HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM"];
    code.checked_sub(129).and_then(|index| SIGNALS.get(usize::try_from(index).ok()?)).copied()
}

/// A signal as POSIX calls it, without `SIG`.
fn named(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.chars().filter(char::is_ascii_alphanumeric).take(16).collect(),
        known => format!("{known:?}"),
    }
}
