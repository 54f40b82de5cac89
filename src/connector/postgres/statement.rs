//! The one file that hands an agent's statement to the driver: the printed parse tree, prepared, so that the server itself accepts one statement
//! and nothing more.

use sqlx::{AssertSqlSafe, Executor, PgConnection, SqlSafeStr};

use crate::connector::failure;
use crate::operation::sql::Statement;
use crate::refusal::Refusal;

/// Prepares a statement; the server infers its parameters' types.
pub(super) async fn prepare(connection: &mut PgConnection, statement: &Statement) -> Result<sqlx::postgres::PgStatement, Refusal> {
    // Safe: not a text that came in, but the tree that was judged, printed (`operation::sql::Statement`).
    let text = AssertSqlSafe(statement.text().to_owned()).into_sql_str();
    connection.prepare(text).await.map_err(|error| failure::postgres(&error))
}
