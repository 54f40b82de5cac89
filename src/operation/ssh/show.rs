//! An operation as an approver reads it: exactly what would run or be written, as whom, and why it is of its risk.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::operation::ssh::{Command, FileWork, Run, Ssh, Work};

impl Ssh {
    /// The exact operation, for a human's eyes.
    #[must_use]
    pub fn show(&self) -> Value {
        match self {
            Self::Run(run) => run.show(),
            Self::File(file) => file.show(),
        }
    }

    /// Why its risk is above that of a plain read or change.
    pub(in crate::operation) fn why(&self) -> Vec<String> {
        match self {
            Self::Run(run) => run.judged.why.clone(),
            Self::File(file) => file.judged().1,
        }
    }
}

impl Run {
    fn show(&self) -> Value {
        let env: Value = self.env.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let mut shown = json!({
            "cwd": self.cwd, "env": env, "stdin": self.stdin, "run_as": self.run_as,
            "programs": self.judged.programs.iter().map(|(name, risk)| json!({ "program": name, "risk": risk.as_str() })).collect::<Value>(),
            "risk_because": self.judged.why,
        });
        let (name, command) = match &self.command {
            Command::Argv(argv) => ("argv", json!(argv)),
            Command::Shell { shell, text } => ("shell", json!({ "shell": shell, "command": text })),
        };
        if let Some(members) = shown.as_object_mut() {
            members.retain(|_, member| !member.is_null() && member.as_array().is_none_or(|list| !list.is_empty()));
            members.insert(name.to_owned(), command);
        }
        shown
    }
}

impl FileWork {
    fn show(&self) -> Value {
        let mode = |mode: &Option<u32>| mode.map(|mode| format!("{mode:04o}"));
        let (verb, more) = match self.work() {
            Work::List { limit, after } => ("list", json!({ "limit": limit, "cursor": after })),
            Work::Stat => ("stat", json!({})),
            Work::Read { offset, length, .. } => ("read", json!({ "offset": offset, "length": length })),
            Work::Write { content, mode: permissions, overwrite, if_sha256, atomic } => {
                let content = match std::str::from_utf8(content) {
                    Ok(text) => json!({ "text": text }),
                    Err(_) => json!({ "base64": STANDARD.encode(content) }),
                };
                let more = json!({ "content": content, "mode": mode(permissions), "overwrite": overwrite, "if_sha256": if_sha256, "atomic": atomic });
                ("write", more)
            }
            Work::Mkdir { mode: permissions } => ("mkdir", json!({ "mode": mode(permissions) })),
            Work::Rename { to, overwrite } => ("rename", json!({ "to": to, "overwrite": overwrite })),
            Work::Remove => ("remove", json!({})),
            Work::Chmod { mode } => ("chmod", json!({ "mode": format!("{mode:04o}") })),
        };
        let mut shown = json!({ "file": verb, "path": self.path(), "risk_because": self.judged().1 });
        if let (Some(members), Value::Object(more)) = (shown.as_object_mut(), more) {
            members.extend(more);
        }
        shown
    }
}
