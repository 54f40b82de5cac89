//! What a host is told to run, tried against real shells.

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
    ["sh", "bash", "dash"].into_iter().chain(["zsh", "ksh", "fish"].into_iter().filter(is_there)).collect()
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
    for name in shells() {
        for (has_session, (signal, code)) in [true, false]
            .into_iter()
            .flat_map(|has| [("HUP", 129), ("INT", 130), ("QUIT", 131), ("TERM", 143), ("USR1", 138), ("USR2", 140)].map(|it| (has, it)))
        {
            let told = |script: &str| {
                let run = Run::argv(["dash", "-c", script].map(ToOwned::to_owned).into(), Around::default()).unwrap();
                let mut shell = if has_session { Command::new("setsid") } else { Command::new(name) };
                let shell = if has_session { shell.arg(name) } else { &mut shell };
                ended(shell, &run, "01TESTSIGNAL")
            };
            let output = told(&format!("kill -{signal} $$"));
            assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(code), b"".as_slice()), "{name} {signal}");
            // And one to all of its group is heard by that, and by nobody else.
            assert_eq!(
                told(&format!("trap '' {signal}; kill -{signal} 0; kill -{signal} -$$; exit 7")).status.code(),
                Some(7),
                "{name} {signal}"
            );
        }
    }
}

/// To csh an argument of several lines is several commands.
#[test]
fn a_shell_of_another_kind_starts_nothing() {
    for shell in ["csh", "tcsh"] {
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("made");
        let text = format!("x\ntouch {}\ny", made.display());
        let run = Run::argv(vec!["echo".to_owned(), text], Around::default()).unwrap();
        let output = told(shell, &run, "01TESTTAG");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(254) && said.contains("the login shell of this account"), "{shell}: {output:?}");
        let reaped = Command::new(shell).args(["-c", &reaper(None, "01TESTTAG", Duration::ZERO)]).status().unwrap();
        assert!(reaped.code() == Some(254) && !made.exists(), "{shell}");
    }
}

#[test]
fn a_word_of_the_shells_own_is_no_program() {
    for word in ["exit", "eval", "_run", "export", ":", "if"] {
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
        let mut child =
            Command::new(shell).args(["-c", &supervised(&run, "01TESTTAG")]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"rm what\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.stdout.is_empty() && !output.status.success(), "{shell}: {output:?}");
    }
}

/// Programs that leave as little to hold them by as they can.
fn stubborn(mark: &str) -> [Vec<String>; 4] {
    let script = format!("trap '' TERM HUP INT QUIT; kill -TERM 0; kill -INT 0; setsid sleep {mark} & sleep {mark} & sleep {mark}");
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    // The second has no tag in its environment, nor has the third, and none of its children.
    [
        words(&["sh", "-c", &script]),
        words(&["env", "-i", "sleep", mark]),
        words(&["env", "-i", "sh", "-c", &format!("sleep {mark} & sleep {mark}")]),
        // One that only reads, in the session of its supervisor.
        words(&["sleep", mark]),
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
        let mut child = alone("bash", &supervised(&run, &tag), which % 2 == 0).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
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
        let mut child = alone("sh", &supervised(&run, "01TESTSTRAY"), true).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
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
