//! What is known of each program. To add one, write its row where its kind is, with the flags that are known to be harmless (`on`, `takes`, …) and
//! those of a higher risk (`.at(…)`). A flag that is left out is of the highest risk, and so is every shortened long flag. `tests/programs.rs` runs
//! the real program with each flag.

mod admin;
mod disk;
mod files;
mod host;
mod log;
mod shell;
mod text;
mod tree;

use super::row::Row;

const TABLES: &[&[Row]] = &[text::ROWS, files::ROWS, tree::ROWS, host::ROWS, disk::ROWS, log::ROWS, shell::ROWS, admin::ROWS];

/// All rows.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    TABLES.iter().copied().flatten()
}

/// The row of a program.
pub(super) fn find(name: &str) -> Option<&'static Row> {
    rows().find(|row| row.names().any(|known| known == name))
}
