//! Long work, facts, units and signals on a real host, and the recording of all that ran.

use std::time::Duration;

use countersign::connector::HostBounds;
use serde_json::{Value, json};

use crate::harness::sshd::{Sshd, may_sudo};
use crate::harness::{World, code};
use crate::kube::{agent, approved};
use crate::ssh::{ran, world};

async fn whole(world: &World, call: &Value) -> Value {
    world.approver().get(&format!("/audit/calls/{}", call["call_id"].as_str().unwrap())).await.1
}

#[tokio::test]
async fn a_job_outlives_its_call_and_is_read_listed_and_stopped_by_whoever_started_it() {
    let sshd = Sshd::start();
    let world = world(&sshd, &[]).await;
    let agent = agent(&world);
    let script = "for i in 1 2 3 4 5; do echo line $i; done; sleep 0.3; echo late; exit 4";
    let (_, started) = approved(&world, &agent, "ssh_job_start", json!({"target": "web", "argv": ["sh", "-c", script]})).await;
    let job = started["result"]["job_id"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned();
    assert_eq!(started["call_id"], job.as_str(), "a job is called as the call that started it");
    let output = |since: u64, lines: u64| json!({"target": "web", "job_id": job, "since_line": since, "lines": lines});
    let mut read = Value::Null;
    for _ in 0..50 {
        read = agent.call("ssh_job_output", output(0, 3)).await;
        if read["result"]["state"] == "ended" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((&read["result"]["exit_code"], &read["result"]["lines"]), (&json!(4), &json!(["line 1", "line 2", "line 3"])), "{read}");
    let next = read["result"]["next_line"].as_u64().unwrap();
    let rest = agent.call("ssh_job_output", output(next, 50)).await;
    assert_eq!((&rest["result"]["lines"], &rest["result"]["total_lines"]), (&json!(["line 4", "line 5", "late"]), &json!(6)), "{rest}");

    let (_, started) = approved(
        &world,
        &agent,
        "ssh_job_start",
        json!({"target": "web", "argv": ["sh", "-c", "trap '' TERM; env -i sleep 81818 & sleep 81818; sleep 81818"], "max_runtime_s": 60}),
    )
    .await;
    let long = started["result"]["job_id"].as_str().unwrap().to_owned();
    let listed = agent.call("ssh_job_list", json!({"target": "web"})).await;
    let state = |listed: &Value, id: &str| {
        listed["result"]["jobs"].as_array().unwrap().iter().find(|job| job["job_id"] == id).map(|job| job["state"].clone())
    };
    assert_eq!((state(&listed, &job), state(&listed, &long)), (Some(json!("ended")), Some(json!("running"))), "{listed}");
    // Nobody else's: another agent of the same human does not find it.
    let other = world.agent_of("alice", "other-agent", &[], "mcp:read mcp:write mcp:admin");
    assert_eq!(state(&other.call("ssh_job_list", json!({"target": "web"})).await, &long), None);
    let (_, foreign) = approved(&world, &other, "ssh_job_stop", json!({"target": "web", "job_id": long})).await;
    assert_eq!(code(&foreign), "target.not_found", "{foreign}");
    assert_eq!(code(&other.call("ssh_job_output", json!({"target": "web", "job_id": long})).await), "target.not_found");
    let (_, stopped) = approved(&world, &agent, "ssh_job_stop", json!({"target": "web", "job_id": long})).await;
    assert_eq!(stopped["result"]["stopped_confirmed"], true, "{stopped}");
    let left = std::process::Command::new("pgrep").args(["-f", "sleep 81818"]).output().unwrap();
    assert!(left.stdout.is_empty());
    let bad = agent.call("ssh_job_output", json!({"target": "web", "job_id": "../../../../etc/passwd-x-y-z"})).await;
    assert_eq!(code(&bad), "request.invalid_arguments", "{bad}");
    // A job's time is bounded on the host itself.
    let (_, started) =
        approved(&world, &agent, "ssh_job_start", json!({"target": "web", "argv": ["sleep", "81819"], "max_runtime_s": 1})).await;
    assert_eq!(started["status"], "ok", "{started}");
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    let left = std::process::Command::new("pgrep").args(["-f", "sleep 81819"]).output().unwrap();
    assert!(left.stdout.is_empty());
    world.verify();
}

#[tokio::test]
async fn facts_of_a_host_are_its_own() {
    let sshd = Sshd::start();
    let world = world(&sshd, &[]).await;
    let facts = agent(&world).call("ssh_facts", json!({"target": "web"})).await;
    let result = &facts["result"];
    let uname =
        |flag: &str| String::from_utf8(std::process::Command::new("uname").arg(flag).output().unwrap().stdout).unwrap().trim().to_owned();
    assert_eq!(result["kernel"], json!({"name": uname("-s"), "release": uname("-r"), "machine": uname("-m")}), "{facts}");
    assert_eq!(result["hostname"], uname("-n"));
    assert!(result["memory"]["total"].as_u64().unwrap() > 1 << 20 && result["cpus"].as_u64().unwrap() > 0, "{facts}");
    assert!(result["disks"].as_array().unwrap().iter().any(|disk| disk["mount"] == "/"), "{facts}");
    assert_eq!(result["load"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_signal_goes_to_one_process_and_a_unit_is_asked_of_systemd() {
    let sshd = Sshd::start();
    let world = world(&sshd, &[]).await;
    let agent = agent(&world);
    let (_, started) = approved(&world, &agent, "ssh_job_start", json!({"target": "web", "argv": ["sleep", "61616"]})).await;
    assert_eq!(started["status"], "ok");
    let found = agent.call("ssh_read", json!({"target": "web", "program": "pgrep", "args": ["-x", "-f", "sleep 61616"]})).await;
    let pid: u64 = found["result"]["stdout"].as_str().unwrap().trim().parse().unwrap_or_else(|_| panic!("{found}"));
    let (shown, sent) = approved(&world, &agent, "ssh_signal", json!({"target": "web", "pid": pid, "signal": "KILL"})).await;
    assert_eq!(sent["result"]["sent"], true, "{sent}");
    assert_eq!(shown["risk"], "destructive", "{shown}");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!std::path::Path::new(&format!("/proc/{pid}/stat")).exists());
    // Where no systemd runs, systemctl itself says so; the call goes down the whole path all the same.
    let status = agent.call("ssh_service", json!({"target": "web", "unit": "ssh.service", "action": "status"})).await;
    let answered =
        status["result"]["unit"]["Id"] == "ssh.service" || status["result"]["stderr"].as_str().is_some_and(|text| text.contains("systemd"));
    assert!(status["status"] == "ok" && answered, "{status}");
    let (shown, stopped) =
        approved(&world, &agent, "ssh_service", json!({"target": "web", "unit": "no-such.service", "action": "stop"})).await;
    assert_eq!(shown["risk"], "destructive", "{shown}");
    assert_ne!(stopped["result"]["exit_code"], 0, "{stopped}");
    for unit in ["-H root@x", "a b", "x;id", "", "$(id)"] {
        let refused = agent.call("ssh_service", json!({"target": "web", "unit": unit, "action": "status"})).await;
        assert_eq!(code(&refused), "request.invalid_arguments", "{unit}: {refused}");
    }
    world.verify();
}

#[tokio::test]
async fn sudo_is_of_the_highest_risk_and_never_asks_for_a_password() {
    let sshd = Sshd::start();
    let world = world(&sshd, &[]).await;
    let agent = agent(&world);
    let (shown, answer) = approved(&world, &agent, "ssh_sudo", json!({"target": "web", "argv": ["id", "-un"]})).await;
    assert_eq!((&shown["risk"], &shown["operation"]["run_as"]), (&json!("admin"), &json!("root")), "{shown}");
    // The account has no such right: that is told as sudo told it, and nobody is asked for a password.
    assert!(answer["status"] == "ok" && answer["result"]["exit_code"] == 1, "{answer}");
    assert!(answer["result"]["stderr"].to_string().contains("password is required"), "{answer}");
    // A right it has is used, as that user and no other.
    if may_sudo() {
        let call = json!({"target": "web", "argv": ["/usr/bin/id", "-un"], "run_as": "nobody"});
        let (shown, answer) = approved(&world, &agent, "ssh_sudo", call).await;
        assert_eq!((&shown["risk"], &shown["operation"]["run_as"]), (&json!("admin"), &json!("nobody")), "{shown}");
        assert_eq!((&answer["result"]["exit_code"], &answer["result"]["stdout"]), (&json!(0), &json!("nobody\n")), "{answer}");
        // What runs as another account is ended as that account.
        let script = "trap '' TERM; setsid sleep 4321781 & sleep 4321781 & echo on; sleep 4321781";
        let call = json!({"target": "web", "argv": ["sh", "-c", script], "run_as": "nobody", "timeout_ms": 1_500});
        let (_, answer) = approved(&world, &agent, "ssh_sudo", call).await;
        let is_left = std::process::Command::new("pgrep").args(["-f", "sleep 4321781"]).output().unwrap().status.success();
        assert_eq!((code(&answer), &answer["result"]["stdout"], is_left), ("target.timeout", &json!("on\n"), false), "{answer}");
        assert_eq!(answer["error"]["stopped_confirmed"], true, "{answer}");
    }
    let refused = agent.call("ssh_sudo", json!({"target": "web", "argv": ["id"], "run_as": "-u root"})).await;
    assert_eq!(code(&refused), "request.invalid_arguments", "{refused}");
    world.verify();
}

#[tokio::test]
async fn what_ran_is_recorded_masked_and_a_part_a_second() {
    let sshd = Sshd::start();
    let world = world(&sshd, &[]).await;
    let agent = agent(&world);
    let script =
        "eval :; echo card 4111 1111 1111 1111; echo err >&2; sleep 1.3; echo password=hunter2hunter2; sleep 1.3; echo end; exit 5";
    let (_, answer) = approved(&world, &agent, "ssh_exec", json!({"target": "web", "argv": ["sh", "-c", script]})).await;
    assert_eq!(answer["result"]["exit_code"], 5, "{answer}");
    assert!(!answer.to_string().contains("4111 1111") && !answer.to_string().contains("hunter2"), "{answer}");
    assert!(!answer.to_string().contains("recording"), "{answer}");
    let call = whole(&world, &answer).await;
    let recording = call["payloads"]["recording"].as_str().unwrap_or_else(|| panic!("{call}"));
    let lines: Vec<Value> = recording.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["version"], &lines[0]["term"]["cols"]), (&json!(3), &json!(120)), "{recording}");
    assert!(lines[0]["command"].as_str().unwrap().starts_with("sh -c "), "{recording}");
    assert!(lines[1..].iter().all(|event| event[0].is_f64() && event[1].is_string()), "{recording}");
    assert_eq!((&lines.last().unwrap()[1], &lines.last().unwrap()[2]), (&json!("x"), &json!(5)), "{recording}");
    let text: String = lines[1..].iter().filter(|event| event[1] == "o").map(|event| event[2].as_str().unwrap()).collect();
    assert!(text.contains("end\r\n") && text.contains("err\r\n") && text.contains("[redacted:card]"), "{text}");
    assert!(!recording.contains("4111 1111") && !recording.contains("hunter2hunter2"), "{recording}");
    // A part of it was durable while the program still ran.
    let kinds: Vec<&str> = call["entries"].as_array().unwrap().iter().map(|entry| entry["leaf"]["t"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"exec.progress") || recording.len() < 200, "{kinds:?}");
    // A read is recorded too.
    let read = ran(&agent, &["echo", "hello"]).await;
    let call = whole(&world, &read).await;
    assert!(call["payloads"]["recording"].as_str().unwrap().contains("hello\\r\\n"), "{call}");
    world.verify();
}

#[tokio::test]
async fn one_program_on_several_hosts_is_a_call_of_its_own_on_each() {
    let (one, two) = (Sshd::start(), Sshd::start());
    let odd = crate::harness::process::free_port();
    let world = World::with_targets(crate::ssh::wish(), |issuer| {
        let bounds = || HostBounds { groups: vec!["all".to_owned()], ..HostBounds::default() };
        let mut nowhere = two.route(&two.known_line());
        nowhere.to.port = odd;
        vec![
            one.target_of("a", one.route(&one.known_line()), bounds(), issuer),
            two.target_of("b", two.route(&two.known_line()), bounds(), issuer),
            two.target_of("gone", nowhere, HostBounds::default(), issuer),
        ]
    })
    .await;
    let agent = agent(&world);
    let listed = agent.call("list_targets", json!({})).await;
    assert!(listed.to_string().contains("\"groups\":[\"all\"]"), "{listed}");
    let many = agent.call("ssh_multi_exec", json!({"group": "all", "argv": ["uname", "-s"], "max_parallel": 2})).await;
    let result = &many["result"];
    assert_eq!((&result["ok"], &result["hosts"]), (&json!(2), &json!(2)), "{many}");
    assert!(result["results"].as_array().unwrap().iter().all(|one| one["result"]["stdout"] == "Linux\n"), "{many}");
    // Each is in the log of its own host, and in the trail as a part of the whole.
    for (sshd, at) in [(&one, 0), (&two, 1)] {
        assert!(sshd.log().contains("human=alice agent=demo-agent"), "{}", sshd.log());
        let (_, part) = world.approver().get(&format!("/audit/calls/{}", result["results"][at]["call_id"].as_str().unwrap())).await;
        assert!(part["entries"].as_array().unwrap().iter().all(|entry| entry["leaf"]["part_of"] == many["call_id"]), "{part}");
    }
    // One that fails does not hide the others, or keeps the rest from being begun.
    let order = json!({"targets": ["gone", "a", "b"], "argv": ["true"], "max_parallel": 1});
    let many = agent.call("ssh_multi_exec", order.clone()).await;
    assert_eq!(
        (&many["result"]["ok"], &many["result"]["results"][0]["error"]["code"]),
        (&json!(2), &json!("target.unreachable")),
        "{many}"
    );
    let mut stops = order;
    stops["stop_on_error"] = json!(true);
    let many = agent.call("ssh_multi_exec", stops).await;
    assert_eq!((&many["result"]["ok"], &many["result"]["not_run"]), (&json!(0), &json!(2)), "{many}");
    // What must be approved is asked of each host, and picked up by the same call.
    let change = json!({"targets": ["a", "b"], "argv": ["python3", "-c", "print(1)"]});
    let asked = agent.call("ssh_multi_exec", change.clone()).await;
    assert_eq!(asked["result"]["approval_pending"], 2, "{asked}");
    for host in asked["result"]["results"].as_array().unwrap() {
        let id = host["approval"]["id"].as_str().unwrap();
        assert_eq!(world.approver().decide(id, json!({"decision": "approve"})).await.0, 200);
    }
    let done = agent.call("ssh_multi_exec", change).await;
    assert_eq!(done["result"]["ok"], 2, "{done}");
    for bad in
        [json!({"argv": ["true"]}), json!({"targets": ["a"], "group": "all", "argv": ["true"]}), json!({"group": "none", "argv": ["true"]})]
    {
        assert_eq!(code(&agent.call("ssh_multi_exec", bad).await), "request.invalid_arguments");
    }
    let foreign = agent.call("ssh_multi_exec", json!({"targets": ["shop", "no-such"], "argv": ["true"]})).await;
    assert_eq!(foreign["result"]["ok"], 0, "{foreign}");
    world.verify();
}

#[tokio::test]
async fn a_session_is_a_folder_and_variables_that_are_filled_in_before_anybody_judges() {
    let sshd = Sshd::start();
    let dir = crate::harness::sshd::playground();
    let path = dir.path().display().to_string();
    let mut world = world(&sshd, &[]).await;
    let agent = agent(&world);
    let open = |cwd: &str| json!({"target": "web", "session": "work", "cwd": cwd, "env": {"GREETING": "hello"}});
    let run = |argv: &[&str]| json!({"target": "web", "session": "work", "argv": argv});
    let before = agent.call("ssh_session_run", run(&["pwd"])).await;
    assert_eq!(code(&before), "request.unknown_session", "{before}");
    let opened = agent.call("ssh_session_open", open(&path)).await;
    assert_eq!(opened["result"]["folder"], path.as_str(), "{opened}");
    // A variable that is not known to be harmless may change what a program does: a human is asked.
    let (shown, ran) = crate::kube::approved(&world, &agent, "ssh_session_run", run(&["sh", "-c", "pwd; printenv GREETING"])).await;
    assert_eq!(ran["result"]["stdout"], format!("{path}\nhello\n"), "{ran}");
    assert_eq!((&ran["result"]["cwd"], &shown["risk"]), (&json!(path), &json!("admin")), "{ran} {shown}");
    let open = |cwd: &str| json!({"target": "web", "session": "work", "cwd": cwd});
    assert_eq!(agent.call("ssh_session_open", open(&path)).await["status"], "ok");
    // It outlives the broker, and is nobody else's.
    world.restart().await;
    let ran = agent.call("ssh_session_run", run(&["pwd"])).await;
    assert_eq!((&ran["result"]["stdout"], &ran["result"]["cwd"]), (&json!(format!("{path}\n")), &json!(path)), "{ran}");
    for other in [world.agent_of("alice", "other-agent", &[], "mcp:read"), world.agent_of("bob", "demo-agent", &[], "mcp:read")] {
        assert_eq!(code(&other.call("ssh_session_run", run(&["pwd"])).await), "request.unknown_session");
        assert_eq!(code(&other.call("ssh_session_close", json!({"target": "web", "session": "work"})).await), "request.unknown_session");
    }
    // What was approved is approved for that folder.
    let change = run(&["touch", "made"]);
    let (id, shown) = crate::kube::asked(&world, &agent, "ssh_session_run", &change).await;
    assert_eq!((&shown["operation"]["cwd"], &shown["risk"]), (&json!(path), &json!("write")), "{shown}");
    assert_eq!(world.approver().decide(&id, json!({"decision": "approve"})).await.0, 200);
    assert_eq!(agent.call("ssh_session_open", open("/tmp")).await["status"], "ok");
    let elsewhere = agent.call("ssh_session_run", change.clone()).await;
    assert_eq!(elsewhere["status"], "approval_pending", "{elsewhere}");
    assert_eq!(agent.call("ssh_session_open", open(&path)).await["status"], "ok");
    let made = agent.call("ssh_session_run", change).await;
    assert!(made["result"]["exit_code"] == 0 && dir.path().join("made").exists(), "{made}");
    // A folder that is not there opens nothing, and what is closed is gone.
    let nowhere = json!({"target": "web", "session": "nowhere", "cwd": "/no/such"});
    assert_eq!(code(&agent.call("ssh_session_open", nowhere).await), "target.not_found");
    assert_eq!(
        code(&agent.call("ssh_session_run", json!({"target": "web", "session": "nowhere", "argv": ["pwd"]})).await),
        "request.unknown_session"
    );
    assert_eq!(agent.call("ssh_session_close", json!({"target": "web", "session": "work"})).await["status"], "ok");
    assert_eq!(code(&agent.call("ssh_session_run", run(&["pwd"])).await), "request.unknown_session");
    // And one that was not used for its time.
    let short = json!({"target": "web", "session": "short", "cwd": "/tmp", "idle_ttl_s": 60});
    assert_eq!(agent.call("ssh_session_open", short).await["status"], "ok");
    world.clock.turn(chrono::TimeDelta::seconds(61));
    assert_eq!(
        code(&agent.call("ssh_session_run", json!({"target": "web", "session": "short", "argv": ["pwd"]})).await),
        "request.unknown_session"
    );
    let bad = json!({"target": "web", "session": "x", "cwd": "/tmp", "env": {"PATH": "/tmp"}});
    assert_eq!(code(&agent.call("ssh_session_open", bad).await), "request.invalid_arguments");
    world.verify();
}
