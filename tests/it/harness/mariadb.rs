//! A real MariaDB for a test: a server of its own in a temporary folder, on a free port, gone when the test is.
//!
//! Debian has no MySQL. Where one runs all the same, `MYSQL_PORT` and `MYSQL_LOG` (its general log) let the tests of `mysql` and `masking_mysql` use
//! it, one at a time (`-j1`): its `admin` has the password below, and its database `shop` is made anew for each. (`a_server_that_is_gone_says_so` needs a server of its own.)

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign::connector::Endpoint;
use countersign::credential::Source;
use countersign::credential::name::Template;
use countersign::credential::secret::Reference;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions, Executor};

pub struct MariaDb {
    dir: tempfile::TempDir,
    child: Option<Child>,
    pub port: u16,
}

pub const PASSWORD: &str = "secret-of-the-admin";

/// MariaDB refuses to run as root; then it runs as `mysql`.
fn command(program: &str) -> Command {
    let root = std::fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0);
    let path = ["/usr/sbin", "/usr/bin"].map(|folder| PathBuf::from(folder).join(program));
    let path = path.into_iter().find(|path| path.exists()).expect("MariaDB is installed by tests/run");
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=mysql", "--regid=mysql", "--init-groups"]).arg(path);
        command
    } else {
        Command::new(path)
    };
    command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn run(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn shell(line: &str) {
    let mut bash = Command::new("bash");
    bash.args(["-c", line]);
    run(bash);
}

/// A data folder as `mariadb-install-db` makes it, which is the slow part: made once, and copied for each server.
fn made() -> PathBuf {
    let version = command("mariadbd").arg("--version").stdout(Stdio::piped()).output().unwrap().stdout;
    let name: String = String::from_utf8_lossy(&version).chars().filter(char::is_ascii_alphanumeric).collect();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mariadb-{name}"));
    let lock = std::fs::File::create(kept.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !kept.exists() {
        let dir = tempfile::tempdir().unwrap();
        shell(&format!("chmod a+rwx {}", dir.path().display()));
        let mut install = command("mariadb-install-db");
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        install.arg(format!("--tmpdir={}", dir.path().display())).arg(format!("--datadir={}", dir.path().join("data").display()));
        run(install);
        shell(&format!("cp -a {} {k}.half && mv {k}.half {k}", dir.path().join("data").display(), k = kept.display()));
    }
    kept
}

impl MariaDb {
    /// Starts a server that runs these statements first, one a line; more options where a test needs them.
    pub fn start(init: &str, options: &[String]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        if let Ok(port) = std::env::var("MYSQL_PORT") {
            return Self { dir, child: None, port: port.parse().unwrap() };
        }
        shell(&format!("cp -a {} {p}/data && chmod a+rwx {p}", made().display(), p = path.display()));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let admin = format!(
            "CREATE USER admin@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO admin@'127.0.0.1' WITH GRANT OPTION;\n"
        );
        std::fs::write(path.join("init.sql"), format!("{admin}CREATE DATABASE shop;\n{init}\n")).unwrap();
        let mut server = command("mariadbd");
        server.args([
            "--no-defaults",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
            "--general-log",
        ]);
        server.args(["--innodb-buffer-pool-size=32M", "--character-set-server=utf8mb4"]).args(options).arg(format!("--port={port}"));
        for (option, file) in [
            ("datadir", "data"),
            ("tmpdir", ""),
            ("socket", "sock"),
            ("pid-file", "pid"),
            ("init-file", "init.sql"),
            ("log-error", "err.log"),
            ("general-log-file", "log"),
        ] {
            server.arg(format!("--{option}={}", path.join(file).display()));
        }
        let child = server.stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let said = std::fs::read_to_string(path.join("err.log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(30), "MariaDB did not start: {said}");
            std::thread::sleep(Duration::from_millis(30));
        }
        Self { dir, child: Some(child), port }
    }

    fn options(&self) -> MySqlConnectOptions {
        MySqlConnectOptions::new().host("127.0.0.1").port(self.port).database("shop")
    }

    pub async fn admin(&self) -> MySqlConnection {
        self.options().username("admin").password(PASSWORD).connect().await.unwrap()
    }

    /// Runs statements as the administrator, one after the other.
    pub async fn run(&self, statements: &str) {
        let mut admin = self.admin().await;
        for statement in statements.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
            let done = admin.execute(sqlx::AssertSqlSafe(statement.to_owned())).await;
            done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::MySql { host: "127.0.0.1".to_owned(), port: self.port, database: "shop".to_owned(), tls: false, ca: None }
    }

    /// A secret in a file, by reference.
    pub fn secret(&self, name: &str, value: &str) -> Reference {
        std::fs::write(self.dir.path().join(name), value).unwrap();
        Reference::parse(&format!("file:{name}"), self.dir.path()).unwrap()
    }

    /// A login with its password in a file.
    pub fn login(&self, user: &str, password: &str) -> Source {
        Source { user: Some(Template::parse(user).unwrap()), password: Some(self.secret(user, password)), certificate: None }
    }

    /// The folder that references are relative to.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Every statement that reached the server.
    pub fn log(&self) -> String {
        let log = std::env::var("MYSQL_LOG").map_or_else(|_| self.dir.path().join("log"), PathBuf::from);
        String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned()
    }

    /// Stops the server at once.
    pub fn stop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.stop();
    }
}
