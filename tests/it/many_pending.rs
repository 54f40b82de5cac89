//! Many requests that wait at once: each is a row of the store. No task, connection or memory of the process grows with them, one of them is found and
//! decided as if it were alone, and a restart carries on with all of them.
//!
//! `COUNTERSIGN_PENDING` says how many; `tests/long` makes it 10,000.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use serde_json::json;
use tokio::runtime::Handle;

use crate::harness::{Agent, Wish, World, setting};

/// Calls under way at once.
const AT_ONCE: usize = 8;

fn sql(number: u64) -> String {
    format!("UPDATE orders SET status = 'refunded' WHERE id = {}", 1_000_000 + number)
}

/// The ids of requests for calls with these numbers.
async fn file(agent: &Agent, numbers: std::ops::Range<u64>) -> Vec<String> {
    let asked = stream::iter(numbers).map(|number| async move {
        let answer = agent.execute("shop", &sql(number)).await;
        assert_eq!(answer["status"], "approval_pending", "{answer}");
        answer["approval"]["id"].as_str().unwrap().to_owned()
    });
    asked.buffered(AT_ONCE).collect().await
}

/// Tasks of this process (the broker's too) once what ends by itself has ended.
async fn tasks() -> usize {
    let mut least = usize::MAX;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        least = least.min(Handle::current().metrics().num_alive_tasks());
    }
    least
}

/// Resident memory of this process in MiB, and the time of the processor that it has used.
fn usage() -> (u64, Duration) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    (kib / 1024, Duration::from_millis(ticks * 10))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_is_a_row_and_not_a_task() {
    let count = setting("COUNTERSIGN_PENDING", || 520);
    let mut world = World::with(Wish { hold: Duration::from_millis(1), ..Wish::default() }).await;
    world
        .restart_with(|settings| {
            settings.approval.open_max = u64::MAX >> 1;
            settings.approval.alike_max = u64::MAX >> 1;
        })
        .await;
    let agent = world.agent();
    let mut ids = file(&agent, 0..32).await;
    let (tasks_before, (memory_before, _)) = (tasks().await, usage());
    let began = Instant::now();
    ids.extend(file(&agent, 32..count).await);
    let filed_in = began.elapsed();
    let tasks_after = tasks().await;
    assert!(tasks_after <= tasks_before + AT_ONCE, "{tasks_before} tasks with 32 that wait, {tasks_after} with {count}");

    // What watching over them costs while nothing happens: two rounds of the sweep.
    let (memory_after, idle_before) = usage();
    if count >= 10_000 {
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    let idle = usage().1 - idle_before;

    // One in the middle is found, shown, decided and done as if it were alone.
    let bob = world.approver();
    let began = Instant::now();
    let listed = bob.pending().await;
    let listed_in = began.elapsed();
    assert_eq!(listed.len(), usize::try_from(count).unwrap().min(500));
    // The rest is a page further, and none is left out.
    let (mut seen, mut older) = (std::collections::BTreeSet::new(), String::new());
    loop {
        let (_, page) = bob.get(&format!("/approvals?state=pending{older}")).await;
        seen.extend(page["approvals"].as_array().unwrap().iter().map(|approval| approval["approval_id"].as_str().unwrap().to_owned()));
        let Some(before) = page["before"].as_str() else { break };
        older = format!("&before={before}");
    }
    assert_eq!(seen.len(), usize::try_from(count).unwrap());
    let (status, told) = bob.get("/approvals?before=yesterday").await;
    assert_eq!((status, &told["error"]["code"]), (404, &json!("approval.unknown")), "{told}");
    // Who may decide none of it has the most to look through.
    let began = Instant::now();
    assert!(world.human("zoe", &["support"]).pending().await.is_empty());
    let none_in = began.elapsed();
    let middle = ids.len() / 2;
    let began = Instant::now();
    assert_eq!(bob.get(&format!("/approvals/{}", ids[middle])).await.1["state"], "pending");
    assert_eq!(bob.decide(&ids[middle], json!({"decision": "approve"})).await.1["state"], "approved");
    assert_eq!(agent.execute("shop", &sql(u64::try_from(middle).unwrap())).await["status"], "ok");
    let decided_in = began.elapsed();

    // Another process finds all of them.
    let began = Instant::now();
    world.restart().await;
    let restarted_in = began.elapsed();
    for which in [0, middle - 1, ids.len() - 1] {
        assert_eq!(agent.call("approval_status", json!({"approval_id": ids[which]})).await["result"]["state"], "pending");
    }
    let leaves = world.verify().size;
    println!(
        "\n| pending | {count} | {tasks_before} → {tasks_after} | {memory_before} → {memory_after} MiB | {} ms | {} ms | {} ms | {} ms | {} ms | {} ms | {leaves} |",
        filed_in.as_millis() / u128::from(count),
        idle.as_millis(),
        listed_in.as_millis(),
        none_in.as_millis(),
        decided_in.as_millis(),
        restarted_in.as_millis(),
    );
}
