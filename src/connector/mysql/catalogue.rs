//! What the server's catalogue says of a statement: where its columns come from, what keeps its tables, and what its functions are.
//!
//! Names are asked for as the statement spells them, since tables may differ in case alone; what is not found so, in small letters, and what is the
//! server's own, in capitals. Never all spellings at once: MariaDB takes names that differ in case for one, and looks for the first of them.

use std::collections::BTreeMap;

use sqlx::MySqlConnection;

use crate::connector::failure;
use crate::connector::mysql::session::text;
use crate::connector::mysql::statement::listed;
use crate::connector::schema::{Gatherer, RELATIONS_MAX};
use crate::operation::sql::{Engine, Lineage, Relation, Schema, Statement};
use crate::refusal::{Code, Refusal};

const COLUMNS: &str = "SELECT c.TABLE_SCHEMA, c.TABLE_NAME, c.COLUMN_NAME FROM information_schema.COLUMNS c
    WHERE c.TABLE_SCHEMA IN ({}) AND c.TABLE_NAME IN (";
const VIEWS: &str = "SELECT v.TABLE_SCHEMA, v.TABLE_NAME, v.VIEW_DEFINITION FROM information_schema.VIEWS v
    WHERE v.TABLE_SCHEMA IN ({}) AND v.TABLE_NAME IN (";
/// What keeps the tables of these names.
const ENGINES: &str = "SELECT t.TABLE_SCHEMA, t.TABLE_NAME, COALESCE(t.ENGINE, '') FROM information_schema.TABLES t
    WHERE t.TABLE_TYPE NOT IN ('VIEW', 'SYSTEM VIEW') AND t.TABLE_SCHEMA IN ({}) AND t.TABLE_NAME IN (";
/// Engines that take a change back.
const UNDOING: [&str; 3] = ["InnoDB", "ROCKSDB", "ndbcluster"];
/// Stored functions of these names.
const STORED: &str = "SELECT r.ROUTINE_SCHEMA, r.ROUTINE_NAME, '' FROM information_schema.ROUTINES r
    WHERE r.ROUTINE_TYPE = 'FUNCTION' AND r.ROUTINE_SCHEMA IN ({}) AND r.ROUTINE_NAME IN (";
/// Columns that are read for one statement.
const COLUMNS_MAX: usize = RELATIONS_MAX * 100;

/// Schema, name and a third text, as the server spells them.
type Found = Vec<(String, String, String)>;

/// What there is of exactly these names in these databases.
async fn rows(connection: &mut MySqlConnection, about: &str, places: &[String], names: &[String]) -> Result<Found, Refusal> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let head = listed(about, places);
    let order = if about == COLUMNS { "ORDER BY c.TABLE_SCHEMA, c.TABLE_NAME, c.ORDINAL_POSITION" } else { "" };
    let whole = listed(&format!("{}{{}}) {order} LIMIT {}", head.as_str(), COLUMNS_MAX + 1), names);
    let mut query = sqlx::query(whole);
    for name in places.iter().chain(names) {
        query = query.bind(name);
    }
    let rows = query.fetch_all(connection).await.map_err(|error| failure::mysql(&error))?;
    rows.iter().map(|row| Ok((text(row, 0)?, text(row, 1)?, text(row, 2).unwrap_or_default()))).collect()
}

/// The same, spelling after spelling for what was not found yet.
async fn found(connection: &mut MySqlConnection, about: &str, places: &[String], names: &[String]) -> Result<Found, Refusal> {
    let mut all = rows(connection, about, places, names).await?;
    let spellings: [fn(&str) -> String; 2] = [str::to_lowercase, str::to_uppercase];
    for spelling in spellings {
        let is_found = |name: &&String| all.iter().any(|(_, found, _)| found == *name || *found == spelling(name));
        let mut missing: Vec<String> = names.iter().filter(|name| !is_found(name)).map(|name| spelling(name)).collect();
        missing.sort();
        missing.dedup();
        let more = rows(connection, about, places, &missing).await?;
        // On a server that compares without case the first spelling has found it already.
        all.extend(more.into_iter().filter(|row| !all.contains(row)).collect::<Vec<_>>());
    }
    Ok(all)
}

/// Where the parser says that the statement's result columns come from, given the catalogue as it is at this moment.
pub(super) async fn lineage(connection: &mut MySqlConnection, statement: &Statement, database: &str) -> Result<Lineage, Refusal> {
    let mut gatherer = Gatherer::new(Engine::MySql, vec![database.to_owned()]);
    let mut wanted = gatherer.first(statement);
    while !wanted.is_empty() {
        let places = gatherer.places().to_vec();
        let columns = found(connection, COLUMNS, &places, &wanted).await?;
        let mut names: Vec<String> = columns.iter().map(|(_, name, _)| name.clone()).collect();
        names.dedup();
        let views = rows(connection, VIEWS, &places, &names).await?;
        wanted = gatherer.next(if columns.len() > COLUMNS_MAX { too_many() } else { relations(columns, views) });
    }
    let Schema { relations, .. } = gatherer.done();
    Ok(statement.lineage(&Schema { search_path: vec![database.to_lowercase()], relations }))
}

/// So many that nothing counts as read.
fn too_many() -> Vec<Relation> {
    let one = |number: usize| Relation { name: number.to_string(), ..Relation::default() };
    (0..=RELATIONS_MAX).map(one).collect()
}

/// Relations as lineage takes them: in small letters, two that differ in case alone as one that has the columns of both.
fn relations(columns: Found, views: Found) -> Vec<Relation> {
    let views: BTreeMap<(String, String), String> =
        views.into_iter().map(|(schema, name, definition)| ((schema, name), definition)).collect();
    let mut relations: Vec<Relation> = Vec::new();
    for (schema, name, column) in columns {
        let view = views.get(&(schema.clone(), name.clone())).cloned();
        let (schema, name) = (schema.to_lowercase(), name.to_lowercase());
        if relations.last().is_none_or(|last| (&last.schema, &last.name) != (&schema, &name)) {
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
    match rows(connection, STORED, &[database.to_owned()], &functions).await?.first() {
        None => Ok(()),
        Some((schema, name, _)) => {
            Err(Refusal::new(Code::FunctionNotAllowed)
                .detail(format!("`{schema}.{name}` could be taken for the server's own of that name")))
        }
    }
}

/// Refuses a change to a table whose engine would keep it whatever becomes of the transaction: its bounds could not be kept. A table of which
/// nobody can say what keeps it is refused as well; views are followed to what they show.
pub(super) async fn check_can_roll_back(connection: &mut MySqlConnection, statement: &Statement, database: &str) -> Result<(), Refusal> {
    let refused = |why: String| Err(Refusal::new(Code::CannotRollBack).detail(why));
    let mut gatherer = Gatherer::new(Engine::MySql, vec![database.to_owned()]);
    let mut wanted = gatherer.first(statement);
    while !wanted.is_empty() {
        let places = gatherer.places().to_vec();
        let kept = found(connection, ENGINES, &places, &wanted).await?;
        let views = found(connection, VIEWS, &places, &wanted).await?;
        for name in &wanted {
            let is_it = |found: &str| found.to_lowercase() == name.to_lowercase();
            if !kept.iter().any(|(_, found, _)| is_it(found))
                && !views.iter().any(|(_, found, definition)| is_it(found) && !definition.is_empty())
            {
                return refused(format!("nobody can say whether a change to `{name}` could be taken back"));
            }
        }
        if let Some((schema, name, engine)) =
            kept.iter().find(|(.., engine)| !UNDOING.iter().any(|known| known.eq_ignore_ascii_case(engine)))
        {
            return refused(format!("`{schema}.{name}` is kept by the engine {engine}, which cannot take a change back"));
        }
        let view = |(schema, name, definition)| Relation { schema, name, view: Some(definition), ..Relation::default() };
        wanted = gatherer.next(views.into_iter().map(view).collect());
    }
    Ok(())
}
