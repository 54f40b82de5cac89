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

/// The script itself comes first among its arguments, then what it does at a stop, the length of standard input with its mark, the folder, the mark, the
/// variables and `--`. sshd gives each command a session of its own, in which the program runs beside its supervisor; where there is none (`sudo` comes
/// between, or another server), `setsid` makes one. The program is the shell's foreground: it hears every signal, as it would without a supervisor, and a
/// signal to the whole group is not the supervisor's end. `_x` holds the input whole: the program must not be able to keep the supervisor from watching.
/// What is read ends with the mark, so that an input that was cut off is not taken for a whole one. Variables are the program's alone.
const SUPERVISOR: &str = r#"case $0 in supervisor);;*) [ $0 = countersign ]&&kill -0 -$$ 2>/dev/null||{
command -v setsid >/dev/null||{ echo "countersign: there is no setsid on this host" >&2;exit 254;}
exec 3<&0;setsid sh -c 'eval "$1"' supervisor "$@" <&3 3<&- &
exec </dev/null >/dev/null 2>&1 3<&-;wait $!;exit $?;};esac
_s=$2 _n=$3 _d=$4 _t=$5;shift 5
[ -z "$_d" ]||cd -- "$_d"||exit 254
exec 3<&0 4>&2 </dev/null 2>/dev/null
_x=;[ "$_n" = 0 ]||{ _x=$(head -c "$_n" <&3);case $_x in *"$_t") _x=${_x%"$_t"};;*) exit 254;;esac;}
_run(){ trap - HUP INT QUIT TERM USR1;exec 2>&4 4>&-;export "$_t";while [ "$1" != -- ];do export "$1";shift;done;shift;exec "$@";}
trap "" HUP INT QUIT TERM
{ while read -r _y;do :;done;trap "" USR1;eval "$_s";} <&3 >/dev/null 4>&- &
_l=$!
trap "" USR1
exec 3<&-
if [ "$_n" = 0 ];then (_run "$@");else printf %s "$_x"|(_run "$@");fi
_r=$?
kill -USR1 $_l;wait $_l;_q=$?
[ $_q -gt 128 ]||exit $((250+_q*5))
exit $_r"#;

/// What has to end is whatever is of the supervisor's session but itself and its watcher, which this is, and whatever carries the tag; of another account's
/// processes too it is seen that they are there. Where that cannot be asked, the whole group ends, and nobody says that all of it is gone.
const STOP: &str = r#"_left(){ for _f in $(grep -lsz -- "^$_t\$" /proc/[0-9]*/environ);do _f=${_f#/proc/};echo "${_f%/environ}";done
for _f in /proc/[0-9]*;do _f=${_f#/proc/};_at "$_f"||continue
[ "$_j" = $$ ]&&[ "$_f" != $$ ]&&[ "$_f" != "$_h" ]&&[ "$_o" != "$_h" ]&&echo "$_f";done;}
grep -qsz "" /proc/self/environ&&_at $$&&[ "$_j" = $$ ]&&read -r _h _y </proc/self/stat||{ kill -KILL 0;exit 1;}
_b=$_z _w=TERM _i=0
while _q=$(_left);[ -n "$_q" ];do kill -$_w $_q
_i=$((_i+1));[ $_i -lt 40 ]||exit 1;[ $_i -lt 20 ]||_w=KILL;sleep 0.1
done;_gone "$_b" "$(cat /proc/$$/cgroup)"||exit 1;exit 0"#;

/// Ends what a connection that broke has left: the tag's own processes, and the sessions that a supervisor with this tag leads. Nothing of it is there
/// afterwards, and no stray that began while the call was under way (Linux counts in hundredths of a second), or the exit code says otherwise.
const REAPER: &str = r#"exec 2>/dev/null;_t=COUNTERSIGN_CALL=$1 _s=" " _w=TERM _i=0
grep -qsz "" /proc/self/environ&&_at $$||exit 1
_b=$((_z-$2*100))
_left(){ for _f in $(grep -lsz -- "^$_t\$" /proc/[0-9]*/environ);do _f=${_f#/proc/};echo "${_f%/environ}";done
for _f in /proc/[0-9]*;do _f=${_f#/proc/};_at "$_f"||continue
case $_s in *" $_j "*) echo "$_f";;esac;done;}
for _f in $(grep -lsz -- "^$_t\$" /proc/[0-9]*/cmdline);do _f=${_f#/proc/};_f=${_f%/cmdline}
_at "$_f"&&[ "$_j" = "$_f" ]&&_s="$_s$_j ";done
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
    let length = input(run, tag).map_or(0, |input| input.len()).to_string();
    let env: Vec<String> = run.env().iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (stop, mark, words) = ([PROCESSES, STOP].concat(), mark(tag), run.words());
    let (mut all, name) = match run.account() {
        // The supervisor runs as that account too: it could not end what belongs to another.
        Some(account) => (vec!["sudo", "-n", "-u", account, "--"], "sudo"),
        None => (Vec::new(), "countersign"),
    };
    all.extend(["sh", "-c", r#"eval "$1""#, name, SUPERVISOR, &stop, &length, run.cwd().unwrap_or_default(), &mark]);
    all.extend(env.iter().map(String::as_str));
    all.push("--");
    all.extend(words.iter().map(String::as_str));
    format!("exec {}", line(&all))
}

/// What a program of the call has in its environment, its supervisor among its arguments, and what a run reads ends with.
fn mark(tag: &str) -> String {
    format!("COUNTERSIGN_CALL={tag}")
}

/// What a run reads, with the mark of its end.
pub(super) fn input(run: &Run, tag: &str) -> Option<Vec<u8>> {
    run.stdin().map(|stdin| [stdin, mark(tag).as_str()].concat().into_bytes())
}

/// Ends what is left of the call with this tag, which is `age` old at most when this runs; as another account, where it ran as one.
pub(super) fn reaper(account: Option<&str>, tag: &str, age: Duration) -> String {
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
        // sshd gives each command a session of its own.
        ended(Command::new("setsid").arg(shell), run, tag)
    }

    fn ended(shell: &mut Command, run: &Run, tag: &str) -> Output {
        let mut child =
            shell.args(["-c", &supervised(run, tag)]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
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
            for text in ["", "\n\n", "a\nb", "no end", &"x".repeat(200_000), "ends with COUNTERSIGN_CALL=01TESTTAG", "\u{1b}'\\"] {
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
            // Where a session has to be made first, the same arrives.
            let around = Around { stdin: Some("in".to_owned()), env: vec![("_t".to_owned(), "a b".to_owned())], ..Around::default() };
            let run = Run::argv(["sh", "-c", "cat; echo \"$1 $_t\"; exit 7", "sh", "'"].map(ToOwned::to_owned).into(), around).unwrap();
            let output = ended(&mut Command::new(shell), &run, "01TESTTAG");
            assert_eq!((output.stdout.as_slice(), output.status.code()), (b"in' a b\n".as_slice(), Some(7)), "{shell}");
        }
    }

    #[test]
    fn a_program_hears_each_signal_and_one_to_its_whole_group_is_not_the_end_of_its_supervisor() {
        for shell in shells() {
            for (signal, code) in [("HUP", 129), ("INT", 130), ("QUIT", 131), ("TERM", 143), ("USR1", 138)] {
                let run =
                    Run::argv(["dash", "-c", &format!("kill -{signal} $$")].map(ToOwned::to_owned).into(), Around::default()).unwrap();
                let output = told(shell, &run, "01TESTSIGNAL");
                assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(code), b"".as_slice()), "{shell} {signal}");
                if signal != "USR1" {
                    let script = format!("trap '' {signal}; kill -{signal} 0; exit 7");
                    let run = Run::argv(["dash", "-c", &script].map(ToOwned::to_owned).into(), Around::default()).unwrap();
                    assert_eq!(told(shell, &run, "01TESTSIGNAL").status.code(), Some(7), "{shell} {signal}");
                }
            }
        }
    }

    #[test]
    fn a_word_of_the_shells_own_is_no_program() {
        for word in ["exit", "eval", "_end", "export", ":", "if"] {
            let run = Run::argv([word, "0"].map(ToOwned::to_owned).into(), Around::default()).unwrap();
            let output = told("sh", &run, "01TESTTAG");
            assert!(output.status.code() == Some(127) && String::from_utf8_lossy(&output.stderr).contains(word), "{word}: {output:?}");
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
        let script = format!("trap '' TERM HUP INT QUIT; kill -TERM 0; kill -INT 0; setsid sleep {mark} & sleep {mark} & sleep {mark}");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        // The second has no tag in its environment, the third another session too for all but itself.
        [
            words(&["sh", "-c", &script]),
            words(&["env", "-i", "sleep", mark]),
            words(&["env", "-i", "sh", "-c", &format!("sleep {mark} & sleep {mark}")]),
        ]
    }

    /// A shell in an account that nobody else uses, as far as one can be had: what others begin meanwhile must not be taken for the program's. It has a
    /// session of its own, or has to make one.
    fn alone(shell: &str, script: &str, has_session: bool) -> Command {
        use std::os::unix::fs::MetadataExt as _;
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0);
        let account = (100_000 + std::process::id()).to_string();
        let setpriv = ["setpriv", "--reuid", &account, "--regid", &account, "--clear-groups"];
        let before: Vec<&str> = has_session.then_some("setsid").into_iter().chain(setpriv.into_iter().filter(|_| is_root)).collect();
        let mut command = Command::new(before.first().unwrap_or(&shell));
        command.args(before.iter().skip(1).copied().chain([shell].into_iter().filter(|_| !before.is_empty())).chain(["-c", script]));
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
                let mut shell = alone(shell, &supervised(&run, &tag), (number + which) % 2 == 0);
                let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
                std::thread::sleep(Duration::from_millis(300));
                assert!(is_left(&format!("76543{number}")), "{number} {which}");
                drop(child.stdin.take());
                assert_eq!(child.wait().unwrap().code(), Some(250), "{number} {which}");
                assert!(!is_left(&format!("76543{number}")), "{number} {which}");
            }
        }
    }

    #[test]
    fn what_a_lost_connection_left_is_found_and_ended() {
        for (which, argv) in stubborn("765439").into_iter().enumerate() {
            let tag = format!("01TESTREAPER{which}");
            let run = Run::argv(argv, Around::default()).unwrap();
            let mut child =
                alone("bash", &supervised(&run, &tag), which % 2 == 0).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(300));
            assert!(is_left("765439"));
            alone("bash", &reaper(None, "01TESTOTHER", Duration::ZERO), true).status().unwrap();
            assert!(is_left("765439"), "another call's are left alone");
            let reaped = alone("bash", &reaper(None, &tag, Duration::from_secs(1)), true).status().unwrap();
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
            let mut child =
                alone("sh", &supervised(&run, "01TESTSTRAY"), true).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(300));
            let runs = || Command::new("pgrep").args(["-f", "765437$"]).output().unwrap().status.success();
            assert!(runs());
            drop(child.stdin.take());
            assert_eq!((child.wait().unwrap().code(), runs()), (Some(code), code == 255));
            // Whoever comes afterwards does not call it gone either.
            let again = || alone("sh", &reaper(None, "01TESTSTRAY", Duration::from_secs(10)), true).status().unwrap().success();
            assert_eq!(again(), code == 250);
            ends();
            assert!(again(), "what is gone is called gone");
        }
    }
}
