//! What a third review found: what `ps` shows of others, what reading takes away, variables, and places that two lists did not agree on.

use super::{Risk, argv, shell, words};
use crate::operation::ssh::{Around, FileWork, Run, Work};

fn judged(text: &str) -> Risk {
    argv(&words(text)).risk
}

#[test]
fn a_command_that_may_show_environments_is_admin() {
    for text in [
        "ps -oargs e -p 1",
        "ps -opid,args e",
        "ps -uroot e",
        "ps -u root e",
        "ps -u e",
        "ps -au e",
        "ps -g e",
        "ps -s e",
        "ps -xe",
        "ps -x -e",
        "ps -e -x",
        "ps -eX",
        "ps -HT -e",
        "ps -eTm",
        "ps -e -u",
        "ps -eu",
        "ps -eu x",
        "ps -ef -u ax",
        "ps -f -o args -e",
        "ps -eM -oargs",
        "ps -c -eo args",
        "ps -ef --context",
        "ps -lTe --forest",
        "ps -ef --format args",
        "ps -ubdi e",
        "ps axo pid e",
        "ps -p 1 E",
        "ps axEww",
    ] {
        assert_eq!(judged(text), Risk::Admin, "{text}");
    }
    for text in [
        "ps -ef",
        "ps -eF",
        "ps -elf",
        "ps -ejH",
        "ps -eLf",
        "ps -ef --forest",
        "ps -eo pid,args --sort=-rss",
        "ps -eo pid -o etime",
        "ps -e -o pid,etime --no-headers",
        "ps axo pid,etime",
        "ps axo etime",
        "ps -aux",
        "ps auxww",
        "ps -p 1,2 -o etime=",
        "ps -u postgres -o pid,etime",
        "ps -u root -o etime",
        "ps -fu alice",
        "ps -C nginx -o etime",
    ] {
        assert_eq!(judged(text), Risk::Read, "{text} {:?}", argv(&words(text)));
    }
}

#[test]
fn what_reading_takes_away_or_may_break_is_admin() {
    for text in [
        "lspci -xxx",
        "lspci -xxxx",
        "lspci -x -x",
        "lspci -vxnx",
        "cat /proc/kmsg",
        "head -c 1 /proc/kmsg",
        "cat proc/kmsg",
        "cat /sys/kernel/tracing/trace_pipe",
        "cat /sys/kernel/debug/tracing/trace_pipe",
        "cat /sys/kernel/tracing/per_cpu/cpu0/trace_pipe_raw",
        "grep -r x /sys/kernel/tracing",
        "grep -r x /sys",
    ] {
        assert_eq!(judged(text), Risk::Admin, "{text}");
    }
    for text in [
        "cat /proc/km*",
        "cat /sys/kernel/tracing/*",
        "cat /sys/kernel/*/trace_pipe",
        "zgrep x ./*.gz",
        "zgrep -e x /var/log/*",
        "zegrep x a*",
        "zcat /var/log/*.gz",
        "zcat ~/*.gz",
    ] {
        assert_eq!(shell(text).risk, Risk::Admin, "{text}");
    }
    for text in ["lspci -x", "lspci -vvv", "cat /proc/meminfo", "cat /sys/kernel/tracing/trace", "grep -r x /sys/class", "zcat a.gz b.gz"] {
        assert_eq!(judged(text), Risk::Read, "{text}");
    }
    for text in ["zgrep x a.gz", "zcat ~/a.gz", "grep x ./*.log"] {
        assert_eq!(shell(text).risk, Risk::Read, "{text}");
    }
}

#[test]
fn a_variable_beside_a_command_is_what_it_is_in_front_of_it() {
    let with = |name: &str, value: &str| Around { env: vec![(name.to_owned(), value.to_owned())], ..Around::default() };
    for (name, value) in
        [("X", "y"), ("KUBECONFIG", "/tmp/k"), ("PS4", "$(id)"), ("TZ", "/etc/shadow"), ("LANG", "../x"), ("LANG", "C"), ("TZ", "UTC")]
    {
        let in_front = argv(&words(&format!("env {name}={value} ls -l"))).risk;
        let run = Run::argv(words("ls -l"), with(name, value)).unwrap();
        assert_eq!(run.judged().risk, in_front, "{name}={value}");
        assert_eq!(run.judged().programs, [("ls".to_owned(), in_front)], "{name}={value}");
        assert_eq!(Run::shell("sh", "ls -l".to_owned(), with(name, value)).unwrap().judged().risk, in_front, "{name}={value}");
        assert_eq!(run.judged().why.is_empty(), in_front == Risk::Read, "{name}={value}");
    }
    let job = Run::argv(words("ls"), with("X", "y")).unwrap().as_job("w", 5);
    assert_eq!(job.judged().risk, Risk::Admin);
}

#[test]
fn commands_and_file_tools_obey_one_list_of_places() {
    let roots = ["/".to_owned()];
    let file = |path: &str| {
        let work = Work::Write { content: Vec::new(), mode: None, overwrite: false, if_sha256: None, atomic: true };
        FileWork::new(path, work, &roots).unwrap().judged().0
    };
    for (path, risk) in [
        ("/run/udev/rules.d/9.rules", Risk::Admin),
        ("/var/run/x", Risk::Admin),
        ("/var/lib/x", Risk::Admin),
        ("/var/spool/cron/x", Risk::Admin),
        ("/var/spool/anacron/x", Risk::Write),
        ("/libx32/x", Risk::Admin),
        ("/etc/x", Risk::Admin),
        ("/opt/systemd/x", Risk::Admin),
        ("/opt/cron/x", Risk::Admin),
        ("/opt/x/bin/y", Risk::Admin),
        ("/srv/.x/y", Risk::Admin),
        ("/dev/shm/x", Risk::Admin),
        ("/var/log/x", Risk::Write),
        ("/srv/run/x", Risk::Write),
        ("/srv/var/lib/x", Risk::Write),
    ] {
        assert_eq!((judged(&format!("tee -a {path}")), file(path)), (risk, risk), "{path}");
    }
    assert_eq!(shell("tee -a ./x /var/l*/x").risk, Risk::Admin);
}
