//! `countersign check`: everything that is wrong in a configuration, its tools and its policies, each with file and line.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::Failure;
use crate::cli::output::{json as print_json, say};
use crate::config::Config;

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
        let problems = Config::read(&self.config).err().unwrap_or_default();
        if self.json {
            let listed: Vec<_> =
                problems.iter().map(|problem| json!({ "file": problem.file, "line": problem.line, "message": problem.message })).collect();
            print_json(&json!({ "ok": problems.is_empty(), "problems": listed }));
        } else {
            for problem in &problems {
                say(&problem.to_string());
            }
        }
        match problems.len() {
            0 => {
                if !self.json {
                    say("everything is in order");
                }
                Ok(())
            }
            1 => Err(Failure::Negative("1 problem".to_owned())),
            count => Err(Failure::Negative(format!("{count} problems"))),
        }
    }
}
