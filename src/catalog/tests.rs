//! Good and bad arguments, and declared tools with their problems.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::call::{Answer, Line, Origin, Request, Stop};
use crate::identity::alone::Alone;
use crate::identity::development::{DevelopmentIssuer, TokenRequest};
use crate::identity::{Algorithm, Delegation, Identity, IssuerSettings, KeySource};
use crate::refusal::Code;

fn delegation() -> Arc<Delegation> {
    let dir = tempfile::tempdir().unwrap();
    let url = "http://127.0.0.1:1/issuer";
    let clock = crate::clock::Clock::system();
    let issuer = DevelopmentIssuer::open(dir.path(), url, clock.clone()).unwrap();
    let settings = crate::identity::Settings {
        resource: "r".into(),
        inbox_resource: "i".into(),
        public_url: "u".into(),
        issuers: vec![IssuerSettings::new(url, KeySource::File(issuer.jwks_file().into()), vec![Algorithm::EdDsa])],
        skew: Duration::ZERO,
        bound_required: false,
    };
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let identity = Identity::new(settings, clock, Arc::new(Alone), Arc::new(Alone)).unwrap_or_else(|problems| panic!("{problems:?}"));
    let token = issuer.mint(&TokenRequest {
        subject: "alice".into(),
        name: None,
        teams: vec![],
        audience: "r".into(),
        client: "c".into(),
        actor: Some("a".into()),
        scope: "mcp:read".into(),
        lifetime: chrono::TimeDelta::minutes(5),
    });
    let bearer = format!("Bearer {}", secrecy::ExposeSecret::expose_secret(&token));
    let headers = http::HeaderMap::from_iter([(http::header::AUTHORIZATION, bearer.parse().unwrap())]);
    futures::executor::block_on(identity.agent(&headers)).unwrap()
}

fn target(name: &str) -> Target {
    Target {
        facts: TargetFacts {
            name: name.into(),
            engine: "sqlite",
            environment: "test".into(),
            place: String::new(),
            search_path: vec!["main".into()],
        },
        of: TargetOf::Sql { engine: Engine::Sqlite, is_shared: false },
    }
}

const TOOL: &str = r#"
name = "customer_orders"
description = "Lists the orders of one customer."
target = "shop"
statement = "SELECT id, status FROM orders WHERE customer_id = ?1 AND status = ?2"
row_limit = 50

[[parameter]]
name = "customer_id"
type = "integer"
description = "The customer."
min = 1

[[parameter]]
name = "status"
type = "enum"
description = "The status."
values = ["paid", "open"]
required = false
default = "paid"
"#;

fn catalog(declared: &[(&str, String)]) -> Result<Catalog, Vec<Problem>> {
    let files: Vec<DeclaredFile> =
        declared.iter().map(|(path, text)| DeclaredFile { path: (*path).to_owned(), text: text.clone() }).collect();
    Catalog::new(vec![target("shop")], &files, Bounds::default())
}

fn parse(tool: &str, arguments: Value) -> Result<crate::call::Call, Box<Stop>> {
    let catalog = catalog(&[("tools/a.toml", TOOL.to_owned())]).unwrap_or_else(|problems| panic!("{problems:?}"));
    let Value::Object(arguments) = arguments else { panic!("arguments") };
    let line =
        Line { gone: Default::default(), cancelled: Default::default(), draining: Default::default(), progress: None, shows_pages: false };
    catalog.parse(Request::new(delegation(), tool.to_owned(), arguments, Origin::default(), line))
}

#[test]
fn bad_arguments_each_say_what_is_wrong() {
    for (tool, arguments, code, says) in [
        ("nope", json!({}), Code::UnknownTool, ""),
        ("db_query", json!({}), Code::InvalidArguments, "target"),
        ("db_query", json!({"target": "shop", "sql": "SELECT 1", "x": 1}), Code::InvalidArguments, "x"),
        ("db_query", json!({"target": "shop", "sql": 7}), Code::InvalidArguments, "/sql"),
        ("db_query", json!({"target": "shop", "sql": "SELECT 1", "max_rows": 0}), Code::InvalidArguments, "/max_rows"),
        ("db_query", json!({"target": "shop", "sql": "SELECT 1", "max_rows": 99_999}), Code::InvalidArguments, "/max_rows"),
        ("db_query", json!({"target": "shop", "sql": "SELECT 1", "params": [[1]]}), Code::InvalidArguments, "/params/0"),
        ("db_query", json!({"target": "other", "sql": "SELECT 1"}), Code::UnknownTarget, ""),
        ("db_query", json!({"target": "shop", "sql": "SELECT ?1"}), Code::InvalidParameters, "1 placeholders"),
        (
            "db_query",
            json!({"target": "shop", "sql": "SELECT ?1", "params": [18_446_744_073_709_551_615_u64]}),
            Code::InvalidParameters,
            "64 bits",
        ),
        ("db_query", json!({"target": "shop", "sql": "DELETE FROM t"}), Code::NotRead, "DELETE removes rows"),
        ("db_query", json!({"target": "shop", "sql": "SELECT evil()"}), Code::NotRead, "evil"),
        ("db_query", json!({"target": "shop", "sql": "SELECT 1; SELECT 2"}), Code::SeveralStatements, ""),
        ("db_query", json!({"target": "shop", "sql": "SELEC 1"}), Code::Unparsable, ""),
        ("db_execute", json!({"target": "shop", "sql": "SELECT 1"}), Code::InvalidArguments, "db_query"),
        ("approval_wait", json!({"approval_id": "apr_x"}), Code::InvalidArguments, "/approval_id"),
        ("customer_orders", json!({"customer_id": 0}), Code::InvalidArguments, "/customer_id"),
        ("customer_orders", json!({"customer_id": 1, "status": "lost"}), Code::InvalidArguments, "/status"),
        ("customer_orders", json!({"customer_id": "1 OR 1=1"}), Code::InvalidArguments, "/customer_id"),
        ("whoami", json!({"reason": "x".repeat(300_000)}), Code::TooLarge, "bytes"),
    ] {
        let stop = parse(tool, arguments.clone()).unwrap_err();
        let Answer::Refused(refusal) = stop.answer else { panic!("{tool}") };
        assert_eq!(refusal.code(), code, "{tool} {arguments}: {refusal}");
        assert!(refusal.message().contains(says), "{tool}: {}", refusal.message());
    }
}

#[test]
fn the_same_call_in_two_spellings_has_one_canonical_form() {
    let short = parse("db_query", json!({"target": "shop", "sql": "SELECT 1"})).unwrap();
    let long = parse("db_query", json!({"sql": "SELECT 1", "target": "shop", "max_rows": 200, "params": [], "reason": "because"})).unwrap();
    assert_eq!(short.arguments, long.arguments);
    assert_eq!(long.reason.as_deref(), Some("because"));
    let declared = parse("customer_orders", json!({"customer_id": 3})).unwrap();
    assert_eq!(declared.arguments["status"], "paid");
    assert_eq!(declared.limits.rows, 50);
}

#[test]
fn declared_tools_name_file_and_line() {
    let with = |from: &str, to: &str| TOOL.replace(from, to);
    for (text, line, says) in [
        (with("target = \"shop\"", "target = \"other\""), 4, "no target `other`"),
        (with("customer_id = ?1 AND status = ?2", "customer_id = ?1"), 5, "1 placeholders"),
        (with("SELECT id, status", "SELEC id"), 5, "parsed"),
        (with("row_limit = 50", "row_limit = 0"), 6, "row_limit"),
        (with("row_limit = 50", "row_limit = 50\nrisk = \"low\""), 7, "risk"),
        (
            with(
                "SELECT id, status FROM orders WHERE customer_id = ?1 AND status = ?2",
                "DELETE FROM orders WHERE id = ?1 AND status = ?2",
            )
            .replace("row_limit = 50", "row_limit = 50\nrisk = \"read\""),
            7,
            "never lower",
        ),
        (with("name = \"customer_orders\"", "name = \"Customer Orders\""), 2, "lower-case"),
        (with("type = \"integer\"", "type = \"date\""), 8, "type must be"),
        (with("default = \"paid\"", "default = \"stolen\""), 14, "default is none of its values"),
        (with("default = \"paid\"", "default = 7"), 14, "default is none of its values"),
        (with("min = 1", "min = 1\nrequired = false\ndefault = 0"), 8, "default is none of its values"),
        (with("min = 1", "min = 1\nrequired = false\ndefault = 1979-05-27"), 8, "default is none of its values"),
        (with("row_limit = 50", "row_limit = 50\nunknown = 1"), 7, "unknown"),
        (with("name = \"customer_orders\"", "name = \"db_query\""), 1, "another tool"),
        ("name = ".to_owned(), 1, ""),
    ] {
        let problems = catalog(&[("tools/a.toml", text.clone())]).err().unwrap_or_else(|| panic!("accepted: {text}"));
        assert!(problems.iter().any(|problem| problem.line == line && problem.message.contains(says)), "{line} {says}: {problems:?}");
    }
}

#[test]
fn a_pattern_speaks_of_the_whole_text() {
    let declared = |pattern: &str| {
        let kind = format!("type = \"string\"\nrequired = false\npattern = '{pattern}'");
        catalog(&[("tools/a.toml", TOOL.replace("type = \"integer\"", &kind).replace("\nmin = 1", ""))])
    };
    for pattern in ["^a$", "^(a|b)$", "^[a|b]+$", r"^a\|b$", r"^a\\$", "^(?:a|(?=b)b)$", r"^[^\]]*$", "^$"] {
        assert!(declared(pattern).is_ok(), "{pattern}");
    }
    for pattern in ["a$", "^a", "^a|b$", "^(a)|(b)$", r"^a\$", "^(?m)a$", "^(?i:a)$", "^(a$", "^a)|(b$", "^[a[b]|c]$", "^[a$"] {
        let problems = declared(pattern).err().unwrap_or_else(|| panic!("accepted: {pattern}"));
        assert!(problems.iter().any(|problem| problem.line == 8), "{pattern}: {problems:?}");
    }
}

#[test]
fn a_changed_definition_has_another_hash() {
    let hash = |text: String| catalog(&[("a", text)]).ok().unwrap().tools["customer_orders"].facts.schema_hash.clone();
    let base = hash(TOOL.to_owned());
    for changed in [
        TOOL.replace("Lists the", "Shows the"),
        TOOL.replace("row_limit = 50", "row_limit = 51"),
        TOOL.replace("id, status FROM", "id FROM"),
        TOOL.replace("min = 1", "min = 2"),
        TOOL.replace("row_limit = 50", "row_limit = 50\nrisk = \"write\""),
    ] {
        assert_ne!(hash(changed), base);
    }
    assert_eq!(hash(TOOL.to_owned()), base);
}

#[test]
fn listings_are_fit_for_agents() {
    let catalog = catalog(&[]).ok().unwrap();
    for listing in catalog.listings() {
        assert!(listing.description.len() <= 1_024, "{}", listing.name);
        assert_eq!(listing.input_schema["type"], "object", "{}", listing.name);
        assert_eq!(listing.input_schema["additionalProperties"], false, "{}", listing.name);
        assert!(!Value::Object((*listing.input_schema).clone()).to_string().contains("$ref"), "{}", listing.name);
    }
    insta::assert_json_snapshot!("db_query_input", *catalog.tools["db_query"].listing.input_schema);
}
