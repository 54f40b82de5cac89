//! The one file that hands the driver texts that are not written down here in full: the printed parse tree of an agent's statement, prepared, and
//! what is said about tables that it names.
//!
//! The call's id stands behind it as a comment, so that the server's own log and process list name the call. The id is the broker's; nothing that
//! a client sent is in the comment.

use sqlx::mysql::MySqlStatement;
use sqlx::{AssertSqlSafe, Executor, MySqlConnection, SqlSafeStr, SqlStr};

use crate::connector::failure;
use crate::id::CallId;
use crate::operation::sql::Statement;
use crate::refusal::Refusal;

/// Prepares a statement.
pub(super) async fn prepare(connection: &mut MySqlConnection, statement: &Statement, call: &CallId) -> Result<MySqlStatement, Refusal> {
    // Safe: not a text that came in, but the tree that was judged, printed (`operation::sql::Statement`), and an id of letters and digits.
    let text = AssertSqlSafe(format!("{} /* countersign:{call} */", statement.text())).into_sql_str();
    connection.prepare(text).await.map_err(|error| failure::mysql_prepared(&error))
}

/// Keeps others from changing the tables that a statement empties or removes. This ends the transaction, which such a statement does anyway.
pub(super) async fn lock(connection: &mut MySqlConnection, statement: &Statement) -> Result<(), Refusal> {
    let Some(names) = statement.emptied() else { return Ok(()) };
    let names: Vec<String> = names.iter().map(|name| format!("{name} WRITE")).collect();
    // Safe: names of the tree that was judged, printed.
    let text = AssertSqlSafe(format!("LOCK TABLES {}", names.join(", "))).into_sql_str();
    connection.execute(text).await.map(drop).map_err(|error| failure::mysql(&error))
}

/// Stops what a thread runs.
pub(super) async fn kill(connection: &mut MySqlConnection, thread: u64) -> sqlx::Result<()> {
    // Safe: a number.
    connection.execute(AssertSqlSafe(format!("KILL QUERY {thread}")).into_sql_str()).await.map(drop)
}

/// A text of the broker's own with as many placeholders as there are names in `{}`.
pub(super) fn listed(text: &str, names: &[String]) -> SqlStr {
    // Safe: a text of this program and question marks.
    AssertSqlSafe(text.replace("{}", &vec!["?"; names.len().max(1)].join(", "))).into_sql_str()
}
