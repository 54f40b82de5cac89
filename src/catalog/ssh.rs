//! The SSH tools: names, titles and descriptions. An agent knows nothing else of them, so every word is for it.

pub mod arguments;
pub mod files;
mod parse;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::catalog::schema;
use crate::operation::Risk;

pub(super) use parse::{Bounds, parse, spread};

/// Which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Exec,
    Read,
    Sudo,
    Signal,
    Service,
    Facts,
    JobStart,
    JobOutput,
    JobStop,
    JobList,
    SessionOpen,
    SessionRun,
    SessionClose,
    FileList,
    FileStat,
    FileRead,
    FileWrite,
    FileMkdir,
    FileRename,
    FileRemove,
    FileChmod,
}

pub(super) const ALL: [Tool; 21] = [
    Tool::Exec,
    Tool::Read,
    Tool::Sudo,
    Tool::Signal,
    Tool::Service,
    Tool::Facts,
    Tool::JobStart,
    Tool::JobOutput,
    Tool::JobStop,
    Tool::JobList,
    Tool::SessionOpen,
    Tool::SessionRun,
    Tool::SessionClose,
    Tool::FileList,
    Tool::FileStat,
    Tool::FileRead,
    Tool::FileWrite,
    Tool::FileMkdir,
    Tool::FileRename,
    Tool::FileRemove,
    Tool::FileChmod,
];

/// What is said of a tool that may have to wait for a human.
const ASKS: &str = "It may need a human's approval and may then answer status approval_pending: call approval_wait with the approval's id, then repeat this exact same call.";

impl Tool {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Exec => "ssh_exec",
            Self::Read => "ssh_read",
            Self::Sudo => "ssh_sudo",
            Self::Signal => "ssh_signal",
            Self::Service => "ssh_service",
            Self::Facts => "ssh_facts",
            Self::JobStart => "ssh_job_start",
            Self::JobOutput => "ssh_job_output",
            Self::JobStop => "ssh_job_stop",
            Self::JobList => "ssh_job_list",
            Self::SessionOpen => "ssh_session_open",
            Self::SessionRun => "ssh_session_run",
            Self::SessionClose => "ssh_session_close",
            Self::FileList => "sftp_list",
            Self::FileStat => "sftp_stat",
            Self::FileRead => "sftp_read",
            Self::FileWrite => "sftp_write",
            Self::FileMkdir => "sftp_mkdir",
            Self::FileRename => "sftp_rename",
            Self::FileRemove => "sftp_remove",
            Self::FileChmod => "sftp_chmod",
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Exec => "Run a program on a host",
            Self::Read => "Run a program that only reads",
            Self::Sudo => "Run a program as another account",
            Self::Signal => "Send a signal to a process",
            Self::Service => "Look at or control a systemd unit",
            Self::Facts => "Describe a host",
            Self::JobStart => "Start a long job",
            Self::JobOutput => "Read a job's output",
            Self::JobStop => "Stop a job",
            Self::JobList => "List jobs",
            Self::SessionOpen => "Open a session",
            Self::SessionRun => "Run a program in a session",
            Self::SessionClose => "Close a session",
            Self::FileList => "List a folder",
            Self::FileStat => "Look at a file",
            Self::FileRead => "Read a file",
            Self::FileWrite => "Write a file",
            Self::FileMkdir => "Make a folder",
            Self::FileRename => "Rename a file",
            Self::FileRemove => "Remove a file",
            Self::FileChmod => "Change a file's permissions",
        }
    }

    pub(super) fn description(self) -> String {
        let asks = |what: &str| format!("{what} {ASKS}");
        match self {
            Self::Exec => asks("Runs one program on a host with its arguments as a list (argv): there is no shell, no pipe, no glob and no variable. Give `command`, a text for a shell, only where the target allows it; an approver reads it, so keep it short. Returns the exit code or the signal that ended it, and both streams apart; secrets in them come back masked. When timeout_ms is over, everything it started is ended. What only reads is better sent with ssh_read, which needs no approval."),
            Self::Read => "Runs one program that only reads (ls, cat, grep, df, ps, journalctl, systemctl status and a hundred more) with flags that only read; anything else is refused with the reason. Prefer it to ssh_exec. Secrets in the output come back masked; do not try to get around that.".to_owned(),
            Self::Sudo => asks("Runs one program as another account by sudo without a password. Always of the highest risk: use it only where the human's own account cannot do it."),
            Self::Signal => asks("Sends INT, TERM or KILL to one process. Look at it with ssh_read ps first, and give TERM before KILL."),
            Self::Service => asks("A systemd unit: status reads its state and the last lines of its journal; start, stop, restart and reload change it, with the rights of the human's own account."),
            Self::Facts => "Says what a host is and how it is: operating system, kernel, processors, load, memory, disks. Call it first on a host that you do not know.".to_owned(),
            Self::JobStart => asks("Starts a program that may take longer than a call: it goes on when the call has ended, for at most max_runtime_s, and writes at most 10 MiB. Returns a job id for ssh_job_output and ssh_job_stop."),
            Self::JobOutput => "Returns lines of a job's output and whether it still runs. Page with since_line: pass the next_line of the answer before.".to_owned(),
            Self::JobStop => asks("Ends a job and everything that it started, and says whether that is confirmed."),
            Self::JobList => "Lists the jobs that you started on a host in this human's name, with their state.".to_owned(),
            Self::SessionOpen => "Keeps a folder and variables of a host under a name, so that ssh_session_run need not be told them again. Nothing runs on in between. Open it again under the same name to change the folder.".to_owned(),
            Self::SessionRun => asks("Runs one program, or where the target allows it a text for a shell, in a session's folder with its variables; else as ssh_exec. A program cannot change the session: open it again for that."),
            Self::SessionClose => "Forgets a session.".to_owned(),
            Self::FileList => "Lists a folder below a root that the target allows, by name: names, types, sizes, modes. Page with cursor: pass next_cursor of the answer before.".to_owned(),
            Self::FileStat => "Says what a file is: type, size, mode, owner, time of the last change. Of a link it tells of the link itself.".to_owned(),
            Self::FileRead => "Reads a part of a file, as text (whole lines) or base64, with the SHA-256 of the whole where all of it was read. Page with offset: pass next_offset of the answer before. Secrets come back masked; do not write a masked text back over the file.".to_owned(),
            Self::FileWrite => asks("Writes a whole file: beside its place first, then in its place, so that nobody reads half of it. A file that is there is left alone unless overwrite is true; give if_sha256 (of sftp_read) with it, so that nobody's change is lost."),
            Self::FileMkdir => asks("Makes one folder."),
            Self::FileRename => asks("Gives a file or folder another name below the same roots."),
            Self::FileRemove => asks("Removes one file, or one folder that is empty."),
            Self::FileChmod => asks("Sets the permissions of one file or folder, such as 0640."),
        }
    }

    /// Whether it has anything to do with sessions.
    pub(super) const fn has_session(self) -> bool {
        matches!(self, Self::SessionOpen | Self::SessionRun | Self::SessionClose)
    }

    /// The verb and risk of the mildest call.
    pub(super) const fn mildest(self) -> (&'static str, Risk) {
        match self {
            Self::Exec
            | Self::Read
            | Self::Service
            | Self::Facts
            | Self::JobOutput
            | Self::JobList
            | Self::SessionOpen
            | Self::SessionRun
            | Self::SessionClose => ("execute", Risk::Read),
            Self::JobStart | Self::JobStop => ("execute", Risk::Write),
            Self::Signal => ("execute", Risk::Destructive),
            Self::Sudo => ("execute", Risk::Admin),
            Self::FileList | Self::FileStat => ("list", Risk::Read),
            Self::FileRead => ("read", Risk::Read),
            Self::FileWrite | Self::FileMkdir => ("write", Risk::Write),
            Self::FileRename => ("rename", Risk::Destructive),
            Self::FileRemove => ("delete", Risk::Destructive),
            Self::FileChmod => ("chmod", Risk::Write),
        }
    }

    /// `readOnly`, `destructive`, `idempotent`, `openWorld`.
    pub(super) const fn annotations(self) -> [bool; 4] {
        match self {
            Self::Read | Self::Facts | Self::JobOutput | Self::JobList | Self::FileList | Self::FileStat | Self::FileRead => {
                [true, false, true, false]
            }
            Self::FileChmod | Self::JobStop => [false, true, true, false],
            // What they change is the broker's own note.
            Self::SessionOpen | Self::SessionClose => [true, false, true, false],
            Self::FileMkdir => [false, false, false, false],
            Self::Exec
            | Self::Sudo
            | Self::Signal
            | Self::Service
            | Self::JobStart
            | Self::SessionRun
            | Self::FileWrite
            | Self::FileRename
            | Self::FileRemove => [false, true, false, false],
        }
    }

    pub(super) fn input(self) -> Arc<Map<String, Value>> {
        match self {
            Self::Exec => schema::input::<arguments::Exec>(),
            Self::Read => schema::input::<arguments::Read>(),
            Self::Sudo => schema::input::<arguments::Sudo>(),
            Self::Signal => schema::input::<arguments::Signal>(),
            Self::Service => schema::input::<arguments::Service>(),
            Self::Facts => schema::input::<arguments::Facts>(),
            Self::JobStart => schema::input::<arguments::JobStart>(),
            Self::JobOutput => schema::input::<arguments::JobOutput>(),
            Self::JobStop => schema::input::<arguments::JobStop>(),
            Self::JobList => schema::input::<arguments::JobList>(),
            Self::SessionOpen => schema::input::<arguments::SessionOpen>(),
            Self::SessionRun => schema::input::<arguments::SessionRun>(),
            Self::SessionClose => schema::input::<arguments::SessionClose>(),
            Self::FileList => schema::input::<files::FileList>(),
            Self::FileStat => schema::input::<files::FileStat>(),
            Self::FileRead => schema::input::<files::FileRead>(),
            Self::FileWrite => schema::input::<files::FileWrite>(),
            Self::FileMkdir => schema::input::<files::FileMkdir>(),
            Self::FileRename => schema::input::<files::FileRename>(),
            Self::FileRemove => schema::input::<files::FileRemove>(),
            Self::FileChmod => schema::input::<files::FileChmod>(),
        }
    }

    pub(super) fn result(self) -> Value {
        match self {
            Self::Exec | Self::Read | Self::Sudo | Self::SessionRun => json!({
                "type": "object",
                "properties": {
                    "exit_code": { "type": ["integer", "null"] },
                    "signal": { "type": ["string", "null"], "description": "without SIG; beside an exit_code above 128: the signal that ended it, if it did not exit with that code" },
                    "stdout": { "type": "string" },
                    "stderr": { "type": "string" },
                    "truncated": { "type": "boolean", "description": "it wrote more than max_output_bytes and was stopped" },
                    "stopped_confirmed": { "type": ["boolean", "null"], "description": "where it was stopped, whether the host says that all of it is gone" },
                    "duration_ms": { "type": "integer" },
                    "cwd": { "type": "string", "description": "of a session: the folder in which it ran" },
                },
                "required": ["stdout", "stderr", "truncated"],
            }),
            Self::JobStart => object(json!({ "job_id": { "type": "string" } })),
            Self::JobStop => object(
                json!({ "stopped_confirmed": { "type": ["boolean", "null"], "description": "whether all of it is known to be gone" } }),
            ),
            Self::JobOutput => object(json!({
                "lines": { "type": "array", "items": { "type": "string" } },
                "next_line": { "type": ["integer", "null"], "description": "since_line of the page that follows" },
                "total_lines": { "type": ["integer", "null"], "description": "so far" },
                "state": { "type": "string", "description": "running, ended, or gone: no longer there, without an exit code" },
                "exit_code": { "type": ["integer", "null"], "description": "of the job; 124: its time was over" },
            })),
            Self::JobList => object(json!({ "jobs": { "type": "array", "items": { "type": "object" } } })),
            Self::SessionOpen => object(json!({ "folder": { "type": "string", "description": "where it really is" } })),
            Self::Signal => object(json!({ "sent": { "type": "boolean" } })),
            _ => json!({ "type": "object" }),
        }
    }
}

fn object(properties: Value) -> Value {
    json!({ "type": "object", "properties": properties })
}
