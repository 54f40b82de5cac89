//! Clients that others wrote, in both eras, through an approval: the official Rust client here, the inspector in `conformance`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rmcp::ClientHandler;
use rmcp::model::{CallToolRequestParams, ProgressNotificationParam, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, NotificationContext, RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};

use crate::harness::{Wish, World};

/// Counts the signs of life that a held call gives.
#[derive(Clone, Default)]
struct Listener(Arc<AtomicUsize>);

impl ClientHandler for Listener {
    async fn on_progress(&self, _: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let _before = self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn eras() -> [(&'static str, ClientLifecycleMode); 2] {
    [
        ("2025-11-25", ClientLifecycleMode::Initialize),
        ("2026-07-28", ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }),
    ]
}

type Client = RunningService<RoleClient, Listener>;

async fn connect(world: &World, era: ClientLifecycleMode) -> Client {
    let config = StreamableHttpClientTransportConfig::with_uri(format!("{}/mcp", world.base)).auth_header(world.agent().token);
    Listener::default().serve_with_lifecycle(StreamableHttpClientTransport::from_config(config), era).await.unwrap()
}

async fn call(client: &Client, tool: &'static str, arguments: Value) -> Value {
    let params = CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone());
    client.call_tool(params).await.unwrap().structured_content.unwrap()
}

fn change(id: usize) -> Value {
    json!({"target": "shop", "sql": format!("UPDATE orders SET status = 'refunded' WHERE id = {id}"), "reason": "ticket 7"})
}

#[tokio::test]
async fn asked_told_to_wait_and_repeated() {
    let world = World::with(Wish { hold: Duration::ZERO, ..Wish::default() }).await;
    for (number, (version, era)) in eras().into_iter().enumerate() {
        let client = connect(&world, era).await;
        let tools = client.list_all_tools().await.unwrap();
        assert!(tools.iter().any(|tool| tool.name == "db_execute"), "{version}");
        let pending = call(&client, "db_execute", change(number + 1)).await;
        assert_eq!(pending["status"], "approval_pending", "{version}: {pending}");
        let id = pending["approval"]["id"].as_str().unwrap();
        world.approver().decide(id, json!({"decision": "approve"})).await;
        let decided = call(&client, "approval_wait", json!({"approval_id": id})).await;
        assert_eq!(decided["result"]["state"], "approved", "{version}: {decided}");
        let done = call(&client, "db_execute", change(number + 1)).await;
        assert_eq!(done["result"]["affected_rows"], 1, "{version}: {done}");
        let admitted = world.approver().trail("&kind=call.completed&tool=db_execute").await;
        let (_, whole) = world.approver().get(&format!("/audit/calls/{}", admitted[0]["leaf"]["call"].as_str().unwrap())).await;
        assert_eq!(whole["payloads"]["request"]["protocol_version"], version, "{whole}");
        client.cancel().await.unwrap();
    }
    world.verify();
}

#[tokio::test]
async fn held_with_signs_of_life_until_a_human_decides() {
    let world = World::with(Wish { hold: Duration::from_secs(40), ..Wish::default() }).await;
    let decide = async {
        tokio::time::sleep(Duration::from_secs(12)).await;
        for waiting in world.approver().pending().await {
            world.approver().decide(waiting["approval_id"].as_str().unwrap(), json!({"decision": "approve"})).await;
        }
    };
    let held = eras().into_iter().enumerate().map(async |(number, (version, era))| {
        let client = connect(&world, era).await;
        let done = call(&client, "db_execute", change(number + 1)).await;
        assert_eq!(done["result"]["affected_rows"], 1, "{version}: {done}");
        assert!(client.service().0.load(Ordering::Relaxed) > 0, "{version}: no progress was reported");
        client.cancel().await.unwrap();
    });
    let (_, ()) = tokio::join!(futures::future::join_all(held), decide);
    world.verify();
}
