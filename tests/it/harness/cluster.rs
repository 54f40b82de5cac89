//! A real PostgreSQL for a test: a cluster of its own in a temporary folder, on a free port, gone when the test is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use countersign::connector::Endpoint;
use sqlx::{Connection, PgConnection};

pub struct Cluster {
    dir: tempfile::TempDir,
    bin: PathBuf,
    pub port: u16,
}

pub const PASSWORD: &str = "secret-of-the-admin";

fn newest() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is installed by tests/run")
        .map(|entry| entry.unwrap().path().join("bin"))
        .collect();
    versions.sort();
    versions.pop().expect("PostgreSQL is installed by tests/run")
}

/// PostgreSQL refuses to run as root; then it runs as `postgres`.
fn command(program: &Path, home: &Path) -> Command {
    let root = std::fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0);
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env("HOME", home).current_dir("/").stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn run(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Cluster {
    pub fn start() -> Self {
        let bin = newest();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        std::fs::write(path.join("pw"), PASSWORD).unwrap();
        run({
            let mut command = Command::new("chmod");
            command.arg("-R").arg("a+rwx").arg(&path);
            command
        });
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut initdb = command(&bin.join("initdb"), &path);
        initdb
            .arg("-D")
            .arg(path.join("data"))
            .args(["-U", "admin", "--auth=scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"])
            .arg(format!("--pwfile={}", path.join("pw").display()));
        run(initdb);
        let mut start = command(&bin.join("pg_ctl"), &path);
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off -c log_line_prefix='%a|%u|' -c log_statement=all",
            path.display()
        );
        start
            .arg("-D")
            .arg(path.join("data"))
            .args(["-w", "-t", "30", "-l"])
            .arg(path.join("log"))
            .arg("-o")
            .arg(options)
            .arg("start")
            .stderr(Stdio::null());
        assert!(start.status().unwrap().success(), "PostgreSQL did not start");
        Self { dir, bin, port }
    }

    pub async fn admin(&self) -> PgConnection {
        PgConnection::connect(&format!("postgres://admin:{PASSWORD}@127.0.0.1:{}/postgres", self.port)).await.unwrap()
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::Postgres {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            database: "postgres".to_owned(),
            tls: false,
            search_path: vec!["public".to_owned()],
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut stop = command(&self.bin.join("pg_ctl"), self.dir.path());
        stop.arg("-D").arg(self.dir.path().join("data")).args(["-m", "immediate", "stop"]).stderr(Stdio::null());
        drop(stop.status());
    }
}
