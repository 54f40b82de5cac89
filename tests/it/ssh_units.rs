//! Units of a real systemd on a real host, with the rights that the guide gives.

use serde_json::{Value, json};

use crate::harness::sshd::{Sshd, With, account};
use crate::kube::{agent, approved};
use crate::ssh::world;

const UNIT: &str = "[Unit]\nDescription=A shop\n[Service]\nExecStart=/bin/sh -c 'echo the shop opens, card 4111 1111 1111 1111; exec sleep 7171717'\n\
                    ExecReload=/bin/echo the shop looks around\n";

/// The rule of the guide, for the account of the tests.
fn rule_of_the_guide() -> String {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ssh.md")).unwrap();
    let (_, rest) = guide.split_once("```js\n").unwrap();
    let (rule, _) = rest.split_once("```").unwrap();
    assert!(rule.contains("\"deploy\"") && rule.contains("shop.service"), "{rule}");
    rule.replace("\"deploy\"", &format!("\"{}\"", account()))
}

#[tokio::test]
async fn a_unit_is_what_systemd_says_and_does_what_the_host_allows() {
    let given = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(given.path().join(name), text).unwrap();
    put("shop.service", UNIT);
    put("till.service", UNIT);
    put("50-guide.rules", &rule_of_the_guide());
    put(
        "60-till.rules",
        &rule_of_the_guide().replace("shop.service", "till.service").replace(" && action.lookup(\"verb\") == \"restart\"", ""),
    );
    let sshd = Sshd::with(With { units: Some(given.path().to_owned()), ..With::default() });
    let Some(systemd) = sshd.systemd() else { return };
    let world = world(&sshd, &[]).await;
    let agent = agent(&world);
    let asked = |unit: &str, action: &str| json!({"target": "web", "unit": unit, "action": action, "journal_lines": 20});
    let status = async |unit: &str| -> Value { agent.call("ssh_service", asked(unit, "status")).await["result"].clone() };
    let active = |result: &Value| result["unit"]["ActiveState"].as_str().unwrap_or_else(|| panic!("{result}")).to_owned();

    let before = status("till.service").await;
    assert_eq!((active(&before).as_str(), &before["unit"]["Description"]), ("inactive", &json!("A shop")), "{before}");
    for (action, expected, risk) in [
        ("start", "active", "write"),
        ("reload", "active", "write"),
        ("restart", "active", "destructive"),
        ("stop", "inactive", "destructive"),
    ] {
        let (shown, done) = approved(&world, &agent, "ssh_service", asked("till.service", action)).await;
        assert_eq!((&shown["risk"], &done["result"]["exit_code"]), (&json!(risk), &json!(0)), "{action}: {shown} {done}");
        assert_eq!(active(&done["result"]), expected, "{action}: {done}");
        let seen = systemd.inside("systemctl").args(["is-active", "till.service"]).output().unwrap();
        assert_eq!(String::from_utf8(seen.stdout).unwrap().trim(), expected, "{action}");
    }
    let after = status("till.service").await;
    let journal = after["journal"].to_string();
    assert!(journal.contains("the shop opens") && journal.contains("the shop looks around"), "{after}");
    assert!(!after.to_string().contains("4111 1111"), "{after}");

    // What polkit does not allow is told as it was told, and nothing was done.
    let (_, done) = approved(&world, &agent, "ssh_service", asked("shop.service", "restart")).await;
    assert_eq!((&done["result"]["exit_code"], active(&done["result"]).as_str()), (&json!(0), "active"), "{done}");
    let (_, refused) = approved(&world, &agent, "ssh_service", asked("shop.service", "stop")).await;
    assert_ne!(refused["result"]["exit_code"], 0, "{refused}");
    assert!(refused["result"]["stderr"].as_str().unwrap().contains("authentication required"), "{refused}");
    assert_eq!(active(&refused["result"]), "active", "{refused}");
    let missing = status("no-such.service").await;
    assert_eq!(missing["unit"]["LoadState"], "not-found", "{missing}");

    // Where the journal may not be read, the unit is told all the same, and why nothing else is.
    assert!(systemd.inside("chmod").args(["700", "/run/log/journal"]).status().unwrap().success());
    let closed = status("shop.service").await;
    assert_eq!((active(&closed).as_str(), &closed["exit_code"]), ("active", &json!(0)), "{closed}");
    assert!(closed["journal"].to_string().contains("insufficient permissions"), "{closed}");
    world.verify();
}
