//! Programs that make, change and remove files.

use super::super::row::Operands::{Creates, Deletes, Overwrites, Own, Text};
use super::super::row::{Row, looks, may, on, reads, row, takes};
use super::super::{special, tar};
use crate::operation::Risk;

const OF_RIGHTS: &str = "changes who may do what";

/// The rows.
pub(super) const ROWS: &[Row] = &[
    row("touch", Own(special::touch), &[
        on("-a -c -f -h -m --no-create --no-dereference"),
        takes("-d -t --date --time"),
        looks("-r --reference"),
    ])
    .floor(Risk::Write, "touches files"),
    row("mkdir", Creates, &[on("-p -v --parents --verbose")]).floor(Risk::Write, "makes directories"),
    row("rmdir", Deletes, &[on("-p -v --ignore-fail-on-non-empty --parents --verbose")]).floor(Risk::Destructive, "removes directories"),
    row("rm", Deletes, &[
        on("-f -i -I -r -R -d -v --force --one-file-system --recursive --dir --verbose"),
        may("--interactive --preserve-root"),
    ])
    .floor(Risk::Destructive, "removes files"),
    row("unlink", Deletes, &[]).floor(Risk::Destructive, "removes a file"),
    row("mv", Own(special::mv), &[
        on("-f -i -n -T -u -v -b --force --interactive --no-clobber --strip-trailing-slashes --no-target-directory --update --verbose"),
        takes("-t --target-directory"),
    ])
    .floor(Risk::Destructive, "moves files"),
    row("cp", Own(special::cp), &[
        on("-a -d -f -i -H -l -L -n -P -p -R -r -s -T -u -v -x -b --archive --attributes-only --force --interactive --link --dereference"),
        on("--no-clobber --no-dereference --parents --recursive --remove-destination --strip-trailing-slashes --symbolic-link"),
        on("--no-target-directory --update --verbose --one-file-system"),
        takes("-t --target-directory --sparse --no-preserve"),
        may("--preserve --reflink"),
    ])
    .floor(Risk::Write, "copies files"),
    row("ln", Own(special::ln), &[
        on("-f -i -L -n -P -r -s -T -v -b --force --interactive --logical --no-dereference --physical --relative --symbolic"),
        on("--no-target-directory --verbose"),
        takes("-t --target-directory"),
    ])
    .floor(Risk::Write, "makes links"),
    row("install", Own(special::cp), &[on("-C -D -p -T -v -b --compare --preserve-timestamps --no-target-directory --verbose"), takes("-t")])
        .floor(Risk::Destructive, "may overwrite files"),
    row("tee", Own(special::tee), &[on("-a -i -p --append --ignore-interrupts"), may("--output-error")]),
    row("truncate", Overwrites, &[on("-c -o --no-create --io-blocks"), takes("-s --size"), looks("-r --reference")])
        .floor(Risk::Destructive, "cuts files off"),
    row("dd", Text, &[]).raw(special::dd),
    row("chmod chown chgrp", Own(special::second_on), &[
        on("-c -f -v -R --changes --silent --quiet --verbose --recursive").at(Risk::Admin),
        on("-h -H -L -P").at(Risk::Admin),
    ])
    .floor(Risk::Admin, OF_RIGHTS),
    row("setfacl chattr setfattr setcap chcon restorecon", Text, &[]).any().floor(Risk::Admin, OF_RIGHTS),
    row("gzip", Own(tar::squeeze), &[
        on("-c -d -f -k -l -n -N -q -r -t -v -1 -2 -3 -4 -5 -6 -7 -8 -9 --stdout --to-stdout --decompress --uncompress --force --keep --list"),
        on("--no-name --name --quiet --recursive --test --verbose --fast --best --rsyncable"),
    ]),
    row("gunzip", Own(tar::squeeze), &[on("-c -f -k -l -n -N -q -r -t -v --stdout --to-stdout --force --keep --list --quiet --test --verbose")]),
    row("bzip2 bunzip2", Own(tar::squeeze), &[
        on("-c -d -f -k -q -s -t -v -z -1 -2 -3 -4 -5 -6 -7 -8 -9 --stdout --decompress --compress --force --keep --quiet --test --verbose"),
    ]),
    row("xz unxz", Own(tar::squeeze), &[
        on("-c -d -e -f -k -l -q -t -v -z -0 -1 -2 -3 -4 -5 -6 -7 -8 -9 --stdout --to-stdout --decompress --uncompress --compress --force"),
        on("--keep --list --quiet --test --verbose --extreme"),
        takes("-T --threads"),
    ]),
    row("tar", Text, &[
        on("-t -x -c -v -z -j -J -a -p -k -h -O -S -m -n --list --extract --get --create --verbose --gzip --bzip2 --xz --auto-compress"),
        on("--keep-old-files --dereference --to-stdout --numeric-owner --no-same-owner --wildcards --anchored --full-time --sparse --utc"),
        reads("-X --exclude-from"),
        takes("-f --file --exclude --strip-components --sort --mtime --owner --group"),
        looks("-C --directory"),
    ])
    .raw(tar::judge),
    row("unzip", Text, &[]).raw(tar::unzip),
    row("zipinfo", super::super::row::Operands::Reads, &[on("-1 -2 -s -m -l -v -h -t -z")]),
    row("split csplit mktemp mkfifo mknod shred patch ed ex zip logger wall write", Text, &[])
    .any()
    .floor(Risk::Admin, "writes in a way that is not looked into"),
];
