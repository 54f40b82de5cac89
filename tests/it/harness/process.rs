//! A broker in a process of its own: the product's binary, as a user starts it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A broker in a process of its own, so that it can be killed.
pub struct Process {
    child: Child,
    pub base: String,
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Process {
    pub fn start(data: &Path, port: u16) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(["quickstart", "--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(data);
        Self::ready(command, port)
    }

    /// `quickstart` where no file may grow past so many KiB: a write that would fails, as on a full disk.
    pub fn start_on_a_small_disk(data: &Path, port: u16, kib: u32) -> Self {
        let mut command = Command::new("bash");
        let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$@\"");
        command.args(["-c", &script, "bash", env!("CARGO_BIN_EXE_countersign")]);
        command.args(["quickstart", "--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(data);
        Self::ready(command, port)
    }

    /// `serve` with a configuration that listens on this port.
    pub fn serve(config: &Path, port: u16) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.arg("serve").arg("--config").arg(config);
        Self::ready(command, port)
    }

    pub fn ready(mut command: Command, port: u16) -> Self {
        let mut child = command.env("COUNTERSIGN_LOG", "error").stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let ready = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).any(|line| line.starts_with("ready "));
        assert!(ready, "the broker did not start");
        Self { child, base: format!("http://127.0.0.1:{port}") }
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
