//! What a review found, with its relatives: each was less than it is.

use super::{Access, Risk, argv, argv_in, shell, shell_in, words};

/// Shell text, each of the highest risk.
const ADMIN: &[&str] = &[
    // Streams that stand for a file.
    "sh -c 'echo x </srv/data >/dev/stdin'",
    "echo x >/dev/stdin",
    "echo x >>/dev/stdin",
    "tee /dev/stdin </srv/data",
    "tee -a /dev/stdin </srv/data",
    "tee /dev/fd/0 </srv/data",
    "tee /proc/self/fd/0 </srv/data",
    "tee /proc/thread-self/fd/0 </srv/data",
    "sort -o /dev/stdin f",
    "dd if=f of=/dev/stdin",
    "cp f /dev/stdin",
    "find . -fprint /dev/stdin",
    "tee /dev/stdout 1</srv/data",
    "tee /dev/stdout </srv/data 1<&0",
    "{ tee /dev/stdout; } </srv/data",
    "(echo x >/dev/stderr) 2</srv/data",
    "{ sh -c 'echo x >/dev/stdout'; } 1</srv/data",
    "if true; then echo x >/dev/stderr; fi 2</srv/data",
    "for i in $(echo x >/dev/stderr); do ls; done 2</srv/data",
    "exec </srv/data; tee /dev/stdout",
    "{ exec 1</srv/data; } 2>f; echo x >/dev/stdout",
    "while true; do echo x >/dev/stdout; exec 1</srv/data; done",
    "command exec 2</srv/data; echo x >/dev/stderr",
    "head -1 /dev/stderr 2>>/srv/data",
    "cat /dev/stdin 0>>/srv/data",
    "echo x 1<&2 >/dev/stdout",
    "cat <<E >/dev/stdout\nx\nE",
    "rm /dev/null",
    "rm /dev/stdout",
    "mv /dev/null x",
    // Flags that some programs read in their own way.
    "unzip -l -- -l a.zip",
    "unzip -l a.zip -- -l",
    "unzip -l -l a.zip",
    "unzip --l a.zip",
    "unzip -l- a.zip",
    "unzip -l a.zip -d x",
    "unzip -d x a.zip -d y",
    "unzip -ll a.zip",
    "unzip -l a.zip $x",
    "unzip -P x -l a.zip",
    "unzip a.zip -x y",
    "unzip -l *.zip",
    "bzip2 -t -z f",
    "bzip2 -tz f",
    "bzip2 -tcz f",
    "bzip2 -t --compress f",
    "bunzip2 -t -z f",
    "xz -l -z f",
    "xz -t -z f",
    "xz --list --compress f",
    "xz -l f -z",
    "unxz -tz f",
    "gzip -l -d f",
    "gzip -td f",
    "tree -Lo 1 victim",
    "tree -L1 x",
    "tree -aP x y",
    "tree --sort x y",
    "tree --charset x",
    "xxd in -p",
    "xxd in -l 5",
    "xargs --max-lines id echo",
    "awk '{print}' -F /etc/shadow",
    "awk '{print}' f -v x=1",
    "awk -- '{print}' -F f",
    "ps auxe",
    "ps axeww",
    "ps e",
    "ps -auxe",
    "ps -eo pid,environ",
    "top -b -w -n 1",
    "last -n -f /etc/shadow",
    "iostat +f /etc",
    "find ) -delete",
    "find , -print",
    "tar tCf x y",
    "tar -tf x -tf y",
    "tar -tf x --get",
    "tar -cf x --mtime=/etc/shadow y",
    "tar -cf x @y",
    "sysctl kernel/../../../etc/shadow",
    "rpm -i -q x",
    "rpm -q http://x/y",
    "rpm -l x",
    "crontab -l f",
    "crontab -u x f",
    "column -n /etc/shadow",
    "iconv -f /etc/shadow f",
    "iconv -f UTF-8 -t ./x f",
    "date -d 'TZ=\"/etc/shadow\" now'",
    "touch -d 'TZ=\"/etc/shadow\" 0' f",
    "find . -newermt 'TZ=\"/etc/shadow\" 0'",
    "systemctl start poweroff.target",
    "systemctl start systemd-reboot.service",
    "systemctl start 'reb*'",
    "cp --parents x/.ssh/authorized_keys /srv",
    // Numbers that a shell works out.
    "a=1; exit 'a[$(touch /tmp/p)]'",
    "exit x",
    "exit 1 2",
    "exit $x",
    "return 'a[$(id)]'",
    "while true; do break 'a[$(id)]'; done",
    "while true; do continue 'a[$(id)]'; done",
    "shift 'a[$(id)]'",
    "sleep 'a[$(id)]'",
    "kill 'a[$(id)]'",
    "kill -s 'a[$(id)]' 1",
    "wait 'a[$(id)]'",
    "umask 'a[$(id)]'",
    "ulimit -n 'a[$(id)]'",
    "let 'a[$(id)]'",
    "typeset -i a",
    "test x -eq 'a[$(id)]'",
    "[ -v 'a[$(id)]' ]",
    "[ -t 'a[$(id)]' ]",
    "printf %x 'a[$(id)]'",
    "printf %*d 1 2",
    "zsh -c ls",
    "ksh -c ls",
    "ash -c ls",
    "mksh -c ls",
    "fish -c ls",
    // Paths that go up.
    "cat /var/run/../etc/shadow",
    "cat /var/lo[g]/../../etc/shadow",
    "cat ..",
    "ls ../x",
    "cat ../../etc/x",
    "cat /x/..",
    "cat ./../x",
    "echo /var/run/../*",
    "cd ..",
    "cd /srv/x/..; ls",
    "ls >../x",
    "grep -f ../x y",
    "tar -xf x -C ../y",
    "find /srv/x/.. -name y",
    "cat ~/../x",
    "cat ~/dev/sda",
    "cd; cat dev/sda",
    // Files of further words.
    "strings @/etc/shadow",
    "strings -- @/etc/shadow",
    "strings -n @/etc/shadow f",
    "find @x -exec strings {} +",
    "nm @x",
    "objdump @x",
    "readelf @x",
    "ar t @x",
    "size @x",
    "md5sum -c x",
    "xargs -a f cat",
    // The network.
    "gawk '{print}' /inet/tcp/0/host/80",
    "awk '{print}' /inet4/tcp/0/host/80",
    "gawk '{print}' /inet6/udp/0/host/80",
    "awk '{print}' PROCINFO=x f",
    "awk '{print}' RS=x f",
    "awk '{print}' CONVFMT=%n f",
    "lsof -i @host",
    "lsof -i@host",
    "lsof -i tcp@host:80",
    "ss dst host",
    "ss 'dst host'",
    "ss state established src dead:80",
    "cat </dev/tcp/1.1.1.1/80",
    "exec 3</dev/tcp/1.1.1.1/80",
    "echo x >/dev/udp/1.1.1.1/80",
    "echo x >>/dev/tcp/1.1.1.1/80",
    "cat < /dev/tcp/1.1.1.1/80",
    "ls /net/host/x",
    "cat //net/host/x",
    // Git runs what a configuration says.
    "git status",
    "git --version",
    "git -C /srv log",
    "/usr/bin/git log",
    "timeout 5 git diff",
    // Programs and rights by way of a plain write.
    "echo x >> bin/ls",
    "cp -n a /srv/bin/ls",
    "ln -s /etc/cron.d x",
    "ln -s / x",
    "ln -s etc /x",
    "ln -s ~/.ssh x",
    "cp -s /etc/passwd x",
    "ln /etc/passwd x",
    // All that is below.
    "grep -r x /",
    "grep -R x /proc",
    "grep -d recurse x /proc",
    "grep --directories=recurse x /dev",
    "cp -r /proc x",
    "cp -a / x",
    "diff -r /proc x",
    "tar cf x /proc",
];

#[test]
fn what_a_review_found_is_admin() {
    let passed: Vec<String> =
        ADMIN.iter().filter(|text| shell(text).risk != Risk::Admin).map(|text| format!("{text:?} {:?}", shell(text))).collect();
    assert!(passed.is_empty(), "{}", passed.join("\n"));
}

/// What they are near to, and what is still less.
const LESS: &[(Risk, &str, &str)] = &[
    (Risk::Read, "echo x >/dev/stderr", ""),
    (Risk::Read, "echo x >>/dev/stdout", ""),
    (Risk::Read, "tee /dev/stderr", ""),
    (Risk::Read, "ls 2>/dev/null; echo x >/dev/stderr", "."),
    (Risk::Read, "ls | tee /dev/stderr | cat /dev/stdin", "."),
    (Risk::Read, "ls >/dev/null 2>/dev/null </dev/null", "."),
    (Risk::Read, "unzip -qt a.zip", "a.zip"),
    (Risk::Read, "unzip -p a.zip x/y", "a.zip"),
    (Risk::Admin, "unzip -qo a.zip -d /srv/x", "a.zip /srv/x"),
    (Risk::Admin, "unzip -d x a.zip", "a.zip x"),
    (Risk::Read, "bzip2 -t f", "f"),
    (Risk::Read, "xz -l f", "f"),
    (Risk::Read, "gzip -dc f", "f"),
    (Risk::Read, "tree -a -L 2 /srv", "/srv"),
    (Risk::Read, "tree --sort=name", "."),
    (Risk::Read, "xxd -l 5 in", "in"),
    (Risk::Read, "awk '{print}' FS=: f x=1 ./a=b", "f ./a=b"),
    (Risk::Read, "ps axo pid,cmd", ""),
    (Risk::Read, "ps -ef", ""),
    (Risk::Read, "ps -u nginx -o pid", ""),
    (Risk::Read, "who /etc/shadow", "/etc/shadow"),
    (Risk::Read, "who am i", ""),
    (Risk::Read, "journalctl /usr/sbin/sshd -n 5", "/usr/sbin/sshd"),
    (Risk::Read, "ss -tn state established '( dport = :443 or sport = :ssh )'", ""),
    (Risk::Read, "ss dst 10.0.0.0/8", ""),
    (Risk::Read, "lsof -i :80 -n", ""),
    (Risk::Read, "iconv -f UTF-8 -t ASCII//TRANSLIT f", "f"),
    (Risk::Read, "strings -n 8 f", "f"),
    (Risk::Read, "head -n -5 f", "f"),
    (Risk::Read, "exit 1", ""),
    (Risk::Read, "while true; do break; done", ""),
    (Risk::Read, "sleep 0.5", ""),
    (Risk::Destructive, "kill -s TERM 5 %1", ""),
    (Risk::Read, "ls /srv/a..b ...", "/srv/a..b ..."),
    (Risk::Read, "date -f x", "x"),
    (Risk::Destructive, "sed -i d f", "f"),
    (Risk::Destructive, "sed -n --in-place p f", "f"),
    (Risk::Write, "ln -s /srv/releases/2 /srv/current", "/srv/releases/2 /srv/current"),
];

#[test]
fn what_is_near_to_it_is_still_less() {
    for (risk, text, paths) in LESS {
        let judged = shell(text);
        let listed: Vec<String> = judged.paths.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!((judged.risk, listed.join(" ").as_str()), (*risk, *paths), "{text} {judged:?}");
    }
}

#[test]
fn relative_paths_are_below_the_directory_it_starts_in() {
    for (cwd, text, whole) in [
        ("/etc", "tee -a passwd", "tee -a /etc/passwd"),
        ("/dev", "cat sda", "cat /dev/sda"),
        ("/dev/", "cat sda", "cat /dev/sda"),
        ("/", "cat dev/sda", "cat /dev/sda"),
        ("/proc/1", "cat mem", "cat /proc/1/mem"),
        ("/proc", "cat self/mem", "cat /proc/self/mem"),
        ("/srv", "rm x", "rm /srv/x"),
        ("/usr", "touch x", "touch /usr/x"),
        ("/etc", "cp -n /a shadow", "cp -n /a /etc/shadow"),
        ("/etc", "grep -f shadow /x", "grep -f /etc/shadow /x"),
        ("/proc", "grep -r x", "grep -r x /proc/."),
        ("/proc", "diff -r 1 /x", "diff -r /proc/1 /x"),
        ("/etc", "ls", "ls /etc/."),
        ("/etc", "find -delete", "find /etc/. -delete"),
        ("/etc", "tar -xf /x", "tar -xf /x -C /etc/."),
        ("/net", "ls host/x", "ls /net/host/x"),
        ("/etc", "dd if=/x of=passwd", "dd if=/x of=/etc/passwd"),
        ("/root/.ssh", "tee -a authorized_keys", "tee -a /root/.ssh/authorized_keys"),
        ("/dev", "tee stdin", "tee /dev/stdin"),
        ("/etc", "sh -c ls", "ls /etc/."),
        ("/srv", "cat /x", "cat /x"),
    ] {
        let (inside, outside) = (argv_in(&words(text), Some(cwd)), argv(&words(whole)));
        let written = |judged: &super::Judged| {
            let mut paths: Vec<(String, Access)> =
                judged.paths.iter().filter(|(path, _)| path != "/etc/." || !whole.contains("-xf")).cloned().collect();
            paths.sort();
            paths
        };
        assert_eq!((inside.risk, written(&inside)), (outside.risk, written(&outside)), "{cwd} {text}");
        assert_eq!(shell_in(text, Some(cwd)).risk, outside.risk, "{cwd} {text}");
    }
    let listed = |text: &str| shell_in(text, Some("/etc")).paths.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    assert_eq!(listed("cat *.conf"), ["/etc/."]);
    assert_eq!(listed("cat a*"), ["/etc/a*"]);
    assert_eq!(listed("echo *"), ["/etc/."]);
    assert_eq!(listed("cat < shadow"), ["/etc/shadow"]);
    assert_eq!(listed("cd /srv && cat a; cat b"), ["/srv", "/srv/a", "/srv/b", "/etc/b"]);
    assert_eq!(listed("cat ~/x"), ["~/x"]);
    assert_eq!(shell_in("echo x >> passwd", Some("/etc")).risk, Risk::Admin);
    for (cwd, text) in
        [("/srv", "cat ../x"), ("srv", "ls"), ("/srv/../etc", "ls"), ("", "ls"), ("/a\0", "ls"), ("/dev", "cat <tcp/1.1.1.1/80")]
    {
        assert_eq!(shell_in(text, Some(cwd)).risk, Risk::Admin, "{cwd:?} {text}");
    }
    assert_eq!(argv_in(&words("cat ../x"), Some("/srv")).risk, Risk::Admin);
    assert_eq!(argv_in(&words("cat x"), None), argv(&words("cat x")));
}

#[test]
fn what_a_second_review_found_is_admin() {
    let admin = |text: &str| assert_eq!(shell(text).risk, Risk::Admin, "{text}: {:?}", shell(text));
    for text in [
        "ps ep 1",
        "ps ef -p 1",
        "ps fe",
        "ps le",
        "ps ev",
        "cat /proc/1/environ",
        "cat /proc/self/environ",
        "systemctl show-environment",
        "dd if=~root/.ssh/id_rsa",
        "echo ~root/.ssh/*",
        "cat ~root/x",
        "systemctl kill init.scope",
        "systemctl start debug-shell",
        "systemctl start emergency.service",
        "systemctl stop user.slice",
        "systemctl stop home.mount",
        "systemctl restart dbus",
        "kill -9 1",
        "kill 1",
        "kill -TERM -1",
        "kill -- -5",
        "tar -xf a.tar -C /home/deploy",
        "unzip -o a.zip -d /home/deploy",
        "cp -r /tmp/x/. /home/deploy",
        "cp -rT /tmp/x /home/deploy",
    ] {
        admin(text);
    }
    for text in [
        "ps -ef",
        "ps aux",
        "ps -o pid,etime -C sleep",
        "ps -u peter",
        "cp -r /tmp/x /srv/y",
        "kill -TERM 4711",
        "kill 4711",
        "systemctl restart nginx",
    ] {
        assert_ne!(shell(text).risk, Risk::Admin, "{text}: {:?}", shell(text));
    }
}
