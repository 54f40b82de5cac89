//! The tables against the real programs: what they call a read changes no file, what they call a change makes one, and every flag exists.
//!
//! Each run has a fresh directory and an unprivileged user. What is not installed, or not in this version, is listed with its reason, so that
//! nothing is left out in silence.

mod cases;
mod sandbox;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cases::{ABSENT, BUILTINS, CHANGES, MISSING, NOT_ALONE, USAGE};
use countersign::operation::Risk;
use countersign::operation::ssh::judge::{self, Access, Known};
use sandbox::{Sandbox, Template};

/// Threads; most runs wait for a process.
const THREADS: usize = 6;
/// Programs of the tables that are run here, builtins among them.
const PROGRAMS_MIN: usize = 150;
/// Flags that are run here.
const FLAGS_MIN: usize = 1000;

fn installed(program: &str) -> bool {
    let program = program.split(' ').next().unwrap_or(program);
    BUILTINS.contains(&program)
        || ["/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|dir| std::path::Path::new(dir).join(program).exists())
}

/// The program with one flag, a value for it, and words that suit it.
fn command(program: &str, flag: Option<&Known>) -> Vec<String> {
    let mut words: Vec<String> = program.split(' ').map(str::to_owned).collect();
    let tail = cases::operands(program);
    let flag: Vec<String> = flag.map_or_else(Vec::new, |flag| {
        let name = if flag.flag == "-NUM" { "-3" } else { flag.flag };
        let value =
            cases::value(program, flag.flag).unwrap_or(if matches!(flag.value, "looks" | "reads" | "writes") { "b.txt" } else { "1" });
        match flag.value {
            "optional" if cases::value(program, flag.flag).is_some() => vec![format!("{name}={value}")],
            "none" | "optional" => vec![name.to_owned()],
            "pair" => vec![name.to_owned(), "n".to_owned(), value.to_owned()],
            _ => vec![name.to_owned(), value.to_owned()],
        }
    });
    if program == "find" && flag.first().is_some_and(|flag| !matches!(flag.as_str(), "-H" | "-L" | "-P")) {
        words.push(".".to_owned());
        words.extend(flag);
    } else {
        words.extend(flag);
        words.extend(tail.iter().map(|word| (*word).to_owned()));
    }
    words
}

/// One run of a flag; what is wrong with it.
fn wrong(template: &Template, program: &str, floor: Risk, flag: Option<&Known>) -> Option<String> {
    let words = command(program, flag);
    let text = words.join(" ");
    let judged = judge::argv(&words);
    let not_alone = NOT_ALONE
        .iter()
        .any(|(name, known, _)| *name == program && flag.is_some_and(|flag| known.split(' ').any(|known| known == flag.flag)));
    if floor == Risk::Read && judged.risk != Risk::Read {
        return (!not_alone).then(|| format!("{text}: judged {} {:?}", judged.risk, judged.why));
    }
    let sandbox = Sandbox::new(template);
    let before = sandbox.snapshot();
    let (code, said) = sandbox.run(&words, BUILTINS.contains(&program));
    let usage = USAGE.iter().find(|usage| said.contains(*usage));
    let absent = ABSENT.iter().any(|(name, known, _)| {
        name.split(' ').any(|name| name == program) && flag.is_some_and(|flag| known.split(' ').any(|known| known == flag.flag))
    });
    match (usage, absent) {
        (Some(_), false) => {
            return Some(format!("{text}: does not know it: {code:?} {}", said.lines().take(3).collect::<Vec<_>>().join(" / ")));
        }
        (None, true) => return Some(format!("{text}: is listed as absent, and is not")),
        _ => {}
    }
    let changed = sandbox::difference(&before, &sandbox.snapshot());
    (floor == Risk::Read && !changed.is_empty()).then(|| format!("{text}: changed {changed:?}"))
}

#[test]
fn what_is_called_a_read_changes_nothing() {
    let template = Template::new();
    let flags: Vec<Known> = judge::known().filter(|known| known.risk == Risk::Read).collect();
    let mut runs: Vec<(&str, Risk, Option<&Known>)> = Vec::new();
    let (mut programs, mut unlisted) = (BTreeSet::new(), Vec::new());
    for (program, floor) in judge::programs().filter(|(_, floor)| *floor < Risk::Admin) {
        let missing = MISSING.iter().any(|(names, _)| names.split(' ').any(|name| name == program));
        if installed(program) == missing {
            unlisted.push(format!("{program}: installed {}, listed as missing {missing}", installed(program)));
        }
        if !installed(program) {
            continue;
        }
        programs.insert(program);
        if floor == Risk::Read {
            runs.push((program, floor, None));
        }
        runs.extend(flags.iter().filter(|known| known.program == program).map(|known| (program, floor, Some(known))));
    }
    let (next, failed, slow) = (AtomicUsize::new(0), Mutex::new(unlisted), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((program, floor, flag)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = std::time::Instant::now();
                    if let Some(wrong) = wrong(&template, program, *floor, *flag) {
                        failed.lock().unwrap().push(wrong);
                    }
                    if start.elapsed().as_secs_f64() > 0.9 {
                        slow.lock().unwrap().push(command(program, *flag).join(" "));
                    }
                }
            });
        }
    });
    let counted = runs.iter().filter(|(.., flag)| flag.is_some()).count();
    let slow = slow.into_inner().unwrap();
    sandbox::say(&format!("ran {} programs and {counted} flags; until the timeout: {}", programs.len(), slow.join(", ")));
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} wrong\n{}", failed.len(), failed.join("\n"));
    assert!(programs.len() >= PROGRAMS_MIN && counted >= FLAGS_MIN, "{} programs, {counted} flags", programs.len());
}

#[test]
fn what_is_called_a_change_makes_one_and_is_listed() {
    let template = Template::new();
    let mut failed = Vec::new();
    for (risk, text) in CHANGES {
        let judged = judge::shell(text);
        if judged.risk != *risk {
            failed.push(format!("{text}: judged {} {:?}", judged.risk, judged.why));
        }
        let sandbox = Sandbox::new(&template);
        let before = sandbox.snapshot();
        let (code, said) = sandbox.run(&["sh".to_owned(), "-c".to_owned(), (*text).to_owned()], false);
        let changed = sandbox::difference(&before, &sandbox.snapshot());
        if changed.is_empty() {
            failed.push(format!("{text}: changed nothing: {code:?} {said}"));
        }
        // What changed is one of the paths, or below it; a directory changes with what is in it.
        for path in changed.iter().filter(|path| !sandbox.is_dir(path)) {
            let told = judged.paths.iter().any(|(known, access)| {
                let known = known.trim_start_matches("./");
                *access != Access::Read
                    && (known == "." || path == known || path.starts_with(&format!("{known}/")) || known.ends_with("/*"))
            });
            // What `gzip` makes has the name of what it takes, with a suffix more or less.
            let renamed = judged
                .paths
                .iter()
                .any(|(known, access)| *access == Access::Delete && (path.starts_with(known.as_str()) || known.starts_with(path.as_str())));
            if !told && !renamed {
                failed.push(format!("{text}: changed {path}, told {:?}", judged.paths));
            }
        }
    }
    sandbox::say(&format!("ran {} changes", CHANGES.len()));
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
