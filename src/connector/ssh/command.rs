//! What a host is told to run: words quoted for its shell, and a supervisor around them that ends the program when the channel does.
//!
//! An argument arrives as exactly that argument whatever is in it. The supervisor is a few lines of POSIX shell, since nothing else is on every host:
//! it runs the program in a session of its own under a tag in its environment, and watches its own standard input. When that ends (the broker says
//! stop, dies, or is cut off), it ends all that carry the tag, looks that they are gone, and says so by its exit code. Nothing is read out of what the
//! program writes: no marker could be forged there.

use std::time::Duration;

use crate::operation::ssh::Run;

/// What the supervisor ends with when it was told to stop and all of it is gone, and when something is not. No other end says anything of that: the
/// program may have ended by itself, and have left something. It may also have ended the watcher, and then ends with these itself: the reaper looks too.
pub(super) const GONE: u32 = 250;
pub(super) const LEFT: u32 = 255;
/// What the reaper ends with when nothing is left.
pub(super) const NOTHING_LEFT: u32 = 0;
/// Names the tag.
const TAG: &str = "COUNTERSIGN_CALL";

/// What both of them ask of `/proc`. `_at` reads a process (its name may have newlines in it): parent, session and start; not one that has ended. `_stray`
/// says whether there is a process that may be of the call although nothing holds it: neither its environment nor its session, as of `env -i setsid`.
/// It has lost its parent and was adopted (by whom, a child that is left alone finds out), began no earlier than `$1`, and is the account's or of the same
/// scope of systemd's. `$2` is the control group that it has to be of, where that is known. Another login of the account may be taken for one: then a stop
/// is called unconfirmed that was none, which is the side to err on. A supervisor whose connection was cut is adopted too, and soon gone.
const PROCESSES: &str = r#"_at(){ _y=;while read -r _k;do _y=$_y$_k;done <"/proc/$1/stat"||return 1
set -- ${_y##*) };[ $# -ge 20 ]||return 1;case $1 in Z|X) return 1;;esac;_o=$2 _j=$4 _z=${20};}
_stray(){ _u=$(id -u) _a=$( (sleep 0.1;exec sed -n 's/^PPid:[^0-9]*//p' /proc/self/status)& )
[ "$_a" = 1 ]||[ -d "/proc/$_a" ]||return 0
for _f in /proc/[0-9]*;do _at "${_f#/proc/}"&&[ "$_o" = "$_a" ]&&[ "$_z" -ge "$1" ]&&[ "$_f" != /proc/$$ ]||continue
_g=$(cat "$_f/cgroup")
if [ -n "$2" ];then [ "$_g" = "$2" ]||continue;else case $_g in */user@*) continue;;esac;fi
[ "$(sed -n 's/^Uid:[^0-9]*\([0-9]*\).*/\1/p' "$_f/status")" != "$_u" ]||return 0
case $2 in *.scope) return 0;;esac;done;return 1;}
_gone(){ _i=0;while _stray "$1" "$2";do _i=$((_i+1));[ $_i -lt 20 ]||return 1;done;}
"#;

/// Standard input's length and the end mark, the folder, the tag and the variables come first among its arguments. `_x` holds the input whole: the program
/// must not be able to keep the supervisor from watching. What is read ends with the tag, so that an input that was cut off is not taken for a whole one.
/// What has to end is whatever is of the program's session, or carries the tag; of another account's processes too it is seen that they are there.
const SUPERVISOR: &str = r#"_n=$1 _d=$2 _t=$3 _e=$4;shift 4
while [ "$_e" -gt 0 ];do export "$1";shift;_e=$((_e-1));done
command -v setsid >/dev/null||{ echo "countersign: there is no setsid on this host" >&2;exit 254;}
[ -z "$_d" ]||cd -- "$_d"||exit 254
exec 3<&0 </dev/null
if [ "$_n" = 0 ];then COUNTERSIGN_CALL=$_t setsid -- "$@" 3<&- &
else _x=$(head -c "$_n" <&3);case $_x in *"$_t") _x=${_x%"$_t"};;*) exit 254;;esac
printf %s "$_x"|COUNTERSIGN_CALL=$_t setsid -- "$@" 3<&- &
fi
_p=$!
exec >/dev/null 2>&1
_left(){ for _f in $(grep -lsz -- "^COUNTERSIGN_CALL=$_t\$" /proc/[0-9]*/environ);do _f=${_f#/proc/};echo "${_f%/environ}";done
for _f in /proc/[0-9]*;do _f=${_f#/proc/};_at "$_f"||continue;[ "$_j" != "$_p" ]||echo "$_f";done;}
_end(){ trap "" TERM;grep -qsz "" /proc/self/environ&&_at $$||{ kill -KILL "$_p";exit 1;}
_b=$_z _w=TERM _i=0
while _q=$(_left);[ -n "$_q" ];do kill -$_w $_q
_i=$((_i+1));[ $_i -lt 40 ]||exit 1;[ $_i -lt 20 ]||_w=KILL;sleep 0.1
done;_gone "$_b" "$(cat /proc/$$/cgroup)"||exit 1;exit 0;}
{ while read -r _y;do :;done;_end;} <&3 &
_l=$!
exec 3<&-
wait $_p;_r=$?
kill $_l;wait $_l;_q=$?
[ $_q -gt 128 ]||exit $((250+_q*5))
exit $_r"#;

/// Ends what a connection that broke has left: the tag's own processes, and the sessions that a supervisor with this tag has begun. Nothing of it is there
/// afterwards, and no stray that began while the call was under way (Linux counts in hundredths of a second), or the exit code says otherwise.
const REAPER: &str = r#"exec 2>/dev/null;_t=$1 _s=" " _w=TERM _i=0
grep -qsz "" /proc/self/environ&&_at $$||exit 1
_b=$((_z-$2*100))
_left(){ for _f in $(grep -lsz -- "^COUNTERSIGN_CALL=$_t\$" /proc/[0-9]*/environ);do _f=${_f#/proc/};echo "${_f%/environ}";done
for _f in /proc/[0-9]*;do _f=${_f#/proc/};_at "$_f"||continue
case $_s in *" $_j "*) echo "$_f";;esac;done;}
_m=" ";for _f in $(grep -lsz -- "^$_t\$" /proc/[0-9]*/cmdline);do _f=${_f#/proc/};_f=${_f%/cmdline};[ "$_f" = $$ ]||_m="$_m$_f ";done
for _f in /proc/[0-9]*;do _f=${_f#/proc/};_at "$_f"||continue
case $_m in *" $_o "*) [ "$_j" != "$_f" ]||_s="$_s$_j ";;esac;done
while _q=$(_left);[ -n "$_q" ];do kill -$_w $_q
_i=$((_i+1));[ $_i -lt 30 ]||exit 1;[ $_i -lt 10 ]||_w=KILL;sleep 0.1
done;_gone "$_b" ''"#;

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
    let script = [PROCESSES, SUPERVISOR].concat();
    all.extend([script.as_str(), "countersign", length.as_str(), run.cwd().unwrap_or_default(), tag, count.as_str()]);
    all.extend(env.iter().map(String::as_str));
    all.extend(words.iter().map(String::as_str));
    format!("{begins} {}", line(&all))
}

/// What a run reads, with the mark of its end.
pub(super) fn input(run: &Run, tag: &str) -> Option<Vec<u8>> {
    run.stdin().map(|stdin| [stdin.as_bytes(), tag.as_bytes()].concat())
}

/// Ends what is left of the call with this tag, which is `age` old at most when this runs; as another account, where it ran as one.
pub(super) fn reaper(account: Option<&str>, tag: &str, age: Duration) -> String {
    debug_assert!(REAPER.contains(TAG));
    let script = [PROCESSES, REAPER].concat();
    let seconds = age.as_secs().saturating_add(2).to_string();
    let words = ["sh", "-c", &script, "countersign", tag, &seconds];
    match account {
        Some(account) => format!("exec {} {}", line(&["sudo", "-n", "-u", account, "--"]), line(&words)),
        None => format!("exec {}", line(&words)),
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
            // Whether it is a signal's is not known here, and none of them is the supervisor's own.
            for code in [1, 126, 129, 137, 143, 147, 148, 200, 255] {
                let run = Run::argv(vec!["sh".to_owned(), "-c".to_owned(), format!("exit {code}")], Around::default()).unwrap();
                assert_eq!(told(shell, &run, "01TESTTAG").status.code(), Some(code), "{shell}");
            }
            let run = Run::argv(vec!["sh".to_owned(), "-c".to_owned(), "kill -KILL $$".to_owned()], Around::default()).unwrap();
            assert_eq!(told(shell, &run, "01TESTTAG").status.code(), Some(137), "{shell}");
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

    /// Programs that leave as little to hold them by as they can.
    fn stubborn(mark: &str) -> [Vec<String>; 3] {
        let script = format!("trap '' TERM; setsid sleep {mark} & sleep {mark} & sleep {mark}");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        // The second has no tag in its environment, the third another session too for all but itself.
        [
            words(&["sh", "-c", &script]),
            words(&["env", "-i", "sleep", mark]),
            words(&["env", "-i", "sh", "-c", &format!("sleep {mark} & sleep {mark}")]),
        ]
    }

    /// A shell in an account that nobody else uses, as far as one can be had: what others begin meanwhile must not be taken for the program's.
    fn alone(shell: &str, script: &str) -> Command {
        use std::os::unix::fs::MetadataExt as _;
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0);
        if !is_root {
            let mut command = Command::new(shell);
            command.args(["-c", script]);
            return command;
        }
        let account = (100_000 + std::process::id()).to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &account, "--regid", &account, "--clear-groups", shell, "-c", script]);
        command
    }

    fn is_left(mark: &str) -> bool {
        !Command::new("pgrep").args(["-x", "-f", &format!("sleep {mark}")]).output().unwrap().stdout.is_empty()
    }

    #[test]
    fn when_the_lifeline_ends_all_of_it_ends() {
        for (number, shell) in shells().into_iter().enumerate() {
            for (which, argv) in stubborn(&format!("76543{number}")).into_iter().enumerate() {
                let tag = format!("01TESTLIFELINE{number}{which}");
                let run = Run::argv(argv, Around::default()).unwrap();
                let mut child = alone(shell, &supervised(&run, &tag)).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
                std::thread::sleep(Duration::from_millis(300));
                assert!(is_left(&format!("76543{number}")), "{shell}");
                drop(child.stdin.take());
                assert_eq!(child.wait().unwrap().code(), Some(250), "{shell} {which}");
                assert!(!is_left(&format!("76543{number}")), "{shell} {which}");
            }
        }
    }

    #[test]
    fn what_a_lost_connection_left_is_found_and_ended() {
        for (which, argv) in stubborn("765439").into_iter().enumerate() {
            let tag = format!("01TESTREAPER{which}");
            let run = Run::argv(argv, Around::default()).unwrap();
            let mut child = alone("bash", &supervised(&run, &tag)).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(300));
            assert!(is_left("765439"));
            alone("bash", &reaper(None, "01TESTOTHER", Duration::ZERO)).status().unwrap();
            assert!(is_left("765439"), "another call's are left alone");
            let reaped = alone("bash", &reaper(None, &tag, Duration::from_secs(1))).status().unwrap();
            assert!(reaped.success() && !is_left("765439"), "{which}: {reaped:?}");
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    /// With neither the tag nor the session, and a name that breaks the line of `/proc/PID/stat` in two.
    #[test]
    fn what_nothing_holds_is_not_called_gone() {
        let dir = tempfile::tempdir().unwrap();
        let named = dir.path().join("sl) S 1\neep");
        let made = std::process::Command::new("sh")
            .args(["-c", r#"chmod 755 "$1"; cp "$(command -v sleep)" "$2""#, "sh"])
            .args([dir.path(), &named])
            .status()
            .unwrap();
        assert!(made.success());
        let named = named.to_str().unwrap();
        let ends = || drop(Command::new("pkill").args(["-KILL", "-f", "76543[78]$"]).status());
        // Whatever the account's shell is, the supervisor is read by sh.
        for (escape, code) in [(vec!["env", "-i", "setsid", named], 255), (vec!["env", "-i", named], 250)] {
            let words = [vec!["sh", "-c", r#""$@" 765437 & sleep 765438"#, "sh"], escape].concat();
            let run = Run::argv(words.into_iter().map(ToOwned::to_owned).collect(), Around::default()).unwrap();
            let mut child = alone("sh", &supervised(&run, "01TESTSTRAY")).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(300));
            let runs = || Command::new("pgrep").args(["-f", "765437$"]).output().unwrap().status.success();
            assert!(runs());
            drop(child.stdin.take());
            assert_eq!((child.wait().unwrap().code(), runs()), (Some(code), code == 255));
            // Whoever comes afterwards does not call it gone either.
            let again = || alone("sh", &reaper(None, "01TESTSTRAY", Duration::from_secs(10))).status().unwrap().success();
            assert_eq!(again(), code == 250);
            ends();
            assert!(again(), "what is gone is called gone");
        }
    }
}
