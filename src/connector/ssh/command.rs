//! What a host is told to run: words quoted for its shell, and a supervisor around them that ends the program when the channel does.
//!
//! An argument arrives as exactly that argument whatever is in it. The supervisor is a few lines of POSIX shell, since nothing else is on every host:
//! it runs the program under a tag in its environment, in a session of its own unless it only reads, and watches its own standard input. When that ends
//! (the broker says stop, dies, or is cut off), it ends all of that session and all that carry the tag, looks that they are gone, and says so by its exit
//! code. Nothing is read out of what the program writes: no marker could be forged there.

use std::time::Duration;

use crate::operation::Risk;
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
set -- ${_y##*\) };[ $# -ge 20 ]||return 1;case $1 in Z|X) return 1;;esac;_o=$2 _j=$4 _z=${20};}
_stray(){ _u=$(id -u) _a=$( (sleep 0.1;exec sed -n 's/^PPid:[^0-9]*//p' /proc/self/status)& )
[ "$_a" = 1 ]||[ -d "/proc/$_a" ]||return 0
for _f in /proc/[0-9]*;do _at "${_f#/proc/}"&&[ "$_o" = "$_a" ]&&[ "$_z" -ge "$1" ]&&[ "$_f" != /proc/$$ ]||continue
_g=$(cat "$_f/cgroup")
if [ -n "$2" ];then [ "$_g" = "$2" ]||continue;else case $_g in */user@*) continue;;esac;fi
[ "$(sed -n 's/^Uid:[^0-9]*\([0-9]*\).*/\1/p' "$_f/status")" != "$_u" ]||return 0
case $2 in *.scope) return 0;;esac;done;return 1;}
_gone(){ _i=0;while _stray "$1" "$2";do _i=$((_i+1));[ $_i -lt 20 ]||return 1;done;}
"#;

/// The script itself comes first among its arguments, then what it does at a stop, the length of standard input with its mark, the folder and the mark.
/// The program is the shell's foreground: it hears every signal, as it would without a supervisor. It has a session of its own, so that what it does to its
/// group is not done to its supervisor; one that only reads does nothing of the kind, and shares the session that sshd has made, where there is one, since
/// `setsid` costs as much as it does. `_x` holds the input whole: the program must not be able to keep the supervisor from watching. What is read ends with
/// the mark, so that an input that was cut off is not taken for a whole one.
const SUPERVISOR: &str = r#"_s=$2 _n=$3 _d=$4 _t=$5;shift 5
[ -z "$_d" ]||cd -- "$_d" 2>/dev/null||{ echo "countersign: the folder of \`cwd\` is not there, or may not be entered">&2;exit 254;}
exec 3<&0 4>&2 </dev/null 2>/dev/null
[ "$0" = reader ]&&kill -0 -$$||set -- setsid -- "$@"
_x=;[ "$_n" = 0 ]||{ _x=$(head -c "$_n" <&3);case $_x in *"$_t") _x=${_x%"$_t"};;*) exit 254;;esac;}
_run(){ exec 2>&4 4>&-;export "$_t";unset SSH_ORIGINAL_COMMAND;exec "$@";}
{ while read -r _y;do :;done;trap "" TERM;eval "$_s";} <&3 >/dev/null 4>&- &
_l=$!
exec 3<&-
if [ "$_n" = 0 ];then (_run "$@");else printf %s "$_x"|(_run "$@");fi
_r=$?
kill $_l;wait $_l;_q=$?
case $_q in 0) exit 250;;1) exit 255;;esac
[ $_q -gt 128 ]||exit 255
exit $_r"#;

/// What has to end is whatever is of the program's session, which a child of the supervisor leads or the supervisor itself (but neither that nor its
/// watcher, which this is), and whatever carries the tag; of another account's processes too it is seen that they are there. It is looked for again once
/// it is gone: the program may just have been about to begin. Where that cannot be asked, the whole group ends, and nobody says that all of it is gone.
const STOP: &str = r#"_left(){ for _f in $(grep -lsz -- "^$_t\$" /proc/[0-9]*/environ);do _f=${_f#/proc/};echo "${_f%/environ}";done
for _f in /proc/[0-9]*;do _f=${_f#/proc/};_at "$_f"||continue
case $_v in *" $_j "*) [ "$_f" = $$ ]||[ "$_f" = "$_h" ]||[ "$_o" = "$_h" ]||echo "$_f";;esac;done;}
_led(){ for _f in /proc/[0-9]*;do _f=${_f#/proc/};_at "$_f"&&[ "$_o" = $$ ]&&[ "$_j" = "$_f" ]&&_v="$_v$_f ";done;}
grep -qsz "" /proc/self/environ&&_at $$&&read -r _h _y </proc/self/stat||{ kill -KILL 0;exit 1;}
_b=$_z _w=TERM _i=0 _v=" ";[ "$_j" != $$ ]||_v=" $$ "
while :;do
while _led;_q=$(_left);[ -n "$_q" ];do kill -$_w $_q
_i=$((_i+1));[ $_i -lt 40 ]||exit 1;[ $_i -lt 20 ]||_w=KILL;sleep 0.1
done;_gone "$_b" "$(cat /proc/$$/cgroup)"||exit 1
_led;[ -n "$(_left)" ]||exit 0;done"#;

/// Ends what a connection that broke has left: the tag's own processes, and the sessions that a supervisor with this tag leads, or a child of it. Nothing
/// of it is there afterwards, and no stray that began while the call was under way (Linux counts in hundredths of a second), or the exit code says otherwise.
const REAPER: &str = r#"exec 2>/dev/null;_t=COUNTERSIGN_CALL=$1 _s=" " _w=TERM _i=0
grep -qsz "" /proc/self/environ&&_at $$||exit 1
_b=$((_z-$2*100))
_left(){ for _f in $(grep -lsz -- "^$_t\$" /proc/[0-9]*/environ);do _f=${_f#/proc/};echo "${_f%/environ}";done
for _f in /proc/[0-9]*;do _f=${_f#/proc/};_at "$_f"||continue
case $_s in *" $_j "*) echo "$_f";;esac;done;}
_m=" ";for _f in $(grep -lsz -- "^$_t\$" /proc/[0-9]*/cmdline);do _f=${_f#/proc/};_m="$_m${_f%/cmdline} ";done
for _f in /proc/[0-9]*;do _f=${_f#/proc/};_at "$_f"&&[ "$_j" = "$_f" ]||continue
case $_m in *" $_f "*|*" $_o "*) _s="$_s$_j ";;esac;done
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
    let mut all = match run.account() {
        // The supervisor runs as that account too: it could not end what belongs to another.
        Some(account) => vec!["sudo", "-n", "-u", account, "--"],
        None => Vec::new(),
    };
    let name = if run.judged().risk == Risk::Read { "reader" } else { "supervisor" };
    all.extend(["sh", "-c", r#"eval "$1""#, name, SUPERVISOR, &stop, &length, run.cwd().unwrap_or_default(), &mark]);
    if !env.is_empty() {
        // A shell has variables of its own, which it would change or refuse.
        all.push("env");
        all.extend(env.iter().map(String::as_str));
    }
    all.extend(words.iter().map(String::as_str));
    for_any_shell(&line(&all))
}

/// What is run under csh and tcsh instead.
const NO_CSH: &str =
    "echo \"countersign: the login shell of this account is csh or tcsh, which takes commands apart; give it another\" >&2;exit 254";

/// The line that the account's login shell reads. To csh and tcsh an argument of several lines is several commands: they are told to end before that.
fn for_any_shell(command: &str) -> String {
    // `exit` does not end it there: it reads on.
    format!("test -z \"$shell\"||exec sh -c '{NO_CSH}'\nexec {command}")
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
        Some(account) => for_any_shell(&format!("{} {}", line(&["sudo", "-n", "-u", account, "--"]), line(&words))),
        None => for_any_shell(&line(&words)),
    }
}

#[cfg(test)]
mod tests;
