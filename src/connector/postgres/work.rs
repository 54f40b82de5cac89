//! The work of one call inside its transaction: what is asked of the server, and what it answers, held back.
//!
//! Rows are held back until the last one is read and the session has been found to be the human's still (`session::confirm`). A function, view or
//! trigger can change the role at any row, so that a check before the first would say nothing of the second; and what has been released cannot be
//! called back. It costs the agent nothing: an answer leaves the broker only when it is whole and recorded, and the call's limits on rows and bytes
//! bound what is held.

use futures::TryStreamExt;
use sqlx::{PgConnection, Row as _, Statement as _};

use crate::call::Call;
use crate::connector::postgres::session::Catalogue;
use crate::connector::postgres::{decode, encode, session, statement};
use crate::connector::{Meter, check_affected, failure, objects};
use crate::mask::{Done, Piece};
use crate::operation::sql::{Count, Objects, Preview, Sql};
use crate::refusal::{Code, Refusal};

/// An answer before anybody may have it.
pub(super) type HeldBack = (Vec<Piece>, Done);

/// A settled transaction.
pub(super) struct Work<'a> {
    pub(super) connection: &'a mut PgConnection,
    pub(super) call: &'a Call,
    pub(super) catalogue: Catalogue<'a>,
    /// Whether humans share the login.
    pub(super) is_shared: bool,
}

fn fail(error: sqlx::Error) -> Refusal {
    failure::postgres(&error)
}

impl Work<'_> {
    /// Refuses what would run as a function without having been judged as one; and where a function's body could take another human's role, all
    /// that could run code that nobody here has judged.
    async fn check_functions(&mut self, sql: &Sql) -> Result<(), Refusal> {
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

    pub(super) async fn query(&mut self, sql: &Sql) -> Result<HeldBack, Refusal> {
        self.check_functions(sql).await?;
        let (lineage, names) = session::lineage(self.connection, &sql.statement, self.catalogue).await?;
        let prepared = statement::prepare(self.connection, &sql.statement, &self.call.facts.id).await?;
        let arguments = encode::arguments(&prepared, &sql.params)?;
        let columns = session::columns(self.connection, prepared.columns(), names).await?;
        let mut pieces = vec![Piece::Header { columns, lineage }];
        let mut meter = Meter::new(self.call.limits);
        let mut rows = sqlx::Executor::fetch(&mut *self.connection, prepared.query_with(arguments));
        while let Some(row) = rows.try_next().await.map_err(fail)? {
            let row: Vec<_> = (0..row.len()).map(|index| decode::value(&row, index)).collect();
            if !meter.takes(&row) {
                return Ok((pieces, meter.cut()?));
            }
            pieces.push(Piece::Row(row));
        }
        Ok((pieces, Done::default()))
    }

    pub(super) async fn change(&mut self, sql: &Sql, shown: Option<u64>) -> Result<HeldBack, Refusal> {
        self.check_functions(sql).await?;
        let (lineage, names) = session::lineage(self.connection, &sql.statement, self.catalogue).await?;
        let prepared = statement::prepare(self.connection, &sql.statement, &self.call.facts.id).await?;
        let arguments = encode::arguments(&prepared, &sql.params)?;
        let mut pieces = Vec::new();
        let mut truncated = false;
        let mut affected = 0;
        if let Some(again) = shown.and_then(|_| sql.recount()) {
            statement::lock(self.connection, &sql.statement).await?;
            check_affected(self.count(&again).await?, None, shown)?;
        }
        if sql.statement.returns_rows() {
            let columns = session::columns(self.connection, prepared.columns(), names).await?;
            pieces.push(Piece::Header { columns, lineage });
            let mut meter = Meter::new(self.call.limits);
            let mut rows = sqlx::Executor::fetch_many(&mut *self.connection, prepared.query_with(arguments));
            // Read to the end: the change is complete, and its size known, only then.
            while let Some(step) = rows.try_next().await.map_err(fail)? {
                match step {
                    sqlx::Either::Left(result) => affected += result.rows_affected(),
                    sqlx::Either::Right(row) => {
                        let row: Vec<_> = (0..row.len()).map(|index| decode::value(&row, index)).collect();
                        if !truncated && meter.takes(&row) {
                            pieces.push(Piece::Row(row));
                        } else {
                            truncated = true;
                        }
                    }
                }
            }
        } else {
            let done = sqlx::Executor::execute(&mut *self.connection, prepared.query_with(arguments)).await;
            affected = done.map_err(fail)?.rows_affected();
        }
        let counts = sql.statement.counts_rows();
        if counts {
            check_affected(affected, sql.expect_max_rows, shown)?;
        }
        Ok((pieces, Done { affected_rows: counts.then_some(affected), truncated, preview_rows: None }))
    }

    pub(super) async fn preview(&mut self, preview: &Preview) -> Result<HeldBack, Refusal> {
        let rows = match &preview.count {
            Count::Known(rows) => *rows,
            Count::Query(sql) => self.count(sql).await?,
        };
        let pieces = match &preview.sample {
            Some(sample) => self.query(sample).await?.0,
            None => Vec::new(),
        };
        Ok((pieces, Done { preview_rows: Some(rows), ..Done::default() }))
    }

    /// What a `SELECT count(*)` says.
    async fn count(&mut self, sql: &Sql) -> Result<u64, Refusal> {
        self.check_functions(sql).await?;
        let prepared = statement::prepare(self.connection, &sql.statement, &self.call.facts.id).await?;
        let arguments = encode::arguments(&prepared, &sql.params)?;
        let row = sqlx::Executor::fetch_one(&mut *self.connection, prepared.query_with(arguments)).await.map_err(fail)?;
        Ok(u64::try_from(row.try_get::<i64, _>(0).map_err(fail)?).unwrap_or(u64::MAX))
    }

    pub(super) async fn objects(&mut self, wanted: &Objects) -> Result<HeldBack, Refusal> {
        let document = objects::postgres(self.connection, wanted, self.catalogue.search_path).await?;
        Ok((vec![Piece::Document(document)], Done::default()))
    }
}
