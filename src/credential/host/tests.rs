//! Certificates as they are issued, and what a real sshd lets them do.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::*;

#[test]
fn a_name_cannot_look_like_another_part_of_a_key_id() {
    assert_eq!(plain("alice@corp"), "alice@corp");
    assert_eq!(plain("a b\nc=d"), "a%20b%0Ac%3Dd");
    assert!(plain(&"ä".repeat(500)).len() < NAME_MAX_BYTES + 3);
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn made(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// An sshd that would let anybody whom the authority vouches for forward what they like.
fn sshd(dir: &Path, authority: &PrivateKey) -> (Running, u16) {
    let path = |name: &str| dir.join(name).display().to_string();
    made("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path("host")]);
    std::fs::write(path("ca.pub"), authority.public_key().to_openssh().unwrap()).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nTrustedUserCAKeys {}\nAuthorizedKeysFile none\nUsePAM no\n\
         StrictModes no\nAllowTcpForwarding yes\nPermitTunnel yes\nGatewayPorts yes\nPasswordAuthentication no\nPermitRootLogin yes\n",
        path("host"),
        path("ca.pub")
    );
    std::fs::write(path("config"), config).unwrap();
    drop(std::fs::create_dir_all("/run/sshd"));
    let log = std::fs::File::create(path("log")).unwrap();
    let child = Command::new("/usr/sbin/sshd").args(["-D", "-e", "-f", &path("config")]).stdin(Stdio::null()).stderr(log).spawn().unwrap();
    let running = Running(child);
    let up = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    assert!(up, "{}", std::fs::read_to_string(path("log")).unwrap());
    (running, port)
}

/// OpenSSH's own client with what was issued for this scope.
async fn ssh(dir: &Path, port: u16, login: &HostLogin, scope: &Scope, more: &[&str]) -> Output {
    let opener = login.opener("conn", None, scope, crate::clock::Clock::system().now()).await.unwrap();
    let Opener::Certificate(key, certificate) = opener else { panic!("no certificate") };
    let path = |name: &str| dir.join(name).display().to_string();
    drop(std::fs::remove_file(path("key")));
    std::fs::write(path("key"), key.to_openssh(russh::keys::ssh_key::LineEnding::LF).unwrap().as_bytes()).unwrap();
    std::fs::set_permissions(path("key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(path("key-cert.pub"), certificate.to_openssh().unwrap()).unwrap();
    let plain = ["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"];
    let place = ["-o", "IdentitiesOnly=yes", "-i", &path("key"), "-p", &port.to_string(), "-l", login.account()];
    let mut command = Command::new("timeout");
    command.arg("20").arg("ssh").args(plain).args(place).args(more).stdin(Stdio::null()).output().unwrap()
}

#[tokio::test]
async fn no_certificate_but_that_of_a_passage_forwards_a_port() {
    let dir = tempfile::tempdir().unwrap();
    let authority = new_authority("ca").unwrap();
    let (_running, port) = sshd(dir.path(), &authority);
    let account = made("id", &["-un"]);
    let way = Way::Certificate {
        authority: Box::new(Signer::Key(Arc::new(authority))),
        principal: account.clone(),
        lifetime: Duration::from_secs(60),
        human: "alice".to_owned(),
        agent: "demo-agent".to_owned(),
    };
    let login = HostLogin { account, way };
    let onward = ["-W", &format!("127.0.0.1:{port}"), "127.0.0.1"];
    let told = |output: &Output| format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for scope in [Scope::Session, Scope::Command("true".to_owned())] {
        let output = ssh(dir.path(), port, &login, &scope, &onward).await;
        assert!(!output.status.success() && told(&output).contains("administratively prohibited"), "{scope:?}: {}", told(&output));
        let back = ["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:9", "127.0.0.1", "true"];
        let output = ssh(dir.path(), port, &login, &scope, &back).await;
        assert!(!output.status.success() && told(&output).contains("remote port forwarding failed"), "{scope:?}: {}", told(&output));
        // It is let in all the same: what is refused is the forwarding.
        let output = ssh(dir.path(), port, &login, &scope, &["127.0.0.1", "true"]).await;
        assert!(output.status.success(), "{scope:?}: {}", told(&output));
    }
    let output = ssh(dir.path(), port, &login, &Scope::Passage, &onward).await;
    assert!(told(&output).contains("SSH-2.0-"), "{}", told(&output));
    let output = ssh(dir.path(), port, &login, &Scope::Passage, &["127.0.0.1", "true"]).await;
    assert!(!output.status.success(), "what passes through runs nothing: {}", told(&output));
}
