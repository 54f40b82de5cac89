//! A program on the broker's host: the message as JSON on its standard input; it delivered what it was given if it ends with 0.
//!
//! No shell, nothing of a call in its arguments or environment, and nothing of the broker's environment at all: the configuration's secrets may be in it.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::inert::Inert;
use crate::notice::Message;
use crate::notice::courier::Undelivered;

/// A program.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Whether rows of a preview are handed to it.
    pub include_preview: bool,
}

/// Where it finds other programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most that is read of what it writes, in bytes; it is shown to whoever tries a channel, and kept nowhere.
const OUTPUT_MAX_BYTES: u64 = 4_096;
/// Characters of it that are shown.
const SAID_MAX: usize = 300;

impl Command {
    pub(super) async fn send(&self, message: &Message) -> Result<String, Undelivered> {
        let failed = |error: std::io::Error| Undelivered::later(format!("the program could not be run: {}", error.kind()));
        let mut child = tokio::process::Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("COUNTERSIGN_NOTICE", &message.id)
            .env("COUNTERSIGN_EVENT", message.event)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Where the time is up, the attempt is dropped, and the program with it.
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let payload = message.payload(self.include_preview);
        let give = async {
            if let Some(mut stdin) = stdin {
                // A program may end well without having read everything.
                drop(stdin.write_all(&payload).await);
            }
        };
        let take = async {
            let mut first = Vec::new();
            if let Some(mut stdout) = stdout {
                drop((&mut stdout).take(OUTPUT_MAX_BYTES).read_to_end(&mut first).await);
                // What is more is read and dropped, so that it does not wait for a reader.
                drop(tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await);
            }
            first
        };
        let ((), output, ended) = tokio::join!(give, take, child.wait());
        let status = ended.map_err(failed)?;
        if status.success() {
            let text = Inert::line(&String::from_utf8_lossy(&output));
            return Ok(format!("exit code 0 {}", text.first(SAID_MAX).0).trim_end().to_owned());
        }
        Err(Undelivered::later(match status.code() {
            Some(code) => format!("the program ended with {code}"),
            None => "the program was ended by a signal".to_owned(),
        }))
    }
}
