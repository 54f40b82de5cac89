//! `git`, one row a subcommand.

use super::super::git;
use super::super::row::Operands::{Deletes, Own, Text};
use super::super::row::{Row, may, on, row, takes};
use crate::operation::Risk;

const RUNS: &str = "the repository's own configuration may run programs";

/// The rows.
pub(super) const ROWS: &[Row] = &[
    row("git", Text, &[]).raw(git::judge),
    row("git status", Own(git::revisions), &[
        on("-s -b -v -z --short --branch --show-stash --long --verbose --ignored --no-renames --ahead-behind --no-ahead-behind"),
        may("--porcelain -u --untracked-files --ignore-submodules --column --find-renames"),
    ])
    .floor(Risk::Write, RUNS),
    row("git log|git show", Own(git::revisions), &[
        on("-p -s -z -i -E -F -m -c -w -b -r -t -g -NUM --oneline --graph --all --branches --tags --remotes --decorate --stat --numstat --shortstat"),
        on("--name-only --name-status --no-merges --merges --reverse --patch --no-patch --follow --first-parent --no-color --abbrev-commit"),
        on("--no-decorate --summary --raw --full-index --date-order --topo-order --no-ext-diff --no-textconv --no-renames --no-notes"),
        takes("-n -G -S -L --max-count --since --until --after --before --author --committer --grep --date --skip --diff-filter"),
        may("--format --pretty --color --abbrev -U -M -C"),
    ])
    .floor(Risk::Write, RUNS),
    row("git diff", Own(git::revisions), &[
        on("-p -s -z -w -b -a -R --staged --cached --stat --numstat --shortstat --name-only --name-status --summary --raw --patch --no-patch"),
        on("--no-color --no-ext-diff --no-textconv --no-renames --check --quiet --exit-code --word-diff --minimal --histogram --patience"),
        takes("-G -S --diff-filter"),
        may("-U -M -C --color --unified"),
    ])
    .floor(Risk::Write, RUNS),
    row("git branch", Own(git::names), &[
        on("-a -r -v -vv -l -i --all --remotes --verbose --list --show-current --no-color --ignore-case"),
        takes("--sort --format --points-at"),
        may("--contains --merged --no-merged --color"),
        on("-d -D -f -m -M --delete --force --move").at(Risk::Destructive),
    ])
    .floor(Risk::Write, RUNS),
    row("git tag", Own(git::names), &[
        on("-l --list"),
        takes("--sort --format --points-at -n"),
        may("--contains --merged --no-merged"),
        on("-d --delete").at(Risk::Destructive),
    ])
    .floor(Risk::Write, RUNS),
    row("git rev-parse", Own(git::revisions), &[
        on("-q --verify --short --abbrev-ref --show-toplevel --git-dir --is-inside-work-tree --is-bare-repository --show-prefix --quiet --symbolic"),
    ])
    .floor(Risk::Write, RUNS),
    row("git ls-files", Own(git::revisions), &[on("-t -z -d -m -o -c -s --full-name --deleted --modified --others --cached --stage")])
        .floor(Risk::Write, RUNS),
    row("git ls-tree", Own(git::revisions), &[on("-t -z -r -d -l --name-only --full-name --long")]).floor(Risk::Write, RUNS),
    row("git blame", Own(git::revisions), &[on("-w -e -s -l -t -p --porcelain --show-email"), takes("-L --since")]).floor(Risk::Write, RUNS),
    row("git shortlog", Own(git::revisions), &[on("-s -n -e --summary --numbered --email"), takes("--since --until")]).floor(Risk::Write, RUNS),
    row("git describe", Own(git::revisions), &[on("--all --tags --always --long"), may("--dirty --abbrev"), takes("--match")])
        .floor(Risk::Write, RUNS),
    row("git cat-file", Own(git::revisions), &[on("-t -s -p -e")]).floor(Risk::Write, RUNS),
    row("git rev-list|git merge-base", Own(git::revisions), &[on("--all")]).floor(Risk::Write, RUNS),
    row("git remote", Own(git::remote), &[on("-v --verbose")]).floor(Risk::Write, RUNS),
    row("git stash|git worktree", Own(git::lists), &[]).floor(Risk::Write, RUNS),
    row("git config", Own(git::config), &[on("-l --list --get --get-all --get-regexp --show-origin --local --global")]).floor(Risk::Write, RUNS),
    row("git add", Own(git::revisions), &[on("-A -u -v -n --all --update --verbose --dry-run")]).floor(Risk::Write, RUNS),
    row("git reset", Own(git::revisions), &[on("-q --hard --soft --mixed --quiet").at(Risk::Destructive)])
        .floor(Risk::Destructive, "moves a branch, or loses what is not committed"),
    row("git clean", Deletes, &[on("-f -d -x -X -n -q --force --dry-run --quiet").at(Risk::Destructive)])
        .floor(Risk::Destructive, "removes files"),
];
