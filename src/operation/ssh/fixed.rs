//! Commands of our own: texts that never change, with what a caller says as arguments beside them, so that nothing a caller says is read by a shell.
//!
//! Their risk is known without parsing them. Each answers to a tool of its own.

use crate::operation::Risk;
use crate::operation::ssh::judge::Judged;
use crate::operation::ssh::{Around, Command, Run, Telling};
use crate::refusal::{Code, Refusal};

const FACTS: &str = "echo '[os]'; cat /etc/os-release 2>/dev/null; echo '[kernel]'; uname -srm; echo '[host]'; uname -n; echo '[cpus]'; nproc 2>/dev/null; \
                     echo '[load]'; cat /proc/loadavg 2>/dev/null; echo '[uptime]'; cat /proc/uptime 2>/dev/null; echo '[memory]'; cat /proc/meminfo 2>/dev/null; \
                     echo '[disk]'; df -Pk 2>/dev/null";
/// What is asked of a unit; its journal goes the other way, or what `journalctl` says where the account may not read it.
const STATUS: &str = "systemctl show --no-pager -p Id,Description,LoadState,ActiveState,SubState,UnitFileState,MainPID,Result,ExecMainStatus,ActiveEnterTimestamp \
                      -- \"$1\" || exit; [ \"$2\" = 0 ] || journalctl --no-pager -q -o short-iso -n \"$2\" -u \"$1\" >&2 || :";
const ACT: &str =
    "systemctl \"$1\" -- \"$2\"; r=$?; systemctl show --no-pager -p Id,LoadState,ActiveState,SubState,MainPID,Result -- \"$2\"; exit $r";
const SIGNAL: &str = "kill -s \"$1\" \"$2\" && echo sent=yes";
/// What the commands that look for a job end with where there is none of that name.
pub const NO_JOB: u32 = 3;
/// Where jobs of this agent are; the first argument is whose.
const JOBS: &str = "umask 077; b=${XDG_STATE_HOME:-$HOME/.local/state}/countersign/$1;";
/// What is left of the job `$1`: whatever carries its name, and whatever is of its session. Which session that is, is asked while the job itself leads it:
/// afterwards the number may be another's.
const LEFT: &str = "of() { s=$(cat \"$b/$1/session\" 2>/dev/null); grep -qszxF -- \"$b/$1\" \"/proc/${s:-0}/cmdline\" || s=; }; \
                    left() { for f in $(grep -lsz -- \"^COUNTERSIGN_CALL=$1\\$\" /proc/[0-9]*/environ); do f=${f#/proc/}; echo \"${f%/environ}\"; done; \
                    [ -n \"$s\" ] || return 0; for f in /proc/[0-9]*/stat; do \
                    read -r y <\"$f\" || continue; set -- \"$1\" ${y##*) }; case $2 in Z|X) continue;; esac; [ \"$5\" != \"$s\" ] || echo \"${y%% *}\"; done; };";
/// A job goes on when the command that started it has ended: its tag is that of the call that started it, which is its name.
const JOB: &str = "d=$b/$COUNTERSIGN_CALL; m=$2 l=$3; shift 3; mkdir -p \"$d\" && printf '%s\\n' \"$*\" | tr '\\t\\n' '  ' >\"$d/command\" && \
                   { setsid sh -c 'd=$1 m=$2 l=$3; shift 3; echo $$ >\"$d/session\"; { timeout -k 5 \"$m\" \"$@\" 2>&1 </dev/null; echo $? >\"$d/exit\"; } | \
                   head -c \"$l\" >\"$d/out\"' job \"$d\" \"$m\" \"$l\" \"$@\" >/dev/null 2>&1 </dev/null & } && echo \"job=$COUNTERSIGN_CALL\"";
const JOB_LIST: &str = "cd \"$b\" 2>/dev/null || exit 0; for d in *; do [ -e \"$d/command\" ] || continue; k=running x=; \
                        if [ -e \"$d/exit\" ]; then k=ended x=$(cat \"$d/exit\"); elif of \"$d\"; [ -z \"$(left \"$d\")\" ]; then k=gone; fi; \
                        printf '%s\\t%s\\t%s\\t%s\\t%s\\n' \"$d\" \"$k\" \"$x\" \"$(wc -c 2>/dev/null <\"$d/out\")\" \"$(cat \"$d/command\")\"; done";
// How it stands is asked first, then how much there is, and no more than that is told: what is written meanwhile comes with the next page.
const JOB_OUTPUT: &str = "d=$b/$2; cd \"$d\" 2>/dev/null || exit 3; \
                          if [ -e exit ]; then k=exit=$(cat exit); elif of \"$2\"; [ -z \"$(left \"$2\")\" ]; then k=state=gone; else k=state=running; fi; \
                          t=$(wc -l 2>/dev/null <out); t=${t:-0}; n=$(($3+$4)); [ \"$n\" -le \"$t\" ] || n=$t; [ \"$n\" -le \"$3\" ] || sed -n \"$(($3+1)),${n}p\" out; \
                          echo \"since=$3\" >&2; echo \"next=$n\" >&2; echo \"total=$t\" >&2; echo \"$k\" >&2";
const JOB_STOP: &str = "[ -d \"$b/$2\" ] || exit 3; \
                        grep -qsz '' /proc/self/environ || { echo confirmed=no; exit 1; }; of \"$2\"; w=TERM i=0; \
                        while f=$(left \"$2\"); [ -n \"$f\" ]; do kill -$w $f 2>/dev/null; \
                        i=$((i+1)); [ $i -lt 40 ] || { echo confirmed=no; exit 1; }; [ $i -lt 20 ] || w=KILL; sleep 0.1; done; \
                        echo confirmed=yes";
/// Bytes that a job's output may have on the host.
const JOB_BYTES: &str = "10485760";

/// What is done with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is looked at, with so many lines of its journal.
    Status(u32),
    /// It is started.
    Start,
    /// It is stopped.
    Stop,
    /// It is stopped and started.
    Restart,
    /// It reads its configuration anew.
    Reload,
}

fn ours(text: String, arguments: Vec<String>, judged: Judged, telling: Telling, limit_bytes: u64) -> Run {
    let argv = [vec!["sh".to_owned(), "-c".to_owned(), text, "countersign".to_owned()], arguments].concat();
    let Around { cwd, env, stdin, .. } = Around::default();
    Run { command: Command::Argv(argv), run_as: None, cwd, env, stdin, limit_bytes, telling, judged, keep: None }
}

fn judged(program: &str, risk: Risk, why: &str) -> Judged {
    let why = if why.is_empty() { Vec::new() } else { vec![why.to_owned()] };
    Judged { risk, why, programs: vec![(program.to_owned(), risk)], paths: Vec::new() }
}

/// A name of a unit as systemd takes it.
fn check_unit(unit: &str) -> Result<(), Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    if unit.is_empty() || unit.len() > 255 || unit.starts_with('-') || !unit.bytes().all(plain) {
        return Err(Refusal::new(Code::InvalidArguments).detail("`unit` is no name of a systemd unit, such as `nginx.service`"));
    }
    Ok(())
}

/// Whether a unit is a service of somebody's: targets, mounts and systemd's own decide how the whole host runs.
pub(super) fn is_plain_unit(unit: &str) -> bool {
    let unit = unit.to_ascii_lowercase();
    let (name, kind) = unit.rsplit_once('.').unwrap_or((unit.as_str(), "service"));
    let of_the_host = [
        "systemd-",
        "debug-shell",
        "emergency",
        "rescue",
        "reboot",
        "poweroff",
        "halt",
        "kexec",
        "initrd",
        "dbus",
        "polkit",
        "sudo",
        "user@",
    ];
    let is_known = ["service", "timer", "socket", "path"].contains(&kind);
    is_known && !of_the_host.iter().any(|begin| name.starts_with(begin)) && !unit.contains('\\')
}

/// Whose jobs: one word, from the agent and the human.
fn check_job(job: &str) -> Result<(), Refusal> {
    if job.len() == 26 && job.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(Refusal::new(Code::InvalidArguments).detail("`job_id` is no id of a job, as ssh_job_start gives it"))
}

impl Run {
    /// What a host is, and how much of it is used.
    #[must_use]
    pub fn facts() -> Self {
        ours(FACTS.to_owned(), Vec::new(), judged("uname", Risk::Read, ""), Telling::Facts, 256 * 1024)
    }

    /// A systemd unit.
    ///
    /// # Errors
    /// `request.invalid_arguments`: that is no unit.
    pub fn unit(unit: &str, action: Action) -> Result<Self, Refusal> {
        check_unit(unit)?;
        let unit = unit.to_owned();
        let (verb, risk, why) = match action {
            Action::Status(lines) => {
                let mut judged = judged("systemctl", Risk::Read, "");
                // Policies name a unit as they name a program.
                judged.programs.push((unit.clone(), Risk::Read));
                return Ok(ours(STATUS.to_owned(), vec![unit, lines.to_string()], judged, Telling::Unit, 512 * 1024));
            }
            Action::Start => ("start", Risk::Write, "a unit is started"),
            Action::Reload => ("reload", Risk::Write, "a unit reads its configuration anew"),
            Action::Stop => ("stop", Risk::Destructive, "a unit is stopped: what it was doing is lost"),
            Action::Restart => ("restart", Risk::Destructive, "a unit is stopped and started: what it was doing is lost"),
        };
        let (risk, why) = if is_plain_unit(&unit) { (risk, why) } else { (Risk::Admin, "it is a unit that the host itself stands on") };
        let mut judged = judged("systemctl", risk, why);
        judged.programs.push((unit.clone(), risk));
        Ok(ours(ACT.to_owned(), vec![verb.to_owned(), unit], judged, Telling::Acted, 256 * 1024))
    }

    /// Looks that a folder is there, and that the account may be in it.
    ///
    /// # Errors
    /// `operation.invalid_path`.
    pub fn place(around: Around) -> Result<Self, Refusal> {
        // Variables are for what will run there; nothing that has them runs now.
        let Around { cwd, .. } = around;
        if let Some(cwd) = &cwd {
            crate::operation::ssh::file::absolute("cwd", cwd)?;
        }
        let looked = ours("pwd -P".to_owned(), Vec::new(), judged("pwd", Risk::Read, ""), Telling::Folder, 64 * 1024);
        Ok(Self { cwd, ..looked })
    }

    /// Nothing at all, where something else is what a call is for.
    #[must_use]
    pub fn nothing() -> Self {
        ours("exit 0".to_owned(), Vec::new(), judged("true", Risk::Read, ""), Telling::Streams, 1_024)
    }

    /// A signal to one process.
    #[must_use]
    pub fn signal(pid: u32, signal: &'static str) -> Self {
        // The first process is the host itself.
        let (risk, why) = if pid == 1 { (Risk::Admin, "it is the host's first process") } else { (Risk::Destructive, "a process may end") };
        ours(SIGNAL.to_owned(), vec![signal.to_owned(), pid.to_string()], judged("kill", risk, why), Telling::Sent, 64 * 1024)
    }

    /// The same program as a job that goes on when the call has ended, for at most so many seconds; `whose` is one word for the human and agent.
    #[must_use]
    pub fn as_job(self, whose: &str, seconds: u64) -> Self {
        let mut judged = self.judged.clone();
        judged.risk = judged.risk.max(Risk::Write);
        judged.why.push("it goes on when the call has ended".to_owned());
        let words = self.words();
        let arguments = [vec![whose.to_owned(), seconds.to_string(), JOB_BYTES.to_owned()], words].concat();
        let Self { cwd, env, .. } = self;
        Self { cwd, env, ..ours(format!("{JOBS} {JOB}"), arguments, judged, Telling::Started, 64 * 1024) }
    }

    /// This agent's jobs.
    #[must_use]
    pub fn jobs(whose: &str) -> Self {
        ours(format!("{JOBS} {LEFT} {JOB_LIST}"), vec![whose.to_owned()], judged("cat", Risk::Read, ""), Telling::Jobs, 512 * 1024)
    }

    /// Lines of a job's output.
    ///
    /// # Errors
    /// `request.invalid_arguments`: that is no job.
    pub fn job_output(whose: &str, job: &str, since: u64, lines: u32, limit_bytes: u64) -> Result<Self, Refusal> {
        check_job(job)?;
        let arguments = vec![whose.to_owned(), job.to_owned(), since.to_string(), lines.to_string()];
        Ok(ours(format!("{JOBS} {LEFT} {JOB_OUTPUT}"), arguments, judged("sed", Risk::Read, ""), Telling::Lines, limit_bytes))
    }

    /// Ends a job, and looks that it is gone.
    ///
    /// # Errors
    /// `request.invalid_arguments`: that is no job.
    pub fn job_stop(whose: &str, job: &str) -> Result<Self, Refusal> {
        check_job(job)?;
        let judged = judged("kill", Risk::Write, "a job of the agent's own is ended");
        Ok(ours(format!("{JOBS} {LEFT} {JOB_STOP}"), vec![whose.to_owned(), job.to_owned()], judged, Telling::Ended, 64 * 1024))
    }
}
