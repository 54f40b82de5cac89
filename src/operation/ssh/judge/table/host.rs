//! Programs that tell of the host, its users and its processes.

use super::super::row::Operands::{Own, Text};
use super::super::row::{Row, may, on, reads, row, takes};
use super::super::{ps, special, verbs};
use crate::operation::Risk;

/// The rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "free",
        Text,
        &[
            on("-b -k -m -g -h -l -t -v -w --bytes --kilo --mega --giga --tera --kibi --mebi --gibi --tebi --human --si --lohi --total"),
            on("--committed --wide"),
            takes("-s -c --seconds --count"),
        ],
    ),
    row("uptime", Own(verbs::names), &[on("-p -s --pretty --since")]),
    row("w", Own(verbs::names), &[on("-h -u -s -f -o -i --no-header --no-current --short --from --old-style --ip-addr")]),
    row(
        "who",
        Own(verbs::who),
        &[
            on(
                "-a -b -d -H -l -m -p -q -r -s -t -T -w -u --all --boot --dead --heading --ips --login --lookup --process --count --runlevel",
            ),
            on("--short --time --users --message --writable --mesg"),
        ],
    ),
    row(
        "last lastb",
        Text,
        &[
            on("-a -d -F -i -R -w -x -NUM --hostlast --dns --fulltimes --ip --nohostname --fullnames --system"),
            takes("-n -s -t -p --limit --since --until --present --time-format"),
            reads("-f --file"),
        ],
    ),
    row("lastlog", Text, &[takes("-b -t -u --before --time --user")]),
    row("id", Text, &[on("-a -Z -g -G -n -r -u -z --context --group --groups --name --real --user --zero")]),
    row("groups", Text, &[]),
    row("users whoami logname hostid arch", super::super::row::Operands::No, &[]),
    row(
        "uname",
        Text,
        &[
            on("-a -s -n -r -v -m -p -i -o --all --kernel-name --nodename --kernel-release --kernel-version --machine --processor"),
            on("--hardware-platform --operating-system"),
        ],
    ),
    row("nproc", Text, &[on("--all"), takes("--ignore")]),
    row(
        "date",
        Own(special::date),
        &[
            on("-R -u --debug --resolution --rfc-email --utc --universal"),
            takes("-d --date --rfc-3339"),
            may("-I --iso-8601"),
            reads("-f --file -r --reference"),
        ],
    ),
    row(
        "hostname",
        Own(verbs::none_or_admin),
        &[on("-a -A -d -f -i -I -s -y --alias --all-fqdns --domain --fqdn --long --ip-address --all-ip-addresses --short --yp --nis")],
    ),
    row("hostnamectl", Own(verbs::ctl), &[on("--transient --static --pretty"), takes("--json")]),
    row("timedatectl", Own(verbs::ctl), &[on("-a --no-pager --all --value"), takes("-p --property")]),
    row(
        "loginctl",
        Own(verbs::ctl),
        &[on("-a -l --no-pager --no-legend --all --full --value"), takes("-p -n -o --property --lines --output")],
    ),
    row("printenv", Text, &[on("-0 --null")]),
    row("getent", Text, &[on("-A -i --no-addrconfig --no-idn")]).floor(Risk::Write, "may ask the network for names"),
    row(
        "ps",
        Text,
        &[
            on("-A -N -a -d -e -f -F -l -y -j -c -w -H -L -T -m -M -Z -P -r -x -NUM"),
            on("--forest --no-headers --no-heading --headers --deselect --context --info"),
            takes(
                "-C -G -U -O -o -g -n -p -s -t -u --User --Group --format --pid --ppid --sid --sort --tty --user --group --columns --cols --rows",
            ),
            takes("--width --lines"),
        ],
    )
    .raw(ps::ps),
    row(
        "pgrep",
        Text,
        &[
            on(
                "-l -a -v -w -c -f -i -n -o -x -A --list-name --list-full --inverse --lightweight --count --full --ignore-case --newest --oldest",
            ),
            on("--exact --ignore-ancestors"),
            takes(
                "-d -g -G -P -s -t -u -U -r -O --delimiter --pgroup --group --parent --session --terminal --euid --uid --runstates --older",
            ),
        ],
    ),
    row("pidof", Text, &[on("-s -c -q -w -x"), takes("-o -S")]),
    row("pstree", Text, &[on("-a -c -h -l -n -p -s -u -A -U -g -t --arguments --show-pids --long --numeric-sort --ascii")]),
    row("top", Own(verbs::top), &[on("-b -c -H -i -S -1"), takes("-d -E -e -n -o -p -u -U -w")])
        .floor(Risk::Write, "makes a directory for its settings"),
    row(
        "vmstat",
        Own(verbs::names),
        &[
            on(
                "-a -f -m -n -s -d -D -w -t -y --active --forks --slabs --one-header --stats --disk --disk-sum --wide --timestamp --no-first",
            ),
            takes("-p -S --partition --unit"),
        ],
    ),
    row("iostat", Own(verbs::names), &[on("-c -d -h -k -m -N -s -t -x -y -z --compact --human --pretty"), takes("-o -j -g")]),
    row("mpstat", Own(verbs::names), &[on("-A -n -u -T"), takes("-P")]),
    row("lsof", Own(verbs::lsof), &[on("-n -P -l -t -U -R -N -w -a -b -V -X -O"), takes("-p -c -u -d"), may("-i -s -g -F")]),
    row(
        "ss",
        Own(verbs::ss),
        &[
            on(
                "-n -r -a -l -o -e -m -p -i -s -b -Z -z -4 -6 -0 -t -S -u -d -w -x -H -O --numeric --resolve --all --listening --options --extended",
            ),
            on(
                "--memory --processes --info --summary --bpf --context --contexts --ipv4 --ipv6 --packet --tcp --sctp --udp --dccp --raw --unix",
            ),
            on("--no-header --oneline --tos --cgroup --tipc --vsock"),
            takes("-f --family"),
        ],
    ),
    row(
        "netstat",
        Own(verbs::names),
        &[
            on(
                "-r -i -g -s -M -v -W -n -N -e -p -o -c -l -a -F -C -t -u -w -x -4 -6 --route --interfaces --groups --statistics --verbose --wide",
            ),
            on(
                "--numeric --numeric-hosts --numeric-ports --numeric-users --symbolic --extend --programs --timers --continuous --listening --all",
            ),
            on("--tcp --udp --raw --unix"),
        ],
    ),
    row(
        "ip",
        Own(verbs::ip),
        &[on("-4 -6 -0 -o -s -d -j -p -br -h -N -t -oneline -stats -statistics -details -json -pretty -brief -human -timestamp")],
    )
    .words(),
    row(
        "sysctl",
        Own(verbs::sysctl),
        &[on("-a -A -X -b -e -N -n -q --all --deprecated --binary --ignore --names --values --quiet"), takes("-r --pattern")],
    ),
    row("kill", Text, &[]).raw(special::kill).floor(Risk::Destructive, "stops processes"),
    row(
        "pkill",
        Text,
        &[
            on("-e -f -i -n -o -x -v -c -NUM --echo --full --ignore-case --newest --oldest --exact --inverse --count")
                .at(Risk::Destructive),
            takes("-g -G -P -s -t -u -U --signal --pgroup --group --parent --session --terminal --euid --uid").at(Risk::Destructive),
        ],
    )
    .floor(Risk::Destructive, "stops processes"),
    row(
        "killall",
        Text,
        &[
            on("-e -g -I -q -r -v -w -NUM --exact --process-group --ignore-case --quiet --regexp --verbose --wait").at(Risk::Destructive),
            takes("-s -o -y -u --signal --older-than --younger-than --user").at(Risk::Destructive),
        ],
    )
    .floor(Risk::Destructive, "stops processes"),
    row("renice", Text, &[]).any().floor(Risk::Admin, "changes what other processes get"),
];
