//! A real PostgreSQL for a test: a cluster of its own in a temporary folder, on a free port, gone when the test is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use countersign::connector::Endpoint;
use countersign::credential::Source;
use countersign::credential::name::Template;
use countersign::credential::secret::Reference;
use sqlx::{Connection, Executor, PgConnection};

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
            ca: None,
            logins_max: 32,
            search_path: vec!["public".to_owned()],
        }
    }

    /// A secret in a file, by reference.
    pub fn secret(&self, name: &str, value: &str) -> Reference {
        std::fs::write(self.dir.path().join(name), value).unwrap();
        Reference::parse(&format!("file:{name}"), self.dir.path()).unwrap()
    }

    /// The folder that references are relative to.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// TLS with an authority of its own, and a certificate for a user, who gets in by it alone: `ca.crt`, `<user>.crt`, `<user>.key` in the folder.
    pub async fn demand_certificate_of(&self, user: &str) {
        let folder = self.dir.path();
        let openssl = |line: &str| {
            let mut openssl = command(Path::new("openssl"), folder);
            openssl.args(line.split(' ')).current_dir(folder);
            run(openssl);
        };
        openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.crt");
        std::fs::write(folder.join("server.ext"), "subjectAltName=IP:127.0.0.1").unwrap();
        std::fs::write(folder.join(format!("{user}.ext")), "extendedKeyUsage=clientAuth").unwrap();
        for who in ["server", user] {
            openssl(&format!(
                "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={who} -keyout {who}.key -out {who}.csr"
            ));
            openssl(&format!("x509 -req -in {who}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile {who}.ext -out {who}.crt"));
        }
        let hba = folder.join("data/pg_hba.conf");
        let rules = std::fs::read_to_string(&hba).unwrap();
        std::fs::write(&hba, format!("hostssl all {user} all cert\nhost all {user} all reject\n{rules}")).unwrap();
        let mut admin = self.admin().await;
        for (name, file) in [("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key"), ("ssl_ca_file", "ca.crt")] {
            let set = format!("ALTER SYSTEM SET {name} = '{}'", folder.join(file).display());
            admin.execute(sqlx::AssertSqlSafe(set)).await.unwrap();
        }
        admin.execute("ALTER SYSTEM SET ssl = on").await.unwrap();
        admin.execute("SELECT pg_reload_conf()").await.unwrap();
    }

    /// A login with its password in a file.
    pub fn login(&self, user: &str, password: &str) -> Source {
        Source { user: Some(Template::parse(user).unwrap()), password: Some(self.secret(user, password)), certificate: None }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Cluster {
    /// Stops the server at once; what it held open is gone.
    pub fn stop(&self) {
        let mut stop = command(&self.bin.join("pg_ctl"), self.dir.path());
        stop.arg("-D").arg(self.dir.path().join("data")).args(["-m", "immediate", "stop"]).stderr(Stdio::null());
        drop(stop.status());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}
