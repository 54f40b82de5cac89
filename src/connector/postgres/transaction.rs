//! PostgreSQL's side of the work: what is checked before a statement runs, and how it runs.

use serde_json::Value;
use sqlx::postgres::{PgQueryResult, PgRow};
use sqlx::{PgConnection, Row as _, Statement as _};

use crate::connector::postgres::session::Catalogue;
use crate::connector::postgres::{decode, encode, session, statement};
use crate::connector::{failure, objects, work};
use crate::id::CallId;
use crate::mask::Piece;
use crate::operation::sql::{Objects, Sql, Statement};
use crate::refusal::{Code, Refusal};

/// A settled transaction.
pub(super) struct Transaction<'a> {
    pub(super) connection: &'a mut PgConnection,
    pub(super) call: &'a CallId,
    pub(super) catalogue: Catalogue<'a>,
    /// Whether humans share the login.
    pub(super) is_shared: bool,
}

impl work::Transaction for Transaction<'_> {
    /// Refuses what would run as a function without having been judged as one; and where a function's body could take another human's role, all
    /// that could run code that nobody here has judged.
    async fn check(&mut self, sql: &Sql) -> Result<(), Refusal> {
        let fields: Vec<String> = sql.statement.fields().iter().cloned().collect();
        if !fields.is_empty() {
            session::check_fields(self.connection, &fields, self.catalogue.search_path).await?;
        }
        if !self.is_shared {
            return Ok(());
        }
        if let Some(why) = sql.statement.impure() {
            return Err(Refusal::new(Code::FunctionNotAllowed).detail(why));
        }
        let functions: Vec<String> = sql.statement.functions().iter().cloned().collect();
        session::check_not_shadowed(self.connection, &functions, self.catalogue.search_path).await
    }

    async fn header(&mut self, statement: &Statement) -> Result<Piece, Refusal> {
        let (lineage, names) = session::lineage(self.connection, statement, self.catalogue).await?;
        let prepared = statement::prepare(self.connection, statement, self.call).await?;
        let columns = session::columns(self.connection, prepared.columns(), names).await?;
        Ok(Piece::Header { columns, lineage })
    }

    async fn run(&mut self, sql: &Sql, take: &mut (dyn FnMut(Vec<Value>) -> bool + Send)) -> Result<u64, Refusal> {
        // The connection remembers what it has prepared.
        let prepared = statement::prepare(self.connection, &sql.statement, self.call).await?;
        let arguments = encode::arguments(&prepared, &sql.params)?;
        let values = |row: &PgRow| (0..row.len()).map(|index| decode::value(row, index)).collect();
        let steps = sqlx::Executor::fetch_many(&mut *self.connection, prepared.query_with(arguments));
        work::drain(steps, PgQueryResult::rows_affected, values, failure::postgres, take).await
    }

    async fn lock(&mut self, statement: &Statement) -> Result<(), Refusal> {
        statement::lock(self.connection, statement).await
    }

    async fn objects(&mut self, wanted: &Objects) -> Result<Value, Refusal> {
        objects::postgres(self.connection, wanted, self.catalogue.search_path).await
    }
}
