//! The one file that hands an agent's statement to the driver: the printed parse tree, prepared, so that the server itself accepts one statement
//! and nothing more. And the lock on the tables that it names.
//!
//! The call's id stands behind it as a comment, so that the server's own log and `pg_stat_activity` name the call. The id is the broker's; nothing
//! that a client sent is in the comment.

use sqlx::{AssertSqlSafe, Executor, PgConnection, SqlSafeStr};

use crate::connector::failure;
use crate::id::CallId;
use crate::operation::sql::Statement;
use crate::refusal::Refusal;

/// Prepares a statement; the server infers its parameters' types.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    statement: &Statement,
    call: &CallId,
) -> Result<sqlx::postgres::PgStatement, Refusal> {
    // Safe: not a text that came in, but the tree that was judged, printed (`operation::sql::Statement`), and an id of letters and digits.
    let text = AssertSqlSafe(format!("{} /* countersign:{call} */", statement.text())).into_sql_str();
    connection.prepare(text).await.map_err(|error| failure::postgres_prepared(&error))
}

/// Keeps others from changing the tables that a statement empties or removes, until the transaction ends.
pub(super) async fn lock(connection: &mut PgConnection, statement: &Statement) -> Result<(), Refusal> {
    let Some(names) = statement.emptied() else { return Ok(()) };
    // Safe: names of the tree that was judged, printed.
    let text = AssertSqlSafe(format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", names.join(", "))).into_sql_str();
    connection.execute(text).await.map(drop).map_err(|error| failure::postgres(&error))
}
