//! From the arguments of an SSH tool to its operation, within what the target allows.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::catalog::common::Common;
use crate::catalog::parse::{Refused, read};
use crate::catalog::ssh::Tool;
use crate::catalog::ssh::arguments::{self, SignalName, UnitAction};
use crate::catalog::ssh::files::{self, Encoding};
use crate::operation::local::{Local, Spread};
use crate::operation::ssh::{Action, Around, FileWork, Keep, Kept, Run, Session, Ssh, Work};
use crate::refusal::{Code, Refusal};

/// What a target allows, and whose call it is.
pub(in crate::catalog) struct Bounds<'a> {
    pub(in crate::catalog) roots: &'a [String],
    pub(in crate::catalog) env: &'a [String],
    pub(in crate::catalog) shell: Option<&'a str>,
    /// One word for the human and the agent, under which jobs are kept.
    pub(in crate::catalog) whose: &'a str,
    pub(in crate::catalog) target: &'a str,
    /// The sessions of both, by id.
    pub(in crate::catalog) sessions: &'a BTreeMap<String, Kept>,
}

/// What the arguments came to.
pub(in crate::catalog) struct Asked {
    pub(in crate::catalog) operation: Ssh,
    pub(in crate::catalog) arguments: Value,
    pub(in crate::catalog) reason: Option<String>,
    pub(in crate::catalog) timeout_ms: Option<u64>,
}

fn asked<T: Common + DeserializeOwned + Serialize>(
    value: Value,
    operation: impl FnOnce(T) -> Result<Ssh, Refusal>,
) -> Result<Asked, Refused> {
    let (arguments, canonical) = read::<T>(value)?;
    let (reason, timeout_ms) = (arguments.reason(), arguments.timeout_ms());
    Ok(Asked { operation: operation(arguments).map_err(|refusal| (refusal, None))?, arguments: canonical, reason, timeout_ms })
}

fn env(bounds: &Bounds<'_>, given: BTreeMap<String, String>) -> Result<Vec<(String, String)>, Refusal> {
    match given.keys().find(|name| !bounds.env.contains(name)) {
        None => Ok(given.into_iter().collect()),
        Some(name) => {
            let allowed = if bounds.env.is_empty() { "it allows none".to_owned() } else { format!("it allows {}", bounds.env.join(", ")) };
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            Err(Refusal::new(Code::InvalidArguments).detail(format!("the target does not let a caller set `{name}`: {allowed}")))
        }
    }
}

fn exec(bounds: &Bounds<'_>, exec: arguments::Exec) -> Result<Ssh, Refusal> {
    let around = Around { cwd: exec.cwd, env: env(bounds, exec.env)?, stdin: exec.stdin, limit_bytes: exec.max_output_bytes };
    match (exec.argv, exec.command, bounds.shell) {
        (Some(argv), None, _) => Run::argv(argv, around).map(Ssh::Run),
        (None, Some(text), Some(shell)) => Run::shell(shell, text, around).map(Ssh::Run),
        (None, Some(_), None) => Err(Refusal::new(Code::ShellNotAllowed)),
        _ => Err(Refusal::new(Code::InvalidArguments).detail("give either `argv` or `command`")),
    }
}

/// Sessions that a human and agent may have.
const SESSIONS_MAX: usize = 50;

impl Bounds<'_> {
    fn session(&self, name: &str) -> Session {
        Session { whose: self.whose.to_owned(), target: self.target.to_owned(), name: name.to_owned() }
    }

    fn kept(&self, name: &str) -> Result<(Session, Kept), Refusal> {
        let session = self.session(name);
        let kept = self.sessions.get(&session.id()).cloned();
        kept.map(|kept| (session, kept)).ok_or_else(|| Refusal::new(Code::UnknownSession))
    }
}

fn open(bounds: &Bounds<'_>, asked: arguments::SessionOpen) -> Result<Ssh, Refusal> {
    let session = bounds.session(&asked.session);
    if bounds.sessions.len() >= SESSIONS_MAX && !bounds.sessions.contains_key(&session.id()) {
        return Err(Refusal::new(Code::InvalidArguments).detail(format!("{SESSIONS_MAX} sessions are open: close one first")));
    }
    let kept = Kept { cwd: asked.cwd.clone(), env: asked.env.clone(), idle_s: asked.idle_ttl_s };
    let around = Around { cwd: Some(asked.cwd), env: env(bounds, asked.env)?, ..Around::default() };
    Ok(Ssh::Run(Run::place(around)?.keeping(Keep::For(session, kept))))
}

/// What is kept is filled in before anybody judges the call, and bound by an approval with the rest.
fn run(bounds: &Bounds<'_>, value: Value) -> Result<Asked, Refused> {
    let mut filled = None;
    let asked = asked(value, |run: arguments::SessionRun| {
        let (session, kept) = bounds.kept(&run.session)?;
        filled = Some(json!({ "cwd": kept.cwd, "env": kept.env }));
        let exec = arguments::Exec {
            target: run.target,
            argv: run.argv,
            command: run.command,
            cwd: Some(kept.cwd.clone()),
            env: kept.env.clone(),
            stdin: run.stdin,
            max_output_bytes: run.max_output_bytes,
            timeout_ms: run.timeout_ms,
            reason: None,
        };
        match self::exec(bounds, exec)? {
            Ssh::Run(run) => Ok(Ssh::Run(run.keeping(Keep::For(session, kept)))),
            other => Ok(other),
        }
    })?;
    let Asked { mut arguments, .. } = asked;
    if let (Some(members), Some(Value::Object(filled))) = (arguments.as_object_mut(), filled) {
        members.extend(filled);
    }
    Ok(Asked { arguments, ..asked })
}

fn mode(text: Option<&String>) -> Result<Option<u32>, Refusal> {
    let read = |text: &String| {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
        mode.ok_or_else(|| Refusal::new(Code::InvalidArguments).detail("`mode` is no mode, such as 0640"))
    };
    text.map(read).transpose()
}

fn write(bounds: &Bounds<'_>, write: files::FileWrite) -> Result<Ssh, Refusal> {
    let content = match write.encoding {
        Encoding::Utf8 => write.content.into_bytes(),
        Encoding::Base64 => {
            let invalid = |_| Refusal::new(Code::InvalidArguments).detail("`content` is no base64");
            STANDARD.decode(write.content.as_bytes()).map_err(invalid)?
        }
    };
    if write.if_sha256.is_some() && !write.overwrite {
        return Err(Refusal::new(Code::InvalidArguments).detail("`if_sha256` speaks of a file that is there: give `overwrite` too"));
    }
    let work = Work::Write {
        content,
        mode: mode(write.mode.as_ref())?,
        overwrite: write.overwrite,
        if_sha256: write.if_sha256,
        atomic: write.atomic,
    };
    FileWork::new(&write.path, work, bounds.roots).map(Ssh::File)
}

fn file<T: Common + DeserializeOwned + Serialize>(
    value: Value,
    bounds: &Bounds<'_>,
    work: impl FnOnce(T) -> Result<(String, Work), Refusal>,
) -> Result<Asked, Refused> {
    asked(value, |arguments: T| {
        let (path, work) = work(arguments)?;
        FileWork::new(&path, work, bounds.roots).map(Ssh::File)
    })
}

/// A call of `ssh_exec` on each of these hosts.
pub(in crate::catalog) fn spread(asked: &arguments::MultiExec, targets: &[String]) -> Local {
    let call = |target: &String| {
        let mut members = Map::from_iter([
            ("target".to_owned(), json!(target)),
            ("argv".to_owned(), json!(asked.argv)),
            ("max_output_bytes".to_owned(), json!(asked.max_output_bytes)),
        ]);
        members.extend(asked.cwd.iter().map(|cwd| ("cwd".to_owned(), json!(cwd))));
        members.extend(asked.timeout_ms.map(|timeout| ("timeout_ms".to_owned(), json!(timeout))));
        members.extend(asked.reason.iter().map(|reason| ("reason".to_owned(), json!(reason))));
        (target.clone(), members)
    };
    Local::Spread(Spread {
        tool: Tool::Exec.name(),
        calls: targets.iter().map(call).collect(),
        parallel: usize::try_from(asked.max_parallel).unwrap_or(1),
        stop_on_error: asked.stop_on_error,
        by_name: asked.group.is_none(),
    })
}

/// The operation of a tool's arguments.
pub(in crate::catalog) fn parse(tool: Tool, value: Value, bounds: &Bounds<'_>) -> Result<Asked, Refused> {
    let plain = |limit_bytes| Around { limit_bytes, ..Around::default() };
    match tool {
        Tool::Exec => asked(value, |arguments| exec(bounds, arguments)),
        Tool::Read => asked(value, |read: arguments::Read| {
            let argv = std::iter::once(read.program).chain(read.args).collect();
            Run::argv(argv, Around { cwd: read.cwd, ..plain(read.max_output_bytes) })?.read_only().map(Ssh::Run)
        }),
        Tool::Sudo => asked(value, |sudo: arguments::Sudo| {
            let around = Around { cwd: sudo.cwd, stdin: sudo.stdin, ..plain(sudo.max_output_bytes) };
            Run::argv(sudo.argv, around)?.run_as(&sudo.run_as).map(Ssh::Run)
        }),
        Tool::Signal => asked(value, |signal: arguments::Signal| {
            let name = match signal.signal {
                SignalName::Int => "INT",
                SignalName::Term => "TERM",
                SignalName::Kill => "KILL",
            };
            Ok(Ssh::Run(Run::signal(signal.pid, name)))
        }),
        Tool::Service => asked(value, |service: arguments::Service| {
            let action = match service.action {
                UnitAction::Status => Action::Status(service.journal_lines),
                UnitAction::Start => Action::Start,
                UnitAction::Stop => Action::Stop,
                UnitAction::Restart => Action::Restart,
                UnitAction::Reload => Action::Reload,
            };
            Run::unit(&service.unit, action).map(Ssh::Run)
        }),
        Tool::Facts => asked(value, |_: arguments::Facts| Ok(Ssh::Run(Run::facts()))),
        Tool::JobStart => asked(value, |job: arguments::JobStart| {
            let around = Around { cwd: job.cwd, env: env(bounds, job.env)?, ..plain(0) };
            Ok(Ssh::Run(Run::argv(job.argv, around)?.as_job(bounds.whose, job.max_runtime_s)))
        }),
        Tool::JobOutput => asked(value, |job: arguments::JobOutput| {
            Run::job_output(bounds.whose, &job.job_id, job.since_line, job.lines, 1 << 20).map(Ssh::Run)
        }),
        Tool::JobStop => asked(value, |job: arguments::JobStop| Run::job_stop(bounds.whose, &job.job_id).map(Ssh::Run)),
        Tool::JobList => asked(value, |_: arguments::JobList| Ok(Ssh::Run(Run::jobs(bounds.whose)))),
        Tool::SessionOpen => asked(value, |arguments| open(bounds, arguments)),
        Tool::SessionRun => run(bounds, value),
        Tool::SessionClose => asked(value, |close: arguments::SessionClose| {
            let (session, _) = bounds.kept(&close.session)?;
            Ok(Ssh::Run(Run::nothing().keeping(Keep::Forget(session))))
        }),
        Tool::FileList => {
            file(value, bounds, |list: files::FileList| Ok((list.path, Work::List { limit: list.limit, after: list.cursor })))
        }
        Tool::FileStat => file(value, bounds, |stat: files::FileStat| Ok((stat.path, Work::Stat))),
        Tool::FileRead => file(value, bounds, |read: files::FileRead| {
            let base64 = read.encoding == Encoding::Base64;
            Ok((read.path, Work::Read { offset: read.offset, length: read.length, base64 }))
        }),
        Tool::FileWrite => asked(value, |arguments| write(bounds, arguments)),
        Tool::FileMkdir => file(value, bounds, |folder: files::FileMkdir| {
            let mode = mode(folder.mode.as_ref())?;
            Ok((folder.path, Work::Mkdir { mode }))
        }),
        Tool::FileRename => {
            file(value, bounds, |rename: files::FileRename| Ok((rename.path, Work::Rename { to: rename.to, overwrite: rename.overwrite })))
        }
        Tool::FileRemove => file(value, bounds, |remove: files::FileRemove| Ok((remove.path, Work::Remove))),
        Tool::FileChmod => file(value, bounds, |chmod: files::FileChmod| {
            let mode = mode(Some(&chmod.mode))?.unwrap_or_default();
            Ok((chmod.path, Work::Chmod { mode }))
        }),
    }
}
