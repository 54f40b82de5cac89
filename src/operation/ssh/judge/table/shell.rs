//! Builtins of the shell, and programs that run another one.

use super::super::row::Operands::{No, Own, Text};
use super::super::row::{Row, may, on, reads, row, takes};
use super::super::{special, verbs, wrap};
use crate::operation::Risk;

/// The rows.
pub(super) const ROWS: &[Row] = &[
    row("echo true false : type seq expr", Text, &[]).any(),
    row("exit return break continue", Own(special::number), &[]),
    row("sleep", Own(special::sleep), &[]),
    row("wait jobs times", No, &[]),
    row("printf", Own(special::printf), &[]).stops().any(),
    row("test", Text, &[]).raw(special::test_row),
    row("[", Text, &[]).raw(special::bracket_row),
    row("read", Own(special::read), &[on("-r")]),
    row("set", Text, &[]).raw(special::set_row),
    row("export", Own(wrap::export), &[]),
    row("umask ulimit hash", No, &[]),
    row("which", Text, &[on("-a -s")]),
    row("env", Own(wrap::env), &[on("-i -0 -v --ignore-environment --null --debug"), takes("-u --unset")]).stops(),
    row("nohup", Own(wrap::plain), &[]).stops().floor(Risk::Write, "outlives the call"),
    row("setsid", Own(wrap::plain), &[on("-f -w --fork --wait")]).stops().floor(Risk::Write, "outlives the call"),
    row("exec", Own(wrap::plain), &[]).stops(),
    row("time", Own(wrap::plain), &[on("-p")]).stops(),
    row("command", Own(wrap::builtin_command), &[on("-v -V -p")]).stops(),
    row("timeout", Own(wrap::timeout), &[on("-v --preserve-status --foreground --verbose"), takes("-k -s --kill-after --signal")]).stops(),
    row("nice", Own(wrap::nice), &[on("-NUM"), takes("-n --adjustment")]).stops(),
    row("ionice", Own(wrap::plain), &[on("-t --ignore"), takes("-c -n --class --classdata")]).stops(),
    row("stdbuf", Own(wrap::plain), &[takes("-i -o -e --input --output --error")]).stops(),
    row(
        "watch",
        Own(wrap::watch),
        &[
            on("-b -c -e -g -p -t -w -x --beep --color --errexit --chgexit --precise --no-title --no-wrap --exec"),
            takes("-n --interval"),
            may("-d --differences"),
        ],
    )
    .stops(),
    row(
        "xargs",
        Own(wrap::xargs),
        &[
            on("-0 -r -t -x --null --no-run-if-empty --verbose --exit"),
            takes("-I -d -E -L -n -P -s --delimiter --max-args --max-procs --max-chars"),
            reads("-a --arg-file"),
        ],
    )
    .stops(),
    row("sh bash dash", Text, &[]).raw(wrap::sh),
    row(
        "sudo doas run0 pkexec",
        Own(wrap::plain),
        &[on("-n -E -H -i -s -S -k -b").at(Risk::Admin), takes("-u -g --user --group").at(Risk::Admin)],
    )
    .stops()
    .floor(Risk::Admin, "runs it as another user"),
    row("ping ping4 ping6", Own(verbs::dig), &[on("-a -A -D -n -O -q -v -4 -6"), takes("-c -i -I -s -t -w -W")])
        .floor(Risk::Write, "sends to the network"),
    row("dig", Own(verbs::dig), &[on("-4 -6 -u -m"), takes("-t -x -q -c -p")]).floor(Risk::Write, "asks the network"),
    row("host", Own(verbs::dig), &[on("-a -C -d -l -r -T -v -4 -6 -s -w"), takes("-t -c -N -R -W")]).floor(Risk::Write, "asks the network"),
    row("nslookup", Own(verbs::dig), &[]).floor(Risk::Write, "asks the network"),
];
