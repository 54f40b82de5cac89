//! Logs, services and packages.

use super::super::row::Operands::{Own, Text};
use super::super::row::{Row, may, on, reads, row, takes};
use super::super::verbs;
use crate::operation::Risk;

/// The rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "dmesg",
        Text,
        &[
            on("-J -k -P -p -r -S -u -w -W -x -d -e -T -t --json --kernel --nopager --force-prefix --raw --noescape --syslog --userspace"),
            on("--follow --follow-new --decode --show-delta --reltime --ctime --notime"),
            takes("-f -l -s --facility --level --buffer-size --time-format --since --until"),
            reads("-F --file"),
            may("-L --color"),
        ],
    ),
    row(
        "journalctl",
        Own(verbs::journalctl),
        &[
            on(
                "-m -k -r -x -a -f -q -e -N -l --system --user --merge --dmesg --reverse --show-cursor --utc --catalog --no-hostname --no-full",
            ),
            on(
                "--all --follow --no-tail --quiet --no-pager --pager-end --fields --list-boots --disk-usage --verify --header --list-catalog",
            ),
            on("--full"),
            takes(
                "-S -U -c -u -t -p -g -o -F --since --until --cursor --after-cursor --unit --user-unit --identifier --priority --facility",
            ),
            takes("--grep --output --output-fields --field"),
            may("-b -n --boot --lines --case-sensitive"),
            on("--sync --flush --relinquish-var --smart-relinquish-var --rotate").at(Risk::Write),
            takes("--vacuum-size --vacuum-time --vacuum-files").at(Risk::Destructive),
        ],
    ),
    row(
        "systemctl",
        Own(verbs::systemctl),
        &[
            on(
                "-a -l -r -q --system --user --failed --all --full --recursive --reverse --value --quiet --no-pager --plain --with-dependencies",
            ),
            on("--show-types --no-ask-password --no-block --wait --no-legend"),
            takes("-t -p -P -n -o --type --state --property --lines --output --legend --timestamp"),
        ],
    ),
    row(
        "dpkg",
        Own(verbs::asks),
        &[on("-l -L -s -S -p -V -C --list --listfiles --status --search --print-architecture --get-selections --audit")],
    ),
    row("dpkg-query", Own(verbs::asks), &[on("-l -L -s -S -p -W --list --listfiles --status --search --show"), takes("-f --showformat")]),
    row("rpm", Own(verbs::rpm), &[on("-q -a -i -l -c -d -R --query --all --info --list --requires --provides --changelog --whatprovides")]),
    row("apt apt-cache", Own(verbs::apt), &[on("-a --installed --upgradable --all-versions --names-only --full --manual-installed")])
        .floor(Risk::Write, "may write its cache"),
    row("crontab", Own(verbs::crontab), &[on("-l"), takes("-u")]),
    row("apt-get apt-mark apt-key aptitude dnf yum zypper apk pacman snap flatpak pip pip3 npm gem cargo", Text, &[])
        .any()
        .floor(Risk::Admin, "changes what is installed"),
];
