//! A real systemd for a test: the first process of a namespace of its own, with D-Bus, polkit and a journal, and folders that nobody else sees.
//!
//! It must never touch the machine it runs on: what it would do at a boot (kernel settings, devices, mounts, clearing of `/tmp`, timers) is masked, and
//! what it writes goes to file systems in memory, `/etc` included. The network is the machine's.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// `$1` is a folder that is seen inside as it is outside, `$2` one with units and polkit's rules, `$3` the account that may read the journal.
const BOOT: &str = r#"set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/at /run/etc /run/sshd /run/given /run/log/journal
chgrp systemd-journal /run/log/journal
chmod 2755 /run/log/journal
mount --bind "$1" /run/at
cp -a "$2/." /run/given
cp -a /etc/. /run/etc
mount --bind /run/etc /etc
for folder in /tmp /var/tmp; do mount -t tmpfs -o mode=1777 private "$folder"; done
for folder in /var/log /var/lib/systemd; do mount -t tmpfs -o mode=755 private "$folder"; done
mkdir -p "$1"
mount --bind /run/at "$1"
rm -rf /etc/systemd/system/*.wants
: >/etc/fstab
for unit in /lib/systemd/system/*.target.wants/*; do
    case ${unit##*/} in dbus.*|systemd-journald*) ;; *) ln -sf /dev/null "/etc/systemd/system/${unit##*/}";; esac
done
cp /run/given/*.service /etc/systemd/system
cp /run/given/*.rules /etc/polkit-1/rules.d
usermod -aG systemd-journal "$3"
container=countersign exec /lib/systemd/systemd --unit=basic.target"#;

/// It and all that runs in it are gone when this is.
pub struct Systemd {
    unshare: Child,
    init: u32,
}

impl Systemd {
    /// Where the tests may make namespaces; elsewhere it is said that they may not.
    pub fn start(seen: &Path, given: &Path, account: &str) -> Option<Self> {
        let namespaces = ["--pid", "--fork", "--mount", "--uts", "--ipc", "--mount-proc", "--kill-child"];
        if !Command::new("unshare").args(namespaces).arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            println!("no namespaces can be made here: nothing is asked of a real systemd");
            return None;
        }
        let log = std::fs::File::create(seen.join("systemd.log")).unwrap();
        let unshare = Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", BOOT, "boot"])
            .args([seen, given])
            .arg(account)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut systemd = Self { unshare, init: 0 };
        for _ in 0..200 {
            std::thread::sleep(Duration::from_millis(100));
            let output = Command::new("pgrep").args(["-P", &systemd.unshare.id().to_string()]).output().unwrap();
            systemd.init = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap_or_default();
            let state = systemd.inside("systemctl").arg("is-system-running").output().unwrap();
            if systemd.init != 0 && ["running\n", "degraded\n"].contains(&String::from_utf8(state.stdout).unwrap().as_str()) {
                return Some(systemd);
            }
        }
        panic!("systemd did not start: {}", std::fs::read_to_string(seen.join("systemd.log")).unwrap_or_default());
    }

    /// A program that runs inside.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--pid", "--mount", "--", program]);
        command
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        drop(self.unshare.kill());
        drop(self.unshare.wait());
    }
}
