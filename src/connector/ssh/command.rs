//! What a host is told to run: words quoted for its shell, and a supervisor around them that ends the program when the channel does.
//!
//! An argument arrives as exactly that argument whatever is in it. The supervisor is a few lines of POSIX shell, since nothing else is on every host:
//! it runs the program in a session of its own under a tag in its environment, and watches its own standard input. When that ends (the broker says
//! stop, dies, or is cut off), it ends all that carry the tag, looks that they are gone, and says so by its exit code. Nothing is read out of what the
//! program writes: no marker could be forged there.

use crate::operation::ssh::Run;

/// What the supervisor ends with when it was told to stop and all of it is gone, and when something is not.
pub(super) const GONE: u32 = 0;
/// Names the tag.
const TAG: &str = "COUNTERSIGN_CALL";

/// Standard input's length and the end mark, the folder, the tag and the variables come first among its arguments. `x` holds the input whole: the program
/// must not be able to keep the supervisor from watching. What is read ends with the tag, so that an input that was cut off is not taken for a whole one.
const SUPERVISOR: &str = r#"n=$1 d=$2 t=$3 e=$4;shift 4
while [ "$e" -gt 0 ];do export "$1";shift;e=$((e-1));done
command -v setsid >/dev/null||{ echo "countersign: there is no setsid on this host" >&2;exit 254;}
[ -z "$d" ]||cd -- "$d"||exit 254
exec 3<&0 </dev/null
if [ "$n" = 0 ];then COUNTERSIGN_CALL=$t setsid -- "$@" 3<&- &
else x=$(head -c "$n" <&3);case $x in *"$t") x=${x%"$t"};;*) exit 254;;esac
printf %s "$x"|COUNTERSIGN_CALL=$t setsid -- "$@" 3<&- &
fi
p=$!
exec >/dev/null 2>&1
end(){ trap "" TERM;w=TERM i=0
while f=$(grep -lsz -- "^COUNTERSIGN_CALL=$t\$" /proc/[0-9]*/environ);[ -n "$f" ];do
for q in $f;do q=${q#/proc/};kill -$w "${q%/environ}";done
i=$((i+1));[ $i -lt 40 ]||exit 1;[ $i -lt 20 ]||w=KILL;sleep 0.1
done;if [ -e "/proc/$p/stat" ]&&kill -0 $p;then exit 1;fi;[ -e /proc/self/environ ]||{ kill -KILL $p;exit 1;};exit 0;}
{ while read -r y;do :;done;end;} <&3 &
l=$!
exec 3<&-
wait $p;r=$?
kill $l;wait $l;q=$?
[ $q -gt 128 ]||exit $((q*255))
[ $r -le 128 ]||kill -$((r-128)) $$
exit $r"#;

/// Ends what a connection that broke has left: nothing carries the tag afterwards, or the exit code says otherwise.
const REAPER: &str = r#"t=$1;w=TERM i=0
while f=$(grep -lsz -- "^COUNTERSIGN_CALL=$t\$" /proc/[0-9]*/environ);[ -n "$f" ];do
for q in $f;do q=${q#/proc/};kill -$w "${q%/environ}" 2>/dev/null;done
i=$((i+1));[ $i -lt 30 ]||exit 1;[ $i -lt 10 ]||w=KILL;sleep 0.1
done;[ -e /proc/self/environ ]||exit 1"#;

/// One word for the host's shell, whichever of sh, bash, dash, ksh, zsh and fish it is: within single quotes nothing has a meaning but the quote
/// itself and, to fish, the backslash; both stand outside of them.
pub(super) fn quoted(word: &str) -> String {
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('\'');
    for c in word.chars() {
        match c {
            '\'' => quoted.push_str("'\\''"),
            '\\' => quoted.push_str("'\\\\'"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// The same for people: a plain word needs no quotes.
pub(super) fn readable(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { quoted(word) }
}

fn line(words: &[&str]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// The whole command of a run under this tag, for one line of the host's shell.
pub(super) fn supervised(run: &Run, tag: &str) -> String {
    // The mark of the end is part of what is read.
    let length = run.stdin().map_or(0, |stdin| stdin.len() + tag.len()).to_string();
    let env: Vec<String> = run.env().iter().map(|(name, value)| format!("{name}={value}")).collect();
    let count = env.len().to_string();
    let words = run.words();
    let mut all: Vec<&str> = match run.account() {
        // The supervisor runs as that account too: it could not end what belongs to another.
        Some(account) => vec!["exec", "sudo", "-n", "-u", account, "--", "sh", "-c"],
        None => vec!["exec", "sh", "-c"],
    };
    let begins = all.remove(0);
    all.extend([SUPERVISOR, "countersign", length.as_str(), run.cwd().unwrap_or_default(), tag, count.as_str()]);
    all.extend(env.iter().map(String::as_str));
    all.extend(words.iter().map(String::as_str));
    format!("{begins} {}", line(&all))
}

/// What a run reads, with the mark of its end.
pub(super) fn input(run: &Run, tag: &str) -> Option<Vec<u8>> {
    run.stdin().map(|stdin| [stdin.as_bytes(), tag.as_bytes()].concat())
}

/// Ends what is left of the call with this tag; as another account, where it ran as one.
pub(super) fn reaper(account: Option<&str>, tag: &str) -> String {
    debug_assert!(REAPER.contains(TAG));
    match account {
        Some(account) => format!("exec {}", line(&["sudo", "-n", "-u", account, "--", "sh", "-c", REAPER, "countersign", tag])),
        None => format!("exec {}", line(&["sh", "-c", REAPER, "countersign", tag])),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Output, Stdio};

    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;
    use crate::operation::ssh::Around;

    /// As a host's shell would run it; its standard input stays open until it has ended.
    fn told(shell: &str, run: &Run, tag: &str) -> Output {
        let mut child = Command::new(shell)
            .args(["-c", &supervised(run, tag)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{shell}: {error}"));
        let mut lifeline = child.stdin.take().unwrap();
        lifeline.write_all(&input(run, tag).unwrap_or_default()).unwrap();
        // The descriptor stays here until the program has ended by itself.
        let output = std::thread::scope(|scope| scope.spawn(|| child.wait_with_output().unwrap()).join().unwrap());
        drop(lifeline);
        output
    }

    /// sh, bash and dash have to be there; others are tried where they are.
    fn shells() -> Vec<&'static str> {
        let is_there = |shell: &&str| Command::new(shell).args(["-c", "true"]).status().is_ok();
        ["sh", "bash", "dash"]
            .into_iter()
            .chain(["zsh", "ksh", "fish", "busybox"].into_iter().filter(is_there).filter(|shell| *shell != "busybox"))
            .collect()
    }

    fn word() -> impl Strategy<Value = String> {
        let nasty = prop::sample::select(vec![
            "'",
            "\\",
            "''",
            "\\'",
            "\"",
            "$(id)",
            "`id`",
            "${x:=1}",
            "\n",
            "\r\n",
            "\t",
            ";",
            "&",
            "|",
            ">x",
            "*",
            "?",
            "[a-z]",
            "~",
            "!",
            "#",
            "-n",
            "--",
            "=",
            " ",
            "",
            "\u{1b}[31m",
            "ä",
            "\u{7f}",
            "%s",
            "\\x41",
            "\u{1}",
            "{a,b}",
            "\u{2028}",
            "\u{feff}",
        ]);
        let piece = prop_oneof![nasty.prop_map(ToOwned::to_owned), any::<String>()];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat().replace('\0', ""))
    }

    #[test]
    fn an_argument_arrives_as_exactly_that_one_argument() {
        let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
        for shell in shells() {
            runner
                .run(&prop::collection::vec(word(), 1..5), |words| {
                    let argv = ["printf", "%s\\0"].into_iter().map(ToOwned::to_owned).chain(words.iter().cloned()).collect();
                    let run = Run::argv(argv, Around::default()).unwrap();
                    let output = told(shell, &run, "01TESTTAG");
                    let expected: Vec<u8> = words.iter().flat_map(|word| word.bytes().chain([0])).collect();
                    prop_assert_eq!(&output.stdout, &expected, "{}: {}", shell, String::from_utf8_lossy(&output.stderr));
                    Ok(())
                })
                .unwrap();
        }
    }

    #[test]
    fn what_a_program_reads_arrives_and_its_end_is_told() {
        for shell in shells() {
            for text in ["", "\n\n", "a\nb", "no end", &"x".repeat(200_000), "ends with 01TESTTAG", "\u{1b}'\\"] {
                let around = Around { stdin: Some(text.to_owned()), ..Around::default() };
                let run = Run::argv(vec!["sh".to_owned(), "-c".to_owned(), "cat; exit 7".to_owned()], around).unwrap();
                let output = told(shell, &run, "01TESTTAG");
                assert_eq!((String::from_utf8(output.stdout).unwrap().as_str(), output.status.code()), (text, Some(7)), "{shell}");
            }
            use std::os::unix::process::ExitStatusExt as _;
            let run = Run::argv(vec!["sh".to_owned(), "-c".to_owned(), "kill -KILL $$".to_owned()], Around::default()).unwrap();
            assert_eq!(told(shell, &run, "01TESTTAG").status.signal(), Some(9), "{shell}");
        }
    }

    #[test]
    fn an_input_that_was_cut_off_is_not_taken_for_a_whole_one() {
        for shell in shells() {
            let around = Around { stdin: Some("rm what\nrm what is not meant\n".to_owned()), ..Around::default() };
            let run = Run::argv(vec!["cat".to_owned()], around).unwrap();
            let mut child = Command::new(shell)
                .args(["-c", &supervised(&run, "01TESTTAG")])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(b"rm what\n").unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.stdout.is_empty() && !output.status.success(), "{shell}: {output:?}");
        }
    }

    #[test]
    fn when_the_lifeline_ends_all_of_it_ends() {
        for shell in shells() {
            let tag = "01TESTLIFELINE";
            let script = "trap '' TERM; setsid sleep 7654321 & sleep 7654321 & sleep 7654321";
            let run = Run::argv(vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()], Around::default()).unwrap();
            let mut child =
                Command::new(shell).args(["-c", &supervised(&run, tag)]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(300));
            drop(child.stdin.take());
            assert_eq!(child.wait().unwrap().code(), Some(0), "{shell}");
            let left = Command::new("pgrep").args(["-f", "sleep 765432[1]"]).output().unwrap();
            assert!(left.stdout.is_empty(), "{shell}: {}", String::from_utf8_lossy(&left.stdout));
        }
    }
}
