//! What a target's error may say to an agent: what is wrong with the statement, never what is in the data.
//!
//! Databases quote values in errors (`Key (email)=(…) already exists`, `malformed JSON path`), and code inside them raises errors with any text and
//! any number. Only what the server says while it prepares a statement is passed on, since it has read no row by then and all it can quote is
//! the statement. What it says later is said in our own words, with the names of tables, columns and constraints alone.

mod mysql;

use crate::refusal::{Code, Refusal};

pub(super) use mysql::{mysql, mysql_commit, mysql_prepared};

/// Most of what a target says that is passed on.
const TEXT_MAX: usize = 300;

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect()
}

/// For an error of SQLite while it prepares.
pub(super) fn sqlite_prepared(error: &rusqlite::Error) -> Refusal {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => Refusal::new(Code::TargetFailed).detail(cut(msg)),
        rusqlite::Error::SqliteFailure(code, Some(message)) if code.code == rusqlite::ErrorCode::Unknown => {
            Refusal::new(Code::TargetFailed).detail(cut(message))
        }
        other => sqlite(other),
    }
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
            E::ConstraintViolation => failed.detail(constraint(code.extended_code, message.as_deref())),
            E::TooBig => failed.detail("a value or the statement is too large"),
            E::TypeMismatch => failed.detail("a value does not fit its column"),
            _ => failed.detail("the database reported an error while the statement ran, whose text is withheld"),
        },
        rusqlite::Error::SqlInputError { .. } => failed.detail("the statement is not valid"),
        other => failed.cause(other),
    }
}

/// `UNIQUE constraint failed: customers.email` names columns and no value, a CHECK its own text; what a trigger raises may be made of data.
fn constraint(extended: i32, message: Option<&str>) -> String {
    use rusqlite::ffi;
    match extended {
        ffi::SQLITE_CONSTRAINT_UNIQUE
        | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | ffi::SQLITE_CONSTRAINT_NOTNULL
        | ffi::SQLITE_CONSTRAINT_CHECK
        | ffi::SQLITE_CONSTRAINT_ROWID
        | ffi::SQLITE_CONSTRAINT_FOREIGNKEY
        | ffi::SQLITE_CONSTRAINT_DATATYPE => cut(message.unwrap_or("a constraint failed")),
        ffi::SQLITE_CONSTRAINT_TRIGGER => "the database's own code raised an error, whose text is withheld".to_owned(),
        _ => "a constraint failed".to_owned(),
    }
}

/// For an error of PostgreSQL while it prepares.
pub(super) fn postgres_prepared(error: &sqlx::Error) -> Refusal {
    let database = error.as_database_error().map(|database| database.downcast_ref::<sqlx::postgres::PgDatabaseError>());
    match database {
        Some(error) if error.code().starts_with("42") => {
            let code = if error.code() == "42501" { Code::TargetRefused } else { Code::TargetFailed };
            Refusal::new(code).detail(format!("{} (SQLSTATE {})", cut(error.message()), error.code()))
        }
        _ => postgres(error),
    }
}

/// For a COMMIT that failed: a server that reports an error has rolled back; if the connection or the session is gone, nobody knows.
pub(super) fn postgres_commit(error: &sqlx::Error) -> Refusal {
    use sqlx::postgres::{PgDatabaseError, PgSeverity};
    let database = error.as_database_error().and_then(|database| database.try_downcast_ref::<PgDatabaseError>());
    match database.map(PgDatabaseError::severity) {
        Some(PgSeverity::Error) => postgres(error),
        _ => Refusal::new(Code::Unresolved).detail("the connection was lost while the change was being made final").cause(error),
    }
}

/// For an error of PostgreSQL.
pub(super) fn postgres(error: &sqlx::Error) -> Refusal {
    match error {
        sqlx::Error::Database(database) => {
            let error = database.downcast_ref::<sqlx::postgres::PgDatabaseError>();
            match error.code() {
                code @ "42501" => Refusal::new(Code::TargetRefused).detail(format!("{} (SQLSTATE {code})", condition(code))),
                code if code.starts_with("28") => Refusal::new(Code::TargetRefused).detail("the login was not accepted"),
                "3D000" => Refusal::new(Code::TargetUnreachable).detail("the database does not exist"),
                "57014" => Refusal::new(Code::TargetTimeout),
                code @ ("53300" | "57P03" | "55P03") => Refusal::new(Code::TargetBusy).detail(format!("SQLSTATE {code}")),
                code if code.starts_with("08") || code.starts_with("57P") => {
                    Refusal::new(Code::TargetUnreachable).detail(format!("SQLSTATE {code}"))
                }
                code => Refusal::new(Code::TargetFailed).detail(format!("{}{} (SQLSTATE {code})", condition(code), names(error))),
            }
        }
        other => transport(other),
    }
}

/// For an error that the server did not report.
fn transport(error: &sqlx::Error) -> Refusal {
    match error {
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

/// What an integrity error is about. Other errors have no use for names, and raised ones could put anything there.
fn names(error: &sqlx::postgres::PgDatabaseError) -> String {
    if !error.code().starts_with("23") {
        return String::new();
    }
    let names: Vec<String> = [("table", error.table()), ("column", error.column()), ("constraint", error.constraint())]
        .into_iter()
        .filter_map(|(what, name)| name.map(|name| format!("{what} `{}`", cut(name))))
        .collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

/// A SQLSTATE in words that hold no value.
fn condition(code: &str) -> &'static str {
    match code {
        "22001" => "a text is too long for its column",
        "22003" => "a number is out of range",
        "22007" | "22008" => "a date or time is not valid",
        "22012" => "division by zero",
        "22P02" | "22023" | "42601" | "42602" | "22030" | "22032" => "a value does not have the form of its type",
        "42P01" | "42703" | "42883" | "3F000" => "something that is named there does not exist",
        "23502" => "a value is missing where one must be",
        "23503" => "a row refers to another that is not there, or is referred to",
        "23505" => "a row with the same key is there already",
        "23514" => "a check constraint failed",
        "25006" => "the transaction is read-only",
        "42501" => "this role may not do that to a table, schema or function of the statement",
        "40001" | "40P01" => "the transaction collided with another; try again",
        "53100" | "53200" => "the server is out of disk or memory",
        "54000" | "54001" => "the statement is too complex for the server",
        "P0001" => "the database's own code raised an error, whose text is withheld",
        _ => "the server reported an error, whose text is withheld",
    }
}
