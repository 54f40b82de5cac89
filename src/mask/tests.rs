//! What is found, what is left alone, and that nothing gets past a stream.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::operation::sql::{BaseColumn, ColumnLineage, Lineage};
use crate::refusal::{Code, Refusal};

fn kinds(text: &str) -> Vec<&'static str> {
    detect::find(text).iter().map(|hit| hit.kind).collect()
}

#[test]
fn what_is_found() {
    for (text, expected) in [
        ("mail a.b+c@example.co.uk now", vec!["email"]),
        ("<x@y.org>, \"q u\"@host.net", vec!["email", "email"]),
        ("user=jo@exa-mple.com&x", vec!["email"]),
        ("4111 1111 1111 1111", vec!["card"]),
        ("4111-1111-1111-1111.", vec!["card"]),
        ("card:4111111111111111", vec!["card"]),
        ("378282246310005 and 5555555555554444", vec!["card", "card"]),
        ("2024 4111111111111111", vec!["card"]),
        ("ssn 123-45-6789", vec!["ssn"]),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", vec!["jwt"]),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----", vec!["private_key"]),
        ("x -----BEGIN PRIVATE KEY-----\nMII cut off", vec!["private_key"]),
        ("a\u{200b}lice@exam\u{ad}ple.com", vec!["email"]),
        ("\u{ff14}\u{ff11}\u{ff11}\u{ff11}111111111111", vec!["card"]),
        ("4111\u{a0}1111\u{2011}1111 1111", vec!["card"]),
        ("jörg@müller.de", vec!["email"]),
    ] {
        assert_eq!(kinds(text), expected, "{text}");
    }
}

#[test]
fn what_is_left_alone() {
    for text in [
        "4111111111111112",
        "order 1234567890123456",
        "2026-11-23T22:13:00.123456Z",
        "1700000000000",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "550e8400-e29b-41d4-a716-446655440000",
        "10.1.2.3",
        "v1.2.3-rc.4",
        "978-3-16-148410-0",
        "000-12-3456",
        "666-12-3456",
        "900-12-3456",
        "123456789",
        "@user",
        "a@b",
        "name@localhost",
        "eyJub3QiOiJqd3QifQ.x",
        "-----BEGIN PUBLIC KEY-----",
        "0000000000000000",
        "a***@***.com",
        "**** **** **** 1111",
        "[redacted:email]",
    ] {
        assert_eq!(kinds(text), Vec::<&str>::new(), "{text}");
    }
}

fn base(table: &str, column: &str) -> BaseColumn {
    BaseColumn { schema: Some("main".to_owned()), table: table.to_owned(), column: column.to_owned() }
}

/// Runs one row through the masks.
async fn through(columns: Vec<Column>, lineage: Lineage, row: Vec<Value>, rules: Vec<ColumnRule>) -> (Vec<MaskedPiece>, MaskReport) {
    let (sender, unmasked) = Unmasked::seal(Some("shop".to_owned()));
    let mut masked = Masks::new(Rules::new(rules)).apply(unmasked);
    sender.send(Piece::Header { columns, lineage }).await.ok().unwrap();
    sender.send(Piece::Row(row)).await.ok().unwrap();
    sender.send(Piece::Done(Done::default())).await.ok().unwrap();
    drop(sender);
    let mut pieces = Vec::new();
    while let Some(piece) = masked.next().await {
        pieces.push(piece);
    }
    (pieces, masked.report())
}

fn column(name: &str, origin: Option<BaseColumn>) -> Column {
    Column { name: name.to_owned(), type_name: "text".to_owned(), origin }
}

fn from(sources: &[BaseColumn], direct: bool) -> ColumnLineage {
    ColumnLineage { sources: sources.iter().cloned().collect(), direct }
}

async fn one(name: &str, origin: Option<BaseColumn>, lineage: Lineage, value: Value, rules: Vec<ColumnRule>) -> Value {
    let (pieces, _) = through(vec![column(name, origin)], lineage, vec![value], rules).await;
    match &pieces[1] {
        MaskedPiece::Row(values) => values[0].clone(),
        other => panic!("{other:?}"),
    }
}

fn rule(table: &str, column: &str, mode: Mode) -> ColumnRule {
    ColumnRule { target: Some("shop".to_owned()), schema: None, table: table.to_owned(), column: column.to_owned(), mode }
}

#[tokio::test]
async fn a_rule_holds_whatever_letters_its_names_have() {
    let rules = vec![rule("Ärzte", "Ärztin", Mode::Redact)];
    for (table, column) in [("Ärzte", "Ärztin"), ("ärzte", "ärztin"), ("ÄRZTE", "ärztin")] {
        let lineage = Lineage::Columns(vec![from(&[base(table, column)], true)]);
        let masked = one("x", None, lineage, json!("hunter2"), rules.clone()).await;
        assert!(masked.as_str().unwrap().starts_with("[redacted:"), "{table}.{column}: {masked}");
    }
}

#[tokio::test]
async fn columns_by_lineage_origin_and_name() {
    let secret = || json!("hunter2");
    let lineage = |sources: &[BaseColumn], direct| Lineage::Columns(vec![from(sources, direct)]);
    let x = base("t", "x");
    let redacted = json!("[redacted:column]");
    // By rule, under any alias, computed or not; the origin may add a mask and never take one away.
    assert_eq!(one("a", None, lineage(std::slice::from_ref(&x), true), secret(), vec![rule("T", "X", Mode::Redact)]).await, redacted);
    assert_eq!(one("a", None, lineage(&[x.clone(), base("t", "y")], false), secret(), vec![rule("t", "x", Mode::Partial)]).await, redacted);
    assert_eq!(one("a", Some(x.clone()), lineage(&[], false), secret(), vec![rule("t", "x", Mode::Redact)]).await, redacted);
    assert_eq!(
        one("a", Some(base("u", "z")), lineage(std::slice::from_ref(&x), true), secret(), vec![rule("t", "x", Mode::Redact)]).await,
        redacted
    );
    assert_eq!(one("a", None, lineage(std::slice::from_ref(&x), true), secret(), vec![rule("t", "x", Mode::Partial)]).await, json!("h***"));
    // Of a document nothing is shown, whatever stands after its last dot.
    for (value, shown) in [
        (json!({"mail": "a@b.c", "pin": "x.4711"}), "[redacted:column]"),
        (json!(["a@b.c", "x.4711"]), "[redacted:column]"),
        (json!(" {\"mail\": \"a@b.c\", \"pin\": \"x.4711\"}"), "[redacted:column]"),
        (json!("(7,a@b.c,x.4711)"), "[redacted:column]"),
        (json!("[redacted:column]"), "[redacted:column]"),
        (json!("write to a@b.c, the pin is x.4711"), "w***"),
        (json!("a@b.c:pin.secret"), "a***@***.***"),
        (json!("ada@mail.example.com"), "a***@***.com"),
        (json!("a***@***.com"), "a***@***.com"),
        (json!("a***@***.***"), "a***@***.***"),
    ] {
        let told = one("a", None, lineage(std::slice::from_ref(&x), true), value.clone(), vec![rule("t", "x", Mode::Partial)]).await;
        assert_eq!(told, json!(shown), "{value}");
    }
    assert_eq!(one("a", None, lineage(std::slice::from_ref(&x), true), secret(), vec![rule("t", "other", Mode::Redact)]).await, secret());
    // Unknown lineage, and a parser that disagrees with the database, count as everything.
    assert_eq!(one("a", None, Lineage::Any([x.clone()].into()), secret(), vec![rule("t", "x", Mode::Redact)]).await, redacted);
    assert_eq!(
        one(
            "a",
            None,
            Lineage::Columns(vec![from(&[], true), from(std::slice::from_ref(&x), true)]),
            secret(),
            vec![rule("t", "x", Mode::Redact)]
        )
        .await,
        redacted
    );
    assert_eq!(one("a", None, lineage(&[base("u", "*")], false), secret(), vec![]).await, redacted);
    // By name of the source column, and of the result column.
    assert_eq!(one("a", None, lineage(&[base("t", "password")], true), secret(), vec![]).await, json!("[redacted:secret]"));
    assert_eq!(one("ssn", None, lineage(std::slice::from_ref(&x), false), secret(), vec![]).await, json!("[redacted:ssn]"));
    assert_eq!(one("email", None, lineage(&[base("t", "email")], true), json!("alice@example.com"), vec![]).await, json!("a***@***.com"));
    assert_eq!(
        one("email", None, lineage(&[base("t", "email")], true), json!("opt-in"), vec![rule("t", "email", Mode::Clear)]).await,
        json!("opt-in")
    );
    assert_eq!(
        one("email", None, lineage(&[base("t", "email")], true), json!("a@b.com"), vec![rule("t", "email", Mode::Clear)]).await,
        json!("[redacted:email]")
    );
    assert_eq!(
        one("card_number", None, lineage(&[base("t", "card_number")], true), json!(4_111_111_111_111_111_u64), vec![]).await,
        json!("**** **** **** 1111")
    );
    assert_eq!(one("email", None, lineage(&[base("t", "email")], true), Value::Null, vec![]).await, Value::Null);
}

#[tokio::test]
async fn contents_keys_and_nested_json() {
    let plain = || Lineage::Columns(vec![from(&[base("t", "data")], true)]);
    for (value, expected) in [
        (json!("write to a@b.com or 4111 1111 1111 1111"), json!("write to [redacted:email] or [redacted:card]")),
        (
            json!({"user": {"password": "x", "n": 1}, "a@b.com": [1, "c@d.org"]}),
            json!({"user": {"password": "[redacted:secret]", "n": 1}, "[redacted:email]": [1, "[redacted:email]"]}),
        ),
        (json!("{\"email\": \"a@b.com\", \"n\": 5}"), json!("{\"email\":\"a***@***.com\",\"n\":5}")),
        (json!("{\"n\": 5}"), json!("{\"n\":5}")),
        (json!("{\"password\": \"x\", \"password\": null}"), json!("{\"password\":null}")),
        (json!("1\u{200b}4111111111111111"), json!("1\u{200b}[redacted:card]")),
        (json!({"ssn": {"deep": 1}}), json!({"ssn": "[redacted:ssn]"})),
        (json!(4_111_111_111_111_111_u64), json!("[redacted:card]")),
        (json!(42), json!(42)),
    ] {
        assert_eq!(one("data", None, plain(), value.clone(), vec![]).await, expected, "{value}");
    }
}

#[tokio::test]
async fn errors_names_and_broken_streams() {
    let (sender, unmasked) = Unmasked::seal(None);
    let mut masked = Masks::new(Rules::new(vec![])).apply(unmasked);
    sender
        .send(Piece::Failed { refusal: Refusal::new(Code::TargetFailed).detail("Key (email)=(a@b.com) exists"), stopped: None })
        .await
        .ok()
        .unwrap();
    let Some(MaskedPiece::Failed { refusal, .. }) = masked.next().await else { panic!("no failure") };
    assert!(refusal.message().contains("[redacted:email]") && !refusal.message().contains("a@b.com"));
    assert_eq!(masked.next().await, None);

    // What is too long to be told is cut after it was masked, never in the middle of a secret.
    let (sender, unmasked) = Unmasked::seal(None);
    let mut masked = Masks::new(Rules::new(vec![])).apply(unmasked);
    let long = Refusal::new(Code::TargetFailed).detail(format!("{} alice@example.com", "x ".repeat(496)));
    sender.send(Piece::Failed { refusal: long, stopped: None }).await.ok().unwrap();
    let Some(MaskedPiece::Failed { refusal, .. }) = masked.next().await else { panic!("no failure") };
    assert!(!refusal.message().contains("alice") && refusal.message().len() < 1_100, "{}", refusal.message());

    let (sender, unmasked) = Unmasked::seal(None);
    let mut masked = Masks::new(Rules::new(vec![])).apply(unmasked);
    drop(sender);
    assert!(matches!(masked.next().await, Some(MaskedPiece::Failed { refusal, .. }) if refusal.code() == Code::MaskFailed));
    assert_eq!(masked.next().await, None);

    let (pieces, report) =
        through(vec![column("a@b.com", None)], Lineage::Columns(vec![ColumnLineage::default()]), vec![json!(1)], vec![]).await;
    assert!(matches!(&pieces[0], MaskedPiece::Header { columns } if columns[0].name == "[redacted:email]"));
    assert_eq!(report.counts.get("content:email"), Some(&1));

    let (pieces, _) = through(vec![column("a", None)], Lineage::Columns(vec![]), vec![json!(1), json!(2)], vec![]).await;
    assert!(matches!(&pieces[1], MaskedPiece::Failed { refusal, .. } if refusal.code() == Code::MaskFailed));
}

proptest! {
    #[test]
    fn any_text_is_survived_and_masking_twice_changes_nothing(text in "(.|[0-9]{4} ?|@|a\\.b|eyJ|-----BEGIN PRIVATE KEY-----|\u{200b}|\u{ff11}){0,40}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lineage = || Lineage::Columns(vec![ColumnLineage::default()]);
        let once = runtime.block_on(one("x", None, lineage(), json!(text), vec![]));
        let twice = runtime.block_on(one("x", None, lineage(), once.clone(), vec![]));
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn a_planted_address_never_survives(before in "[a-z (\u{200b},;]{0,10}[ (,;]", after in "([ ),;].{0,10})?") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let text = format!("{before}planted.value@example.com{after}");
        let masked = runtime.block_on(one("x", None, Lineage::Columns(vec![ColumnLineage::default()]), json!(text), vec![]));
        prop_assert!(!masked.to_string().contains("planted"), "{}", masked);
    }
}

/// A label may join what stood apart on both its sides: the outcome is looked at again.
#[test]
fn a_label_makes_no_new_find() {
    let text = "\"a -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----a b\"@c.de";
    let mut found = Vec::new();
    let masked = detect::redact(text, |kind| found.push(kind));
    assert!(detect::find(&masked).is_empty() && !masked.contains("c.de"), "{masked}");
    assert_eq!(found.first(), Some(&"private_key"));
}
