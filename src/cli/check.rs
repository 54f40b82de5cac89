//! `countersign check`: everything that is wrong in a configuration, its tools and its policies, each with file and line; and, of one that is in
//! order, every login and role that a call could reach. Nothing is asked but the configuration.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::broker::Settings;
use crate::cli::Failure;
use crate::cli::output::{json as print_json, say, table};
use crate::clock::Clock;
use crate::config::{Config, Problem};
use crate::credential::access::Reach;

/// Look for everything that is wrong in a configuration, its tools and its policies.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration.
    #[arg(long, default_value = "countersign.toml", value_name = "FILE")]
    config: PathBuf,
    /// JSON instead of lines.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        match Config::read(&self.config, &Clock::system()) {
            Err(problems) => self.wrong(&problems),
            Ok(config) => {
                self.right(&config.settings);
                Ok(())
            }
        }
    }

    fn wrong(&self, problems: &[Problem]) -> Result<(), Failure> {
        if self.json {
            let listed: Vec<_> =
                problems.iter().map(|problem| json!({ "file": problem.file, "line": problem.line, "message": problem.message })).collect();
            print_json(&json!({ "ok": false, "problems": listed }));
        } else {
            for problem in problems {
                say(&problem.to_string());
            }
        }
        Err(Failure::Negative(if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) }))
    }

    fn right(&self, settings: &Settings) {
        let (reached, warnings) = (reached(settings), warnings(settings));
        if self.json {
            let reached: Vec<Value> = reached
                .iter()
                .map(|(target, reach)| {
                    json!({ "target": target, "name": reach.name, "form": reach.form, "through": reach.through, "who": reach.who })
                })
                .collect();
            print_json(&json!({ "ok": true, "problems": [], "warnings": warnings, "reach": reached }));
            return;
        }
        say("everything is in order");
        let rows: Vec<Vec<String>> = reached
            .iter()
            .map(|(target, reach)| {
                let form = reach.through.as_ref().map_or_else(|| reach.form.to_owned(), |through| format!("{} of {through}", reach.form));
                vec![target.clone(), reach.name.clone(), form, reach.who.clone()]
            })
            .collect();
        if !rows.is_empty() {
            say("\nwhat a call could be on a target, if a policy allows it:");
            table(&["TARGET", "ROLE/LOGIN", "FORM", "WHO"], &rows);
        }
        for warning in warnings {
            say(&format!("warning: {warning}"));
        }
    }
}

/// Every login and role that a call could reach, with its target.
fn reached(settings: &Settings) -> Vec<(String, Reach)> {
    let of = |target: &crate::broker::Target| {
        let name = target.settings.name.clone();
        target.settings.access.reach(&settings.credentials.humans).into_iter().map(move |reach| (name.clone(), reach)).collect::<Vec<_>>()
    };
    settings.targets.iter().flat_map(of).collect()
}

fn warnings(settings: &Settings) -> Vec<String> {
    let of = |target: &crate::broker::Target| {
        let name = target.settings.name.clone();
        target.settings.access.warnings().into_iter().map(move |warning| format!("target `{name}`: {warning}")).collect::<Vec<_>>()
    };
    settings.targets.iter().flat_map(of).collect()
}
