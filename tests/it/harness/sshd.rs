//! A real OpenSSH server for a test: a folder, a port and an authority of its own, accounts that are made once a machine, and its log to read.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use countersign::broker::Target;
use countersign::connector::{Endpoint, HostBounds, HostPlace, Route, Trust};
use countersign::credential::Access;
use countersign::credential::host::{Accounts, Authority, HostAccess};
use countersign::credential::secret::Reference;

use crate::harness::process::free_port;
use crate::harness::systemd::Systemd;
use crate::harness::target;

/// Accounts that tests log in to; they are nobody else's. A test has one to itself: what others begin in it could be taken for what a stop has left.
const ACCOUNTS: std::ops::Range<usize> = 0..64;

pub struct Sshd {
    dir: tempfile::TempDir,
    child: Child,
    systemd: Option<Systemd>,
    pub port: u16,
}

/// What a test wants different.
#[derive(Default)]
pub struct With {
    /// Lines of its configuration, before the others.
    pub config: String,
    /// Whether its host key is signed by an authority.
    pub host_certificate: bool,
    /// Principals that may be the account.
    pub principals: Vec<String>,
    /// Whether it runs beside a systemd of its own, and then a folder with units and polkit's rules.
    pub units: Option<PathBuf>,
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}

/// The account that the server lets in: one of its own where accounts can be made, else the one that runs the tests.
pub fn account() -> String {
    static OURS: OnceLock<(String, Option<File>)> = OnceLock::new();
    OURS.get_or_init(|| if is_root() { take_account() } else { (me(), None) }).0.clone()
}

fn me() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned()
}

/// One that no other test has: it is ours for as long as the file is open.
fn take_account() -> (String, Option<File>) {
    let lock = |name: &str| File::create(std::env::temp_dir().join(format!("countersign-test-{name}.lock"))).unwrap();
    let free = |number| {
        let name = format!("cs-tester-{number}");
        let ours = lock(&name);
        ours.try_lock().is_ok().then_some((name, Some(ours)))
    };
    let (name, ours) = ACCOUNTS.into_iter().find_map(free).expect("there are as many accounts as tests that run at once");
    // Accounts are made one after another.
    let making = lock("accounts");
    making.lock().unwrap();
    if !Command::new("id").arg(&name).output().unwrap().status.success() {
        run("useradd", &["-m", "-s", "/bin/bash", &name]);
        run("usermod", &["-p", "*", &name]);
    }
    (name, ours)
}

/// Gives the account of tests one right: to be nobody, with any program. Says whether it could be given.
pub fn may_sudo() -> bool {
    if !is_root() {
        return false;
    }
    let right = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(right.path(), format!("{} ALL=(nobody) NOPASSWD: ALL\n", account())).unwrap();
    run("install", &["-m", "0440", right.path().to_str().unwrap(), &format!("/etc/sudoers.d/{}", account())]);
    true
}

/// A folder of the account's own, which is gone when the test is.
pub fn playground() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("cs-ssh-").tempdir_in("/tmp").unwrap();
    own(dir.path());
    dir
}

/// Makes a file or folder the account's.
pub fn own(path: &Path) {
    run("chown", &["-R", &format!("{}:", account()), path.to_str().unwrap()]);
}

impl Sshd {
    pub fn start() -> Self {
        Self::with(With::default())
    }

    pub fn with(with: With) -> Self {
        if is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        run("chmod", &["755", dir.path().to_str().unwrap()]);
        for key in ["host", "ca", "host_ca"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &path(key)]);
        }
        let mut config = with.config;
        if with.host_certificate {
            run(
                "ssh-keygen",
                &["-q", "-s", &path("host_ca"), "-I", "host", "-h", "-n", "127.0.0.1,localhost", "-V", "-1m:+1h", &path("host.pub")],
            );
            config.push_str(&format!("HostCertificate {}\n", path("host-cert.pub")));
        }
        let account = account();
        std::fs::create_dir(dir.path().join("principals")).unwrap();
        let principals = if with.principals.is_empty() { vec!["alice".to_owned(), "bob".to_owned()] } else { with.principals };
        std::fs::write(dir.path().join("principals").join(&account), principals.join("\n")).unwrap();
        let port = free_port();
        config.push_str(&format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile {}\nTrustedUserCAKeys {}\nAuthorizedPrincipalsFile {}/%u\n\
             AuthorizedKeysFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nLogLevel VERBOSE\n\
             Subsystem sftp internal-sftp\nMaxStartups 200\nMaxSessions 100\n",
            path("host"),
            path("pid"),
            path("ca.pub"),
            path("principals")
        ));
        std::fs::write(dir.path().join("sshd_config"), config).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let systemd = with.units.and_then(|given| Systemd::start(dir.path(), &given, &account));
        const SSHD: &str = "/usr/sbin/sshd";
        let child = systemd
            .as_ref()
            .map_or_else(|| Command::new(SSHD), |systemd| systemd.inside(SSHD))
            .args(["-D", "-e", "-f", &path("sshd_config")])
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("OpenSSH's server is installed by tests/run");
        let sshd = Self { dir, child, systemd, port };
        let up = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            TcpStream::connect(("127.0.0.1", sshd.port)).is_ok()
        });
        assert!(up, "sshd did not start: {}", sshd.log());
        sshd
    }

    /// The systemd that it runs beside.
    pub fn systemd(&self) -> Option<&Systemd> {
        self.systemd.as_ref()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The line of known_hosts that vouches for it.
    pub fn known_line(&self) -> String {
        let key = std::fs::read_to_string(self.dir.path().join("host.pub")).unwrap();
        format!("[127.0.0.1]:{} {key}", self.port)
    }

    /// The same by the authority that signed its key.
    pub fn authority_line(&self) -> String {
        let key = std::fs::read_to_string(self.dir.path().join("host_ca.pub")).unwrap();
        format!("@cert-authority 127.0.0.1,[127.0.0.1]:* {key}")
    }

    /// Who may come in, and how: by the server's own authority.
    pub fn access(&self, issuer: &str) -> HostAccess {
        let human = |name: &str| ((issuer.to_owned(), name.to_owned()), name.to_owned());
        HostAccess::Certificate {
            authority: Authority::Key(Reference::parse("file:ca", self.dir.path()).unwrap()),
            principals: Accounts::Mapped(["alice", "bob"].map(human).into()),
            account: Some(account()),
            lifetime: Duration::from_secs(300),
        }
    }

    /// The way there, with a known_hosts that has this text.
    pub fn route(&self, known_hosts: &str) -> Route {
        let file = self.dir.path().join("known_hosts");
        std::fs::write(&file, known_hosts).unwrap();
        let trust = Trust { known_hosts: Some(file), ..Trust::default() };
        Route { to: HostPlace { host: "127.0.0.1".to_owned(), port: self.port }, through: Vec::new(), trust }
    }

    pub fn target_of(&self, name: &str, route: Route, bounds: HostBounds, issuer: &str) -> Target {
        target(name, Endpoint::Ssh { route, bounds }, Access::Host(self.access(issuer)))
    }

    /// The host as a target, with these roots.
    pub fn target(&self, roots: &[&str], issuer: &str) -> Target {
        let bounds = HostBounds {
            roots: roots.iter().map(|root| (*root).to_owned()).collect(),
            env: vec!["GREETING".to_owned()],
            shell: Some("sh".to_owned()),
            groups: vec!["all".to_owned()],
        };
        self.target_of("web", self.route(&self.known_line()), bounds, issuer)
    }

    /// The processes that serve connections.
    pub fn children(&self) -> Vec<u32> {
        let of = |parent: u32| -> Vec<u32> {
            let output = Command::new("pgrep").args(["-P", &parent.to_string()]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().lines().filter_map(|line| line.parse().ok()).collect()
        };
        of(self.child.id()).into_iter().flat_map(|child| std::iter::once(child).chain(of(child))).collect()
    }

    /// Every connection that is open is lost, and no new one is taken.
    pub fn stop(&mut self) {
        let children = self.children();
        drop(self.child.kill());
        drop(self.child.wait());
        for pid in children {
            drop(Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status());
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
