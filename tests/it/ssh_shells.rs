//! The reader of shell text against real shells: whatever they run and whichever path they hand to it has to be in the answer, unless that is of
//! the highest risk anyway. The programs are stand-ins that write down how they were called.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use countersign::operation::Risk;
use countersign::operation::ssh::judge;

/// Shells that remote users have; zsh has to be installed for the test.
const SHELLS: &[&str] = &["dash", "bash", "zsh"];
/// Texts that are run in each.
const TEXTS: usize = 600;
/// Programs that have a stand-in; the last is one that no answer below the highest risk may let through.
const STAND_INS: &[&str] = &["cat", "wc", "tac", "evil"];
/// Names of paths; what a stand-in is called with is one of these or was put together of them.
const BITS: &[&str] = &[
    "cat",
    "cat",
    "cat",
    "cat",
    "wc",
    "tac",
    "evil",
    "a",
    "b/c",
    "'q r'",
    "\"d q\"",
    "\\e",
    "''",
    "\"\"",
    "a'b'c",
    "\"a'b\"",
    "'a\"b'",
    "\"\\\"\"",
    "\"\\a\"",
    "\"\\\\\"",
    "\"$\"",
    "g$",
    "\\\\",
    "\\'",
    "\\\"",
    "\\$x",
    "'$x'",
    "\"\\$x\"",
    "\\;",
    "';'",
    "\\\n",
    "\n",
    ";",
    "|",
    "||",
    "&&",
    "&",
    "(",
    ")",
    "{",
    "}",
    "!",
    "if",
    "then",
    "else",
    "fi",
    "for i in",
    "do",
    "done",
    "while",
    "until",
    "case a in",
    "esac",
    ";;",
    "a)",
    "true",
    "false",
    ">",
    ">>",
    "<",
    ">f",
    "2>&1",
    "2>/dev/null",
    "<<E",
    "<<'E'",
    "<<-E",
    "\nE\n",
    "\n\tE\n",
    "x=1",
    "$x",
    "\"$x\"",
    "${x}",
    "$(",
    "`",
    "\"$(",
    "\")",
    "*",
    "?",
    "[",
    "]",
    "./*",
    "a*",
    "~/x",
    "~",
    "=",
    "!=",
    "#",
    "#x",
    "{}",
    "a{b",
    "%",
    "^",
    ",",
    ":",
    "@",
    "+",
    "-",
    "--",
    "/x/*.y",
    "$((1+1))",
    "1>",
    "env",
    "LANG=C",
    "sh -c",
    "'cat z'",
    "\"cat z\"",
    "'evil'",
    "time",
    "exec",
    "command",
    "nohup",
    "xargs",
    "echo",
    ":",
    "é",
    "{ cat y; }",
    "(cat y)",
    "$(cat y)",
    "`cat y`",
    "| cat",
    "; cat",
    "&& cat",
    "\ncat",
];

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(below).unwrap()).unwrap()
    }

    fn text(&mut self) -> String {
        let mut text = String::from("cat ");
        for _ in 0..1 + self.roll(9) {
            text.push_str(BITS[self.roll(BITS.len())]);
            if self.roll(3) > 0 {
                text.push(' ');
            }
        }
        text
    }
}

/// What was called, with what, in one shell.
fn calls(shell: &str, text: &str, bin: &Path) -> Vec<Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let here = dir.path().join("here");
    fs::create_dir(&here).unwrap();
    fs::create_dir(&log).unwrap();
    let _ = Command::new("timeout")
        .args(["2", shell, "-c", text])
        .current_dir(&here)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("HOME", "~")
        .env("LOG", &log)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let logs = fs::read_dir(log).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    // An empty one is of a command in the background that was not done yet.
    logs.filter(|call| !call.is_empty()).map(|call| call.split('\0').map(str::to_owned).collect()).collect()
}

/// Stand-ins in a directory of their own.
fn stand_ins(dir: &Path) {
    for name in STAND_INS {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{{ printf '%s' {name}; [ $# = 0 ] || printf '\\0%s' \"$@\"; }} > \"$LOG/$$\"\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn what_shells_run_is_what_was_judged() {
    let bin = tempfile::tempdir().unwrap();
    stand_ins(bin.path());
    let mut dice = Dice(0x5eed);
    let (mut wrong, mut ran, mut called) = (Vec::new(), 0, HashMap::new());
    while ran < TEXTS {
        let text = dice.text();
        let judged = judge::shell(&text);
        if judged.risk == Risk::Admin {
            continue;
        }
        ran += 1;
        for shell in SHELLS {
            for call in calls(shell, &text, bin.path()) {
                *called.entry(*shell).or_insert(0_usize) += 1;
                let (program, words) = call.split_first().unwrap();
                let known = judged.programs.iter().any(|(name, _)| name == program);
                let flags = words.iter().position(|word| word == "--").unwrap_or(words.len());
                let is = |path: &str, word: &str| path == word || path.strip_suffix('*').is_some_and(|start| word.starts_with(start));
                let listed = |word: &String| judged.paths.iter().any(|(path, _)| is(path, word));
                let paths =
                    words.iter().enumerate().all(|(at, word)| listed(word) || word == "-" || (at <= flags && word.starts_with('-')));
                if !known || !paths {
                    wrong.push(format!("{shell}: {text:?} ran {call:?}, judged {judged:?}"));
                }
            }
        }
    }
    println!("ran {ran} texts, with calls: {called:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(SHELLS.iter().all(|shell| called.get(shell).is_some_and(|calls| *calls > TEXTS / 2)), "{called:?}");
}
