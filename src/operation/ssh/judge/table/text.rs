//! Programs that read text and print text.

use super::super::row::Operands::{Own, Reads, Text};
use super::super::row::{Row, looks, may, on, pair, reads, row, takes, writes};
use super::super::{awk, sed, special};
use crate::operation::Risk;

/// The rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "cat",
        Reads,
        &[on(
            "-A -b -e -E -n -s -t -T -u -v --show-all --number-nonblank --show-ends --number --squeeze-blank --show-tabs --show-nonprinting",
        )],
    ),
    row("tac", Reads, &[on("-b -r --before --regex"), takes("-s --separator")]),
    row("rev", Reads, &[]),
    row(
        "nl",
        Reads,
        &[
            on("-p --no-renumber"),
            takes("-b -d -f -h -i -l -n -s -v -w --body-numbering --section-delimiter --footer-numbering --header-numbering"),
            takes("--line-increment --join-blank-lines --number-format --number-separator --starting-line-number --number-width"),
        ],
    ),
    row("head", Reads, &[on("-q -v -z -NUM --quiet --silent --verbose --zero-terminated"), takes("-c -n --bytes --lines")]),
    row(
        "tail",
        Reads,
        &[
            on("-f -F -q -v -z -NUM --quiet --silent --retry --verbose --zero-terminated"),
            takes("-c -n -s --bytes --lines --pid --sleep-interval --max-unchanged-stats"),
            may("--follow"),
        ],
    ),
    row("wc", Reads, &[on("-c -m -l -L -w --bytes --chars --lines --max-line-length --words")]),
    row(
        "cut",
        Reads,
        &[
            on("-n -s -z --complement --only-delimited --zero-terminated"),
            takes("-b -c -d -f --bytes --characters --delimiter --fields --output-delimiter"),
        ],
    ),
    row("tr", Text, &[on("-c -C -d -s -t --complement --delete --squeeze-repeats --truncate-set1")]),
    row(
        "sort",
        Reads,
        &[
            on(
                "-b -d -f -g -h -i -M -n -r -R -s -u -V -z -c -C -m --ignore-leading-blanks --dictionary-order --ignore-case --general-numeric-sort",
            ),
            on(
                "--human-numeric-sort --ignore-nonprinting --month-sort --numeric-sort --reverse --random-sort --stable --unique --version-sort",
            ),
            on("--zero-terminated --merge --debug"),
            may("--check"),
            takes("-k -t -S --key --field-separator --buffer-size --batch-size --parallel --sort"),
            writes("-o --output"),
        ],
    ),
    row(
        "uniq",
        Own(special::in_and_out),
        &[
            on("-c -d -D -i -u -z --count --repeated --ignore-case --unique --zero-terminated"),
            takes("-f -s -w --skip-fields --skip-chars --check-chars"),
            may("--all-repeated --group"),
        ],
    ),
    row(
        "grep egrep fgrep",
        Own(special::grep),
        &[
            on("-E -F -G -P -i -y -w -x -z -s -v -V -b -n -H -h -o -q -a -I -r -R -L -l -c -T -Z -U -NUM"),
            on(
                "--extended-regexp --fixed-strings --basic-regexp --perl-regexp --ignore-case --no-ignore-case --word-regexp --line-regexp --null-data",
            ),
            on(
                "--no-messages --invert-match --byte-offset --line-number --line-buffered --with-filename --no-filename --only-matching --quiet",
            ),
            on(
                "--silent --text --recursive --dereference-recursive --files-without-match --files-with-matches --count --initial-tab --null",
            ),
            on("--no-group-separator --binary"),
            takes(
                "-e -m -d -D -B -A -C --regexp --max-count --label --binary-files --directories --devices --include --exclude --exclude-dir",
            ),
            takes("--before-context --after-context --context --group-separator"),
            reads("-f --file --exclude-from"),
            may("--color --colour"),
        ],
    ),
    row(
        "sed",
        Own(sed::judge),
        &[
            on("-n -E -r -s -u -z --quiet --silent --debug --posix --regexp-extended --separate --sandbox --unbuffered --null-data"),
            takes("-e -l --expression --line-length"),
            may("-i --in-place").at(Risk::Destructive),
        ],
    ),
    row("awk gawk mawk", Own(awk::judge), &[takes("-F -v")]).stops(),
    row(
        "jq",
        Own(special::jq),
        &[
            on(
                "-c -n -e -s -r -R -j -a -C -M -S --compact-output --null-input --exit-status --slurp --raw-output --raw-input --join-output",
            ),
            on("--ascii-output --color-output --monochrome-output --sort-keys --tab --stream --seq --unbuffered --args --jsonargs"),
            takes("--indent"),
            pair("--arg --argjson"),
        ],
    ),
    row(
        "od",
        Reads,
        &[
            on("-v -a -b -c -d -f -i -l -o -s -x --output-duplicates --traditional"),
            takes("-A -j -N -t -S --address-radix --endian --skip-bytes --read-bytes --format"),
            may("-w --width --strings"),
        ],
    ),
    row(
        "xxd",
        Own(special::in_and_out),
        &[on("-a -b -C -d -e -E -i -p -ps -u"), takes("-c -cols -g -l -len -s -seek -o -n"), on("-r").at(Risk::Destructive)],
    )
    .words(),
    row(
        "hexdump hd",
        Reads,
        &[
            on("-b -c -C -d -o -x -v --one-byte-octal --one-byte-char --canonical --two-bytes-decimal --two-bytes-octal --two-bytes-hex"),
            on("--no-squeezing"),
            takes("-e -n -s --format --length --skip"),
            may("-L --color"),
        ],
    ),
    row(
        "strings",
        Own(special::strings),
        &[
            on("-a -d -f -w -o --all --data --print-file-name --include-all-whitespace"),
            takes("-n -t -e -s --bytes --radix --encoding --output-separator"),
        ],
    ),
    row("md5sum sha1sum sha224sum sha256sum sha384sum sha512sum", Reads, &[on("-b -t -z --binary --tag --text --zero")]),
    row("b2sum", Reads, &[on("-b -t -z --binary --tag --text --zero"), takes("-l --length")]),
    row("cksum", Reads, &[on("-z --tag --untagged --zero --debug"), takes("-a -l --algorithm --length")]),
    row("sum", Reads, &[on("-r -s --sysv")]),
    row("base64 base32", Reads, &[on("-d -i --decode --ignore-garbage"), takes("-w --wrap")]),
    row(
        "diff",
        Own(special::diff),
        &[
            on(
                "--normal -q -s -e -n -y -p -t -T -r -N -i -E -Z -b -w -B -a -d -u -c --brief --report-identical-files --ed --rcs --side-by-side",
            ),
            on("--left-column --suppress-common-lines --show-c-function --expand-tabs --initial-tab --suppress-blank-empty --recursive"),
            on("--no-dereference --new-file --unidirectional-new-file --ignore-file-name-case --no-ignore-file-name-case --ignore-case"),
            on("--ignore-tab-expansion --ignore-trailing-space --ignore-space-change --ignore-all-space --ignore-blank-lines --text"),
            on("--strip-trailing-cr --minimal --speed-large-files"),
            takes("-W -F -x -S -I -U -C --width --show-function-line --label --tabsize --exclude --starting-file --ignore-matching-lines"),
            takes("--horizon-lines"),
            reads("-X --exclude-from --from-file --to-file"),
            may("--color --context --unified"),
        ],
    ),
    row("cmp", Reads, &[on("-b -l -s --print-bytes --verbose --quiet --silent"), takes("-i -n --ignore-initial --bytes")]),
    row("comm", Reads, &[on("-1 -2 -3 -z --check-order --nocheck-order --total --zero-terminated"), takes("--output-delimiter")]),
    row(
        "join",
        Reads,
        &[on("-i -z --ignore-case --check-order --nocheck-order --header --zero-terminated"), takes("-a -e -j -o -t -v -1 -2")],
    ),
    row("paste", Reads, &[on("-s -z --serial --zero-terminated"), takes("-d --delimiters")]),
    row("fold", Reads, &[on("-b -s --bytes --spaces"), takes("-w --width")]),
    row(
        "fmt",
        Reads,
        &[on("-c -s -t -u --crown-margin --split-only --tagged-paragraph --uniform-spacing"), takes("-p -w -g --prefix --width --goal")],
    ),
    row("expand", Reads, &[on("-i --initial"), takes("-t --tabs")]),
    row("unexpand", Reads, &[on("-a --all --first-only"), takes("-t --tabs")]),
    row(
        "column",
        Reads,
        &[
            on("-t -d -e -L -J -x --table --table-noheadings --table-header-repeat --keep-empty-lines --json --fillrows"),
            takes(
                "-O -N -l -E -H -R -T -W -r -i -p -c -o -s --table-name --table-order --table-columns --table-columns-limit --table-noextreme",
            ),
            takes(
                "--table-hide --table-right --table-truncate --table-wrap --tree --tree-id --tree-parent --output-width --output-separator",
            ),
            takes("--separator"),
        ],
    ),
    row("shuf", Reads, &[on("-r -z --repeat --zero-terminated"), takes("-n -i --head-count --input-range"), writes("-o --output")]),
    row(
        "numfmt",
        Text,
        &[
            on("-z --debug --grouping --zero-terminated"),
            takes("-d --delimiter --field --format --from --from-unit --invalid --padding --round --suffix --to --to-unit"),
            may("--header"),
        ],
    ),
    row("iconv", Own(special::iconv), &[on("-c -s -l --silent --list"), takes("-f -t --from-code --to-code"), writes("-o --output")]),
    row(
        "file",
        Reads,
        &[
            on("-b -i -k -L -h -n -N -0 -r -E --brief --mime --mime-type --mime-encoding --apple --extension --keep-going --dereference"),
            on("--no-dereference --no-buffer --no-pad --print0 --raw"),
            takes("-e -F -P --exclude --separator --parameter"),
        ],
    ),
    row("zcat", Own(special::zcat), &[]),
    row("bzcat xzcat", Reads, &[]),
    row("zgrep zegrep zfgrep", Own(special::zgrep), &[on("-E -F -i -v -n -H -h -o -q -a -l -c -w -x"), takes("-e -m -A -B -C")]),
    row("locale", Text, &[on("-a -m -c -k -v --all-locales --charmaps --category-name --keyword-name --verbose")]),
    row("cal ncal", Text, &[on("-j -y -3 -1"), takes("-A -B -m")]),
    row("tty", Text, &[on("-s --silent --quiet")]),
    row(
        "stat",
        super::super::row::Operands::Lists,
        &[on("-L -f -t --dereference --file-system --terse"), takes("-c --format --printf --cached")],
    ),
    row(
        "readlink",
        super::super::row::Operands::Lists,
        &[on(
            "-f -e -m -n -q -s -v -z --canonicalize --canonicalize-existing --canonicalize-missing --no-newline --quiet --silent --verbose --zero",
        )],
    ),
    row(
        "realpath",
        super::super::row::Operands::Lists,
        &[
            on(
                "-e -m -L -P -q -s -z --canonicalize-existing --canonicalize-missing --logical --physical --quiet --strip --no-symlinks --zero",
            ),
            looks("--relative-to --relative-base"),
        ],
    ),
];
