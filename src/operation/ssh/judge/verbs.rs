//! Programs whose first words say what they do: `systemctl`, `ip`, `apt`.

use super::row::{Parsed, Word};
use super::state::Job;
use crate::operation::Risk;
use crate::operation::ssh::fixed::is_plain_unit;

fn verb(parsed: &Parsed) -> Option<&str> {
    parsed.operands.first().and_then(Word::known)
}

/// `systemctl`: without a verb it lists.
pub(super) fn systemctl(job: &mut Job<'_>, parsed: &Parsed) {
    if parsed.operands.is_empty() {
        return;
    }
    match verb(parsed) {
        Some(
            "status" | "show" | "cat" | "is-active" | "is-enabled" | "is-failed" | "list-units" | "list-unit-files" | "list-timers"
            | "list-sockets" | "list-dependencies" | "list-jobs" | "list-machines" | "get-default" | "is-system-running",
        ) => {}
        Some("start" | "stop" | "restart" | "reload" | "try-restart" | "reload-or-restart" | "kill" | "reset-failed") => {
            job.raise(Risk::Destructive, "starts or stops what runs");
            // `poweroff.target`, `systemd-reboot.service`, and patterns that may be those.
            let plain = |text: &str| is_plain_unit(text) && !text.contains(['*', '?', '[', '/']);
            if !parsed.operands.iter().all(|word| word.known().is_some_and(plain)) {
                job.raise(Risk::Admin, "may change how the host runs");
            }
        }
        Some(other) => job.refuse("the verb", other),
        None => job.raise(Risk::Admin, "the verb is not known before it runs"),
    }
}

/// `hostnamectl`, `timedatectl`, `loginctl`, `networkctl`, `resolvectl`.
pub(super) fn ctl(job: &mut Job<'_>, parsed: &Parsed) {
    let quiet = match verb(parsed) {
        None => parsed.operands.is_empty(),
        Some("status" | "show" | "list-timezones" | "timesync-status" | "list" | "statistics") => true,
        Some("list-sessions" | "list-users" | "session-status" | "user-status") => true,
        Some(_) => false,
    };
    if !quiet {
        job.raise(Risk::Admin, "a verb that is not known to only read");
    }
}

/// `ip object show …`; each word in full or as everybody shortens it.
pub(super) fn ip(job: &mut Job<'_>, parsed: &Parsed) {
    let words: Vec<&str> = parsed.operands.iter().filter_map(Word::known).collect();
    let objects =
        ["a", "addr", "address", "l", "link", "r", "ro", "route", "ru", "rule", "n", "neigh", "neighbour", "neighbor", "maddr", "mroute"];
    let known = match words.as_slice() {
        [object] => objects.contains(object),
        [object, "show" | "list" | "ls", ..] => objects.contains(object),
        ["r" | "ro" | "route", "get", ..] => true,
        _ => false,
    };
    if !known || words.len() != parsed.operands.len() || words.iter().any(|word| word.starts_with('-')) {
        job.raise(Risk::Admin, "does more than show");
    }
}

/// `apt list`, `apt-cache policy`; they may write their cache.
pub(super) fn apt(job: &mut Job<'_>, parsed: &Parsed) {
    match verb(parsed) {
        Some("list" | "show" | "search" | "policy" | "madison" | "depends" | "rdepends" | "pkgnames" | "showpkg") => {}
        _ => job.raise(Risk::Admin, "changes what is installed"),
    }
}

/// `crontab`: only with the flag that makes it look, and no file.
pub(super) fn crontab(job: &mut Job<'_>, parsed: &Parsed) {
    if !parsed.operands.is_empty() {
        job.raise(Risk::Admin, "installs a file");
    }
    asks(job, parsed);
}

/// `rpm`: what a flag means depends on the first one.
pub(super) fn rpm(job: &mut Job<'_>, parsed: &Parsed) {
    if !parsed.given.first().is_some_and(|(flag, _)| matches!(*flag, "-q" | "--query")) {
        job.raise(Risk::Admin, "does not begin with a query");
    }
    // A query of a package that is not installed may be of one on the network.
    if parsed.operands.iter().any(|word| word.known().is_none_or(|text| text.contains('/'))) {
        job.raise(Risk::Admin, "is of more than what is installed");
    }
}

/// `dpkg`: only with a flag that makes it look.
pub(super) fn asks(job: &mut Job<'_>, parsed: &Parsed) {
    if !parsed
        .has_any("-l -L -s -S -p -W -q -V -C --list --listfiles --status --search --query --print-architecture --get-selections --audit")
    {
        job.raise(Risk::Admin, "does more than look");
    }
}

/// `mount` without words lists.
pub(super) fn none_or_admin(job: &mut Job<'_>, parsed: &Parsed) {
    if !parsed.operands.is_empty() {
        job.raise(Risk::Admin, "changes the host");
    }
}

/// A name of a value of the kernel: it becomes a path.
fn is_plain_key(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/*".contains(&byte)) && !text.contains("..")
}

/// `sysctl name` reads, `sysctl name=value` writes.
pub(super) fn sysctl(job: &mut Job<'_>, parsed: &Parsed) {
    if !parsed.operands.iter().all(|word| word.known().is_some_and(is_plain_key)) {
        job.raise(Risk::Admin, "sets a value of the kernel");
    }
}

/// `top` without a terminal only in its batch mode, and only for so many turns.
pub(super) fn top(job: &mut Job<'_>, parsed: &Parsed) {
    if !parsed.has("-b") {
        job.raise(Risk::Admin, "wants a terminal");
    }
}

/// `lspci`: given more than once, `-x` reads all registers of a device, and some devices do not stand that.
pub(super) fn lspci(job: &mut Job<'_>, parsed: &Parsed) {
    if parsed.given.iter().filter(|(flag, _)| *flag == "-x").count() > 1 {
        job.raise(Risk::Admin, "the flag -x, given again, reads what may stop a device");
    }
}

/// Names and addresses that are asked of the network.
pub(super) fn dig(job: &mut Job<'_>, parsed: &Parsed) {
    if parsed.operands.is_empty() {
        job.raise(Risk::Admin, "names nothing to ask for");
    }
}

/// `lsof`: ports and protocols are no paths.
pub(super) fn lsof(job: &mut Job<'_>, parsed: &Parsed) {
    // After `-i` or apart from it.
    let known = parsed.operands.iter().filter_map(Word::known);
    if let Some(host) = known.chain(parsed.values("-i")).find(|text| text.contains('@')) {
        job.refuse("may ask the network for the host", host);
    }
    // After the first name all are names.
    parsed.values("-c -d -p -u").filter(|text| text.contains('/')).for_each(|text| job.looks(&Word::Known(text.to_owned())));
    for word in &parsed.operands {
        match word.known() {
            Some(text) if text.starts_with('+') => job.refuse("does not know the flag", text),
            Some(text) if !text.contains('/') => {}
            _ => job.looks(word),
        }
    }
}

/// `ss`: a host in its filter would be asked of the network.
pub(super) fn ss(job: &mut Job<'_>, parsed: &Parsed) {
    const WORDS: &[&str] = &[
        "state",
        "exclude",
        "established",
        "syn-sent",
        "syn-recv",
        "fin-wait-1",
        "fin-wait-2",
        "time-wait",
        "closed",
        "close-wait",
        "last-ack",
        "listening",
        "listen",
        "closing",
        "all",
        "connected",
        "synchronized",
        "bucket",
        "big",
        "src",
        "dst",
        "sport",
        "dport",
        "and",
        "or",
        "not",
        "eq",
        "ne",
        "ge",
        "le",
        "gt",
        "lt",
        "neq",
        "geq",
        "leq",
    ];
    let is_known = |text: &str| {
        let service = text.strip_prefix(':').is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        service || WORDS.contains(&text) || text.bytes().all(|byte| byte.is_ascii_digit() || b".:/*()=!<>&|[]".contains(&byte))
    };
    let plain = |word: &Word| word.known().is_some_and(|text| text.split([' ', '(', ')']).all(is_known));
    if !parsed.operands.iter().all(plain) {
        job.raise(Risk::Admin, "a filter that may ask the network for a host");
    }
}

/// `who file` reads it; `who am i` does not.
pub(super) fn who(job: &mut Job<'_>, parsed: &Parsed) {
    if parsed.operands.len() != 2 {
        parsed.operands.iter().for_each(|word| job.reads(word));
    }
}

/// `journalctl`: a path stands for a program or a device.
pub(super) fn journalctl(job: &mut Job<'_>, parsed: &Parsed) {
    parsed.operands.iter().filter(|word| word.known().is_none_or(|text| text.starts_with('/'))).for_each(|word| job.looks(word));
}

/// Programs that have words only for names and numbers: `vmstat 1 5`, `iostat sda`.
pub(super) fn names(job: &mut Job<'_>, parsed: &Parsed) {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.@:,".contains(&byte));
    if !parsed.operands.iter().all(|word| word.known().is_some_and(plain)) {
        job.raise(Risk::Admin, "a word that is no plain name");
    }
}
