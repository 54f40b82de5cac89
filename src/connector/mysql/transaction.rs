//! MySQL's side of the work: what is checked before a statement runs, and how it runs.

use serde_json::Value;
use sqlx::mysql::{MySqlQueryResult, MySqlRow};
use sqlx::{MySqlConnection, Row as _, Statement as _};

use crate::connector::mysql::{catalogue, decode, encode, session, statement};
use crate::connector::stop::Progress;
use crate::connector::{failure, objects, work};
use crate::id::CallId;
use crate::mask::Piece;
use crate::operation::sql::{Mode, Objects, Sql, Statement};
use crate::refusal::Refusal;

/// A settled transaction.
pub(super) struct Transaction<'a> {
    pub(super) connection: &'a mut MySqlConnection,
    pub(super) call: &'a CallId,
    pub(super) database: &'a str,
    pub(super) progress: &'a Progress,
}

/// Whether a statement ends the transaction and lasts, whatever is said afterwards.
pub(super) fn commits_itself(sql: &Sql) -> bool {
    sql.mode == Mode::Execute && !sql.statement.counts_rows()
}

impl work::Transaction for Transaction<'_> {
    async fn check(&mut self, sql: &Sql) -> Result<(), Refusal> {
        catalogue::check_not_shadowed(self.connection, &sql.statement, self.database).await?;
        if sql.mode == Mode::Execute && sql.statement.counts_rows() {
            catalogue::check_can_roll_back(self.connection, &sql.statement, self.database).await?;
        }
        Ok(())
    }

    async fn header(&mut self, statement: &Statement) -> Result<Piece, Refusal> {
        let lineage = catalogue::lineage(self.connection, statement, self.database).await?;
        let prepared = statement::prepare(self.connection, statement, self.call).await?;
        Ok(Piece::Header { columns: session::columns(prepared.columns()), lineage })
    }

    async fn run(&mut self, sql: &Sql, take: &mut (dyn FnMut(Vec<Value>) -> bool + Send)) -> Result<u64, Refusal> {
        // The connection remembers what it has prepared.
        let prepared = statement::prepare(self.connection, &sql.statement, self.call).await?;
        let arguments = encode::arguments(&sql.params)?;
        // A definition commits by itself: from here on only the server knows what became of it.
        let fail: fn(&sqlx::Error) -> Refusal = if commits_itself(sql) {
            let _from_here = self.progress.committing.get_or_init(|| ());
            failure::mysql_commit
        } else {
            failure::mysql
        };
        let values = |row: &MySqlRow| (0..row.len()).map(|index| decode::value(row, index)).collect();
        let steps = sqlx::Executor::fetch_many(&mut *self.connection, prepared.query_with(arguments));
        work::drain(steps, MySqlQueryResult::rows_affected, values, fail, take).await
    }

    async fn lock(&mut self, statement: &Statement) -> Result<(), Refusal> {
        statement::lock(self.connection, statement).await
    }

    async fn objects(&mut self, wanted: &Objects) -> Result<Value, Refusal> {
        objects::mysql(self.connection, wanted, self.database).await
    }
}
