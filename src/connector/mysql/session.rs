//! What a session is told before a statement runs, and what it is asked before and after: who it is for.

use sqlx::mysql::{MySqlColumn, MySqlRow};
use sqlx::{Column as _, Executor as _, MySqlConnection, Row as _, TypeInfo as _};

use crate::call::Call;
use crate::connector::failure;
use crate::mask::Column;
use crate::operation::Operation;
use crate::operation::sql::BaseColumn;
use crate::refusal::{Code, Refusal};

fn fail(error: sqlx::Error) -> Refusal {
    failure::mysql(&error)
}

/// What a session must be for a call.
pub(super) struct Expected<'a> {
    pub(super) call: &'a Call,
    pub(super) user: &'a str,
    pub(super) reads: bool,
}

/// What a session was found to be.
pub(super) struct Settled {
    /// The server's thread behind the connection.
    pub(super) thread: u64,
    is_mariadb: bool,
    /// The role that the login has without asking, if it has one.
    role: String,
}

/// Texts are concatenated with `||` as the parser reads it, `"` quotes strings, values that do not fit are errors, and so are zero dates.
const SQL_MODE: &str = "PIPES_AS_CONCAT,STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";

const SETTLE: &str =
    "SET SESSION sql_mode = ?, SESSION time_zone = '+00:00', SESSION innodb_lock_wait_timeout = ?, SESSION lock_wait_timeout = ?,
    SESSION autocommit = 1, @countersign_call = ?, @countersign_human = ?, @countersign_issuer = ?, @countersign_agent = ?";

/// What the session is, as the server says. MariaDB has another name for the mode of transactions.
macro_rules! identity {
    ($read_only:literal) => {
        concat!(
            "SELECT USER(), CURRENT_USER(), COALESCE(CURRENT_ROLE(), 'NONE'), COALESCE(@countersign_call, ''), COALESCE(@countersign_human, ''),
             COALESCE(@countersign_issuer, ''), COALESCE(@countersign_agent, ''), CAST(",
            $read_only,
            " AS SIGNED), @@session.sql_mode, @@session.character_set_client, @@session.character_set_connection"
        )
    };
}

const OF_MYSQL: &str = identity!("@@session.transaction_read_only");
const OF_MARIADB: &str = identity!("@@session.tx_read_only");

/// Settings of the session: limits, whose call it is, and the mode of the transaction, which begins.
pub(super) async fn settle(connection: &mut MySqlConnection, expected: &Expected<'_>) -> Result<Settled, Refusal> {
    let row = connection.fetch_one("SELECT VERSION(), CONNECTION_ID(), COALESCE(CURRENT_ROLE(), 'NONE')").await.map_err(fail)?;
    let version: String = text(&row, 0)?;
    let settled = Settled {
        thread: row.try_get_unchecked(1).map_err(fail)?,
        is_mariadb: version.to_ascii_lowercase().contains("mariadb"),
        role: text(&row, 2)?,
    };
    let delegation = &expected.call.facts.delegation;
    let timeout = expected.call.limits.timeout;
    let seconds = timeout.as_secs().max(1);
    sqlx::query(SETTLE)
        .bind(SQL_MODE)
        .bind(seconds)
        .bind(seconds)
        .bind(expected.call.facts.id.as_str())
        .bind(&delegation.human().subject)
        .bind(&delegation.human().issuer)
        .bind(&delegation.agent().id)
        .execute(&mut *connection)
        .await
        .map_err(fail)?;
    // Should the broker die, the server itself stops what nobody waits for.
    let limit = if settled.is_mariadb { "SET SESSION max_statement_time = ?" } else { "SET SESSION max_execution_time = ?" };
    let most = timeout.as_secs_f64() + 5.0;
    let limited = sqlx::query(limit);
    let limited = if settled.is_mariadb { limited.bind(most) } else { limited.bind(seconds.saturating_add(5).saturating_mul(1_000)) };
    limited.execute(&mut *connection).await.map_err(fail)?;
    let (mode, begin) = if expected.reads {
        ("SET SESSION TRANSACTION READ ONLY", "START TRANSACTION READ ONLY")
    } else {
        ("SET SESSION TRANSACTION READ WRITE", "START TRANSACTION READ WRITE")
    };
    connection.execute("SET NAMES utf8mb4").await.map_err(fail)?;
    if expected.reads && matches!(expected.call.operation, Operation::Sql(_)) {
        // What is not wanted is not sent: the driver reads to the end whatever the server sends.
        let most = u64::from(expected.call.limits.rows).saturating_add(1);
        sqlx::query("SET SESSION sql_select_limit = ?").bind(most).execute(&mut *connection).await.map_err(fail)?;
    }
    connection.execute(mode).await.map_err(fail)?;
    connection.execute(begin).await.map_err(fail)?;
    confirm(connection, &settled, expected).await?;
    Ok(settled)
}

/// Checks that the session is what the call was promised: the login, its role, the mode of transactions, and whose call it says it is. Asked
/// before the statement, and again before anything of it lasts or leaves.
pub(super) async fn confirm(connection: &mut MySqlConnection, settled: &Settled, expected: &Expected<'_>) -> Result<(), Refusal> {
    let row = connection.fetch_one(if settled.is_mariadb { OF_MARIADB } else { OF_MYSQL }).await.map_err(fail)?;
    let delegation = &expected.call.facts.delegation;
    let lost = |what: &str| Refusal::new(Code::IdentityLost).cause(format!("`{what}` is not what the call was given"));
    for (index, what) in [(0, "user"), (1, "current_user")] {
        let account: String = text(&row, index)?;
        // `name@host`; a host has no `@`.
        if account.rsplit_once('@').map(|(name, _)| name) != Some(expected.user) {
            return Err(lost(what));
        }
    }
    for (index, what, wanted) in [
        (2, "current_role", settled.role.as_str()),
        (3, "countersign_call", expected.call.facts.id.as_str()),
        (4, "countersign_human", &delegation.human().subject),
        (5, "countersign_issuer", &delegation.human().issuer),
        (6, "countersign_agent", &delegation.agent().id),
    ] {
        if text(&row, index)? != wanted {
            return Err(lost(what));
        }
    }
    let read_only: i64 = row.try_get_unchecked(7).map_err(fail)?;
    if (read_only != 0) != expected.reads {
        return Err(lost("transaction_read_only"));
    }
    let mode = text(&row, 8)?;
    if mode.contains("ANSI_QUOTES") || mode.contains("NO_BACKSLASH_ESCAPES") || !mode.contains("PIPES_AS_CONCAT") {
        return Err(lost("sql_mode"));
    }
    // In another character set a letter may swallow the quote behind it.
    for index in [9, 10] {
        if !text(&row, index)?.starts_with("utf8") {
            return Err(lost("character_set"));
        }
    }
    Ok(())
}

/// A text, whatever character set the server says that it is in: the connection's is UTF-8.
pub(super) fn text(row: &MySqlRow, index: usize) -> Result<String, Refusal> {
    let bytes: Vec<u8> = row.try_get_unchecked(index).map_err(fail)?;
    String::from_utf8(bytes).map_err(|error| Refusal::new(Code::TargetFailed).cause(error))
}

/// The result's columns, with the table columns that the server says they come from.
pub(super) fn columns(columns: &[MySqlColumn]) -> Vec<Column> {
    columns
        .iter()
        .map(|column| Column {
            name: column.name().to_owned(),
            type_name: column.type_info().name().to_lowercase(),
            origin: match column.origin() {
                sqlx::ColumnOrigin::Table(origin) => {
                    let (schema, table) =
                        origin.table.split_once('.').map_or((None, &*origin.table), |(schema, table)| (Some(schema), table));
                    Some(BaseColumn {
                        schema: schema.map(str::to_lowercase),
                        table: table.to_lowercase(),
                        column: origin.name.to_lowercase(),
                    })
                }
                _ => None,
            },
        })
        .collect()
}
