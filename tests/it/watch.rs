//! `countersign approvals watch`, on a real terminal (a pty that `script` makes) and in a pipe: requests come, are decided elsewhere, and the broker restarts.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::Agent;
use crate::harness::process::{Process, free_port};

/// A program whose output is read as it comes.
struct Running {
    child: Child,
    out: Arc<Mutex<String>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn Read + Send>; 2] = [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for mut stream in streams {
            let out = Arc::clone(&out);
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count) = stream.read(&mut bytes) {
                    if count == 0 {
                        return;
                    }
                    out.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
                }
            });
        }
        Self { child, out }
    }

    fn so_far(&self) -> String {
        self.out.lock().unwrap().clone()
    }

    /// Waits until it has said something that fits; what it was.
    fn until(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            let so_far = self.so_far();
            if fits(&so_far) {
                return so_far;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{what} was never said:\n{:?}", self.so_far());
    }

    fn ended(&mut self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What stands on the screen: everything since it was last cleared.
fn screen(out: &str) -> &str {
    out.rsplit("\u{1b}[2J").next().unwrap_or(out)
}

struct Shop {
    dir: tempfile::TempDir,
    broker: Option<Process>,
    base: String,
    port: u16,
}

impl Shop {
    fn open() -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let broker = Process::start(&dir.path().join("data"), port);
        Self { dir, base: broker.base.clone(), broker: Some(broker), port }
    }

    fn restart(&mut self) {
        self.broker = Some(Process::start(&self.dir.path().join("data"), self.port));
    }

    /// The arguments of a command in bob's name.
    fn of_bob(&self, arguments: &[&str]) -> Vec<String> {
        let token = self.dir.path().join("data/approver.token").display().to_string();
        arguments
            .iter()
            .map(|word| (*word).to_owned())
            .chain(["--url".to_owned(), self.base.clone(), "--token-file".to_owned(), token])
            .collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(self.of_bob(arguments));
        command
    }

    /// The same on a terminal of its own.
    fn on_a_terminal(&self, arguments: &[&str]) -> Command {
        // `exec`: a shell that stayed in between would die of the Ctrl-C itself, and its status would hide ours.
        let line =
            [&["exec".to_owned(), env!("CARGO_BIN_EXE_countersign").to_owned()], self.of_bob(arguments).as_slice()].concat().join(" ");
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--return", "--echo", "never", "--command", &line, "/dev/null"]);
        command
    }

    /// Has the agent ask, and does not wait for the answer.
    fn ask(&self, id: u32) {
        let token = std::fs::read_to_string(self.dir.path().join("data/agent.token")).unwrap().trim().to_owned();
        let agent = Agent { base: self.base.clone(), token, http: reqwest::Client::new(), headers: Default::default() };
        let sql = format!("UPDATE orders SET status = 'refunded' WHERE id = {id}");
        tokio::spawn(async move { agent.try_call("db_execute", serde_json::json!({"target": "shop", "sql": sql})).await });
    }
}

/// The id of the request whose statement ends like this.
fn id_of(out: &str, ending: &str) -> String {
    let line = out.lines().find(|line| line.contains(ending)).unwrap_or_else(|| panic!("{out}"));
    line.split_whitespace().find(|word| word.starts_with("apr_")).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_a_request_appears_and_vanishes_once_it_is_denied_elsewhere() {
    let mut shop = Shop::open();
    let mut watch = Running::start(shop.on_a_terminal(&["approvals", "watch", "--every", "1", "--bell"]));
    watch.until("an empty list", |out| screen(out).contains("nothing waits for you"));
    shop.ask(1300);
    let out = watch.until("the request", |out| screen(out).contains("1 request waits") && screen(out).contains("WHERE id = 1300"));
    let id = id_of(screen(&out), "WHERE id = 1300");
    watch.until("the bell", |out| out.contains('\u{7}'));
    let denied = shop.command(&["approvals", "deny", &id, "--reason", "not this one"]).output().unwrap();
    assert!(denied.status.success(), "{denied:?}");
    let out = watch.until("the end of it", |out| screen(out).contains("nothing waits for you") && screen(out).contains("denied"));
    assert!(screen(&out).contains(&format!("denied  {id}  by bob: not this one")), "{}", screen(&out));
    assert!(!screen(&out).contains("STATEMENT"), "it is on no list: {}", screen(&out));
    // The broker goes away and comes back.
    shop.broker.take().unwrap().kill();
    watch.until("that it is gone", |out| {
        screen(out).contains("failed to reach the broker") && screen(out).contains("looking again every 1 s")
    });
    shop.restart();
    watch.until("that it is back", |out| screen(out).contains("nothing waits for you") && !screen(out).contains("failed to reach"));
    shop.ask(1301);
    watch.until("the next request", |out| screen(out).contains("WHERE id = 1301"));
    // Near-identical ones stand beside each other, with their number.
    shop.ask(1302);
    let out = watch.until("another like it", |out| screen(out).contains("WHERE id = 1302"));
    let row = screen(&out).lines().find(|line| line.contains("WHERE id = 1302")).unwrap();
    assert!(row.contains("demo-agent  2      shop"), "{row}");
    // Ctrl-C, as the terminal sends it.
    watch.child.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    assert_eq!(watch.ended(), Some(0), "{}", watch.so_far());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_pipe_each_change_is_a_line_and_nothing_is_recorded_while_nothing_changes() {
    let mut shop = Shop::open();
    let lines = Running::start(shop.command(&["approvals", "watch", "--every", "1"]));
    let json = Running::start(shop.command(&["approvals", "watch", "--every", "1", "--json"]));
    shop.ask(1300);
    let out = lines.until("the request", |out| out.contains("requested"));
    let id = id_of(&out, "requested");
    json.until("the request", |out| out.ends_with('\n') && out.contains("requested"));
    let readings = || {
        let listed = shop.command(&["audit", "list", "--limit", "500", "--json"]).output().unwrap();
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        listed["entries"].as_array().unwrap().iter().filter(|entry| entry["leaf"]["t"] == "audit.queried").count()
    };
    let before = readings();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(readings(), before + 1, "the second look at the trail, and none at the list");
    shop.broker.take().unwrap().kill();
    lines.until("that it is gone", |out| out.contains("looking again every 1 s"));
    shop.restart();
    lines.until("that it is back", |out| out.contains("the broker is back"));
    let approved = shop.command(&["approvals", "approve", &id]).output().unwrap();
    assert!(approved.status.success(), "{approved:?}");
    let out = lines.until("its end", |out| out.contains("approved  "));
    assert_eq!(out.matches("requested").count(), 1, "told once: {out}");
    assert!(!out.contains('\u{1b}') && !out.contains('\u{7}'), "{out}");
    let out = json.until("its end", |out| out.contains("\"approved\""));
    let changes: Vec<Value> = out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let told: Vec<(&Value, &Value)> = changes.iter().map(|change| (&change["change"], &change["approval"]["approval_id"])).collect();
    assert_eq!(
        told,
        [(&Value::from("requested"), &Value::from(id.as_str())), (&Value::from("approved"), &Value::from(id.as_str()))],
        "{out}"
    );
    // A broker that was never there is told at once.
    let nowhere = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["approvals", "watch", "--url", &format!("http://127.0.0.1:{}", free_port()), "--token-file"])
        .arg(shop.dir.path().join("data/approver.token"))
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(3), "{nowhere:?}");
}
