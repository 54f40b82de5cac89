//! What suits each program, and what is not here.

use countersign::operation::Risk::{self, Destructive, Write};

/// Programs that only a shell has.
pub(crate) const BUILTINS: &[&str] = &[
    ":", "cd", "exit", "return", "break", "continue", "type", "wait", "jobs", "times", "read", "set", "export", "umask", "ulimit", "hash",
    "exec", "time", "command",
];

/// Programs of the tables that are not installed, and why.
pub(crate) const MISSING: &[(&str, &str)] = &[("rpm", "of another kind of distribution")];

/// Flags that this version does not have, and why they are known.
pub(crate) const ABSENT: &[(&str, &str, &str)] = &[];

/// Flags that are reads by themselves, and are judged with the whole command: program, flags, why.
pub(crate) const NOT_ALONE: &[(&str, &str, &str)] =
    &[("tar", "-x -c --extract --get --create", "a mode of its own, which writes"), ("tar", "-f --file", "a second archive")];

/// What programs say of a flag that they do not know, or that is used wrongly.
pub(crate) const USAGE: &[&str] = &[
    "invalid option",
    "unrecognized option",
    "unknown option",
    "illegal option",
    "Unknown option",
    "Invalid option",
    "doesn't allow an argument",
    "requires an argument",
    "unknown predicate",
    "bad option",
    "unknown argument",
    "Unknown argument",
    "unrecognized argument",
    "Option \"",
    "unsupported option",
    "Usage: ",
    "usage: ",
];

/// Words that suit a program.
pub(crate) fn operands(program: &str) -> &'static [&'static str] {
    match program {
        "grep" | "egrep" | "fgrep" => &["a", "a.txt"],
        "zgrep" | "zegrep" | "zfgrep" => &["a", "a.txt.gz"],
        "sed" => &["p", "a.txt"],
        "awk" | "gawk" | "mawk" => &["{print $1}", "a.txt"],
        "jq" => &[".", "in.json"],
        "tr" => &["a", "b"],
        "comm" | "join" | "diff" | "cmp" => &["a.txt", "b.txt"],
        "cp" | "mv" | "ln" | "install" => &["a.txt", "new"],
        "mkdir" => &["new"],
        "rmdir" => &["empty"],
        "truncate" => &["-s", "1", "a.txt"],
        "zcat" => &["a.txt.gz"],
        "bzcat" => &["a.txt.bz2"],
        "xzcat" => &["a.txt.xz"],
        "gzip" | "bzip2" | "xz" => &["-c", "a.txt"],
        "gunzip" => &["-c", "a.txt.gz"],
        "bunzip2" => &["-c", "a.txt.bz2"],
        "unxz" => &["-c", "a.txt.xz"],
        "tar" => &["-tf", "x.tar"],
        "unzip" => &["-l", "x.zip"],
        "zipinfo" => &["x.zip"],
        "basename" | "dirname" => &["/a/b"],
        "pidof" | "pgrep" | "pkill" | "killall" => &["no-such-process"],
        "top" => &["-b", "-n", "1"],
        "vmstat" | "iostat" | "mpstat" => &["1", "1"],
        "ip" => &["a"],
        "lsof" => &["-p", "1"],
        "sysctl" => &["kernel.ostype"],
        "systemctl" => &["is-enabled", "ssh"],
        "dpkg" | "dpkg-query" | "crontab" => &["-l"],
        "apt" => &["list", "bash"],
        "apt-cache" => &["policy", "bash"],
        "sleep" => &["0"],
        "test" => &["-f", "a.txt"],
        "[" => &["-f", "a.txt", "]"],
        "which" | "type" | "command" => &["ls"],
        "env" | "nohup" | "setsid" | "nice" | "ionice" | "time" | "exec" | "watch" => &["true"],
        "stdbuf" => &["-oL", "true"],
        "timeout" => &["1", "true"],
        "xargs" => &["echo"],
        "sh" | "bash" | "dash" => &["-c", "true"],
        "expr" | "seq" | "numfmt" => &["1"],
        "printf" => &["%s", "x"],
        "read" => &["x"],
        "set" => &["-e"],
        "export" => &["LANG=C"],
        "getent" => &["passwd", "root"],
        "ping" | "ping4" => &["-c", "1", "-W", "1", "127.0.0.1"],
        "ping6" => &["-c", "1", "-W", "1", "::1"],
        "dig" => &["+time=1", "+tries=1", "@127.0.0.1", "localhost"],
        "host" | "nslookup" => &["localhost", "127.0.0.1"],
        "date" => &["+%s"],
        "column" => &["a.txt"],
        "shuf" => &[],
        "locale" | "cal" | "ncal" | "tty" | "pwd" | "free" | "uptime" | "w" | "who" | "last" | "lastb" | "lastlog" | "id" | "groups"
        | "users" | "whoami" | "logname" => &[],
        "hostid" | "arch" | "uname" | "nproc" | "hostname" | "hostnamectl" | "timedatectl" | "loginctl" | "printenv" | "ps" | "pstree"
        | "ss" | "netstat" => &[],
        "lsblk" | "blkid" | "findmnt" | "mount" | "lscpu" | "lsmod" | "lspci" | "lsusb" | "dmesg" | "journalctl" | "echo" | "true"
        | "false" | ":" | "exit" | "dd" => &[],
        "return" | "break" | "continue" | "wait" | "jobs" | "times" | "umask" | "ulimit" | "hash" | "cd" | "tee" | "df" | "kill"
        | "find" => &[],
        _ => &["a.txt"],
    }
}

/// A value that suits a flag, where `1` does not.
pub(crate) fn value(program: &str, flag: &str) -> Option<&'static str> {
    Some(match (program, flag) {
        ("xargs", "-I") => "{}",
        ("grep" | "egrep" | "fgrep", "-d" | "-D" | "--directories" | "--devices") => "skip",
        ("grep" | "egrep" | "fgrep", "--binary-files") => "text",
        ("sed", "-e" | "--expression") => "p",
        ("awk" | "gawk" | "mawk", "-v") => "x=1",
        ("strings", "-t" | "--radix") => "d",
        ("strings", "-e" | "--encoding") => "s",
        ("file", "-e" | "--exclude") => "text",
        ("find", "-type" | "-xtype") => "f",
        ("tree", "--charset") => "ascii",
        ("tree", "--filelimit") => "9",
        ("tree", "--timefmt") => "%s",
        ("tree", "--sort") => "name",
        ("hostnamectl", "--json") => "short",
        ("iostat", "-o") => "JSON",
        ("lsusb", "-d") => "1:1",
        ("ss", "-f" | "--family") => "inet",
        _ => return None,
    })
}

/// Shell text that changes files, with its risk.
pub(crate) const CHANGES: &[(Risk, &str)] = &[
    (Write, "touch a.txt"),
    (Write, "touch -d @0 new"),
    (Write, "mkdir new"),
    (Write, "mkdir -p new/b"),
    (Write, "echo x >> a.txt"),
    (Write, "echo x | tee -a a.txt"),
    (Write, "cp -n a.txt new"),
    (Write, "ln -s a.txt new"),
    (Destructive, "sed -i s/a/b/ a.txt"),
    (Destructive, "sed -i.bak s/a/b/ a.txt"),
    (Destructive, "echo x > a.txt"),
    (Destructive, "> a.txt"),
    (Destructive, "echo x | tee a.txt"),
    (Destructive, "echo x | tee -p new b.txt"),
    (Destructive, "sort -o b.txt a.txt"),
    (Destructive, "sort --output=a.txt a.txt"),
    (Destructive, "sort a.txt -ob.txt"),
    (Destructive, "uniq a.txt out"),
    (Destructive, "uniq -c a.txt b.txt"),
    (Destructive, "shuf -n 1 -o out a.txt"),
    (Destructive, "iconv -f UTF-8 -o out a.txt"),
    (Destructive, "xxd a.txt out"),
    (Destructive, "xxd -r dump.hex out"),
    (Destructive, "cp a.txt b.txt"),
    (Destructive, "cp -t sub a.txt"),
    (Destructive, "mv a.txt b.txt"),
    (Destructive, "ln -f a.txt b.txt"),
    (Destructive, "install a.txt b.txt"),
    (Destructive, "rm a.txt"),
    (Destructive, "rm -rf sub"),
    (Destructive, "rm sub/*"),
    (Destructive, "unlink a.txt"),
    (Destructive, "rmdir empty"),
    (Destructive, "truncate -s 0 a.txt"),
    (Destructive, "dd if=a.txt of=b.txt status=none"),
    (Destructive, "find sub -delete"),
    (Destructive, "find . -maxdepth 1 -name 'a*' -exec rm {} +"),
    (Destructive, "find sub -type f -exec cp /dev/null a.txt \\;"),
    (Destructive, "find . -fprint out"),
    (Destructive, "find . -fprint0 out"),
    (Destructive, "find . -fls out"),
    (Destructive, "find . -fprintf out %p"),
    (Destructive, "tar cf out a.txt"),
    (Destructive, "gzip b.txt"),
    (Destructive, "gunzip -f a.txt.gz"),
    (Destructive, "bzip2 b.txt"),
    (Destructive, "xz b.txt"),
    (Destructive, "xargs echo > out"),
    (Destructive, "for i in 1 2; do echo $i; done > out"),
    (Destructive, "timeout 1 sh -c 'rm a.txt'"),
    (Destructive, "if true; then rm a.txt; fi"),
];
