//! A grant on a host reaches what it names and nothing beside it (attack 92): no neighbour of the folder, no other host, no program, no other account, no
//! other agent.

use countersign::connector::HostBounds;
use serde_json::{Value, json};

use crate::harness::sshd::{Sshd, own, playground};
use crate::harness::{Agent, Wish, World};
use crate::kube::agent;
use crate::ssh::{POLICIES, wish};

async fn granted(world: &World, agent: &Agent, access: Value) -> String {
    let answer = agent.call("request_access", access).await;
    let id = answer["result"]["approval_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let (status, decided) = world.approver().decide(&id, json!({"decision": "approve"})).await;
    assert_eq!((status, decided["state"].as_str()), (200, Some("granted")), "{decided}");
    id
}

#[tokio::test]
async fn a_grant_on_a_folder_of_a_host_reaches_no_neighbour_no_other_host_and_no_program() {
    let sshd = Sshd::start();
    let dir = playground();
    let root = dir.path().to_str().unwrap().to_owned();
    for folder in ["build", "build-prod"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
    }
    own(dir.path());
    let wish = Wish { policies: POLICIES.replace("@quorum(\"1\")", "@grant(\"30m, 20 calls\")"), ..wish() };
    let world = World::with_targets(wish, |issuer| {
        let bounds = HostBounds { roots: vec![root.clone()], ..HostBounds::default() };
        vec![sshd.target(&[&root], issuer), sshd.target_of("web-2", sshd.route(&sshd.known_line()), bounds, issuer)]
    })
    .await;
    let agent = agent(&world);
    let (build, prod) = (format!("{root}/build"), format!("{root}/build-prod"));
    let access = json!({"target": "web", "tools": ["sftp_write", "sftp_mkdir"], "on": [build], "risk": "write", "minutes": 10, "calls": 20, "reason": "a build"});
    let id = granted(&world, &agent, access).await;
    let write = |target: &str, path: String| json!({"target": target, "path": path, "content": "x\n"});
    let answer = agent.call("sftp_write", write("web", format!("{build}/out"))).await;
    assert_eq!((&answer["status"], &answer["approval"]["id"]), (&json!("ok"), &json!(id)), "{answer}");
    assert_eq!(agent.call("sftp_mkdir", json!({"target": "web", "path": format!("{build}/deep")})).await["status"], "ok");
    for (tool, arguments) in [
        ("sftp_write", write("web", format!("{prod}/out"))),
        ("sftp_write", write("web", format!("{build}/../build-prod/out"))),
        ("sftp_write", write("web", format!("{root}/out"))),
        ("sftp_write", write("web-2", format!("{build}/other"))),
        ("sftp_remove", json!({"target": "web", "path": format!("{build}/out")})),
        ("ssh_exec", json!({"target": "web", "argv": ["touch", format!("{build}/by-a-program")]})),
        ("ssh_sudo", json!({"target": "web", "argv": ["touch", format!("{build}/as-root")]})),
    ] {
        let answer = agent.call(tool, arguments.clone()).await;
        assert_ne!(answer["status"], "ok", "{tool} {arguments}: {answer}");
    }
    // Nor in another's session: another agent of the same human.
    let other = world.agent_of("alice", "other-agent", &["support"], "mcp:read mcp:write mcp:admin");
    assert_ne!(other.call("sftp_write", write("web", format!("{build}/others"))).await["status"], "ok");
    let left: Vec<String> = walk(dir.path());
    assert_eq!(left, ["build", "build-prod", "build/deep", "build/out"]);
    let (_, shown) = world.approver().get(&format!("/approvals/{id}")).await;
    assert_eq!(shown["calls_used"], 2, "{shown}");
    world.verify();
}

/// Everything below a folder.
fn walk(root: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(root).unwrap().display().to_string());
            folders.extend(path.is_dir().then_some(path));
        }
    }
    found.sort();
    found
}
