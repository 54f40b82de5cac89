//! The work of one call inside a server's transaction: what is asked of the server, and what it answers, held back.
//!
//! Rows are held back until the last one is read and the session has been found to be the human's still (`confirm` of each engine). A function,
//! view or trigger can change the role at any row, so that a check before the first would say nothing of the second; and what has been released
//! cannot be called back. It costs the agent nothing: an answer leaves the broker only when it is whole and recorded, and the call's limits on rows
//! and bytes bound what is held.

use futures::{Stream, TryStreamExt};
use serde_json::Value;

use crate::audit::Permit;
use crate::call::{Bound, Call};
use crate::connector::{Meter, check_affected};
use crate::mask::{Done, Piece};
use crate::operation::Operation;
use crate::operation::sql::{Count, Mode, Objects, Preview, Sql, Statement};
use crate::refusal::{Code, Refusal};

/// An answer before anybody may have it.
pub(super) type HeldBack = (Vec<Piece>, Done);

/// A settled transaction on a server: read-only for what reads, and of the human whose call it is.
pub(super) trait Transaction {
    /// Refuses what must not run there, whatever policy said.
    async fn check(&mut self, sql: &Sql) -> Result<(), Refusal>;

    /// The columns that come back and where they come from.
    async fn header(&mut self, statement: &Statement) -> Result<Piece, Refusal>;

    /// Runs the statement; gives each row to `take` until that says no; how many rows were changed.
    async fn run(&mut self, sql: &Sql, take: &mut (dyn FnMut(Vec<Value>) -> bool + Send)) -> Result<u64, Refusal>;

    /// Keeps others from changing the tables that a statement empties or removes, until the transaction ends.
    async fn lock(&mut self, statement: &Statement) -> Result<(), Refusal>;

    /// A look at the catalogue.
    async fn objects(&mut self, wanted: &Objects) -> Result<Value, Refusal>;
}

/// Reads what a statement gives: each row to `take` until that says no; how many rows were changed.
pub(super) async fn drain<Q, R>(
    mut steps: impl Stream<Item = sqlx::Result<sqlx::Either<Q, R>>> + Unpin,
    changed: impl Fn(&Q) -> u64,
    values: impl Fn(&R) -> Vec<Value>,
    fail: impl Fn(&sqlx::Error) -> Refusal,
    take: &mut (dyn FnMut(Vec<Value>) -> bool + Send),
) -> Result<u64, Refusal> {
    let mut affected = 0;
    while let Some(step) = steps.try_next().await.map_err(|error| fail(&error))? {
        match step {
            sqlx::Either::Left(result) => affected += changed(&result),
            sqlx::Either::Right(row) => {
                if !take(values(&row)) {
                    break;
                }
            }
        }
    }
    Ok(affected)
}

/// Whether a permit is for something that changes data.
pub(super) fn writes(permit: &Permit) -> bool {
    matches!(&permit.call().operation, Operation::Sql(Sql { mode: Mode::Execute, .. }))
}

/// Does what the permit is for.
pub(super) async fn perform(transaction: &mut impl Transaction, permit: &Permit) -> Result<HeldBack, Refusal> {
    let call = permit.call();
    match &call.operation {
        Operation::Sql(sql) if sql.mode == Mode::Query => query(transaction, sql, call).await,
        Operation::Sql(sql) => change(transaction, sql, call, permit.max_affected()).await,
        Operation::SqlPreview(shown) => preview(transaction, shown, call).await,
        Operation::SqlObjects(wanted) => Ok((vec![Piece::Document(transaction.objects(wanted).await?)], Done::default())),
        Operation::Local(_) | Operation::Kube(_) | Operation::KubePreview(_) | Operation::Ssh(_) | Operation::SshPreview(_) => {
            Err(Refusal::new(Code::TargetFailed).cause("an operation of another kind of target"))
        }
    }
}

async fn query(transaction: &mut impl Transaction, sql: &Sql, call: &Call) -> Result<HeldBack, Refusal> {
    transaction.check(sql).await?;
    let mut pieces = vec![transaction.header(&sql.statement).await?];
    let mut meter = Meter::new(call.limits);
    let mut is_cut = false;
    let mut take = |row: Vec<Value>| {
        is_cut = !meter.takes(&row);
        if !is_cut {
            pieces.push(Piece::Row(row));
        }
        !is_cut
    };
    transaction.run(sql, &mut take).await?;
    let done = if is_cut { meter.cut()? } else { Done::default() };
    Ok((pieces, done))
}

async fn change(transaction: &mut impl Transaction, sql: &Sql, call: &Call, shown: Option<u64>) -> Result<HeldBack, Refusal> {
    transaction.check(sql).await?;
    let mut pieces = Vec::new();
    if sql.statement.returns_rows() {
        pieces.push(transaction.header(&sql.statement).await?);
    }
    if let Some(again) = shown.and_then(|_| sql.recount()) {
        transaction.lock(&sql.statement).await?;
        check_affected(count(transaction, &again).await?, None, shown)?;
    }
    let mut meter = Meter::new(call.limits);
    let mut truncated = false;
    // Read to the end: the change is complete, and its size known, only then.
    let mut take = |row: Vec<Value>| {
        truncated = truncated || !meter.takes(&row);
        if !truncated {
            pieces.push(Piece::Row(row));
        }
        true
    };
    let affected = transaction.run(sql, &mut take).await?;
    let counts = sql.statement.counts_rows();
    if counts {
        check_affected(affected, sql.expect_max_rows, shown)?;
    }
    Ok((pieces, Done { affected_rows: counts.then_some(affected), truncated, ..Done::default() }))
}

async fn preview(transaction: &mut impl Transaction, preview: &Preview, call: &Call) -> Result<HeldBack, Refusal> {
    let rows = match &preview.count {
        Count::Known(rows) => *rows,
        Count::Query(sql) => count(transaction, sql).await?,
    };
    let pieces = match &preview.sample {
        Some(sample) => query(transaction, sample, call).await?.0,
        None => Vec::new(),
    };
    Ok((pieces, Done { preview: Some(Bound { rows: Some(rows), ..Bound::default() }), ..Done::default() }))
}

/// What a `SELECT count(*)` says. A count that is none is the highest.
async fn count(transaction: &mut impl Transaction, sql: &Sql) -> Result<u64, Refusal> {
    transaction.check(sql).await?;
    let mut counted = u64::MAX;
    let mut take = |row: Vec<Value>| {
        counted = row.first().and_then(Value::as_u64).unwrap_or(u64::MAX);
        false
    };
    transaction.run(sql, &mut take).await?;
    Ok(counted)
}
