//! What a session is told before a statement runs, and what it is asked about the statement: who it is for, and where its columns come from.

use std::collections::BTreeMap;

use sqlx::mysql::{MySqlColumn, MySqlRow};
use sqlx::{Column as _, Executor as _, MySqlConnection, Row as _, TypeInfo as _};

use crate::call::Call;
use crate::connector::failure;
use crate::connector::mysql::statement::listed;
use crate::connector::schema::{Gatherer, RELATIONS_MAX};
use crate::mask::Column;
use crate::operation::sql::{BaseColumn, Engine, Lineage, Relation, Statement};
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
            " AS SIGNED), @@session.sql_mode"
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
    Ok(())
}

/// A text, whatever character set the server says that it is in: the connection's is UTF-8.
fn text(row: &MySqlRow, index: usize) -> Result<String, Refusal> {
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

const COLUMNS: &str = "SELECT c.TABLE_SCHEMA, c.TABLE_NAME, c.COLUMN_NAME FROM information_schema.COLUMNS c
    WHERE c.TABLE_SCHEMA IN ({}) AND c.TABLE_NAME IN (";
const VIEWS: &str = "SELECT v.TABLE_SCHEMA, v.TABLE_NAME, v.VIEW_DEFINITION FROM information_schema.VIEWS v
    WHERE v.TABLE_SCHEMA IN ({}) AND v.TABLE_NAME IN (";
/// Tables of these names whose engine cannot take a change back.
const LASTING: &str = "SELECT t.TABLE_SCHEMA, t.TABLE_NAME, t.ENGINE FROM information_schema.TABLES t
    WHERE t.TABLE_TYPE = 'BASE TABLE' AND COALESCE(t.ENGINE, '') NOT IN ('InnoDB', 'ROCKSDB', 'ndbcluster')
    AND t.TABLE_SCHEMA IN ({}) AND t.TABLE_NAME IN (";
/// Stored functions of these names.
const STORED: &str = "SELECT r.ROUTINE_SCHEMA, r.ROUTINE_NAME, '' FROM information_schema.ROUTINES r
    WHERE r.ROUTINE_TYPE = 'FUNCTION' AND r.ROUTINE_SCHEMA IN ({}) AND r.ROUTINE_NAME IN (";
/// Columns that are read for one statement.
const COLUMNS_MAX: usize = RELATIONS_MAX * 100;

/// Three texts a row, about relations of these names in these databases.
async fn catalogue(
    connection: &mut MySqlConnection,
    about: &str,
    places: &[String],
    names: &[String],
) -> Result<Vec<(String, String, String)>, Refusal> {
    // MySQL writes the names of its own catalogue in capitals, and compares them so.
    let own = places.iter().any(|place| place == "information_schema");
    let capitals = names.iter().filter(|_| own).map(|name| name.to_uppercase());
    let names: Vec<String> = names.iter().cloned().chain(capitals).collect();
    let head = listed(about, places);
    let order = if about == COLUMNS { "ORDER BY c.TABLE_SCHEMA, c.TABLE_NAME, c.ORDINAL_POSITION" } else { "" };
    let whole = listed(&format!("{}{{}}) {order} LIMIT {}", head.as_str(), COLUMNS_MAX + 1), &names);
    let mut query = sqlx::query(whole);
    for name in places.iter().chain(&names) {
        query = query.bind(name);
    }
    let rows = query.fetch_all(connection).await.map_err(fail)?;
    rows.iter().map(|row| Ok((text(row, 0)?.to_lowercase(), text(row, 1)?.to_lowercase(), text(row, 2).unwrap_or_default()))).collect()
}

/// Where the parser says that the statement's result columns come from, given the catalogue as it is at this moment.
pub(super) async fn lineage(connection: &mut MySqlConnection, statement: &Statement, database: &str) -> Result<Lineage, Refusal> {
    let mut gatherer = Gatherer::new(Engine::MySql, vec![database.to_lowercase()]);
    let mut wanted = gatherer.first(statement);
    while !wanted.is_empty() {
        let places = gatherer.places().to_vec();
        let columns = catalogue(connection, COLUMNS, &places, &wanted).await?;
        let views = catalogue(connection, VIEWS, &places, &wanted).await?;
        wanted = gatherer.next(if columns.len() > COLUMNS_MAX { too_many() } else { relations(columns, views) });
    }
    Ok(statement.lineage(&gatherer.done()))
}

/// So many that nothing counts as read.
fn too_many() -> Vec<Relation> {
    let one = |number: usize| Relation { name: number.to_string(), ..Relation::default() };
    (0..=RELATIONS_MAX).map(one).collect()
}

fn relations(columns: Vec<(String, String, String)>, views: Vec<(String, String, String)>) -> Vec<Relation> {
    let mut views: BTreeMap<(String, String), String> =
        views.into_iter().map(|(schema, name, definition)| ((schema, name), definition)).collect();
    let mut relations: Vec<Relation> = Vec::new();
    for (schema, name, column) in columns {
        if relations.last().is_none_or(|last| (&last.schema, &last.name) != (&schema, &name)) {
            let view = views.remove(&(schema.clone(), name.clone()));
            relations.push(Relation { schema, name, view, ..Relation::default() });
        }
        if let Some(last) = relations.last_mut() {
            last.columns.push(column.to_lowercase());
        }
    }
    relations
}

/// Refuses a statement that calls a function by a name that somebody gave to one of their own: a server that has none built in by that name, since it
/// is older or newer than what is known here, would call that one.
pub(super) async fn check_not_shadowed(connection: &mut MySqlConnection, statement: &Statement, database: &str) -> Result<(), Refusal> {
    let functions: Vec<String> = statement.functions().iter().cloned().collect();
    if functions.is_empty() {
        return Ok(());
    }
    match catalogue(connection, STORED, &[database.to_owned()], &functions).await?.first() {
        None => Ok(()),
        Some((schema, name, _)) => {
            Err(Refusal::new(Code::FunctionNotAllowed)
                .detail(format!("`{schema}.{name}` could be taken for the server's own of that name")))
        }
    }
}

/// Refuses a change to a table whose engine would keep it whatever becomes of the transaction: its bounds could not be kept.
pub(super) async fn check_can_roll_back(connection: &mut MySqlConnection, statement: &Statement, database: &str) -> Result<(), Refusal> {
    let mut places = vec![database.to_owned()];
    let mut names = Vec::new();
    for path in statement.relations() {
        if let [schema, _] = path.as_slice() {
            places.push(schema.clone());
        }
        names.extend(path.last().cloned());
    }
    match catalogue(connection, LASTING, &places, &names).await?.first() {
        None => Ok(()),
        Some((schema, name, engine)) => Err(Refusal::new(Code::TargetRefused)
            .detail(format!("`{schema}.{name}` is kept by the engine {engine}, which cannot take a change back"))),
    }
}
