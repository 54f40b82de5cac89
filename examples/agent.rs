//! A scripted MCP agent: what an agent meets at the broker, from the first list of tools to a change that a human approves.
//!
//! `cargo run --example agent -- --url http://127.0.0.1:7300/mcp --token-file countersign-data/agent.token [--reviewer-token-file FILE]`
//!
//! It ends with the trail of its own run: the receipts it was given, and with a reviewer's token also what the broker recorded.

#![allow(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::allow_attributes,
    reason = "an example talks to its reader on standard output"
)]

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use rmcp::model::{CallToolRequestParams, JsonObject, ProtocolVersion, RequestMetaObject};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};

#[derive(Parser)]
struct Arguments {
    /// The broker's MCP endpoint.
    #[arg(long, default_value = "http://127.0.0.1:7300/mcp")]
    url: String,
    /// A file with the agent's token.
    #[arg(long, default_value = "countersign-data/agent.token")]
    token_file: PathBuf,
    /// A file with a reviewer's token: then the broker's own records of this run are shown as well.
    #[arg(long)]
    reviewer_token_file: Option<PathBuf>,
    /// The file whose token approves, for the command that is printed.
    #[arg(long, default_value = "countersign-data/approver.token")]
    approver_token_file: PathBuf,
}

type Failure = Box<dyn Error + Send + Sync>;

struct Agent {
    client: RunningService<RoleClient, ()>,
    run: String,
    receipts: Vec<(String, String, Value)>,
}

impl Agent {
    async fn call(&mut self, tool: &'static str, arguments: Value) -> Result<Value, Failure> {
        let arguments: JsonObject = serde_json::from_value(arguments)?;
        let mut params = CallToolRequestParams::new(tool).with_arguments(arguments);
        let mut meta = RequestMetaObject::default();
        meta.0.insert("countersign/run".to_owned(), json!(self.run));
        params.meta = Some(meta);
        let result = self.client.call_tool(params).await?;
        let envelope = result.structured_content.unwrap_or_default();
        let receipt = result.meta.and_then(|meta| meta.0.get("countersign/receipt").cloned()).unwrap_or_default();
        let status = envelope["status"].as_str().unwrap_or("?").to_owned();
        self.receipts.push((tool.to_owned(), status, receipt));
        Ok(envelope)
    }
}

fn title(text: &str) {
    println!("\n== {text}");
}

fn rows(envelope: &Value) {
    for row in envelope["result"]["rows"].as_array().into_iter().flatten() {
        println!("   {row}");
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let token = std::fs::read_to_string(&arguments.token_file)?.trim().to_owned();
    let config = StreamableHttpClientTransportConfig::with_uri(arguments.url.clone()).auth_header(token);
    let era = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    let client = ().serve_with_lifecycle(StreamableHttpClientTransport::from_config(config), era).await?;
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros();
    let mut agent = Agent { client, run: format!("example-{started}"), receipts: Vec::new() };

    title("the tools I may use");
    for tool in agent.client.list_all_tools().await? {
        println!("   {:<18} {}", tool.name, tool.title.unwrap_or_default());
    }

    title("where I am, and what is there");
    let targets = agent.call("list_targets", json!({})).await?;
    println!("   {}", targets["result"]["targets"]);
    let tables = agent.call("db_search_objects", json!({"target": "shop", "object_type": "table"})).await?;
    let names: Vec<&str> =
        tables["result"]["results"].as_array().into_iter().flatten().filter_map(|table| table["name"].as_str()).collect();
    println!("   tables: {}", names.join(", "));
    let described = agent.call("db_describe", json!({"target": "shop", "name": "customers"})).await?;
    println!("   customers has {} columns", described["result"]["columns"].as_array().map_or(0, Vec::len));

    title("who are our three best customers? (personal data comes back masked)");
    let sql = "SELECT c.id, c.name, c.email, c.card_number, sum(o.total_cents) AS spent FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.id ORDER BY spent DESC LIMIT 3";
    let best = agent.call("db_query", json!({"target": "shop", "sql": sql, "reason": "monthly review"})).await?;
    rows(&best);
    println!("   masked: {}", best["masked"]);

    title("a destructive statement is refused");
    let refused = agent.call("db_execute", json!({"target": "shop", "sql": "DELETE FROM customers"})).await?;
    println!("   {}: {}", refused["error"]["code"].as_str().unwrap_or("?"), refused["error"]["message"].as_str().unwrap_or("?"));

    title("a change waits for a human");
    let best_id = best["result"]["rows"][0][0].as_i64().unwrap_or(1);
    let change = json!({"target": "shop", "sql": "UPDATE customers SET tier = 'business' WHERE id = ?1", "params": [best_id], "expect_max_rows": 1, "reason": "best customer of the month"});
    change_with_approval(&mut agent, &arguments, change).await?;
    trail(&agent, &arguments).await
}

/// Repeats the very same call until a human has decided.
async fn change_with_approval(agent: &mut Agent, arguments: &Arguments, change: Value) -> Result<(), Failure> {
    let base = arguments.url.trim_end_matches("/mcp");
    loop {
        // The first answer may take a while: the broker holds the call in the hope that a human is quick.
        println!(
            "   asking; decide with: countersign approvals list --url {base} --token-file {}",
            arguments.approver_token_file.display()
        );
        let answer = agent.call("db_execute", change.clone()).await?;
        match answer["status"].as_str() {
            Some("approval_pending") => {
                let id = answer["approval"]["id"].as_str().unwrap_or_default().to_owned();
                println!(
                    "   waiting for {id}; approve with: countersign approvals approve --url {base} --token-file {} {id}",
                    arguments.approver_token_file.display()
                );
                let decided = agent.call("approval_wait", json!({"approval_id": id, "max_wait_s": 60})).await?;
                println!("   it is {}", decided["result"]["state"].as_str().unwrap_or("?"));
            }
            Some("ok") => {
                println!("   done: {} row changed", answer["result"]["affected_rows"]);
                return Ok(());
            }
            _ => {
                println!("   not done: {}", answer["error"]["message"].as_str().unwrap_or("?"));
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn trail(agent: &Agent, arguments: &Arguments) -> Result<(), Failure> {
    title("the trail of this run");
    for (tool, status, receipt) in &agent.receipts {
        println!("   leaf {:<4} {:<18} {:<17} {}", receipt["index"], tool, status, receipt["leaf_hash"].as_str().unwrap_or("?"));
    }
    let Some(file) = &arguments.reviewer_token_file else { return Ok(()) };
    let base = arguments.url.trim_end_matches("/mcp");
    let token = std::fs::read_to_string(file)?;
    let query = format!("{base}/audit/entries?agent=demo-agent&human=alice&run={}", agent.run);
    let answer: Value = reqwest::Client::new().get(query).bearer_auth(token.trim()).send().await?.json().await?;
    title("what the broker recorded of it");
    for entry in answer["entries"].as_array().into_iter().flatten().rev() {
        let leaf = &entry["leaf"];
        println!(
            "   leaf {:<4} {:<18} {:<18} {}",
            entry["index"],
            leaf["t"].as_str().unwrap_or("?"),
            leaf["tool"]["name"].as_str().unwrap_or("-"),
            leaf["call"].as_str().unwrap_or("-")
        );
    }
    Ok(())
}
