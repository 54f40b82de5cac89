//! `countersign verify`: does the trail hold? Offline, also with the broker stopped; trust comes from the key that the caller gives.

use std::path::PathBuf;

use clap::Args;

use crate::cli::Failure;
use crate::cli::output::{json as print_json, say, table};
use crate::ledger::note::VerifierKey;
use crate::ledger::verify::{Demands, Report, verify};

/// Verify a ledger offline: every leaf, the tree, the signatures, the payloads, the order of events.
#[derive(Debug, Args)]
#[command(
    after_help = "Keep a checkpoint (`countersign audit checkpoint`) with somebody else and give it as --previous later: only that shows that a tail was cut off or the log was made anew."
)]
pub(super) struct Verify {
    /// A data folder, or the folder of an exported log (`leaves.jsonl`, `hashes`, `checkpoints.jsonl`, `checkpoint`, `log.pub`).
    #[arg(default_value = "countersign-data", value_name = "DIR")]
    dir: PathBuf,
    /// The log's public key, as it was handed over (`name+hash+key`, or a file with it); the one beside the log otherwise.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A signed checkpoint from earlier, which the log must still begin with.
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// JSON instead of a report.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(self) -> Result<(), Failure> {
        let key = self.key.as_deref().map(key).transpose()?;
        let previous = self
            .previous
            .as_deref()
            .map(|path| {
                std::fs::read_to_string(path).map_err(|error| Failure::Usage(format!("failed to read `{}`: {error}", path.display())))
            })
            .transpose()?;
        let report = verify(&self.dir, &Demands { key, previous }).map_err(|error| Failure::Unreachable(error.to_string()))?;
        if self.json {
            print_json(&serde_json::to_value(&report).unwrap_or_default());
        } else {
            print(&report);
        }
        if report.ok { Ok(()) } else { Err(Failure::Negative(format!("the ledger does not hold: {} problems", report.problems.len()))) }
    }
}

fn key(text: &str) -> Result<VerifierKey, Failure> {
    let from_file = std::fs::read_to_string(text).ok();
    VerifierKey::parse(from_file.as_deref().unwrap_or(text))
        .ok_or_else(|| Failure::Usage("`--key` is neither a verifier key nor a file with one".to_owned()))
}

fn print(report: &Report) {
    let yes = if report.ok { "holds" } else { "DOES NOT HOLD" };
    let from = if report.key_from == "given" {
        "the key that was given"
    } else {
        "the log's own key: give the one that was handed over as --key to prove more"
    };
    let rows = [
        ("ledger", yes.to_owned()),
        ("origin", report.origin.clone()),
        ("leaves", report.size.to_string()),
        ("root", report.root.clone()),
        ("signed by", from.to_owned()),
        ("payloads", format!("{} checked, {} erased, {} not here", report.payloads, report.erased, report.payloads_unchecked)),
        ("open calls", report.open_calls.to_string()),
        (
            "previous",
            report.previous.map_or_else(
                || "none given: a cut tail would not show".to_owned(),
                |size| format!("the first {size} leaves are unchanged"),
            ),
        ),
    ];
    for (title, value) in rows {
        say(&format!("{title:<12} {value}"));
    }
    if !report.problems.is_empty() {
        say("");
        let rows: Vec<Vec<String>> = report
            .problems
            .iter()
            .map(|problem| {
                vec![
                    problem.index.map_or_else(|| "-".to_owned(), |index| index.to_string()),
                    problem.code.to_owned(),
                    problem.message.clone(),
                ]
            })
            .collect();
        table(&["LEAF", "PROBLEM", "WHAT"], &rows);
    }
}
