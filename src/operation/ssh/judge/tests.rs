//! The judge against tricks, everyday commands, and noise.

mod corpus;
mod flags;
mod fourth;
mod review;
mod third;
mod tricks;

use super::{Access, Judged, argv, argv_in, shell, shell_in};
use crate::operation::Risk;

/// Numbers that are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(below.max(1)).unwrap()).unwrap()
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Pieces of noise.
const BITS: &[&str] = &[
    " ",
    "\n",
    ";",
    "|",
    "||",
    "&",
    "&&",
    "(",
    ")",
    "{",
    "}",
    "'",
    "\"",
    "`",
    "\\",
    "$",
    "$(",
    "${",
    "$((",
    "<",
    ">",
    ">>",
    "<<A",
    "A",
    "if",
    "then",
    "fi",
    "for",
    "in",
    "do",
    "done",
    "case",
    "esac",
    "!",
    "~",
    "*",
    "[",
    "]",
    "ls",
    "-l",
    "--",
    "cat",
    "/x",
    "sh -c",
    "env",
    "é",
    "\u{85}",
    "\0",
    "=",
    "a=b",
    "#",
    "find",
    "-exec",
    "{}",
    "sed",
    "s/a/b/",
    "awk",
    "{print $1}",
    "xargs",
    "tar",
    "git",
    "cd /a",
    "99999999999999999999",
    "~+9",
];

/// What holds of every answer.
fn sound(judged: &Judged) {
    assert!(judged.why.len() <= 16 && judged.programs.len() <= 64 && judged.paths.len() <= 128);
    assert!(judged.programs.iter().all(|(_, risk)| *risk <= judged.risk), "{judged:?}");
    assert_eq!(judged.risk > Risk::Read, !judged.why.is_empty(), "{judged:?}");
    let changes = judged.paths.iter().any(|(path, access)| *access > Access::Read && path != "/dev/null");
    assert!(!changes || judged.risk > Risk::Read, "{judged:?}");
}

#[test]
fn noise_neither_panics_nor_breaks_what_holds() {
    let mut dice = Dice(7);
    for _ in 0..30_000 {
        let text: String = (0..dice.roll(24)).map(|_| BITS[dice.roll(BITS.len())]).collect();
        sound(&shell(&text));
        sound(&argv(&words(&text)));
        sound(&argv(&["sh".to_owned(), "-c".to_owned(), text]));
    }
    for _ in 0..5_000 {
        let bytes: Vec<u8> = (0..dice.roll(64)).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        sound(&shell(&text));
        sound(&argv(&[text.clone(), text]));
    }
}

#[test]
fn changed_everyday_commands_neither_panic_nor_break_what_holds() {
    let mut dice = Dice(11);
    for round in 0..60 {
        for (_, text, ..) in corpus::EVERYDAY {
            let mut chars: Vec<char> = text.chars().collect();
            for _ in 0..=round % 3 {
                let at = dice.roll(chars.len());
                match dice.roll(3) {
                    0 => drop(chars.get(at).is_some().then(|| chars.remove(at))),
                    1 => chars.insert(at, char::from(u8::try_from(dice.roll(127)).unwrap())),
                    _ => chars.truncate(at),
                }
            }
            let text: String = chars.into_iter().collect();
            sound(&shell(&text));
            sound(&argv(&words(&text)));
        }
    }
}

#[test]
fn everyday_commands_are_what_they_are() {
    let mut wrong = Vec::new();
    for (risk, text, paths) in corpus::EVERYDAY {
        let judged = shell(text);
        sound(&judged);
        let listed: Vec<String> =
            judged.paths.iter().map(|(path, access)| format!("{}:{path}", access.as_str().chars().next().unwrap())).collect();
        if judged.risk != *risk || listed.join(" ") != *paths {
            wrong.push(format!("{text}\n    {} [{}] {:?}\n    wanted {risk} [{paths}]", judged.risk, listed.join(" "), judged.why));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_flag_that_nobody_knows_is_admin() {
    for (risk, text, _) in corpus::EVERYDAY.iter().filter(|(risk, ..)| *risk == Risk::Read) {
        // In these the flag would be of something else, or plain text.
        const ANY: &[&str] = &["echo", "xargs", "true;", "seq", "basename", "printf", "type", "command", "sh", "bash"];
        if text.contains(['|', ';', '>', '&', '\n', '(', '<'])
            || text.contains(" -- ")
            || ANY.iter().any(|any| text.split(' ').next() == Some(any))
        {
            continue;
        }
        for flag in ["--no-such-flag", "-\u{e9}", "--vac", "-%"] {
            let longer = format!("{text} {flag}");
            let judged = shell(&longer);
            assert_eq!(judged.risk, Risk::Admin, "{risk} {longer} {judged:?}");
        }
    }
}

#[test]
fn long_lists_are_cut_and_admin() {
    let many = shell(&"ls; ".repeat(65));
    assert_eq!((many.risk, many.programs.len()), (Risk::Admin, 64));
    let files: Vec<String> = (0..129).map(|n| format!("f{n}")).collect();
    let many = shell(&format!("cat {}", files.join(" ")));
    assert_eq!((many.risk, many.paths.len()), (Risk::Admin, 128));
    assert_eq!(shell(&format!("cat {}", files[1..].join(" "))).risk, Risk::Read);
    let deep = |by| argv(&words(&format!("{}ls", "env ".repeat(by)))).risk;
    assert_eq!((deep(15), deep(16)), (Risk::Read, Risk::Admin));
}

#[test]
fn the_rows_are_of_one_piece() {
    let names: Vec<_> = super::programs().map(|(name, _)| name).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), names.len(), "a program has two rows");
    assert!(names.len() >= 110);
    for row in super::table::rows() {
        let mut flags: Vec<_> = row.flags.iter().flat_map(|flags| flags.names.split(' ')).collect();
        assert!(flags.iter().all(|flag| flag.starts_with('-') && flag.len() > 1), "{flags:?}");
        let all = flags.len();
        flags.sort_unstable();
        flags.dedup();
        assert_eq!(flags.len(), all, "{:?} has a flag twice", row.names().next());
    }
}
