//! Places of a host where reading or writing is more than that: devices, the kernel's files, and files that say who is trusted and what runs.

use super::Access;
use crate::operation::ssh::obeyed::{is_hidden, is_obeyed, is_of_programs, is_of_the_system};

/// Devices that swallow what is written, or pass it on to where it goes anyway. What the standard streams stand for is only known until a
/// redirection: then opening one of them opens that file anew, from its start, and not in the way that was listed.
pub(super) fn passes_on(path: &str, access: Access, moved: bool) -> bool {
    match path {
        "/dev/null" => access != Access::Delete,
        "/dev/stdout" | "/dev/stderr" => access != Access::Delete && !moved,
        "/dev/stdin" => access == Access::Read && !moved,
        _ => false,
    }
}

/// Whether a path has a `..`: what is before it may be a link, and so may be the directory that it starts from.
pub(super) fn goes_up(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// Whether an automounter may ask the network for a path.
pub(super) fn is_far(path: &str) -> bool {
    path.starts_with('/') && matches!(parts(path).as_slice(), ["net" | "afs", _, ..])
}

/// The parts of a path, with `.` and `..` worked out. What leads above the start begins at the root: nobody knows how deep the start is.
fn parts(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts
}

/// Whether whoever reads it takes away what nobody else will then see: the kernel's log, and what it traces.
fn takes_away(parts: &[&str], pattern: bool, below: bool) -> bool {
    let may_be = |at: usize, names: &[&str]| match parts.get(at) {
        Some(part) => names.contains(part) || pattern && has_pattern(part),
        None => below,
    };
    let last = parts.last().copied().unwrap_or("");
    let is_pipe = last.starts_with("trace_pipe") || below || pattern && has_pattern(last);
    match parts.first() {
        Some(&"proc") => last == "kmsg" || pattern && has_pattern(last),
        Some(&"sys") => is_pipe && may_be(1, &["kernel"]) && may_be(2, &["debug", "tracing"]),
        _ => false,
    }
}

fn has_pattern(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

/// Why opening this path is of the highest risk, if it is.
pub(in crate::operation::ssh) fn fenced(path: &str, pattern: bool, writes: bool) -> Option<&'static str> {
    let mut parts = parts(path);
    // So may the home directory be.
    if parts.first() == Some(&"~") {
        parts.remove(0);
    }
    // `dev` and `proc` count without a root too: the directory of a login may be the root.
    let rooted = matches!(parts.first(), Some(&("dev" | "proc"))) || path.starts_with('/') || path.split('/').any(|part| part == "..");
    let (first, last) = (parts.first().copied().unwrap_or(""), parts.last().copied().unwrap_or(""));
    let wild = |part: &str| pattern && has_pattern(part);
    if rooted && pattern && (first.is_empty() || has_pattern(first)) {
        return Some("the pattern may match anything of the host:");
    }
    if rooted && first == "dev" {
        return Some("opens a device:");
    }
    // A pattern without its signs is what `find` finds below a directory.
    let below = pattern && !has_pattern(path);
    let leads_out = parts.iter().any(|part| matches!(*part, "root" | "cwd" | "fd" | "exe" | "map_files"));
    if rooted
        && first == "proc"
        && (matches!(last, "mem" | "kcore" | "kmem" | "kpagecount" | "environ") || wild(last) || below || leads_out)
    {
        return Some("opens the memory, the files or the environment of a process:");
    }
    if takes_away(&parts, pattern, below) {
        return Some("takes away what it reads of the kernel's messages:");
    }
    if !writes {
        return None;
    }
    let into_var = first == "var" && parts.get(1).is_some_and(|part| wild(part));
    if rooted && (into_var || is_of_the_system(&parts)) {
        return Some("changes what belongs to the system:");
    }
    if parts.iter().any(|part| is_of_programs(part) || is_obeyed(part) && rooted) {
        return Some("changes what is run or obeyed:");
    }
    if parts.iter().any(|part| is_hidden(part)) {
        return Some("changes a hidden file, which may be run or obeyed:");
    }
    None
}
