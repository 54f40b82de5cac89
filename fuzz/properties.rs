//! What must hold for any bytes from outside, whatever they are: nothing panics, and what is accepted is what it seems.
//!
//! One function a parser. The fuzz targets and the tests run the same ones.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use countersign::approval::Scope;
use countersign::catalog::{Bounds, Catalog, DeclaredFile};
use countersign::clock::{Clock, Timestamp};
use countersign::id::DelegationId;
use countersign::identity::service::{ActorSettings, Proof, Service, Shown};
use countersign::identity::{
    Algorithm, Delegation, Event, Identity, IssuerSettings, KeySource, Reach, Settings, SigningKeys, Standing, Witness,
};
use countersign::ledger::canonical;
use countersign::ledger::note::VerifierKey;
use countersign::mask::{Masks, Rules, detect};
use countersign::operation::kube::{self, manifest};
use countersign::operation::sql::{Engine, Statement, view_relations};
use countersign::operation::ssh::judge;
use countersign::policy::{self, Policy, PolicyFile};
use countersign::refusal::Refusal;
use secrecy::SecretString;

/// A property with its name and texts to start from.
pub type Property = (&'static str, fn(&[u8]), &'static [&'static str]);

/// Every property.
pub const ALL: [Property; 12] = [
    ("sql", sql, SQL),
    ("text", text, TEXT),
    ("token", token, TOKEN),
    ("note", note, NOTE),
    ("json", json, JSON),
    ("policy", policy, POLICY),
    ("tool", tool, TOOL),
    ("manifest", manifest, MANIFEST),
    ("cluster", cluster, CLUSTER),
    ("command", command, COMMAND),
    ("signature", signature, SIGNATURE),
    ("scope", scope, SCOPE),
];

const SQL: &[&str] = &[
    "SELECT c.id, sum(o.total) AS t FROM customers c JOIN orders o ON o.c = c.id WHERE c.email LIKE $1 GROUP BY c.id HAVING t > 3 ORDER BY 2 DESC LIMIT 5",
    "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a) SELECT (SELECT max(x) FROM b), CASE WHEN n = 1 THEN 'a' ELSE \"q\" END FROM a",
    "UPDATE customers SET email = lower(email) || 'x' FROM orders WHERE orders.c = customers.id RETURNING *",
    "INSERT INTO t (a, b) VALUES (1, E'\\n'), (?2, x'00') ON CONFLICT (a) DO UPDATE SET b = excluded.b",
    "DELETE FROM t WHERE id IN (SELECT id FROM u) -- comment\n; COMMIT; /* x */ COPY t TO PROGRAM 'id'",
    "SELECT row_to_json(t)::text, t->>'a', ARRAY[1,2][1], $$body$$ FROM ONLY s.t, LATERAL f(t) AS g WHERE ROW(1,2) IS NOT NULL",
];
const TEXT: &[&str] = &[
    "write to alice@example.com, card 4111 1111 1111 1111, ssn 078-05-1120, \u{ff14}111\u{200b}1111",
    "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
    "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhIn0.AAAA \"a b\"@c.de {\"password\": \"x\"}",
];
const TOKEN: &[&str] = &[
    "Bearer eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwOi8vMTI3LjAuMC4xOjEvaXNzdWVyIiwic3ViIjoiYSJ9.AAAA",
    "bearer a.b.c",
    "Basic YTpi",
];
const NOTE: &[&str] = &[
    "example.com/log\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\u{2014} example.com/log AAAAAAAAAAAA\n",
    "example.com/log+f1e2d3c4+AVYnTkZ0sGfrYVtHe1wL0Ukk1W4y0Lg1HnKqxTF5sPzY",
];
const JSON: &[&str] = &["{\"b\":[1,-2.5e3,null,true,\"\\u0000\\ud83d\\ude00\"],\"a\":{\"\":18446744073709551615}}", "[[[[{}]]]]"];
const POLICY: &[&str] = &[
    "@id(\"a\")\n@quorum(\"2\")\n@ttl(\"30m\")\npermit (principal in Team::\"support\", action == Action::\"request\", resource in Target::\"shop\") when { context.risk == 2 };",
    "@id(\"b\") forbid (principal, action, resource == Table::\"shop/main/t\") unless { context.own };",
];
const SIGNATURE: &[&str] = &[
    "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4= v1,AAAA\n1614265330\n{\"test\": 2432232314}",
    "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503\n1531420618\ntoken=x&team_id=T1DC2JH3J",
];
const SCOPE: &[&str] = &[
    r#"[{"tools":["a","b"],"target":"t","on":["public.orders","/srv/app"],"risk":"write","minutes":30,"calls":10},{"tools":["a"],"target":"t","on":["public"],"verbs":["update"],"risk":"read","minutes":5,"calls":99}]"#,
    r#"[{"tools":["a"],"target":"t","on":[],"risk":"admin","minutes":1,"calls":1},{"tools":["a"],"target":"t","on":["~/x/../y","/"],"verbs":[],"risk":"destructive","minutes":9,"calls":9}]"#,
];
const TOOL: &[&str] = &[
    "name = \"orders\"\ndescription = \"d\"\ntarget = \"shop\"\nstatement = \"SELECT id FROM orders WHERE c = ?1\"\nrow_limit = 5\n[[parameter]]\nname = \"c\"\ntype = \"integer\"\ndescription = \"x\"\nmin = 1\n",
];

const COMMAND: &[&str] = &[
    "for f in /etc/nginx/*.conf; do echo \"$f\"; head -n 3 \"$f\" | sort -u; done",
    "find /srv -name '*.log' -mtime +7 -exec grep -l x {} + && tail -n 5 $(cat list) 2>/dev/null > out",
    "if test -f /a; then sed -n '1,5p' /a; else awk '{print $2}' <<EOF\nx y\nEOF\nfi",
    "env LANG=C timeout 5 sh -c \"ls 'a b' | xargs -0 wc -l\"; journalctl -u x --since today &",
    "tar -tzf a.tgz; systemctl status x; ss -tlpn; case $x in a|b) echo ${y};; esac",
];

const MANIFEST: &[&str] = &[
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  replicas: 2\n  template: {spec: {hostNetwork: true}}\n---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData: {a: 'b'}\n",
    "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\", \"namespace\": \"b\"}, \"spec\": {\"containers\": [{\"name\": \"c\", \"securityContext\": {\"privileged\": true}}]}}",
    "a: &x [1]\nb: *x\n<<: {c: !t |\n  d}\n---\n- yes\n",
];
const CLUSTER: &[&str] = &[
    "{\"kind\": \"Secret\", \"data\": {\"password\": \"aHVudGVyMg==\"}, \"x\": \"{\\\"kind\\\":\\\"Secret\\\"}\"}",
    "apiVersion: v1\nkind: Secret\ndata:\n  password: aHVudGVyMg==\nDB_PASSWORD=hunter2 --token x postgres://u:p@h/d\n",
    "[{\"name\": \"TOKEN\", \"value\": \"x\"}, [\"--password\", \"y\"], \"eyJraW5kIjoiU2VjcmV0In0=\"]",
];

/// What is accepted goes to the server as JSON: read again, it is the same objects, as risky, and none of their names leaves its place in an address.
pub fn manifest(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for namespace in [None, Some("shop")] {
        let Ok(found) = manifest::parse(&text, namespace) else { continue };
        for one in found {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b":._-".contains(&b);
            let names = one.object.name.iter().chain(&one.object.namespace);
            assert!(names.clone().all(|name| name.bytes().all(plain) && name != "." && name != ".."), "{:?}", one.object);
            let again = manifest::parse(&one.body.to_string(), None).unwrap_or_else(|refusal| panic!("{text:?}: {refusal}"));
            let same = again.len() == 1 && again.iter().all(|other| *other == one);
            assert!(same, "{text:?} is {one:?} and then {again:?}");
            let risk = |one: &manifest::Manifest| kube::risk::write(&one.object, &one.body).risk;
            assert!(again.iter().all(|other| risk(other) == risk(&one)), "{text:?}");
        }
    }
}

/// What has been masked of a cluster's answer stays as it is when it is masked again.
pub fn cluster(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let masks = Masks::new(Rules::default());
    let document = serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
    let masked = masks.shown(document.clone());
    assert_eq!(masks.shown(masked.clone()), masked, "{document}");
}

/// A command is judged at once, whatever it is, within bounds, and is of the risk of the riskiest thing in it.
pub fn command(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<String> = text.split_whitespace().map(ToOwned::to_owned).collect();
    for judged in [judge::shell(&text), judge::argv(&words), judge::shell_in(&text, Some("/srv")), judge::argv_in(&words, Some("/dev"))] {
        assert!(judged.why.len() <= 16 && judged.programs.len() <= 64 && judged.paths.len() <= 128);
        assert!(judged.programs.iter().all(|(_, risk)| *risk <= judged.risk), "{judged:?}");
        assert_eq!(judged.risk == countersign::operation::Risk::Read, judged.why.is_empty(), "{judged:?}");
    }
}

/// What is accepted is printed, read again the same, and as risky; what is no read says why.
pub fn sql(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for engine in [Engine::Sqlite, Engine::Postgres, Engine::MySql] {
        let _views = view_relations(engine, &text);
        let Ok(statement) = Statement::parse(engine, &text) else { continue };
        let again = Statement::parse(engine, statement.text());
        let same = again.as_ref().is_ok_and(|again| {
            again.text() == statement.text() && again.risk() == statement.risk() && again.touches() == statement.touches()
        });
        assert!(same, "{engine:?}: {text:?} was printed as {:?} and read as {again:?}", statement.text());
        assert!(statement.is_read() || statement.why_not_read().is_some(), "{text:?}");
        let _lineage = statement.lineage(&Default::default());
    }
}

/// Finds are in order, apart, and at characters; nothing is found in what replaces them.
pub fn text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut from = 0;
    for hit in detect::find(&text) {
        assert!(hit.start >= from && hit.start < hit.end, "{text:?}: {hit:?}");
        assert!(text.get(from..hit.start).is_some() && text.get(hit.start..hit.end).is_some(), "{text:?}: {hit:?} cuts a character");
        from = hit.end;
    }
    let masked = detect::redact(&text, |_| {});
    assert_eq!(detect::find(&masked), Vec::new(), "{text:?} became {masked:?}");
}

/// No registry and no record behind it: what is asked here is whether a token is good.
#[derive(Debug)]
pub struct Alone;

impl Standing for Alone {
    fn covers(&self, _: &Delegation, _: Reach<'_>, _: Timestamp) -> Result<Option<DelegationId>, Refusal> {
        Ok(None)
    }

    fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        tokio::sync::watch::Sender::new(0).subscribe()
    }
}

impl Witness for Alone {
    fn saw<'a>(&'a self, _: Event<'a>) -> futures::future::BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async { Ok(()) })
    }
}

/// The two doors, and the token service beside them with one agent for each way of proving which one it is.
fn identity() -> &'static (Identity, Service) {
    static IDENTITY: OnceLock<(Identity, Service)> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let folder = std::env::temp_dir().join(format!("countersign-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{error}"));
        let jwks_file = folder.join("jwks.json");
        let set = "{\"keys\": [{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"kid\": \"k1\", \"x\": \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";
        std::fs::write(&jwks_file, set).unwrap_or_else(|error| panic!("{error}"));
        let mut issuer = IssuerSettings::new("http://127.0.0.1:1/issuer", KeySource::File(jwks_file), vec![Algorithm::EdDsa]);
        issuer.mapping.plain_jwt = true;
        issuer.human_clients = vec!["cli".to_owned()];
        let settings = Settings {
            resource: "http://127.0.0.1:1/mcp".to_owned(),
            inbox_resource: "http://127.0.0.1:1/inbox".to_owned(),
            public_url: "http://127.0.0.1:1".to_owned(),
            issuers: vec![issuer],
            skew: Duration::from_secs(30),
            bound_required: false,
        };
        let of = |issuer: &IssuerSettings, url: &str| IssuerSettings { url: url.to_owned(), ..issuer.clone() };
        let workload = |issuer: &IssuerSettings, subject: &str| Proof::Workload {
            issuer: of(issuer, "https://cluster.example.com"),
            subject: subject.to_owned(),
        };
        let proofs = [
            ("secret", Proof::Secret(SecretString::from("a secret that no fuzzer finds".to_owned()))),
            ("key", Proof::Key(of(&settings.issuers[0], "https://actor.invalid"))),
            ("account", workload(&settings.issuers[0], "system:serviceaccount:a:b")),
            ("spiffe", workload(&settings.issuers[0], "spiffe://example.org/a")),
        ];
        let actors = proofs.map(|(id, proof)| ActorSettings { id: id.to_owned(), scopes: vec!["mcp:read".to_owned()], proof });
        let keys = SigningKeys::open(&folder.join("tokens"), Clock::system().now()).unwrap_or_else(|why| panic!("{why}"));
        let identity =
            Identity::new(settings, Clock::system(), Arc::new(Alone), Arc::new(Alone)).unwrap_or_else(|problems| panic!("{problems:?}"));
        let service = identity.service(Arc::new(keys), &actors).unwrap_or_else(|problems| panic!("{problems:?}"));
        (identity, service)
    })
}

/// Without the key nobody gets in, at neither door, nor gets a token at the token service, for whatever is shown.
pub fn token(bytes: &[u8]) {
    let (identity, service) = identity();
    let text = String::from_utf8_lossy(bytes);
    let shown = SecretString::from(text.split_once(' ').map_or(&*text, |(_, token)| token).to_owned());
    assert!(futures::executor::block_on(identity.subject(&shown)).is_err(), "{text:?}");
    assert!(futures::executor::block_on(identity.own_token(&shown)).is_err(), "{text:?}");
    let now = Clock::system().now();
    for id in ["secret", "key", "account", "spiffe", "nobody", &text] {
        for shown in [Shown::Secret(&shown), Shown::Assertion(&shown)] {
            assert!(futures::executor::block_on(service.actor(id, shown, now)).is_err(), "{id}: {text:?}");
        }
    }
    let Ok(value) = http::HeaderValue::from_bytes(bytes) else { return };
    let headers = http::HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
    assert!(futures::executor::block_on(identity.agent(&headers)).is_err(), "{headers:?}");
    assert!(futures::executor::block_on(identity.person(&headers, "/approvals")).is_err(), "{headers:?}");
}

/// No note opens under a key that did not sign it; a key that is read prints as it was.
pub fn note(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(key) = VerifierKey::parse(&text) {
        assert_eq!(VerifierKey::parse(&key.text()).map(|again| again.text()), Some(key.text()), "{text:?}");
    }
    static KEY: OnceLock<Option<VerifierKey>> = OnceLock::new();
    let key = KEY.get_or_init(|| NOTE.get(1).and_then(|text| VerifierKey::parse(text)));
    if let Some(key) = key {
        assert!(key.open(&text).is_none(), "{text:?}");
    }
}

/// No message is taken for one that a key signed which nobody here has; and what is signed is found signed, whatever it is.
pub fn signature(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let (given, timestamp, body) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let secret = SecretString::from("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    let secrets = std::slice::from_ref(&secret);
    assert!(!countersign::signature::is_signed(secrets, "id", timestamp, body.as_bytes(), given), "{text:?}");
    assert!(!countersign::signature::is_slacks(&secret, timestamp, body.as_bytes(), given), "{text:?}");
    let signed = countersign::signature::sign(secrets, given, 7, body.as_bytes());
    assert!(signed.is_some_and(|signed| countersign::signature::is_signed(secrets, given, "7", body.as_bytes(), &signed)), "{text:?}");
}

/// What two scopes both reach, neither reaches beyond; the order does not matter, and a scope is within itself.
pub fn scope(bytes: &[u8]) {
    let Ok([one, two]) = serde_json::from_slice::<[Scope; 2]>(bytes) else { return };
    if one.check().is_err() || two.check().is_err() {
        return;
    }
    assert!(one.is_within(&one), "{one:?}");
    let met = one.meet(&two);
    assert_eq!(met, two.meet(&one));
    if let Some(met) = met {
        assert!(met.is_within(&one) && met.is_within(&two), "{one:?} {two:?} {met:?}");
    }
}

/// Canonical JSON is a fixpoint, and is the same value.
pub fn json(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let Ok(printed) = canonical(&value) else { return };
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&printed).ok().as_ref(), Some(&value));
    assert!(countersign::ledger::canonical::is_canonical(&printed), "{value}");
}

/// A policy loads or is refused with a place.
pub fn policy(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let settings = policy::Settings {
        schema: policy::load::SCHEMA.to_owned(),
        files: vec![PolicyFile { path: "fuzz.cedar".to_owned(), text }],
        namespaces: Default::default(),
        targets: ["shop".to_owned()].into(),
        environments: ["demo".to_owned()].into(),
        teams: Default::default(),
        glass_is_told: true,
        escalations_told_to: vec![None],
    };
    if let Err(problems) = Policy::load(&settings, Clock::system()) {
        assert!(!problems.is_empty());
    }
}

/// A declared tool loads or is refused with a place.
pub fn tool(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let path = Path::new("fuzz.toml").display().to_string();
    if let Err(problems) = Catalog::new(Vec::new(), &[DeclaredFile { path, text }], Bounds::default()) {
        assert!(!problems.is_empty());
    }
}
