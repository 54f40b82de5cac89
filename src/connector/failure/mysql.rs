//! The same for MySQL and MariaDB, whose messages quote values (`Duplicate entry '…' for key`), accounts and hosts.

use sqlx::mysql::MySqlDatabaseError;

use super::cut;
use crate::refusal::{Code, Refusal};

fn database(error: &sqlx::Error) -> Option<&MySqlDatabaseError> {
    error.as_database_error().and_then(|database| database.try_downcast_ref::<MySqlDatabaseError>())
}

/// For an error while it prepares: names and syntax are the statement's own.
pub(in crate::connector) fn mysql_prepared(error: &sqlx::Error) -> Refusal {
    match database(error) {
        // Unknown column or table, ambiguous or double name, syntax, no such function, wrong number of columns or arguments, grouping.
        Some(error)
            if matches!(
                error.number(),
                1052 | 1054 | 1055 | 1060 | 1064 | 1066 | 1111 | 1146 | 1222 | 1241 | 1248 | 1305 | 1318 | 1582
            ) =>
        {
            Refusal::new(Code::TargetFailed).detail(format!("{} (error {})", cut(error.message()), error.number()))
        }
        _ => mysql(error),
    }
}

/// For a COMMIT that failed: a server that reports an error has rolled back; if the connection is gone, nobody knows.
pub(in crate::connector) fn mysql_commit(error: &sqlx::Error) -> Refusal {
    match database(error) {
        // A server that shuts down, or a thread that was killed, says so before it is clear what became of the change.
        Some(known) if !matches!(known.number(), 1053 | 1180 | 1927 | 2000..=2999 | 3168 | 9000..) => mysql(error),
        _ => Refusal::new(Code::Unresolved).detail("the connection was lost while the change was being made final").cause(error),
    }
}

/// For an error of MySQL or MariaDB.
pub(in crate::connector) fn mysql(error: &sqlx::Error) -> Refusal {
    let Some(known) = database(error) else { return super::transport(error) };
    let number = known.number();
    let said = |code: Code| Refusal::new(code).detail(format!("{} (error {number})", condition(number)));
    match number {
        1045 | 1698 | 1251 | 1820 | 1862 | 3118 | 4151 => Refusal::new(Code::TargetRefused).detail("the login was not accepted"),
        1044 | 1142 | 1143 | 1227 | 1370 | 1290 | 1419 => said(Code::TargetRefused),
        1049 => Refusal::new(Code::TargetUnreachable).detail("the database does not exist"),
        1317 | 1969 | 3024 => Refusal::new(Code::TargetTimeout),
        1040 | 1203 | 1205 | 1226 => said(Code::TargetBusy),
        1053 | 1077 | 1079 | 1927 => Refusal::new(Code::TargetUnreachable).detail(format!("error {number}")),
        _ => said(Code::TargetFailed),
    }
}

/// An error number in words that hold no value.
const fn condition(number: u16) -> &'static str {
    match number {
        1044 | 1142 | 1143 | 1227 | 1370 => "this login may not do that to a database, table, column or function of the statement",
        1290 | 1419 => "the server is run with an option that forbids it",
        1040 | 1203 | 1226 => "the server takes no more connections",
        1205 => "a lock was not given in time",
        1213 => "the transaction collided with another; try again",
        1062 | 1586 => "a row with the same key is there already",
        1048 | 1364 => "a value is missing where one must be",
        1451 | 1452 => "a row refers to another that is not there, or is referred to",
        3819 | 4025 => "a check constraint failed",
        1406 => "a text is too long for its column",
        1264 | 1690 => "a number is out of range",
        1292 | 1366 | 1411 | 1525 => "a value does not have the form of its type",
        1365 => "division by zero",
        1792 => "the transaction is read-only",
        1021 | 1037 | 1038 | 1041 => "the server is out of disk or memory",
        1644 => "the database's own code raised an error, whose text is withheld",
        _ => "the server reported an error, whose text is withheld",
    }
}
