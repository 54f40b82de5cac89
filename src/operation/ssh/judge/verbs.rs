//! Programs whose first words say what they do: `systemctl`, `ip`, `apt`.

use super::row::{Parsed, Word};
use super::state::Job;
use crate::operation::Risk;

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
            | "list-sockets" | "list-dependencies" | "list-jobs" | "list-machines" | "get-default" | "is-system-running"
            | "show-environment",
        ) => {}
        Some("start" | "stop" | "restart" | "reload" | "try-restart" | "reload-or-restart" | "kill" | "reset-failed") => {
            job.raise(Risk::Destructive, "starts or stops what runs");
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
    if !known || words.len() != parsed.operands.len() {
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

/// `dpkg`, `rpm`, `crontab`: only with a flag that makes them look.
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

/// `sysctl name` reads, `sysctl name=value` writes.
pub(super) fn sysctl(job: &mut Job<'_>, parsed: &Parsed) {
    if !parsed.operands.iter().all(|word| word.known().is_some_and(|text| !text.contains('='))) {
        job.raise(Risk::Admin, "sets a value of the kernel");
    }
}

/// `top` without a terminal only in its batch mode, and only for so many turns.
pub(super) fn top(job: &mut Job<'_>, parsed: &Parsed) {
    if !parsed.has("-b") {
        job.raise(Risk::Admin, "wants a terminal");
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
    for word in &parsed.operands {
        match word.known() {
            Some(text) if text.starts_with('+') => job.refuse("does not know the flag", text),
            Some(text) if !text.contains('/') => {}
            _ => job.looks(word),
        }
    }
}
