//! What a target's error may say to an agent: what is wrong with the statement, never what is in the data.
//!
//! Databases quote values in errors (`Key (email)=(…) already exists`). Errors about names and syntax are passed on, since all they quote is the
//! statement; all others are said in our own words, with the names of tables, columns and constraints alone.

use crate::refusal::{Code, Refusal};

/// Most of what a target says that is passed on.
const TEXT_MAX: usize = 300;

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect()
}

/// For an error of SQLite.
pub(super) fn sqlite(error: &rusqlite::Error) -> Refusal {
    use rusqlite::ErrorCode as E;
    let failed = Refusal::new(Code::TargetFailed);
    match error {
        rusqlite::Error::SqliteFailure(code, message) => match code.code {
            E::OperationInterrupted => Refusal::new(Code::TargetCancelled),
            E::DatabaseBusy | E::DatabaseLocked => Refusal::new(Code::TargetBusy).detail("the database is locked by another writer"),
            E::CannotOpen | E::NotADatabase | E::DatabaseCorrupt | E::SystemIoFailure | E::DiskFull => {
                Refusal::new(Code::TargetUnreachable).cause(error)
            }
            E::ReadOnly => Refusal::new(Code::TargetRefused).detail("the database is read-only"),
            // `UNIQUE constraint failed: customers.email` names columns and no value; a CHECK names its own text.
            E::ConstraintViolation => failed.detail(cut(message.as_deref().unwrap_or("a constraint failed"))),
            E::TooBig => failed.detail("a value or the statement is too large"),
            E::TypeMismatch => failed.detail("a value does not fit its column"),
            // Syntax and names: what is quoted is the statement.
            E::Unknown => failed.detail(cut(message.as_deref().unwrap_or("the statement failed"))),
            _ => failed.cause(error),
        },
        rusqlite::Error::SqlInputError { msg, .. } => failed.detail(cut(msg)),
        other => failed.cause(other),
    }
}

/// For an error of PostgreSQL.
pub(super) fn postgres(error: &sqlx::Error) -> Refusal {
    match error {
        sqlx::Error::Database(database) => {
            let error = database.downcast_ref::<sqlx::postgres::PgDatabaseError>();
            let code = error.code();
            let names: Vec<String> = [("table", error.table()), ("column", error.column()), ("constraint", error.constraint())]
                .into_iter()
                .filter_map(|(what, name)| name.map(|name| format!("{what} `{}`", cut(name))))
                .collect();
            let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
            match code {
                "42501" => Refusal::new(Code::TargetRefused).detail(cut(error.message())),
                code if code.starts_with("28") => Refusal::new(Code::TargetRefused).detail("the login was not accepted"),
                "3D000" => Refusal::new(Code::TargetUnreachable).detail("the database does not exist"),
                code if code.starts_with("42") => {
                    Refusal::new(Code::TargetFailed).detail(format!("{} (SQLSTATE {code})", cut(error.message())))
                }
                "57014" => Refusal::new(Code::TargetTimeout),
                "53300" | "57P03" | "55P03" => Refusal::new(Code::TargetBusy).detail(format!("SQLSTATE {code}")),
                code if code.starts_with("08") || code.starts_with("57P") => {
                    Refusal::new(Code::TargetUnreachable).detail(format!("SQLSTATE {code}"))
                }
                code => Refusal::new(Code::TargetFailed).detail(format!("{}{names} (SQLSTATE {code})", condition(code))),
            }
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolClosed => {
            Refusal::new(Code::TargetUnreachable).cause(error)
        }
        sqlx::Error::PoolTimedOut => Refusal::new(Code::TargetUnreachable).detail("no connection was made in time"),
        other => Refusal::new(Code::TargetFailed).cause(other),
    }
}

/// Whether a server did not take the login itself.
pub(super) fn is_login(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().is_some_and(|code| code.starts_with("28")))
}

/// A SQLSTATE in words that hold no value.
fn condition(code: &str) -> &'static str {
    match code {
        "22001" => "a text is too long for its column",
        "22003" => "a number is out of range",
        "22007" | "22008" => "a date or time is not valid",
        "22012" => "division by zero",
        "22P02" | "22023" => "a value does not have the form of its type",
        "23502" => "a value is missing where one must be",
        "23503" => "a row refers to another that is not there, or is referred to",
        "23505" => "a row with the same key is there already",
        "23514" => "a check constraint failed",
        "25006" => "the transaction is read-only",
        "40001" | "40P01" => "the transaction collided with another; try again",
        "53100" | "53200" => "the server is out of disk or memory",
        "54000" | "54001" => "the statement is too complex for the server",
        "P0001" => "the database's own code raised an error, whose text is withheld",
        _ => "the server reported an error, whose text is withheld",
    }
}
