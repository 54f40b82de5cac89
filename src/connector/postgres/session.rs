//! What a session is told before a statement runs, and what it is asked about the statement: who it is for, and where its columns come from.

use std::collections::BTreeMap;

use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgColumn, PgPool};
use sqlx::{Column as _, PgConnection, Row as _, TypeInfo as _};

use crate::call::Call;
use crate::connector::failure;
use crate::connector::postgres::type_name;
use crate::connector::schema::{Gatherer, RELATIONS_MAX};
use crate::credential::Credential;
use crate::mask::Column;
use crate::operation::sql::{BaseColumn, Engine, Lineage, Relation, Statement};
use crate::refusal::{Code, Refusal};

fn fail(error: sqlx::Error) -> Refusal {
    failure::postgres(&error)
}

/// Cancels what a server process runs. Whether that worked shows in whether the statement comes back.
pub(super) async fn cancel(pool: &PgPool, pid: i32) {
    drop(sqlx::query("SELECT pg_cancel_backend($1)").bind(pid).execute(pool).await);
}

/// Settings of the transaction, in one round trip: role, limits, and whose call it is. All are local: they end with the transaction. Gives the
/// server's process behind the connection.
pub(super) async fn settle(
    connection: &mut PgConnection,
    call: &Call,
    credential: &Credential,
    search_path: &[String],
    read_only: bool,
) -> Result<i32, Refusal> {
    let delegation = &call.facts.delegation;
    let timeout = call.limits.timeout.as_millis().max(1).to_string();
    let path: Vec<String> = search_path.iter().map(|schema| format!("\"{}\"", schema.replace('"', "\"\""))).collect();
    let row = sqlx::query(
        "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $2, true),
                set_config('search_path', $3, true), set_config('client_min_messages', 'error', true), set_config('standard_conforming_strings', 'on', true),
                set_config('application_name', $4, true), set_config('countersign.call', $5, true), set_config('countersign.human', $6, true),
                set_config('countersign.agent', $7, true), set_config('role', $8, true), current_setting('transaction_read_only'), pg_backend_pid()",
    )
    .bind(&timeout)
    .bind((call.limits.timeout.as_millis() + 10_000).to_string())
    .bind(path.join(", "))
    .bind(format!("countersign:{}", call.facts.id))
    .bind(call.facts.id.as_str())
    .bind(&delegation.human().subject)
    .bind(&delegation.agent().id)
    .bind(credential.role().unwrap_or("none"))
    .fetch_one(connection)
    .await
    .map_err(|error| match failure::postgres(&error) {
        // A role that is not there or may not be taken is a right that the human lacks.
        refusal if credential.role().is_some() && refusal.code() == Code::TargetFailed => Refusal::new(Code::TargetRefused).detail("the mapped role cannot be taken").cause(error),
        refusal => refusal,
    })?;
    let mode: String = row.try_get(11).map_err(fail)?;
    if read_only && mode != "on" {
        return Err(Refusal::new(Code::TargetFailed).cause("the transaction is not read-only"));
    }
    row.try_get(12).map_err(fail)
}

/// Table columns by relation and number, as the server's catalogue has them.
pub(super) type Names = BTreeMap<(u32, i16), BaseColumn>;

/// The result's columns, with the table columns that the server says they come from. `names` are those that lineage has met already.
pub(super) async fn columns(connection: &mut PgConnection, columns: &[PgColumn], mut names: Names) -> Result<Vec<Column>, Refusal> {
    let is_known = |oid: &Oid| names.range((oid.0, i16::MIN)..=(oid.0, i16::MAX)).next().is_some();
    let oids: Vec<Oid> = columns.iter().filter_map(PgColumn::relation_id).filter(|oid| !is_known(oid)).collect();
    if !oids.is_empty() {
        let rows = sqlx::query(
            "SELECT c.oid, a.attnum, n.nspname::text, c.relname::text, a.attname::text FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid WHERE c.oid = ANY($1)",
        )
        .bind(&oids)
        .fetch_all(connection)
        .await
        .map_err(fail)?;
        for row in rows {
            let oid: Oid = row.try_get(0).map_err(fail)?;
            let base = BaseColumn {
                schema: Some(row.try_get(2).map_err(fail)?),
                table: row.try_get(3).map_err(fail)?,
                column: row.try_get(4).map_err(fail)?,
            };
            names.insert((oid.0, row.try_get(1).map_err(fail)?), base);
        }
    }
    Ok(columns
        .iter()
        .map(|column| Column {
            name: column.name().to_owned(),
            type_name: type_name(column.type_info().name()),
            origin: column.relation_id().map(|oid| origin(&names, oid.0, column.relation_attribute_no())),
        })
        .collect())
}

/// A relation without a column is a whole row of it: any column may be inside. Numbers below zero are the system's own (`ctid`, `xmin`).
fn origin(names: &Names, oid: u32, attribute: Option<i16>) -> BaseColumn {
    if let Some(exact) = attribute.and_then(|attribute| names.get(&(oid, attribute))) {
        return exact.clone();
    }
    let column = if attribute.is_some_and(|attribute| attribute < 0) { "(system)" } else { "*" };
    let any = names.range((oid, i16::MIN)..=(oid, i16::MAX)).next();
    let (schema, table) = any.map_or((None, String::new()), |(_, base)| (base.schema.clone(), base.table.clone()));
    BaseColumn { schema, table, column: column.to_owned() }
}

/// Where the parser says that the statement's result columns come from, given the catalogue as it is in this transaction.
/// And the names of the columns that were met on the way.
pub(super) async fn lineage(
    connection: &mut PgConnection,
    statement: &Statement,
    search_path: &[String],
) -> Result<(Lineage, Names), Refusal> {
    let mut gatherer = Gatherer::new(Engine::Postgres, search_path.to_vec());
    let mut met = Names::new();
    let mut wanted = gatherer.first(statement);
    while !wanted.is_empty() {
        wanted = gatherer.next(relations(connection, &wanted, &mut met).await?);
    }
    Ok((statement.lineage(&gatherer.done()), met))
}

async fn relations(connection: &mut PgConnection, names: &[String], met: &mut Names) -> Result<Vec<Relation>, Refusal> {
    let rows = sqlx::query(
        "SELECT n.nspname::text, c.relname::text,
                ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
                CASE WHEN c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') THEN coalesce(pg_catalog.pg_get_viewdef(c.oid), '') END,
                c.oid,
                ARRAY(SELECT a.attnum FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relname = ANY($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') LIMIT $2",
    )
    .bind(names)
    .bind(i64::try_from(RELATIONS_MAX).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await
    .map_err(fail)?;
    rows.iter()
        .map(|row| {
            let relation = Relation {
                schema: row.try_get(0).map_err(fail)?,
                name: row.try_get(1).map_err(fail)?,
                columns: row.try_get(2).map_err(fail)?,
                view: row.try_get(3).map_err(fail)?,
            };
            let (oid, numbers): (Oid, Vec<i16>) = (row.try_get(4).map_err(fail)?, row.try_get(5).map_err(fail)?);
            for (number, column) in numbers.into_iter().zip(&relation.columns) {
                let base = BaseColumn { schema: Some(relation.schema.clone()), table: relation.name.clone(), column: column.clone() };
                met.insert((oid.0, number), base);
            }
            Ok(relation)
        })
        .collect()
}
