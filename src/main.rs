//! `countersign`: arguments in, exit code out; nothing else lives here.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign::cli::main()
}
