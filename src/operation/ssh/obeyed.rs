//! Places of a host that decide who may log in, what runs by itself, or as whom: one list, for what commands and what file tools would change.

/// Folders at the root in which a host keeps its programs, its configuration, its devices and what runs.
const AT_ROOT: [&str; 13] = ["bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys", "usr"];
/// Below folders of these names files are run or obeyed, wherever they are.
const ANYWHERE: [&str; 7] = ["cron", "crontabs", "systemd", "sudo", "polkit-1", "dpkg", "atjobs"];

/// Whether what is there belongs to the system, by the parts of its path from the root. A folder counts too if what counts is right below it.
pub(super) fn is_of_the_system(parts: &[&str]) -> bool {
    match parts {
        [] | ["var"] | ["var", "spool"] | ["var", "run" | "lib", ..] => true,
        [first, ..] => AT_ROOT.contains(first),
    }
}

/// Whether a file is run or obeyed below a folder of this name.
pub(super) fn is_obeyed(part: &str) -> bool {
    is_of_programs(part) || ANYWHERE.contains(&part)
}

/// Whether shells may look for programs below a folder of this name: in `bin` of the home directory, too.
pub(super) fn is_of_programs(part: &str) -> bool {
    matches!(part, "bin" | "sbin")
}

/// Whether it is hidden: programs look for their configuration there.
pub(super) fn is_hidden(part: &str) -> bool {
    part.len() > 1 && part.starts_with('.')
}
