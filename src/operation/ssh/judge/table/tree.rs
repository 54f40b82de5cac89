//! Programs that look at directories.

use super::super::find;
use super::super::row::Operands::{Lists, LooksHere, Own, Text};
use super::super::row::{Row, looks, may, on, reads, row, takes, writes};
use super::super::special;
use crate::operation::Risk;

/// The rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "ls dir vdir",
        Own(special::ls),
        &[
            on("-a -A -b -B -c -C -d -D -f -g -G -h -H -i -k -l -L -m -n -N -o -p -q -Q -r -R -s -S -t -u -U -v -x -X -Z -1 -F"),
            on(
                "--all --almost-all --author --escape --ignore-backups --directory --dired --file-type --full-time --group-directories-first",
            ),
            on("--no-group --human-readable --si --dereference-command-line --dereference-command-line-symlink-to-dir --inode --kibibytes"),
            on(
                "--dereference --numeric-uid-gid --literal --hide-control-chars --show-control-chars --quote-name --reverse --recursive --size",
            ),
            on("--context --zero"),
            takes(
                "-I -T -w --block-size --format --hide --indicator-style --ignore --quoting-style --sort --time --time-style --tabsize --width",
            ),
            may("--color --classify --hyperlink"),
        ],
    ),
    row(
        "du",
        LooksHere,
        &[
            on(
                "-0 -a -b -c -D -H -h -k -L -l -m -P -S -s -x --null --all --apparent-size --bytes --total --dereference-args --human-readable",
            ),
            on("--inodes --dereference --count-links --no-dereference --separate-dirs --si --summarize --one-file-system"),
            takes("-B -d -t --block-size --max-depth --threshold --time-style --exclude"),
            may("--time"),
            reads("-X --exclude-from"),
        ],
    ),
    row(
        "df",
        Lists,
        &[
            on("-a -h -H -i -k -l -P -T --all --human-readable --si --inodes --local --no-sync --portability --total --print-type"),
            takes("-B -t -x --block-size --type --exclude-type"),
            may("--output"),
        ],
    ),
    row(
        "tree",
        LooksHere,
        &[
            on(
                "-a -d -l -f -x -q -N -Q -p -u -g -s -h -D -F -v -t -c -U -r -i -A -S -n -C -X -J --gitignore --ignore-case --matchdirs --prune",
            ),
            on("--noreport --si --du --inodes --device --dirsfirst --filesfirst --nolinks"),
            takes("-L -P -I -H -T"),
            may("--charset --filelimit --timefmt --sort"),
        ],
    )
    .alone(),
    row(
        "find",
        LooksHere,
        &[
            on("-H -L -P -daystart -depth -d -follow -mount -xdev -noleaf -nowarn -warn -ignore_readdir_race -noignore_readdir_race"),
            on("-empty -executable -false -nogroup -nouser -readable -true -writable -print -print0 -prune -quit -ls -not -a -and -o -or"),
            takes(
                "-maxdepth -mindepth -amin -atime -cmin -ctime -fstype -gid -group -ilname -iname -inum -ipath -iregex -iwholename -links",
            ),
            takes(
                "-lname -mmin -mtime -name -path -perm -regex -regextype -size -type -uid -used -user -wholename -xtype -context -printf",
            ),
            takes("-newermt -newerat -newerct"),
            looks("-anewer -cnewer -newer -samefile"),
            writes("-fprint -fprint0 -fls -fprintf"),
            on("-delete").at(Risk::Destructive),
        ],
    )
    .raw(find::judge),
    row("basename", Text, &[]).any(),
    row("dirname", Text, &[]).any(),
    row("pwd", Text, &[on("-L -P")]),
    row("cd", Lists, &[on("-L -P")]),
];
