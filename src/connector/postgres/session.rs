//! What a session is told before a statement runs, and what it is asked about the statement: who it is for, and where its columns come from.

use std::collections::BTreeMap;

use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgColumn, PgPool, PgRow};
use sqlx::{Column as _, Executor as _, PgConnection, Row as _, TypeInfo as _};

use crate::call::Call;
use crate::connector::failure;
use crate::connector::postgres::type_name;
use crate::connector::schema::{Gatherer, RELATIONS_MAX};
use crate::mask::Column;
use crate::operation::sql::{BaseColumn, Engine, Lineage, Relation, Statement};
use crate::refusal::{Code, Refusal};

fn fail(error: sqlx::Error) -> Refusal {
    failure::postgres(&error)
}

/// Cancels what a server process runs. Whether that worked shows in whether the statement comes back.
pub(super) async fn cancel(pool: &PgPool, process: u64) {
    let Ok(pid) = i32::try_from(process) else { return };
    drop(sqlx::query("SELECT pg_catalog.pg_cancel_backend($1)").bind(pid).execute(pool).await);
}

/// Statements of the broker's own that every call needs. Functions are named with their schema: what a login's own settings make of the search path
/// must not matter before it is set.
pub(super) const OWN: [&str; 6] = [SETTLE, CONFIRM, SHADOWS, FIELDS, RELATIONS, COLUMNS];

/// What the session is, as the server says.
macro_rules! identity {
    () => {
        "session_user::pg_catalog.text, current_user::pg_catalog.text, pg_catalog.current_setting('transaction_read_only'),
         coalesce(pg_catalog.current_setting('countersign.call', true), ''), coalesce(pg_catalog.current_setting('countersign.human', true), ''),
         coalesce(pg_catalog.current_setting('countersign.issuer', true), ''), coalesce(pg_catalog.current_setting('countersign.agent', true), '')"
    };
}

const CONFIRM: &str = concat!("SELECT ", identity!());

/// The columns are computed in their order: what the session is comes after what it is told.
const SETTLE: &str = concat!(
    "SELECT pg_catalog.set_config('statement_timeout', $1, true), pg_catalog.set_config('lock_timeout', $1, true),
            pg_catalog.set_config('idle_in_transaction_session_timeout', $2, true), pg_catalog.set_config('search_path', $3, true),
            pg_catalog.set_config('client_min_messages', 'error', true), pg_catalog.set_config('standard_conforming_strings', 'on', true),
            pg_catalog.set_config('application_name', $4, true), pg_catalog.set_config('countersign.call', $5, true),
            pg_catalog.set_config('countersign.human', $6, true), pg_catalog.set_config('countersign.issuer', $7, true),
            pg_catalog.set_config('countersign.agent', $8, true), pg_catalog.set_config('role', $9, true), pg_catalog.pg_backend_pid(), ",
    identity!()
);
/// Columns of `SETTLE` before those of `identity`.
const SETTLED: usize = 13;

/// A function of a name that the statement calls, or an operator like one of the server's own, that is in reach and that nobody installed as an
/// extension: it could be taken for the server's own.
const SHADOWS: &str = "SELECT pg_catalog.format('%s.%s', n.nspname, p.proname) FROM pg_catalog.pg_proc p
         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
         WHERE n.nspname OPERATOR(pg_catalog.=) ANY($1::text[]) AND p.proname OPERATOR(pg_catalog.=) ANY($2::text[])
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
             AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e')
     UNION ALL SELECT pg_catalog.format('%s.%s', n.nspname, o.oprname) FROM pg_catalog.pg_operator o
         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace
         WHERE n.nspname OPERATOR(pg_catalog.=) ANY($1::text[])
         AND EXISTS (SELECT 1 FROM pg_catalog.pg_operator own WHERE own.oprname OPERATOR(pg_catalog.=) o.oprname
             AND own.oprnamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace)
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass
             AND d.objid OPERATOR(pg_catalog.=) o.oid AND d.deptype OPERATOR(pg_catalog.=) 'e')
     LIMIT 1";

/// A function of one row that PostgreSQL would call for `row.name` (functional notation). The server's own of that kind only read.
const FIELDS: &str = "SELECT pg_catalog.format('%s.%s', n.nspname, p.proname) FROM pg_catalog.pg_proc p
         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
         JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.proargtypes[0]
         WHERE n.nspname OPERATOR(pg_catalog.=) ANY($1::text[]) AND n.nspname OPERATOR(pg_catalog.<>) 'pg_catalog'
         AND p.proname OPERATOR(pg_catalog.=) ANY($2::text[]) AND t.typtype OPERATOR(pg_catalog.=) ANY('{c,d,p}')
         AND p.pronargs OPERATOR(pg_catalog.-) p.pronargdefaults OPERATOR(pg_catalog.<=) 1
     LIMIT 1";

const RELATIONS: &str = "SELECT n.nspname::text, c.relname::text,
                ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
                CASE WHEN c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') THEN coalesce(pg_catalog.pg_get_viewdef(c.oid), '') END,
                c.oid,
                ARRAY(SELECT a.attnum FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
                coalesce(p.schemas, '{}'), coalesce(p.names, '{}')
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         CROSS JOIN LATERAL (
             WITH RECURSIVE up (oid) AS (
                 SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid
                 UNION SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN up ON i.inhrelid = up.oid),
             down (oid) AS (
                 SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid AND pg_catalog.cardinality($4::text[]) > 0
                 UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN down ON i.inhparent = down.oid),
             kin (oid) AS (
                 SELECT oid FROM up
                 UNION SELECT d.oid FROM down d JOIN pg_catalog.pg_class dc ON dc.oid = d.oid WHERE pg_catalog.lower(dc.relname::text) = ANY($4::text[]))
             SELECT pg_catalog.array_agg(pn.nspname::text ORDER BY pc.oid) AS schemas, pg_catalog.array_agg(pc.relname::text ORDER BY pc.oid) AS names
             FROM kin JOIN pg_catalog.pg_class pc ON pc.oid = kin.oid JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace) p
         WHERE c.relname = ANY($1::text[]) AND n.nspname = ANY($2::text[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') LIMIT $3";

const COLUMNS: &str = "SELECT c.oid, a.attnum, n.nspname::text, c.relname::text, a.attname::text FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid WHERE c.oid = ANY($1)";

/// What a session must be for a call.
pub(super) struct Expected<'a> {
    pub(super) call: &'a Call,
    pub(super) user: &'a str,
    /// The mapped role of a shared login.
    pub(super) role: Option<&'a str>,
    pub(super) reads: bool,
}

/// Settings of the transaction, in one round trip: limits, whose call it is, and the role. All are local: they end with the transaction. Gives the
/// server's process behind the connection.
pub(super) async fn settle(connection: &mut PgConnection, expected: &Expected<'_>, search_path: &[String]) -> Result<u64, Refusal> {
    let call = expected.call;
    let delegation = &call.facts.delegation;
    let timeout = call.limits.timeout.as_millis().max(1).to_string();
    let path: Vec<String> = search_path.iter().map(|schema| format!("\"{}\"", schema.replace('"', "\"\""))).collect();
    let row = sqlx::query(SETTLE)
        .bind(&timeout)
        .bind((call.limits.timeout.as_millis() + 10_000).to_string())
        .bind(path.join(", "))
        .bind(format!("countersign:{}", call.facts.id))
        .bind(call.facts.id.as_str())
        .bind(&delegation.human().subject)
        .bind(&delegation.human().issuer)
        .bind(&delegation.agent().id)
        .bind(expected.role.unwrap_or("none"))
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| match failure::postgres(&error) {
            // A role that is not there or may not be taken is a right that the human lacks.
            refusal if expected.role.is_some() && refusal.code() == Code::TargetFailed => {
                Refusal::new(Code::TargetRefused).detail("the mapped role cannot be taken").cause(error)
            }
            refusal => refusal,
        })?;
    check(&row, SETTLED, expected)?;
    let pid: i32 = row.try_get(SETTLED - 1).map_err(fail)?;
    u64::try_from(pid).map_err(|error| Refusal::new(Code::TargetFailed).cause(error))
}

/// Asks again, after the statement and before anything of it lasts or leaves. Triggers that were put off until COMMIT run first: what they do to
/// the session would not be seen otherwise.
pub(super) async fn confirm(connection: &mut PgConnection, expected: &Expected<'_>) -> Result<(), Refusal> {
    if !expected.reads {
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE").await.map_err(fail)?;
    }
    let row = sqlx::query(CONFIRM).fetch_one(connection).await.map_err(fail)?;
    check(&row, 0, expected)
}

/// Checks that the session is what the call was promised: the login, the role, the mode of the transaction, and whose call it says it is.
fn check(row: &PgRow, from: usize, expected: &Expected<'_>) -> Result<(), Refusal> {
    let delegation = &expected.call.facts.delegation;
    for (index, (what, wanted)) in [
        ("session_user", expected.user),
        ("current_user", expected.role.unwrap_or(expected.user)),
        ("transaction_read_only", if expected.reads { "on" } else { "off" }),
        ("countersign.call", expected.call.facts.id.as_str()),
        ("countersign.human", &delegation.human().subject),
        ("countersign.issuer", &delegation.human().issuer),
        ("countersign.agent", &delegation.agent().id),
    ]
    .into_iter()
    .enumerate()
    {
        if row.try_get::<String, _>(from + index).map_err(fail)? != wanted {
            return Err(Refusal::new(Code::IdentityLost).cause(format!("`{what}` is not what the call was given")));
        }
    }
    Ok(())
}

/// Refuses a statement whose functions or operators could be others than the server's own, since somebody made one of the same name in reach.
pub(super) async fn check_not_shadowed(connection: &mut PgConnection, functions: &[String], search_path: &[String]) -> Result<(), Refusal> {
    let found: Option<String> =
        sqlx::query_scalar(SHADOWS).bind(search_path).bind(functions).fetch_optional(connection).await.map_err(fail)?;
    match found {
        None => Ok(()),
        Some(name) => {
            let why = format!("`{name}` could be taken for the server's own of that name");
            Err(Refusal::new(Code::FunctionNotAllowed).detail(why))
        }
    }
}

/// Refuses a statement in which a name that reads like a column may be a function: nothing judged it as one.
pub(super) async fn check_fields(connection: &mut PgConnection, fields: &[String], search_path: &[String]) -> Result<(), Refusal> {
    let found: Option<String> = sqlx::query_scalar(FIELDS).bind(search_path).bind(fields).fetch_optional(connection).await.map_err(fail)?;
    found.map_or(Ok(()), |name| Err(Refusal::new(Code::FunctionAsColumn).detail(format!("`{name}`"))))
}

/// Table columns by relation and number, as the server's catalogue has them.
pub(super) type Names = BTreeMap<(u32, i16), BaseColumn>;

/// The result's columns, with the table columns that the server says they come from. `names` are those that lineage has met already.
pub(super) async fn columns(connection: &mut PgConnection, columns: &[PgColumn], mut names: Names) -> Result<Vec<Column>, Refusal> {
    let is_known = |oid: &Oid| names.range((oid.0, i16::MIN)..=(oid.0, i16::MAX)).next().is_some();
    let oids: Vec<Oid> = columns.iter().filter_map(PgColumn::relation_id).filter(|oid| !is_known(oid)).collect();
    if !oids.is_empty() {
        let rows = sqlx::query(COLUMNS).bind(&oids).fetch_all(connection).await.map_err(fail)?;
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

/// How names are looked up.
#[derive(Clone, Copy)]
pub(super) struct Catalogue<'a> {
    /// The schemas in which unqualified names are looked up, in order.
    pub(super) search_path: &'a [String],
    /// The tables that mask rules name, in lower case.
    pub(super) ruled: &'a [String],
}

/// Where the parser says that the statement's result columns come from, given the catalogue as it is in this transaction.
/// And the names of the columns that were met on the way.
pub(super) async fn lineage(
    connection: &mut PgConnection,
    statement: &Statement,
    Catalogue { search_path, ruled }: Catalogue<'_>,
) -> Result<(Lineage, Names), Refusal> {
    let mut gatherer = Gatherer::new(Engine::Postgres, search_path.to_vec());
    let mut met = Names::new();
    let mut wanted = gatherer.first(statement);
    while !wanted.is_empty() {
        let found = relations(connection, (&wanted, gatherer.places()), ruled, &mut met).await?;
        wanted = gatherer.next(found);
    }
    Ok((statement.lineage(&gatherer.done()), met))
}

/// Relations of these names in these schemas, and one more than may be read, so that too many show.
async fn relations(
    connection: &mut PgConnection,
    (names, places): (&[String], &[String]),
    ruled: &[String],
    met: &mut Names,
) -> Result<Vec<Relation>, Refusal> {
    let rows = sqlx::query(RELATIONS)
        .bind(names)
        .bind(places)
        .bind(i64::try_from(RELATIONS_MAX + 1).unwrap_or(i64::MAX))
        .bind(ruled)
        .fetch_all(connection)
        .await
        .map_err(fail)?;
    rows.iter()
        .map(|row| {
            let (schemas, tables): (Vec<String>, Vec<String>) = (row.try_get(6).map_err(fail)?, row.try_get(7).map_err(fail)?);
            let relation = Relation {
                schema: row.try_get(0).map_err(fail)?,
                name: row.try_get(1).map_err(fail)?,
                columns: row.try_get(2).map_err(fail)?,
                view: row.try_get(3).map_err(fail)?,
                rowid: None,
                kin: schemas.into_iter().zip(tables).collect(),
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
