//! Ways to make a command look like less than it is.

use super::flags::FLAGS;
use super::{Risk, argv, shell, words};

/// Shell text, each of the highest risk.
const ADMIN: &[&str] = &[
    // Wrappers.
    "env sudo rm -f x",
    "nohup sudo id",
    "timeout 5 sudo id",
    "FOO=1 sudo id",
    "\\sudo id",
    "s''udo id",
    "'sudo' id",
    "\"su\"do id",
    "su\\do id",
    "env -S 'rm x'",
    "env -i sudo id",
    "env FOO=1 ls",
    "nice sudo id",
    "stdbuf -o0 sudo id",
    "setsid sudo id",
    "command sudo id",
    "exec sudo id",
    "builtin eval ls",
    "time sudo id",
    "ionice -c3 sudo id",
    "xargs rm",
    "xargs sudo",
    "xargs cat",
    "xargs ls",
    "xargs -I{} sh -c 'echo {}'",
    "find . -exec sh -c 'id {}' \\;",
    "find / -exec id + -exec sudo {} +",
    "find . -ok rm {} \\;",
    "find . -exec rm",
    "find $x",
    "find . -name x -fprintf",
    "timeout sudo",
    "timeout $x ls",
    "watch 'sudo id'",
    "watch -n 1 'id; curl x'",
    "sh -c 'sudo id'",
    "bash -lc 'sudo id'",
    "bash script.sh",
    "bash",
    "sh -s",
    "echo id | sh",
    "sh -c \"$x\"",
    "bash -ic ls",
    "bash --rcfile x -c ls",
    "busybox ls",
    "su -c id",
    "doas id",
    "pkexec id",
    "run0 id",
    "systemd-run id",
    "nsenter -t 1 id",
    "setpriv id",
    "su-exec root id",
    "chroot / id",
    "unshare id",
    "sudo -u root cat /etc/shadow",
    "rsync -e id a b",
    "ssh host id",
    "script -c id",
    "flock x id",
    // Places and names.
    "./ls",
    "/tmp/ls",
    "bin/ls",
    "/bin/../tmp/ls",
    "/usr/local/bin/ls",
    "../bin/ls",
    "~/ls",
    "/bin//ls",
    "$SHELL -c id",
    "$(echo ls)",
    "`echo ls`",
    "l? x",
    "/bin/l*",
    "echo */../../x/*",
    "echo $x*",
    "cat dev/sda",
    "git stash",
    "git worktree",
    "git -C $x log",
    "find /etc -execdir cat shadow {} +",
    "find /proc -name mem -exec cat {} +",
    "find / -type f -exec cat {} +",
    "cat /proc/self/root/dev/sda",
    "cat /proc/1/cwd/x",
    "cat ~/../../dev/sda",
    "cp /tmp/.bashrc /root/",
    "cp x /",
    "tee - /etc/x",
    "tar tf x -C a -C b",
    "nosuchprogram",
    "PATH=/tmp ls",
    "PATH=/tmp; ls",
    "LD_PRELOAD=/x ls",
    "IFS=/ ls",
    "BASH_ENV=x ls",
    "GIT_PAGER=id git log",
    "PAGER=id ls",
    "path=/tmp ls",
    "export PATH=/tmp",
    "TZ=/etc/shadow date",
    "TZ=../../x date",
    "LC_ALL=/tmp/x ls",
    "LESSOPEN=x ls",
    "a=1 ls",
    // Substitution and expansion.
    "ls $(touch /dev/sda)",
    "ls `sudo id`",
    "ls \"$(sudo id)\"",
    "cat <(sudo id)",
    "ls > >(sudo id)",
    "echo ${x:=1}",
    "echo ${x@P}",
    "echo ${!x}",
    "echo ${x:-$(id)}",
    "echo $((a[$(id)]))",
    "echo $((x))",
    "((a=1))",
    "$'ls'",
    "echo $'\\x41'",
    "ls $x",
    "ls \"$x\"",
    "cat \"$x\"",
    "ls *",
    "cat *.log",
    "rm ?",
    "sort [a-z]",
    "ls .*",
    "cat /var/.*/x",
    "cat /{etc,x}/shadow",
    "ls {a,b}",
    "ls ~root",
    "ls ~+",
    "ls ~-",
    "ls ~+99999999999999999999999",
    "cat <<E\n$(id)\nE",
    "cat <<E\n`id`\nE",
    "cat <<E\nx",
    "cat <<<x",
    "[[ -f x ]]",
    "coproc ls",
    "select x in a; do ls; done",
    "f() { ls; }",
    "function f { ls; }",
    "ls() { rm x; }",
    "alias ls=rm",
    "eval ls",
    "source x",
    ". x",
    "trap id EXIT",
    "hash -p /tmp/x ls",
    "enable -f x ls",
    "unset x",
    "set -- a",
    "shopt -s extglob",
    "printf -v PATH /tmp",
    "printf %n PATH",
    "printf %d 'a[$(id)]'",
    "printf \"$x\"",
    "test -v 'a[$(id)]'",
    "[ 'a[$(id)]' -eq 1 ]",
    "[ $x = y ]",
    "read PATH",
    "read -p x a",
    "for PATH in /tmp; do ls; done",
    "ls &> x",
    "ls |& cat",
    "ls >& x",
    "ls <> x",
    "ls 2>&x",
    "ls # x",
    "ls !x",
    "=ls",
    "echo =ls",
    "ls a(b)",
    "ls @(a|b)",
    "cat a<1-2>b",
    "cat <1-2>",
    "a[$(id)]=1",
    "a=(1 2)",
    "a+=(1)",
    "echo \"",
    "echo '",
    "echo $(",
    "echo `",
    "(ls",
    "ls)",
    "{ ls",
    "if ls; then",
    "ls ;; ls",
    "ls && ",
    "| ls",
    "ls | | ls",
    "do ls",
    "ls\r\nid",
    "ls\u{85}id",
    "ls\u{2028}id",
    "ls\u{a0}id",
    "ls\0",
    "ls\u{1b}[0m",
    "\u{feff}ls",
    "ls; sudo id",
    "ls\nsudo id",
    "ls | sudo id",
    "ls || sudo id",
    "ls && sudo id",
    "ls & sudo id",
    "(sudo id)",
    "{ sudo id; }",
    "if sudo id; then ls; fi",
    "if ls; then ls; else sudo id; fi",
    "while sudo id; do ls; done",
    "for i in $(sudo id); do ls; done",
    "case x in x) sudo id ;; esac",
    "case $(sudo id) in x) ls ;; esac",
    "! sudo id",
    "ls > $(sudo id)",
    "x=$(sudo id)",
    "cat <<E\nx\nE\nsudo id",
    "cat <<'E'\n$(id)\nE\nsudo id",
    "ls 2>&1 | sudo id",
    "repeat 3 ls",
    "noglob ls",
    "- ls",
    "foreach x (a b) ls; end",
    "ls &! sudo id",
    "echo \"$x[$(id)]\"",
    "echo $x:h",
    "cat <<E $(ls\nE\n)",
    "cat <<E 'x\nE\nid'",
];

/// The same, without a shell: what is plain text there stays it, the rest does not.
const ARGV_ADMIN: &[&[&str]] = &[
    &["env", "sudo", "rm", "-f", "x"],
    &["sh", "-c", "sudo id"],
    &["sort", "-o"],
    &["find", ".", "-exec", "sudo", "{}", ";"],
    &["bash", "-c", "ls $(sudo id)"],
    &["ls;id"],
    &["$(id)"],
    &[""],
    &["-"],
    &["--"],
    &["ls", "--no-such"],
    &["git", "-c", "alias.p=!id", "p"],
    &["watch", "ls", "$(sudo", "id)"],
    &["cat", "/dev/sda"],
    &["xargs", "-I", "x", "lxs"],
    &["nohup", "/tmp/x"],
    &["ls\0"],
    &["awk", "{print \"a\" | \"id\"}"],
    &["time", "-o", "f", "ls"],
    &["time", "-f", "x", "ls"],
];

#[test]
fn every_trick_is_admin() {
    let mut passed: Vec<String> = ADMIN
        .iter()
        .chain(FLAGS)
        .filter(|text| shell(text).risk != Risk::Admin)
        .map(|text| format!("{text:?} {:?}", shell(text)))
        .collect();
    for words in ARGV_ADMIN {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let judged = argv(&words);
        if judged.risk != Risk::Admin && words != [""; 0] {
            passed.push(format!("{words:?} {judged:?}"));
        }
    }
    assert!(passed.is_empty(), "{}", passed.join("\n"));
}

#[test]
fn what_is_behind_a_wrapper_is_told() {
    let judged = argv(&words("env sudo rm -f x"));
    let programs: Vec<_> = judged.programs.iter().map(|(name, risk)| (name.as_str(), *risk)).collect();
    assert_eq!(programs, [("env", Risk::Read), ("sudo", Risk::Admin), ("rm", Risk::Destructive)]);
    assert_eq!(judged.paths, [("x".to_owned(), super::Access::Delete)]);
    let judged = shell("timeout 5 bash -c 'cat /etc/shadow | tee /srv/x'");
    let programs: Vec<_> = judged.programs.iter().map(|(name, risk)| format!("{name} {risk}")).collect();
    assert_eq!(programs, ["timeout read", "bash read", "cat read", "tee destructive"]);
    assert_eq!(judged.risk, Risk::Destructive);
}

#[test]
fn paths_that_hide_are_listed() {
    let listed = |text: &str| shell(text).paths.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    assert_eq!(listed("jq . /etc/shadow --args x"), ["/etc/shadow", "x"]);
    assert_eq!(listed("tee -"), ["-"]);
    assert_eq!(listed("echo /root/.ssh/*"), ["/root/.ssh/*"]);
    assert_eq!(listed("for i in /root/*; do echo x; done"), ["/root/*"]);
    assert_eq!(listed("cd /root && echo *"), ["/root", "/root/."]);
    assert_eq!(listed("case x in *) echo a* ;; esac"), ["a*"]);
    assert_eq!(listed("sh -c 'cd /etc; cat shadow'"), ["/etc", "/etc/shadow", "shadow"]);
    assert_eq!(listed("cd /etc | cat shadow"), ["/etc", "/etc/shadow", "shadow"]);
    assert_eq!(listed("cd /a || cat b"), ["/a", "/a/b", "b"]);
    assert_eq!(listed("if cd /a; then cat b; fi; cat c"), ["/a", "/a/b", "b", "/a/c", "c"]);
    assert_eq!(listed("cat /etc/../etc/shadow '/etc/sh*'"), ["/etc/../etc/shadow", "/etc/sh*"]);
    assert_eq!(listed("grep -f /etc/shadow x"), ["/etc/shadow", "x"]);
    assert_eq!(listed("grep --file=/etc/shadow x"), ["/etc/shadow", "x"]);
    assert_eq!(listed("date -f/etc/shadow"), ["/etc/shadow"]);
    assert_eq!(listed("xargs -a /etc/shadow echo"), ["/etc/shadow"]);
    assert_eq!(listed("diff --to-file=/etc/shadow x"), ["/etc/shadow", "x"]);
    assert_eq!(listed("last -f /etc/shadow"), ["/etc/shadow"]);
}

#[test]
fn without_a_shell_its_signs_are_text() {
    for text in ["cat a;b", "cat $(id)", "ls `id`", "cat *", "grep {a,b} f", "echo > /etc/passwd", "cat a&b"] {
        assert_eq!(argv(&words(text)).risk, Risk::Read, "{text}");
    }
}

#[test]
fn any_length_is_answered() {
    for text in [
        "a",
        "(",
        "$(",
        "`",
        "'",
        "\"",
        "{ ",
        "if ",
        "a;",
        "a|",
        "<<A\n",
        "\\",
        "$((",
        "A=b ",
        "> b; $x ",
        "[[ ",
        "case x in ",
        "env ",
        "sh -c ",
    ] {
        for length in [1000, 16 * 1024, 1_000_000] {
            let hostile: String = text.repeat(length / text.len());
            super::sound(&shell(&hostile));
            super::sound(&argv(&words(&hostile)));
            assert_eq!(shell(&hostile).risk, Risk::Admin, "{text}");
        }
    }
}
