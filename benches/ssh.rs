//! What a program on a host costs through the broker (HTTP, identity, policy, two durable leaves, masks, a recording) beside OpenSSH's own client over a
//! connection that is already open (`ControlMaster`), on the same sshd in the same run; what judging a command costs; and what reading 100 MB over SFTP
//! takes of time and memory.
//!
//! Figures are ratios to the reference of the same run. Goals: a warm `ssh_exec true` no slower than `ssh true` over ControlMaster; a command of any length
//! and kind judged in less than 50 ms; memory that does not grow with the file. The server is OpenSSH's, in processes of its own.

#![expect(unreachable_pub, reason = "the harness is a module of the tests")]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::allow_attributes,
    reason = "a benchmark prints, and fails by panicking"
)]

#[expect(dead_code, reason = "tests use more of it")]
#[path = "../tests/it/harness"]
mod harness {
    pub mod process;
    pub mod sshd;
    pub mod systemd;

    pub fn target(
        name: &str,
        endpoint: countersign::connector::Endpoint,
        access: countersign::credential::Access,
    ) -> countersign::broker::Target {
        let connect_timeout = std::time::Duration::from_secs(5);
        let settings = countersign::connector::TargetSettings { name: name.to_owned(), endpoint, access, concurrency: 8, connect_timeout };
        countersign::broker::Target { settings, environment: "bench".to_owned() }
    }
}

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use countersign::broker::Broker;
use countersign::clock::Clock;
use countersign::config::Config;
use countersign::identity::development::{DevelopmentIssuer, TokenRequest};
use countersign::operation::ssh::judge;
use harness::sshd::{Sshd, account, own, playground};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

const ROUNDS: usize = 300;
/// Before each run of the two that are compared: what the other leaves behind (a process that ends, a task that tidies up) is not this one's cost.
const SETTLE: Duration = Duration::from_millis(5);
const FILE_BYTES: usize = 100 << 20;

/// The middle and the 95th of some times, and the middle as a ratio.
fn report(name: &str, mut times: Vec<Duration>, reference: Option<Duration>) -> Duration {
    times.sort();
    let (p50, p95) = (times[times.len() / 2], times[times.len() * 95 / 100]);
    let share =
        reference.map_or_else(String::new, |reference| format!("{:>6.3} times the reference", p50.as_secs_f64() / reference.as_secs_f64()));
    println!("{name:<52} p50 {:>7.2} ms  p95 {:>7.2} ms  {share}", p50.as_secs_f64() * 1e3, p95.as_secs_f64() * 1e3);
    p50
}

/// A figure of this process in KiB, such as `VmHWM`.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// OpenSSH's client over a connection that is open.
struct Master {
    options: Vec<String>,
}

impl Master {
    fn open(sshd: &Sshd, dir: &Path) -> Self {
        let path = |name: &str| dir.join(name).display().to_string();
        let keygen = |arguments: &[&str]| assert!(Command::new("ssh-keygen").args(arguments).status().unwrap().success());
        keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &path("id")]);
        keygen(&[
            "-q",
            "-s",
            &sshd.folder().join("ca").display().to_string(),
            "-I",
            "bench",
            "-n",
            "alice",
            "-V",
            "-1m:+1h",
            &path("id.pub"),
        ]);
        std::fs::write(dir.join("known"), sshd.known_line()).unwrap();
        let mut options: Vec<String> =
            ["-F", "none", "-p", &sshd.port.to_string(), "-i", &path("id"), "-S", &path("control")].map(ToOwned::to_owned).into();
        for option in [format!("UserKnownHostsFile={}", path("known")), "BatchMode=yes".to_owned(), "LogLevel=ERROR".to_owned()] {
            options.extend(["-o".to_owned(), option]);
        }
        options.push(format!("{}@127.0.0.1", account()));
        let opened = Command::new("ssh").args(["-M", "-N", "-f"]).args(&options).status().unwrap();
        assert!(opened.success());
        Self { options }
    }

    fn run(&self, command: &str) -> Vec<u8> {
        let output = Command::new("ssh").args(&self.options).arg(command).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        drop(Command::new("ssh").args(["-O", "exit"]).args(&self.options).stderr(Stdio::null()).status());
    }
}

struct Caller {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Caller {
    async fn call(&self, tool: &str, arguments: &Value) -> Value {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
        let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
        let request =
            self.http.post(format!("{}/mcp", self.base)).bearer_auth(&self.token).header("accept", "application/json, text/event-stream");
        let request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/call").header("mcp-name", tool);
        let text = request
            .json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let answer: Value = serde_json::from_str(text.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&text)).unwrap();
        let told = answer["result"]["structuredContent"].clone();
        assert_eq!(told["status"], "ok", "{:.600}", answer.to_string());
        told
    }
}

async fn broker(dir: &Path, sshd: &Sshd, root: &str) -> (Broker, Caller) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = listener.local_addr().unwrap();
    let base = format!("http://{listen}");
    let issuer = DevelopmentIssuer::open(&dir.join("issuer"), &format!("{base}/issuer"), Clock::system()).unwrap();
    std::fs::write(dir.join("bench.cedar"), "@id(\"all\") permit (principal, action == Action::\"invoke\", resource);").unwrap();
    std::fs::write(dir.join("known_hosts"), sshd.known_line()).unwrap();
    let config = format!(
        "[server]\nlisten = \"{listen}\"\nrequests_per_minute = 0\n[store]\npath = \"data\"\n[ledger]\norigin = \"bench.invalid/log\"\n\
         [[issuer]]\nurl = \"{base}/issuer\"\njwks_file = \"issuer/issuer.jwks.json\"\nalgorithms = [\"EdDSA\"]\n\
         [policy]\npath = \"bench.cedar\"\n[ssh]\nca = \"file:{}\"\n\
         [[target]]\nname = \"web\"\nengine = \"ssh\"\nenvironment = \"bench\"\nhost = \"127.0.0.1\"\nport = {}\nlogin = \"{{human.login}}\"\naccount = \"{}\"\n\
         known_hosts = \"known_hosts\"\nroots = [\"{root}\"]\n",
        sshd.folder().join("ca").display(),
        sshd.port,
        account()
    );
    std::fs::write(dir.join("countersign.toml"), config).unwrap();
    let config = Config::read(&dir.join("countersign.toml"), &Clock::system()).unwrap();
    let broker = Broker::start(config.settings, listener, Clock::system()).await.unwrap();
    let token = issuer.mint(&TokenRequest {
        subject: "alice".to_owned(),
        name: None,
        teams: Vec::new(),
        audience: format!("{base}/mcp"),
        client: "bench".to_owned(),
        actor: Some("bench".to_owned()),
        scope: "mcp:admin".to_owned(),
        lifetime: chrono::TimeDelta::hours(1),
    });
    (broker, Caller { http: reqwest::Client::new(), base, token: token.expose_secret().to_owned() })
}

fn judging() {
    let everyday = [
        "ls -la /var/log",
        "grep -rn error /var/log --include=*.log | sort | uniq -c | sort -rn | head -20",
        "find /srv -name '*.conf' -mtime -1 -exec grep -l upstream {} +",
        "for f in /etc/nginx/*.conf; do echo \"$f\"; head -3 \"$f\"; done",
        "systemctl status nginx && journalctl -u nginx -n 50 --no-pager",
        "ps aux | awk '{print $2}' | head",
    ];
    let (mut judged, began) = (0_u64, Instant::now());
    while began.elapsed() < Duration::from_secs(2) {
        for text in everyday {
            std::hint::black_box(judge::shell(std::hint::black_box(text)));
            judged += 1;
        }
    }
    println!("{:<52} {:>8.0} a second", "everyday shell texts judged", judged as f64 / began.elapsed().as_secs_f64());
    let whole = 1 << 20;
    let hostile: [(&str, String); 12] = [
        ("$(", "$(".repeat(whole / 2)),
        ("cat a***", format!("cat a{}", "*".repeat(16_000))),
        ("echo $(id)", format!("echo {}", "$(id) ".repeat(2_600))),
        ("ls;", "ls;".repeat(5_400)),
        ("{a,b}", "{a,b}".repeat(3_200)),
        ("((", "((".repeat(8_000)),
        ("x|", "x|".repeat(8_000)),
        ("quotes", "'\\\"".repeat(5_400)),
        ("here-documents", "cat <<a\n".repeat(2_000)),
        ("find a… -exec ls {}…", format!("find {}-exec ls {}+", "a ".repeat(4_000), "{} ".repeat(2_600))),
        ("xargs -I… b…", format!("xargs {}{}", "-I{} ".repeat(4), "b{} ".repeat(4_000))),
        ("sh -c 'sh -c …'", (0..6).fold("ls;".repeat(60), |text, _| format!("sh -c '{}'", text.replace('\'', "'\\''")))),
    ];
    for (name, text) in &hostile {
        let times = (0..20).map(|_| {
            let at = Instant::now();
            std::hint::black_box(judge::shell(std::hint::black_box(text)));
            at.elapsed()
        });
        let worst = times.max().unwrap();
        println!("{:<52} {:>8.2} ms at most ({} bytes)", format!("hostile text, {name}"), worst.as_secs_f64() * 1e3, text.len());
    }
    let argv = vec!["ls".to_owned(), format!("-{}", "l".repeat(64 * 1024 - 10))];
    let at = Instant::now();
    std::hint::black_box(judge::argv(&argv));
    println!("{:<52} {:>8.2} ms", "hostile words, ls -lll…", at.elapsed().as_secs_f64() * 1e3);
}

#[tokio::main]
async fn main() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let (dir, files) = (tempfile::tempdir().unwrap(), playground());
    let sshd = Sshd::start();
    let root = files.path().display().to_string();
    let line = b"2026-01-01T00:00:00Z web-1 nginx: GET /index.html 200 12345 in 0.004 s\n";
    std::fs::write(files.path().join("log"), line.iter().copied().cycle().take(FILE_BYTES).collect::<Vec<u8>>()).unwrap();
    own(files.path());
    let master = Master::open(&sshd, dir.path());
    master.run("true");
    let (broker, caller) = broker(dir.path(), &sshd, &root).await;
    let run = json!({"target": "web", "argv": ["true"]});
    caller.call("ssh_exec", &run).await;
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        tokio::time::sleep(SETTLE).await;
        let at = Instant::now();
        tokio::task::block_in_place(|| master.run("true"));
        plain.push(at.elapsed());
        tokio::time::sleep(SETTLE).await;
        let at = Instant::now();
        caller.call("ssh_exec", &run).await;
        ours.push(at.elapsed());
    }
    let reference = report("ssh true over ControlMaster", plain, None);
    report("ssh_exec true, warm", ours, Some(reference));
    let own_connection = json!({"target": "web", "argv": ["python3", "-c", ""]});
    let mut own_times = Vec::new();
    for _ in 0..30 {
        let at = Instant::now();
        caller.call("ssh_exec", &own_connection).await;
        own_times.push(at.elapsed());
    }
    report("ssh_exec with a connection of its own (python3)", own_times, Some(reference));
    judging();
    let at = Instant::now();
    let bytes = tokio::task::block_in_place(|| master.run(&format!("cat {root}/log"))).len();
    assert_eq!(bytes, FILE_BYTES);
    let plain = at.elapsed();
    println!("{:<52} {:>8.1} MB/s", "ssh cat of 100 MB over ControlMaster", FILE_BYTES as f64 / 1e6 / plain.as_secs_f64());
    for encoding in ["utf8", "base64"] {
        let part = |offset: u64| json!({"target": "web", "path": format!("{root}/log"), "offset": offset, "length": 1 << 20, "encoding": encoding});
        caller.call("sftp_read", &part(0)).await;
        let before = memory("VmRSS");
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let (at, mut offset) = (Instant::now(), 0);
        loop {
            let answer = caller.call("sftp_read", &part(offset)).await;
            match answer["result"]["next_offset"].as_u64() {
                Some(next) => offset = next,
                None => break,
            }
        }
        let took = at.elapsed();
        let grown = memory("VmHWM").saturating_sub(before) as f64 / 1024.0;
        println!(
            "{:<52} {:>8.1} MB/s  grew by {grown:.1} MiB  {:.3} times the reference",
            format!("sftp_read of 100 MB in parts, {encoding}"),
            FILE_BYTES as f64 / 1e6 / took.as_secs_f64(),
            took.as_secs_f64() / plain.as_secs_f64()
        );
    }
    drop(master);
    broker.stop().await.unwrap();
}
