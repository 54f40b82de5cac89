//! Each kind of channel against the real thing, or against what speaks like it; and what is hostile in a call arrives as text that does nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command as Process;
use std::time::Duration;

use countersign::notice::{Address, Channel, Command, Email, Kind, Place, Slack, Teams, Tls, Way, Webhook};
use serde_json::{Value, json};

use crate::channels::{SECRET, ask, channel, here, secret, tell};
use crate::harness::World;
use crate::harness::authority::Authority;
use crate::harness::receiver::{MailServer, Receiver, Reply};

/// What Slack, Teams, mail programs and terminals could be made to obey, and four kilobytes to push the rest out of sight.
fn hostile(padding: usize) -> String {
    let tricks = "<!channel> <@U1> <https://evil.example|approve> *b* _i_ `c` :tada: [x](https://evil.example) <b>h</b> & \u{1b}[2J \u{202e}dne\u{202c} \u{200b}\u{feff}";
    format!("{tricks}{} END", " ".repeat(padding))
}

/// Asks for a change with all of it in a value and in the agent's reason; in a statement itself the broker takes nothing that cannot be seen.
async fn ask_in_a_hostile_way(world: &World) -> String {
    let sql = "UPDATE orders SET status = ?1 WHERE id = 1300";
    let arguments = json!({"target": "shop", "sql": sql, "params": [hostile(4_096)], "reason": hostile(600)});
    let answer = world.agent().call("db_execute", arguments).await;
    assert_eq!(answer["status"], "approval_pending", "{answer}");
    answer["approval"]["id"].as_str().unwrap().to_owned()
}

/// Nothing that hides.
fn is_inert(text: &str) {
    for hidden in ['\u{1b}', '\u{202e}', '\u{202c}', '\u{200b}', '\u{feff}'] {
        assert!(!text.contains(hidden), "{hidden:?} in {text}");
    }
    assert!(text.contains("\\u{202e}") && text.contains("\\u{200b}"), "what hides is written out: {text}");
}

/// Every text in a message of JSON, a line each.
fn decoded(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text}\n"),
        Value::Array(items) => items.iter().map(decoded).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| format!("{name}\n{}", decoded(value))).collect(),
        _ => String::new(),
    }
}

fn at(dir: &Path, name: &str, url: &str) -> Place {
    Place { address: Address::Secret(secret(dir, name, url)), allow_http: true, allow_private: false }
}

/// Every text in a value, with the name of what it is in.
fn texts(value: &Value, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            found.extend(
                members
                    .get("text")
                    .filter(|text| text.is_string())
                    .map(|_| (members["type"].as_str().unwrap_or("-").to_owned(), value.clone())),
            );
            members.values().for_each(|value| texts(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn what_is_hostile_arrives_inert_in_slack_teams_and_webhooks() {
    let mut world = World::new().await;
    let receiver = Receiver::start().await;
    let dir = world.dir.path();
    let key = vec![secret(dir, "key", SECRET)];
    let token = secret(dir, "token", "xoxb-test");
    let bot = Way::Bot { place: here(&receiver.url("/api/chat.postMessage")), token, channel: "C0123456789".to_owned() };
    let channels = vec![
        channel("webhook", Kind::Webhook(Webhook { place: here(&receiver.url("/webhook")), secrets: key, include_preview: true })),
        channel(
            "slack",
            Kind::Slack(Slack { way: Way::Webhook(at(dir, "slack", &receiver.url("/slack"))), interactions: None, include_preview: false }),
        ),
        channel("bot", Kind::Slack(Slack { way: bot, interactions: None, include_preview: false })),
        channel("teams", Kind::Teams(Teams { place: at(dir, "teams", &receiver.url("/teams")) })),
    ];
    tell(&mut world, channels).await;
    let id = ask_in_a_hostile_way(&world).await;
    let seen = receiver.wait(4).await;
    let of = |path: &str| seen.iter().find(|seen| seen.path == path).unwrap_or_else(|| panic!("{path}: {seen:#?}"));
    let page = format!("{}/approvals/{id}", world.base);
    for seen in &seen {
        is_inert(&decoded(&seen.json()));
        assert!(seen.body.contains(&page) && seen.body.len() < 100_000);
    }
    let webhook = of("/webhook").json();
    assert!(webhook["data"]["hidden_characters"].as_u64().unwrap() >= 5);
    assert!(
        webhook["data"]["operation"]["parameters"][0].as_str().unwrap().ends_with(" END"),
        "what is long is there in full, as far as it fits"
    );

    for path in ["/slack", "/api/chat.postMessage"] {
        let message = of(path).json();
        let mut found = Vec::new();
        texts(&message["blocks"], &mut found);
        assert!(found.len() >= 8, "{found:#?}");
        for (kind, text) in &found {
            if kind == "plain_text" {
                assert_eq!(text["emoji"], false);
                let shown = text["text"].as_str().unwrap();
                assert!(!shown.contains('<') && !shown.contains('>'), "{shown}");
                assert!(shown.chars().count() <= 3_000);
            } else {
                assert!(matches!(kind.as_str(), "header" | "section" | "button"), "text of the kind {kind}");
            }
        }
        let all = message.to_string();
        assert!(all.contains("&lt;!channel&gt;") && !all.contains("\"mrkdwn\":true") && !all.contains("\"type\":\"mrkdwn\""), "{all}");
        assert!(all.contains("characters more)"), "what was left out is counted");
        assert_eq!((&message["unfurl_links"], &message["link_names"], &message["parse"]), (&json!(false), &json!(false), &json!("none")));
    }
    let bot = of("/api/chat.postMessage");
    assert_eq!((bot.headers["authorization"].as_str(), bot.json()["channel"].as_str()), ("Bearer xoxb-test", Some("C0123456789")));

    let card = of("/teams").json();
    let content = &card["attachments"][0]["content"];
    assert_eq!((&content["type"], &content["version"]), (&json!("AdaptiveCard"), &json!("1.4")));
    assert_eq!(content["actions"], json!([{"type": "Action.OpenUrl", "title": "Open the request", "url": page}]), "a card decides nothing");
    let mut found = Vec::new();
    texts(&content["body"], &mut found);
    assert!(found.len() >= 8 && found.iter().all(|(kind, _)| kind == "TextRun"), "only a TextRun reads no Markdown: {found:#?}");
    assert!(of("/teams").body.len() < 28_000);
    world.verify();
}

#[tokio::test]
async fn what_slack_does_not_take_is_a_dead_letter_though_it_answers_200() {
    let mut world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.reply([Reply { body: "{\"ok\":false,\"error\":\"channel_not_found\"}", ..Reply::status(200) }]);
    let token = secret(world.dir.path(), "token", "xoxb-test");
    let bot = Way::Bot { place: here(&receiver.url("/")), token, channel: "C0".to_owned() };
    tell(&mut world, vec![channel("bot", Kind::Slack(Slack { way: bot, interactions: None, include_preview: false }))]).await;
    ask(&world.agent(), 1300).await;
    for _ in 0..200 {
        let (_, listed) = world.approver().get("/channels/dead").await;
        if listed["dead"][0]["last_error"] == "Slack refused it: channel_not_found" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("no dead letter");
}

fn mail(host: &str, port: u16, tls: Tls) -> Email {
    let from = "Countersign <countersign@example.com>".parse().unwrap();
    let to = vec!["on-call@example.com".parse().unwrap(), "Bob <bob@example.com>".parse().unwrap()];
    Email { host: host.to_owned(), port, tls, allow_private: false, ca: None, login: None, from, to }
}

/// The text of a mail, decoded by a mail library that is not ours.
fn text(mail: &Value) -> (String, Value) {
    let script = "import sys, json, email, email.policy\nm = email.message_from_string(sys.stdin.read(), policy=email.policy.default)\nprint(json.dumps([m.get_content(), {k.lower(): v for k, v in m.items()}]))";
    let mut child = Process::new("python3")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), mail["mail"].as_str().unwrap().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let parsed: Value = serde_json::from_slice(&output.stdout).unwrap();
    (parsed[0].as_str().unwrap().to_owned(), parsed[1].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_plain_text_that_decides_nothing() {
    let mut world = World::new().await;
    let mut server = MailServer::start(&[]);
    tell(&mut world, vec![channel("mail", Kind::Email(mail("127.0.0.1", server.port, Tls::Loopback)))]).await;
    let id = ask_in_a_hostile_way(&world).await;
    let got = server.next();
    assert_eq!((&got["from"], &got["to"]), (&json!("countersign@example.com"), &json!(["on-call@example.com", "bob@example.com"])));
    let (text, headers) = text(&got);
    is_inert(&text);
    assert!(
        headers["content-type"].as_str().unwrap().starts_with("text/plain") && headers["auto-submitted"] == "auto-generated",
        "{headers}"
    );
    assert!(
        headers["message-id"].as_str().unwrap().starts_with("<ntc_") && headers["subject"] == "Approval wanted: db_execute on shop (write)",
        "{headers}"
    );
    let links: Vec<&str> = text.split_whitespace().filter(|word| word.starts_with("http")).collect();
    assert_eq!(links, [format!("{}/approvals/{id}", world.base)], "{text}");
    // Each line of the call stands behind a mark, so none can be taken for one of ours.
    let of_the_call: Vec<&str> = text.lines().filter(|line| line.contains("UPDATE") || line.contains("parameters:")).collect();
    assert!(of_the_call.len() == 2 && of_the_call.iter().all(|line| line.starts_with("  | ")), "{text}");
    world.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_out_by_tls_to_a_server_that_is_known_and_is_not_sent_without() {
    let mut world = World::new().await;
    let dir = world.dir.path().to_owned();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.server().write(&dir, "mail");
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let password = secret(&dir, "password", "mail-secret");
    let known = |way: &str, tls, ca: &Authority| {
        let server = MailServer::start(&[&certificate, &key, way, "countersign", "mail-secret"]);
        let mail = mail("localhost", server.port, tls);
        let login = Some(("countersign".to_owned(), password.clone()));
        (server, Email { allow_private: true, ca: Some(ca.pem().into_bytes()), login, ..mail })
    };
    let (mut starttls, first) = known("starttls", Tls::StartTls, &authority);
    let (mut implicit, second) = known("implicit", Tls::Implicit, &authority);
    let (_unknown, third) = known("starttls", Tls::StartTls, &stranger);
    let plain = MailServer::start(&[]);
    let fourth = Email { allow_private: true, ..mail("localhost", plain.port, Tls::StartTls) };
    let refusing = MailServer::start(&["--reject", "550"]);
    let fifth = mail("127.0.0.1", refusing.port, Tls::Loopback);
    let sixth = Email { allow_private: false, ..first.clone() };
    let named = |(name, email): (&str, Email)| Channel { timeout: Duration::from_secs(5), ..channel(name, Kind::Email(email)) };
    let mails = [("starttls", first), ("implicit", second), ("stranger", third), ("plain", fourth), ("refusing", fifth), ("inside", sixth)];
    tell(&mut world, mails.into_iter().map(named).collect()).await;
    let id = ask(&world.agent(), 1300).await;
    for server in [&mut starttls, &mut implicit] {
        let got = server.next();
        assert_eq!((&got["tls"], &got["login"]), (&json!(true), &json!("countersign")));
    }
    // The others are not delivered; only a refusal for good is final.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (_, listed) = world.approver().get("/channels").await;
    let counted: Vec<String> = listed["channels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|channel| format!("{} {} {} {}", channel["name"].as_str().unwrap(), channel["sent"], channel["due"], channel["dead"]))
        .collect();
    assert_eq!(counted, ["starttls 1 0 0", "implicit 1 0 0", "stranger 0 1 0", "plain 0 1 0", "refusing 0 0 1", "inside 0 1 0"]);
    let trouble: Vec<bool> = listed["channels"].as_array().unwrap().iter().map(|channel| channel["last_error"].is_string()).collect();
    assert_eq!(trouble, [false, false, true, true, false, true], "{listed}");
    let (_, dead) = world.approver().get("/channels/dead").await;
    assert_eq!((&dead["dead"][0]["approval_id"], &dead["dead"][0]["last_error"]), (&json!(id), &json!("the server answered 550")));
    world.verify();
}

#[tokio::test]
async fn a_program_is_handed_the_message_and_nothing_of_the_brokers() {
    let mut world = World::new().await;
    let dir = world.dir.path().to_owned();
    let program = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let out = dir.join("out");
    std::fs::create_dir(&out).unwrap();
    let good = program(
        "good",
        "#!/bin/bash\ncat > \"$1/stdin\"; env > \"$1/env\"; pwd > \"$1/cwd\"; echo \"$#\" > \"$1/count\"; head -c 10000000 /dev/zero\n",
    );
    // Fails twice, then does it; hangs for ever; is not there any more by the time it is wanted.
    let fails = program("fails", "#!/bin/bash\necho x >> \"$1/tries\"; [ $(wc -l < \"$1/tries\") -ge 3 ]\n");
    let hangs = program("hangs", "#!/bin/bash\necho $$ > \"$1/pid\"; exec sleep 1000\n");
    let of = |name: &str, program: &Path, argument: &str| {
        let kind = Kind::Command(Command {
            program: program.to_owned(),
            arguments: vec![out.display().to_string(), argument.to_owned()],
            include_preview: false,
        });
        Channel { timeout: Duration::from_secs(1), ..channel(name, kind) }
    };
    tell(
        &mut world,
        vec![of("good", &good, "; touch injected"), of("fails", &fails, ""), of("hangs", &hangs, ""), of("gone", &dir.join("none"), "")],
    )
    .await;
    let id = ask(&world.agent(), 1300).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let handed: Value = serde_json::from_str(&read("stdin")).unwrap();
    assert_eq!((&handed["type"], &handed["data"]["approval_id"]), (&json!("approval.requested"), &json!(id)));
    let mut names: Vec<String> = read("env").lines().map(|line| line.split('=').next().unwrap().to_owned()).collect();
    names.sort();
    // PWD, SHLVL and `_` are the shell's own.
    assert_eq!(names, ["COUNTERSIGN_EVENT", "COUNTERSIGN_NOTICE", "LANG", "PATH", "PWD", "SHLVL", "_"]);
    assert_eq!((read("cwd").trim(), read("count").trim()), ("/", "2"));
    assert_eq!(read("tries").lines().count(), 3);
    let (_, listed) = world.approver().get("/channels").await;
    let counted: Vec<String> = listed["channels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|channel| format!("{} {} {}", channel["name"].as_str().unwrap(), channel["sent"], channel["due"]))
        .collect();
    assert_eq!(counted, ["good 1 0", "fails 1 0", "hangs 0 1", "gone 0 1"]);
    world.stop().await;
    // What hung was ended with its attempt.
    let last = read("pid");
    for _ in 0..100 {
        if !Path::new("/proc").join(last.trim()).join("cmdline").exists()
            || std::fs::read(format!("/proc/{}/cmdline", last.trim())).unwrap_or_default().is_empty()
        {
            world.verify();
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it still runs");
}

const WEBHOOK: &str = "name = \"a\"\nkind = \"webhook\"\nurl = \"https://hooks.example.com/x\"\nsecrets = [\"file:key\"]\n";
const MAIL: &str = "name = \"a\"\nkind = \"email\"\nhost = \"mail.example.com\"\nfrom = \"a@example.com\"\nto = [\"b@example.com\"]\n";
const BUTTONS: &str =
    "name = \"a\"\nkind = \"slack\"\nurl = \"file:hook\"\nsigning_secret = \"file:key\"\nteam_id = \"T0001\"\napp_id = \"A0001\"\n";
const USERS: &str = "[channel.users]\nU0001 = { id = \"bob\", teams = [\"a\"] }\n";
const SYSTEM: &str = "[[approval_system]]\nname = \"itsm\"\nsecrets = [\"file:other\"]\n[approval_system.humans]\nbob = { id = \"bob\" }\n";
const PERSONS: &str = "[issuer.claims]\nperson = \"employee_number\"\n";

/// What can be wrong with buttons and the users of Slack whose clicks count.
fn wrong_buttons() -> Vec<(String, &'static str)> {
    vec![
        (BUTTONS.to_owned(), "it must say for which humans it speaks"),
        (format!("{}{USERS}", BUTTONS.replace("team_id = \"T0001\"\n", "")), "buttons need `signing_secret`"),
        (format!("{BUTTONS}{USERS}").replace("\"bob\"", "\"\""), "has no name"),
        (format!("{BUTTONS}{USERS}").replace("T0001", "myteam"), "`team_id` is an id that Slack gives"),
        (format!("{BUTTONS}{USERS}").replace("A0001", "T0001"), "`app_id` is an id that Slack gives"),
        (format!("{BUTTONS}{USERS}").replace("U0001", "\"@bob\""), "and `@bob` is none"),
        (format!("{BUTTONS}{USERS}").replace("[\"a\"]", "[\"aprovers\"]"), "the team `aprovers` is none of `teams`"),
        (format!("{WEBHOOK}team = \"nosuch\""), "the team `nosuch` is none of `teams`"),
        (
            format!("{BUTTONS}{USERS}").replace("teams =", "issuer = \"https://other.example.com\", teams ="),
            "there is no [[issuer]] with the url",
        ),
        (format!("{BUTTONS}{USERS}").replace("teams =", "team ="), "unknown field `team`"),
    ]
}

/// Everything that can be wrong in a `[[channel]]`, each with its line; and no secret is repeated.
#[test]
fn channels_are_read_with_everything_wrong_named() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("a.cedar", "@id(\"a\")\npermit (principal, action == Action::\"invoke\", resource is Broker);\n");
    write("key", SECRET);
    write("other", SECRET);
    write("bad", "whsec_c2hvcnQ=");
    write("hook", "https://hooks.example.com/services/planted");
    write("inside", "https://10.1.2.3/services/planted");
    let (cert, _) = Authority::new().server().write(dir.path(), "server");
    let good = "[server]\n[store]\npath = \"data\"\n[ledger]\norigin = \"test.invalid/log\"\n[[issuer]]\nurl = \"https://idp.example.com\"\n\
                jwks_url = \"https://idp.example.com/keys\"\nalgorithms = [\"EdDSA\"]\n[policy]\npath = \"a.cedar\"\nteams = [\"a\", \"oncall\"]\n";
    let check = |channel: &str| {
        write("countersign.toml", &format!("{good}[[channel]]\n{channel}\n"));
        let path = dir.path().join("countersign.toml");
        let output = Process::new(env!("CARGO_BIN_EXE_countersign")).args(["check", "--config"]).arg(path).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    for fine in [
        WEBHOOK.to_owned(),
        format!("{WEBHOOK}events = [\"requested\", \"expired\"]\nrisk_at_least = \"destructive\"\ntimeout_s = 60\ninclude_preview = true"),
        WEBHOOK.replace("[\"file:key\"]", "[\"file:key\", \"file:key\"]"),
        WEBHOOK.replace("https://hooks.example.com/x", "file:hook"),
        WEBHOOK.replace("https://hooks.example.com/x", "https://10.0.0.1/x") + "allow_private = true",
        WEBHOOK.replace("https://hooks.example.com/x", "http://127.0.0.1:8080/x") + "allow_http = true",
        "name = \"a\"\nkind = \"slack\"\nurl = \"file:hook\"".to_owned(),
        "name = \"a\"\nkind = \"slack\"\ntoken = \"file:hook\"\nchannel = \"C1\"".to_owned(),
        "name = \"a\"\nkind = \"teams\"\nurl = \"file:hook\"".to_owned(),
        format!("{BUTTONS}{USERS}"),
        format!("{WEBHOOK}{SYSTEM}"),
        format!("{WEBHOOK}{}{PERSONS}", SYSTEM.replace("\"bob\" }", "\"bob\", person = \"E1\" }")),
        MAIL.to_owned(),
        format!("{MAIL}tls = \"implicit\"\nport = 1465\nuser = \"u\"\npassword = \"file:key\"\nca = \"{}\"", cert.display()),
        MAIL.replace("mail.example.com", "127.0.0.1") + "tls = \"none\"",
        "name = \"a\"\nkind = \"command\"\nargv = [\"/bin/cat\", \"-\"]\ninclude_preview = true".to_owned(),
    ] {
        let (fits, text) = check(&fine);
        assert!(fits, "{fine}: {text}");
    }
    let wrong = [
        (WEBHOOK.replace("webhook", "pigeon"), "not one of webhook, slack, teams, email, command"),
        (WEBHOOK.replace("\"a\"", "\"a b\""), "must be letters, digits"),
        (format!("{WEBHOOK}hurry = true"), "unknown field `hurry`"),
        (format!("{WEBHOOK}timeout_s = 0"), "`timeout_s` must be 1 to 60"),
        (format!("{WEBHOOK}events = [\"approved\"]"), "`events` must be some of requested, decided, expired"),
        (format!("{WEBHOOK}events = []"), "`events` must be some of"),
        (format!("{WEBHOOK}environments = [\"prod\"]"), "no [[target]] is in the environment `prod`"),
        (format!("{WEBHOOK}risk_at_least = \"huge\""), "`risk_at_least` must be"),
        (format!("{WEBHOOK}token = \"file:key\""), "`token` belongs to a channel of the kind slack"),
        (format!("{WEBHOOK}argv = [\"/bin/cat\"]"), "`argv` belongs to a channel of the kind command"),
        (WEBHOOK.replace("secrets = [\"file:key\"]", ""), "needs `secrets`"),
        (WEBHOOK.replace("file:key", "file:none"), "failed to read"),
        (WEBHOOK.replace("file:key", "file:bad"), "24 to 64 random bytes"),
        (WEBHOOK.replace("file:key", SECRET), "must be a reference"),
        (WEBHOOK.replace("file:key", "vault:kv/data/x#y"), "needs [vault]"),
        (WEBHOOK.replace("https://hooks.example.com/x", "http://hooks.example.com/x"), "must begin with https://"),
        (WEBHOOK.replace("https://hooks.example.com/x", "http://10.0.0.1/x") + "allow_http = true", "this machine alone"),
        (WEBHOOK.replace("https://hooks.example.com/x", "https://192.168.0.1/x"), "needs `allow_private = true`"),
        (WEBHOOK.replace("https://hooks.example.com/x", "file:inside"), "needs `allow_private = true`"),
        (WEBHOOK.replace("https://hooks.example.com/x", "https://u:planted@hooks.example.com/x"), "must not hold a user"),
        (WEBHOOK.replace("url = \"https://hooks.example.com/x\"\n", ""), "needs `url`"),
        ("name = \"a\"\nkind = \"slack\"\nurl = \"https://hooks.slack.com/services/planted\"".to_owned(), "this `url` is a secret"),
        ("name = \"a\"\nkind = \"slack\"\nurl = \"file:hook\"\ntoken = \"file:key\"\nchannel = \"C1\"".to_owned(), "needs either `url`"),
        ("name = \"a\"\nkind = \"slack\"\ntoken = \"file:key\"".to_owned(), "needs either `url`"),
        (
            "name = \"a\"\nkind = \"slack\"\ntoken = \"file:key\"\nchannel = \"C1\"\napi_url = \"https://10.0.0.1\"".to_owned(),
            "allow_private",
        ),
        ("name = \"a\"\nkind = \"teams\"\nurl = \"https://x.example.com/planted\"".to_owned(), "this `url` is a secret"),
        (MAIL.replace("host = \"mail.example.com\"\n", ""), "needs `host`, `from` and `to`"),
        (MAIL.replace("b@example.com", "nobody"), "`nobody` is no mail address"),
        (MAIL.replace("a@example.com", "a@example.com\\nBcc: x@evil.example"), "is no mail address"),
        (format!("{MAIL}tls = \"none\""), "on this machine alone"),
        (format!("{MAIL}tls = \"maybe\""), "starttls, implicit or none"),
        (format!("{MAIL}user = \"u\""), "stand together"),
        (format!("{MAIL}ca = \"none.pem\""), "failed to read"),
        (format!("{MAIL}allow_http = true"), "`allow_http` belongs to"),
        ("name = \"a\"\nkind = \"command\"\nargv = [\"cat\"]".to_owned(), "with a `/` in it"),
        ("name = \"a\"\nkind = \"command\"\nargv = [\"/bin/none\"]".to_owned(), "there is no program"),
        (format!("{WEBHOOK}{USERS}"), "`users` belongs to a channel of the kind slack"),
        (format!("{WEBHOOK}{SYSTEM}").replace("itsm", "it sm"), "the system's name"),
        (format!("{WEBHOOK}{}", SYSTEM.replace("file:other", "file:key")), "the secret `file:key` is a channel's"),
        (format!("{WEBHOOK}{SYSTEM}{SYSTEM}"), "another [[approval_system]] has the name `itsm`"),
        (format!("{WEBHOOK}{}", SYSTEM.replace("[\"file:other\"]", "[]")), "an approval system needs `secrets`"),
        (format!("{WEBHOOK}{}", SYSTEM.replace("file:other", "file:bad")), "24 to 64 random bytes"),
        (format!("{WEBHOOK}{}", SYSTEM.replace("bob = { id = \"bob\" }\n", "")), "it must say for which humans it speaks"),
        (format!("{WEBHOOK}{SYSTEM}{PERSONS}"), "so `bob` needs `person`"),
        (format!("{WEBHOOK}[[channel]]\n{WEBHOOK}"), "another [[channel]] has the name `a`"),
    ];
    for (wrong, says) in wrong.into_iter().chain(wrong_buttons()) {
        let (fits, text) = check(&wrong);
        assert!(!fits && text.contains(says) && text.contains("countersign.toml:"), "{wrong}: {text}");
        assert!(!text.contains("planted") && !text.contains(SECRET), "{text}");
    }
}
