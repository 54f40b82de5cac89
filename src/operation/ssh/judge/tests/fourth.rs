//! What a fourth review found: lines that go on, words that become several, and programs that look further than one file.

use super::{Risk, argv, shell, words};
use crate::operation::ssh::{FileWork, Work};

#[test]
fn a_line_that_goes_on_hides_nothing() {
    for text in [
        "echo \"$\\\n(id)\"",
        "echo \"$\\\n{x}\"",
        "echo \"$\\\nx\"",
        "echo \"a\\\nb\"",
        "echo $\\\n(id)",
        "echo $(\\\n(w))",
        "(\\\n(w))",
        "echo a\\\nb",
        "ls;\\\n;",
        "ls &\\\n& id",
        "ls >\\\n> x",
        "cat <\\\n<x",
        "sh -c 'echo \"$\\\n(id)\"'",
    ] {
        assert_eq!(shell(text).risk, Risk::Admin, "{text:?}");
    }
    for text in ["ls \\\n -l", "ls \\\n\\\n -l", "cat a | \\\n wc", "ls && \\\n ls", "echo 'a\\\nb'"] {
        assert_eq!(shell(text).risk, Risk::Read, "{text:?} {:?}", shell(text));
    }
}

#[test]
fn a_word_that_may_be_several_is_admin_wherever_it_stands() {
    for text in
        ["x=a; grep -- $x", "grep -- $x", "who -- /etc/shadow $x", "cat -- $x", "xargs grep --", "ls -- $(echo a b)", "sort -- `echo a`"]
    {
        assert_eq!(shell(text).risk, Risk::Admin, "{text}");
    }
    assert_eq!(argv(&words("xargs grep --")).risk, Risk::Admin);
}

#[test]
fn what_looks_further_than_it_says_is_admin() {
    for text in [
        "ps -eT -O u",
        "ps -Te -Oo",
        "ps -Omt -e -T",
        "ps -Ojn --deselect -e",
        "gzip -cr /proc/1",
        "gzip -c -r /proc",
        "gunzip -c -r /proc/1",
        "diff -N /proc /x",
        "diff /proc/1 /x",
    ] {
        assert_eq!(argv(&words(text)).risk, Risk::Admin, "{text}");
    }
    for text in ["ps -eT", "gzip -c a", "gzip -cr a", "diff a b", "diff -r /etc /srv"] {
        assert_eq!(argv(&words(text)).risk, Risk::Read, "{text} {:?}", argv(&words(text)));
    }
    assert_eq!(argv(&words("ln -sb a b")).risk, Risk::Destructive);
    // A shell is one by whatever way it comes.
    let watched = argv(&words("watch -n 1 ls"));
    assert!(watched.programs.iter().any(|(name, _)| name == "sh"), "{watched:?}");
    let executed = argv(&words("watch -x ls"));
    assert!(!executed.programs.iter().any(|(name, _)| name == "sh"), "{executed:?}");
}

#[test]
fn what_one_word_becomes_is_bounded() {
    let found = format!("find {} -exec ls {} {{}} +", "a ".repeat(4_000), "{} ".repeat(2_600));
    let replaced = format!("xargs {} {}", "-Ia ".repeat(2_000), "b ".repeat(4_000));
    for text in [found, replaced] {
        super::sound(&shell(&text));
        assert_eq!(shell(&text).risk, Risk::Admin);
        assert_eq!(argv(&words(&text)).risk, Risk::Admin);
    }
    assert_eq!(shell("find a b -exec ls {} {} +").risk, Risk::Read);
}

#[test]
fn the_file_tools_know_what_is_fenced_for_reading() {
    let risk = |path: &str| {
        let work = Work::Read { offset: 0, length: 1, base64: false };
        FileWork::new(path, work, &["/".to_owned()]).unwrap().judged().0
    };
    for path in
        ["/proc/1/environ", "/proc/kmsg", "/proc/1/mem", "/proc/1/root/etc/shadow", "/proc/1/fd/3", "/sys/kernel/tracing/trace_pipe"]
    {
        assert_eq!((risk(path), argv(&words(&format!("cat {path}"))).risk), (Risk::Admin, Risk::Admin), "{path}");
    }
    for path in ["/proc/meminfo", "/srv/x", "/etc/passwd"] {
        assert_eq!(risk(path), Risk::Read, "{path}");
    }
}
