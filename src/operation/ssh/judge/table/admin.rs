//! Programs that are never looked into: for most of them that says no more than that they are not known, but the reason helps an approver.

use super::super::row::{Row, never};

/// The rows.
pub(super) const ROWS: &[Row] = &[
    never(
        "curl wget nc ncat netcat socat telnet ftp sftp scp rsync ssh rclone tcpdump nmap",
        "sends and fetches over the network, or runs elsewhere",
    ),
    never("zsh ksh ksh93 mksh ash fish csh tcsh yash", "reads its text in a way of its own"),
    never("git gitk tig hg svn", "a repository's configuration may run any program"),
    never("python python2 python3 perl ruby node nodejs php lua tclsh expect gdb strace bc", "runs code that is not looked into"),
    never("mysql psql sqlite3 redis-cli mongo mongosh", "runs statements that are not looked into"),
    never("docker podman kubectl crictl ctr nerdctl helm lxc virsh", "has a surface of its own"),
    never(
        "systemd-run nsenter chroot setpriv unshare su su-exec gosu busybox toybox runuser capsh flock script",
        "runs another program in its own way",
    ),
    never("less more most vi vim view nano emacs man screen tmux", "wants a terminal, and can run programs"),
    never("useradd userdel usermod groupadd groupdel passwd chpasswd chsh visudo vipw gpasswd", "changes who may do what"),
    never(
        "eval source . trap alias unalias enable builtin unset declare typeset local let getopts shopt setopt",
        "changes what the shell does",
    ),
    never("iptables ip6tables nft ufw firewall-cmd tc ethtool route ifconfig ifup ifdown", "changes the network"),
    never("shutdown reboot poweroff halt init telinit service insmod rmmod modprobe kexec", "changes how the host runs"),
    never("at batch make cmake ansible puppet chef-client", "runs what is not seen here"),
];
