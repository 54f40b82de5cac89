//! The README, run: every command block in order, with the product's binary, in a folder of its own. And its table of codes is complete.

use std::process::Command;

use countersign::clock::Clock;
use countersign::config::Config;

use crate::harness::authority::Authority;
use crate::harness::process::{Process, free_port};

fn readme() -> String {
    std::fs::read_to_string(format!("{}/README.md", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The ```sh blocks.
fn blocks(text: &str) -> Vec<String> {
    text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_command_block_runs() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("countersign-data");
    let port = free_port();
    let broker = Process::start(&data, port);
    // A copy: `..` behind a link would lead out of the folder.
    let copied = Command::new("cp").arg("-r").arg(format!("{}/examples", env!("CARGO_MANIFEST_DIR"))).arg(dir.path()).status().unwrap();
    assert!(copied.success());
    std::fs::create_dir(dir.path().join("tests")).unwrap();
    // The tests are running: what is checked of their command is that it is there.
    std::os::unix::fs::symlink("/bin/true", dir.path().join("tests/run")).unwrap();
    assert!(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run").is_file());
    let bin = env!("CARGO_BIN_EXE_countersign");
    let agent = std::path::Path::new(bin).parent().unwrap().join("examples/agent");
    let mut ran = 0;
    for block in blocks(&readme()) {
        // One broker runs already, on another port: what starts it is taken as said.
        let script: String = block
            .lines()
            .filter(|line| !line.contains("quickstart") || line.contains("countersign.toml"))
            .map(|line| format!("{line}\n"))
            .collect();
        let script = script
            .replace("cargo run --release --example agent --", &format!("timeout 60 {} --url http://127.0.0.1:{port}/mcp", agent.display()))
            .replace("cargo run --release --", bin)
            .replace("127.0.0.1:7300", &format!("127.0.0.1:{port}"));
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(dir.path())
            .env("COUNTERSIGN_URL", &broker.base)
            .env("PATH", format!("{}:{}", std::path::Path::new(bin).parent().unwrap().display(), std::env::var("PATH").unwrap()))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{script}\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        ran += 1;
    }
    assert!(ran >= 6, "only {ran} blocks");
}

#[test]
fn every_code_is_in_the_table() {
    let readme = readme();
    for code in countersign::refusal::Code::ALL {
        let row = format!("| `{}` | {} | {} |", code.as_str(), code.sentence(), code.advice());
        assert!(readme.contains(&row), "missing in the README:\n{row}");
    }
}

/// The configuration that the README shows is in order, with the policy that it shows.
#[test]
fn every_configuration_and_policy_block_is_in_order() {
    let text = readme();
    let of = |tag: &str| -> Vec<String> {
        text.split(&format!("```{tag}\n")).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
    };
    let (configurations, policies) = (of("toml"), of("cedar"));
    assert!(!configurations.is_empty() && !policies.is_empty());
    for configuration in configurations {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["secrets", "policies", "tools/sql", "tls"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::fs::write(at("secrets/alice"), "a-secret").unwrap();
        std::fs::write(at("secrets/vault-token"), "a-token").unwrap();
        std::fs::write(at("secrets/webhook.key"), crate::channels::SECRET).unwrap();
        let _pair = Authority::new().server().write(&at("tls"), "server");
        for (number, policy) in policies.iter().enumerate() {
            std::fs::write(at(&format!("policies/{number}.cedar")), policy).unwrap();
        }
        std::fs::write(at("countersign.toml"), configuration).unwrap();
        let read = Config::read(&at("countersign.toml"), &Clock::system());
        let settings = read.unwrap_or_else(|problems| panic!("{problems:#?}")).settings;
        assert_eq!(settings.policies.len(), policies.len());
        // What the block says of a default is the default.
        let shown = settings.approval;
        let usual = countersign::approval::Settings::new(shown.url.clone());
        assert_eq!(
            (shown.hold, shown.hold_with_progress, shown.ttl, shown.grant_ttl, shown.open_max, shown.alike_max),
            (usual.hold, usual.hold_with_progress, usual.ttl, usual.grant_ttl, usual.open_max, usual.alike_max)
        );
    }
}
