//! Programs that tell of disks, file systems and hardware.

use super::super::row::Operands::{Lists, Own, Text};
use super::super::row::{Row, looks, may, on, row, takes};
use super::super::verbs;
use crate::operation::Risk;

/// The rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "lsblk",
        Lists,
        &[
            on(
                "-A -D -J -M -O -P -S -a -b -d -f -i -l -m -n -p -r -s -t -z --noempty --discard --json --merge --output-all --pairs --scsi",
            ),
            on("--all --bytes --nodeps --fs --ascii --list --perms --noheadings --paths --raw --inverse --topology --zoned"),
            takes("-E -I -e -o -w -x --dedup --include --exclude --output --width --sort"),
            may("-T --tree"),
        ],
    ),
    row(
        "blkid",
        Lists,
        &[
            on("-d -k -l -p -i -D --no-encoding --list-filesystems --list-one --probe --info --no-part-details"),
            takes("-o -s -t -L -U -n -u --output --match-tag --match-token --label --uuid --match-types --usages"),
        ],
    )
    .floor(Risk::Write, "reads devices and writes its cache"),
    row(
        "findmnt",
        Lists,
        &[
            on(
                "-s -m -k -A -a -b -C -c -D -e -f -i -J -l -n -P -R -r -U -u -v -y --fstab --mtab --kernel --all --ascii --bytes --nocanonicalize",
            ),
            on("--canonicalize --df --evaluate --first-only --invert --json --list --noheadings --output-all --pairs --pseudo --submounts"),
            on("--raw --real --tree --uniq --notruncate --nofsroot --verbose --shadowed"),
            takes("-d -O -o -t -N --direction --options --output --types --task"),
            looks("-S -T -M --source --target --mountpoint"),
        ],
    ),
    row("mount", Own(verbs::none_or_admin), &[on("-l -v --show-labels --verbose"), takes("-t --types")]),
    row(
        "lscpu",
        Text,
        &[
            on("-a -b -B -c -J -x -y --all --online --bytes --offline --json --hex --physical --output-all"),
            may("-C -e -p --caches --extended --parse"),
        ],
    ),
    row("lsmod", super::super::row::Operands::No, &[]),
    row("lspci", Own(verbs::lspci), &[on("-m -v -k -x -b -D -P -PP -t -n -vv -vvv -nn"), takes("-s -d")]),
    row("lsusb", Text, &[on("-v -t"), takes("-s -d")]),
    row("umount swapon swapoff losetup mkfs fdisk parted fsck mkswap lvm dmsetup", Text, &[])
        .any()
        .floor(Risk::Admin, "changes what is mounted or stored"),
];
