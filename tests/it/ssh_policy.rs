//! Policies about hosts: programs and paths by name, however they are spelt; shells; declared tools, whose parameters each become one argument.

use countersign::connector::HostBounds;
use serde_json::{Value, json};

use crate::harness::sshd::{Sshd, own, playground};
use crate::harness::{Agent, Wish, World, code};
use crate::kube::agent;
use crate::ssh::wish;

const FENCED: &str = r#"
@id("own") permit (principal, action == Action::"invoke", resource is Broker);
@id("all") permit (principal, action == Action::"invoke", resource) when { context.kind == "ssh" };
@id("no_shadow") forbid (principal, action == Action::"invoke", resource in Path::"web/etc/shadow");
@id("no_home") forbid (principal, action == Action::"invoke", resource in Path::"web/home");
@id("no_rm") forbid (principal, action == Action::"invoke", resource == Program::"web/rm");
@id("no_shell") forbid (principal, action == Action::"invoke", resource) when { context.kind == "ssh" && context.verb == "shell" };
@id("review") permit (principal in Team::"approvers", action == Action::"review", resource);
"#;

async fn judged(agent: &Agent, tool: &str, arguments: &Value) -> String {
    let mut arguments = arguments.clone();
    arguments["target"] = json!("web");
    let answer = agent.call(tool, arguments).await;
    if answer["status"] == "ok" { "ok".to_owned() } else { code(&answer).to_owned() }
}

#[tokio::test]
async fn a_forbid_on_a_path_or_program_holds_however_it_is_spelt() {
    let sshd = Sshd::start();
    let wish = Wish { policies: FENCED.to_owned(), ..wish() };
    let world = World::with_targets(wish, |issuer| vec![sshd.target(&["/etc", "/tmp"], issuer)]).await;
    let agent = agent(&world);
    let denied = "policy.denied";
    for argv in [
        &["cat", "/etc/shadow"][..],
        &["cat", "/etc//shadow"],
        &["cat", "/etc/./shadow"],
        &["cat", "/etc/passwd", "/etc/shadow"],
        &["grep", "-r", "root", "/etc"],
        &["grep", "-rf", "/etc/shadow", "/tmp"],
        &["tail", "-n1", "/etc/shadow"],
        &["env", "cat", "/etc/shadow"],
        &["timeout", "5", "cat", "/etc/shadow"],
        &["find", "/etc", "-name", "x"],
        &["sh", "-c", "cat /etc/shadow"],
        &["sh", "-c", "cat < /etc/shadow"],
        &["sh", "-c", "cat /etc/sh*"],
        &["sh", "-c", "cd /etc && cat shadow"],
        &["ls", "-R", "/home"],
        &["cat", "/home/somebody/x"],
        &["rm", "/tmp/x"],
        &["nice", "rm", "/tmp/x"],
        &["sh", "-c", "true; rm /tmp/x"],
        &["find", "/tmp/none", "-exec", "rm", "{}", "+"],
    ] {
        assert_eq!(judged(&agent, "ssh_exec", &json!({"argv": argv})).await, denied, "{argv:?}");
    }
    assert_eq!(judged(&agent, "ssh_exec", &json!({"argv": ["cat", "shadow"], "cwd": "/etc"})).await, denied);
    assert_eq!(judged(&agent, "ssh_exec", &json!({"command": "true"})).await, denied);
    assert_eq!(judged(&agent, "sftp_read", &json!({"path": "/etc/shadow"})).await, denied);
    // Names in a folder are not what is in the files below it, unless they are looked into.
    for fine in [
        &["cat", "/etc/hostname"][..],
        &["ls", "-l", "/etc"],
        &["ls", "/"],
        &["df", "-h", "/"],
        &["stat", "/etc"],
        &["cat", "/etc/shadow.txt"],
        &["echo", "/etc/shadow"],
    ] {
        assert_eq!(judged(&agent, "ssh_exec", &json!({"argv": fine})).await, "ok", "{fine:?}");
    }
    for below in [&["ls", "-lR", "/etc"][..], &["ls", "--recursive", "/"], &["du", "/etc"], &["tree", "/etc"], &["ls", "/etc/shadow"]] {
        assert_eq!(judged(&agent, "ssh_exec", &json!({"argv": below})).await, denied, "{below:?}");
    }
    // What is not known to only tell names may tell more: a flag that `ls` takes by its beginning, a way up, a word that only looks like a pattern.
    for more in
        [&["ls", "--recurs", "/etc"][..], &["ls", "/tmp/../etc"], &["xargs", "ls", "/etc"], &["ls", "/etc/[x]"], &["stat", "/et[c]"]]
    {
        assert_eq!(judged(&agent, "ssh_exec", &json!({"argv": more})).await, denied, "{more:?}");
    }
    assert_eq!(judged(&agent, "ssh_exec", &json!({"argv": ["ls"], "cwd": "/etc/[x]"})).await, denied);
    for pattern in ["ls /etc/*", "cd '/etc/[x]' && ls", "ls -d /etc/sh*", "stat /etc/sh*"] {
        assert_eq!(judged(&agent, "ssh_exec", &json!({"argv": ["sh", "-c", pattern]})).await, denied, "{pattern}");
    }
    // What was not named in the call is said to lie in it.
    let answer = agent.call("ssh_exec", json!({"target": "web", "argv": ["grep", "-r", "x", "/etc"]})).await;
    assert!(answer.to_string().contains("`read` on something in `/etc` that has a rule of its own"), "{answer}");
    assert_eq!(judged(&agent, "sftp_list", &json!({"path": "/etc"})).await, "ok");
    // Which word it is that makes it so risky is said, and which scope would be needed.
    let reader = world.agent_of("alice", "demo-agent", &["support"], "mcp:read");
    let answer = reader.call("ssh_exec", json!({"target": "web", "argv": ["frobnicate", "x"]})).await;
    assert_eq!(code(&answer), "identity.insufficient_scope", "{answer}");
    assert!(answer.to_string().contains("frobnicate") && answer.to_string().contains("`mcp:admin`"), "{answer}");
    world.verify();
}

/// Policies judge a path as it was written: by a link nobody comes to where it does not say.
#[tokio::test]
async fn a_forbid_on_a_path_holds_whatever_links_lead_there() {
    let sshd = Sshd::start();
    let dir = playground();
    let at = |name: &str| dir.path().join(name).display().to_string();
    for folder in ["srv/secret", "srv/pub"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    std::fs::write(at("srv/secret/key"), "s").unwrap();
    std::fs::write(at("srv/pub/plain"), "p").unwrap();
    for (to, link) in
        [("srv/secret/key", "srv/pub/link"), ("srv/secret", "srv/pub/folder"), ("srv/pub/plain", "srv/pub/same"), ("srv", "root")]
    {
        std::os::unix::fs::symlink(at(to), at(link)).unwrap();
    }
    own(dir.path());
    let forbid = |path: String| format!("forbid (principal, action, resource in Path::\"web{path}\");\n");
    let fenced = format!(
        "@id(\"own\") permit (principal, action == Action::\"invoke\", resource is Broker);\n\
         @id(\"all\") permit (principal, action == Action::\"invoke\", resource) when {{ context.kind == \"ssh\" }};\n\
         @id(\"review\") permit (principal in Team::\"approvers\", action == Action::\"review\", resource);\n\
         @id(\"secret\") {}@id(\"by_root\") {}",
        forbid(at("srv/secret")),
        forbid(at("root/secret"))
    );
    for root in ["srv", "root"] {
        let wish = Wish { policies: fenced.clone(), ..wish() };
        let world = World::with_targets(wish, |issuer| vec![sshd.target(&[&at(root)], issuer)]).await;
        let agent = agent(&world);
        let path = |name: &str| json!({"path": at(&format!("{root}/{name}"))});
        let to = |name: &str, more: Value| {
            let mut arguments = path(name);
            arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            arguments
        };
        let riskier = "operation.riskier_outcome";
        for (tool, arguments, expected) in [
            ("sftp_read", path("secret/key"), "policy.denied"),
            ("sftp_read", path("pub/link"), riskier),
            ("sftp_read", path("pub/folder/key"), riskier),
            ("sftp_read", path("pub/same"), riskier),
            ("sftp_list", path("pub/folder"), riskier),
            ("sftp_stat", path("pub/folder/key"), riskier),
            ("sftp_write", to("pub/folder/new", json!({"content": "x"})), riskier),
            ("sftp_mkdir", path("pub/folder/d"), riskier),
            ("sftp_chmod", to("pub/folder/key", json!({"mode": "0644"})), riskier),
            ("sftp_rename", to("pub/plain", json!({"to": at(&format!("{root}/pub/folder/x"))})), riskier),
            ("sftp_rename", to("pub/folder/key", json!({"to": at(&format!("{root}/pub/x"))})), riskier),
            ("sftp_remove", path("pub/folder/key"), riskier),
            ("sftp_read", path("pub/plain"), "ok"),
            ("sftp_list", path("pub"), "ok"),
            ("sftp_list", json!({"path": at(root)}), "ok"),
            ("sftp_stat", path("pub/link"), "ok"),
            ("sftp_write", to("pub/new", json!({"content": "x", "overwrite": true})), "ok"),
        ] {
            assert_eq!(judged(&agent, tool, &arguments).await, expected, "{root}: {tool} {arguments}");
        }
        world.verify();
    }
    assert_eq!(std::fs::read_dir(at("srv/secret")).unwrap().count(), 1);
}

const TOOLS: [(&str, &str); 2] = [
    (
        "tail_log.toml",
        "name = \"tail_log\"\ndescription = \"Reads the last lines of one of the logs.\"\ntarget = \"web\"\ncall = \"ssh_read\"\n\
         [arguments]\nprogram = \"tail\"\nargs = [\"-n\", \"{lines}\", \"--\", \"{file}\"]\n\
         [[parameter]]\nname = \"lines\"\ntype = \"integer\"\ndescription = \"How many lines.\"\nmin = 1\nmax = 100\nrequired = false\ndefault = 10\n\
         [[parameter]]\nname = \"file\"\ntype = \"string\"\ndescription = \"Which file.\"\nmax_length = 200\nrequired = true\n",
    ),
    (
        "say.toml",
        "name = \"say\"\ndescription = \"Prints a text, whatever is in it.\"\ntarget = \"web\"\ncall = \"ssh_exec\"\nrisk = \"write\"\n\
         [arguments]\nargv = [\"printf\", \"%s\\\\n\", \"{text}\"]\n\
         [[parameter]]\nname = \"text\"\ntype = \"string\"\ndescription = \"The text.\"\nmax_length = 200\nrequired = true\n",
    ),
];

#[tokio::test]
async fn a_declared_tools_parameter_is_one_argument_and_nothing_else() {
    let sshd = Sshd::start();
    let dir = playground();
    std::fs::write(dir.path().join("a log"), "1\n2\n3\n").unwrap();
    own(dir.path());
    let tools = TOOLS.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
    let wish = Wish { tools, ..wish() };
    let world =
        World::with_targets(wish, |issuer| vec![sshd.target_of("web", sshd.route(&sshd.known_line()), HostBounds::default(), issuer)])
            .await;
    let agent = agent(&world);
    let path = dir.path().join("a log").display().to_string();
    let told = agent.call("tail_log", json!({"file": path, "lines": 2})).await;
    assert_eq!(told["result"]["stdout"], "2\n3\n", "{told}");
    for file in ["; id", "$(id)", "-f", "--help", "'", "a\nb", "*"] {
        let told = agent.call("tail_log", json!({"file": file})).await;
        let stderr = told["result"]["stderr"].as_str().unwrap_or_else(|| panic!("{file}: {told}"));
        assert!(told["result"]["exit_code"] == 1 && stderr.contains("cannot open"), "{file}: {told}");
    }
    for bad in [
        json!({"file": "x", "lines": "2"}),
        json!({"file": "x", "lines": 101}),
        json!({"file": ["x", "y"]}),
        json!({"file": "x", "argv": ["id"]}),
        json!({}),
    ] {
        assert_eq!(code(&agent.call("tail_log", bad.clone()).await), "request.invalid_arguments", "{bad}");
    }
    // The declaration raises the risk: what reads by itself is asked for.
    let (shown, said) = crate::kube::approved(&world, &agent, "say", json!({"text": "a'b\"$(id)\\ -n"})).await;
    assert_eq!((&said["result"]["stdout"], &shown["risk"]), (&json!("a'b\"$(id)\\ -n\n"), &json!("write")), "{said}");
    let call = said["call_id"].as_str().unwrap();
    assert!(sshd.log().contains(&format!("call={call} ")), "what was raised has a connection of its own: {}", sshd.log());
    world.verify();
}
