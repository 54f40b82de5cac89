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

/// The server's process behind a connection.
pub(super) async fn pid(connection: &mut PgConnection) -> Result<i32, Refusal> {
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(connection).await.map_err(fail)
}

/// Cancels what a server process runs. Whether that worked shows in whether the statement comes back.
pub(super) async fn cancel(pool: &PgPool, pid: i32) {
    drop(sqlx::query("SELECT pg_cancel_backend($1)").bind(pid).execute(pool).await);
}

/// Settings of the transaction, in one round trip: role, limits, and whose call it is. All are local: they end with the transaction.
pub(super) async fn settle(
    connection: &mut PgConnection,
    call: &Call,
    credential: &Credential,
    search_path: &[String],
    read_only: bool,
) -> Result<(), Refusal> {
    let delegation = &call.facts.delegation;
    let timeout = call.limits.timeout.as_millis().max(1).to_string();
    let path: Vec<String> = search_path.iter().map(|schema| format!("\"{}\"", schema.replace('"', "\"\""))).collect();
    let row = sqlx::query(
        "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $2, true),
                set_config('search_path', $3, true), set_config('client_min_messages', 'error', true), set_config('standard_conforming_strings', 'on', true),
                set_config('application_name', $4, true), set_config('countersign.call', $5, true), set_config('countersign.human', $6, true),
                set_config('countersign.agent', $7, true), set_config('role', $8, true), current_setting('transaction_read_only')",
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
    Ok(())
}

/// The result's columns, with the table columns that the server says they come from.
pub(super) async fn columns(connection: &mut PgConnection, columns: &[PgColumn]) -> Result<Vec<Column>, Refusal> {
    let oids: Vec<Oid> = columns.iter().filter_map(PgColumn::relation_id).collect();
    let mut names: BTreeMap<(u32, i16), BaseColumn> = BTreeMap::new();
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

/// A relation without a column is a whole row of it: any column may be inside.
fn origin(names: &BTreeMap<(u32, i16), BaseColumn>, oid: u32, attribute: Option<i16>) -> BaseColumn {
    let exact = attribute.and_then(|attribute| names.get(&(oid, attribute)));
    exact.cloned().unwrap_or_else(|| {
        let any = names.iter().find(|((of, _), _)| *of == oid).map(|(_, base)| base.clone());
        any.map_or_else(
            || BaseColumn { schema: None, table: String::new(), column: "*".to_owned() },
            |base| BaseColumn { column: "*".to_owned(), ..base },
        )
    })
}

/// Where the parser says that the statement's result columns come from, given the catalogue as it is in this transaction.
pub(super) async fn lineage(connection: &mut PgConnection, statement: &Statement, search_path: &[String]) -> Result<Lineage, Refusal> {
    let mut gatherer = Gatherer::new(Engine::Postgres, search_path.to_vec());
    let mut names = gatherer.first(statement);
    while !names.is_empty() {
        names = gatherer.next(relations(connection, &names).await?);
    }
    Ok(statement.lineage(&gatherer.done()))
}

async fn relations(connection: &mut PgConnection, names: &[String]) -> Result<Vec<Relation>, Refusal> {
    let rows = sqlx::query(
        "SELECT n.nspname::text, c.relname::text,
                ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
                CASE WHEN c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') THEN coalesce(pg_catalog.pg_get_viewdef(c.oid), '') END
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
            Ok(Relation {
                schema: row.try_get(0).map_err(fail)?,
                name: row.try_get(1).map_err(fail)?,
                columns: row.try_get(2).map_err(fail)?,
                view: row.try_get(3).map_err(fail)?,
            })
        })
        .collect()
}
