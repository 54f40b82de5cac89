//! What is written down while a program runs: soon, and no more of a secret than when it is looked at whole.

use super::*;

/// A recording of pieces on the two streams, with time between them: the text that is in it after each, and at the end.
fn recorded(pieces: &[(bool, &str)], ticks: usize) -> (Vec<String>, String) {
    let mut terminal = Terminal { header: Some(json!({})), ..Terminal::default() };
    let text = |lines: &str| -> String {
        let events = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event[1] == "o").map(|event| event[2].as_str().unwrap().replace("\r\n", "\n")).collect()
    };
    let (mut all, mut seen) = (String::new(), Vec::new());
    for (is_err, piece) in pieces {
        terminal.wrote(*is_err, piece.as_bytes());
        for _ in 0..ticks {
            all.push_str(&text(&terminal.lines(0, None)));
        }
        seen.push(all.clone());
    }
    all.push_str(&text(&terminal.lines(0, Some(&json!(0)))));
    (seen, all)
}

fn after(text: &str) -> String {
    recorded(&[(false, text)], 3).0.concat()
}

#[test]
fn what_has_waited_is_written_down_but_for_what_may_be_the_beginning_of_a_secret() {
    for (text, told) in [
        ("started\n", "started\n"),
        ("one\ntwo\r\n", "one\ntwo\n"),
        ("Continue? ", "Continue? "),
        ("working on it: 12%", "working on it: "),
        ("card 4111 1111 ", "card "),
        ("card 4111-1111", "card "),
        ("mail to alice@exam", "mail to "),
        ("key AKIAIOSF", "key "),
        ("\u{1b}[32mok\u{1b}[0m done\n", "\u{1b}[32mok\u{1b}[0m done\n"),
        ("4111 1111 \u{1b}[3", ""),
        ("4111 1111 \u{1b}]0;a title", ""),
        ("a\n- value: hunter2\n", "a\n- "),
        ("a {\"value\": \"hunter2\", ", "a "),
        ("a\n<password>\nhunter2\n", "a\n"),
        ("password: my secret phr", ""),
        ("note='one\ntwo\n", "note="),
        ("password=hunter2\n", "password=[redacted:secret]\n"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "[redacted:private_key]"),
    ] {
        assert_eq!(after(text), told, "{text:?}");
    }
    // Not at once: most of what is written in pieces comes together.
    assert_eq!(recorded(&[(false, "started\n")], 1).0.concat(), "");
}

#[test]
fn a_secret_is_masked_wherever_it_is_parted() {
    for (text, secrets) in [
        ("a card: 4111 1111 1111 1111 it was\n", &["4111", "1111"][..]),
        ("a card: 4111\u{1b}[31m-1111-\u{1b}[0m1111-1111\n", &["4111", "1111"]),
        ("ssn 219-09-9999\nnext\n", &["219", "9999"]),
        ("mail alice.smith@example.com now\n", &["alice", "smith", "example"]),
        ("key AKIAIOSFODNN7EXAMPLE, next\n", &["AKIAIOSF", "EXAMPLE"]),
        ("x=1 password=hunter2hunter2 y=2\n", &["hunter"]),
        ("password: 'hunter2 hunter2' and\n", &["hunter"]),
        ("password='hunter2\nhunter2 hunter2\nhunter2'\nend\n", &["hunter"]),
        ("passwords: [\n  hunter2hunter2,\n  hunter2hunter2\n]\nend\n", &["hunter"]),
        ("data:\n  a: aHVudGVyMg==\nkind: Secret\nend\n", &["aHVu", "MgO"]),
        ("curl https://bob:hunter2hunter2@example.com/x\n", &["hunter"]),
        ("{\"value\": \"hunter2hunter2\", \"name\": \"DB_PASSWORD\"}\n", &["hunter"]),
        ("env:\n- value: hunter2hunter2\n  name: DB_PASSWORD\nend\n", &["hunter"]),
        ("value=hunter2hunter2 name=DB_PASSWORD\n", &["hunter"]),
        ("a\n<db>\n<password>hunter2hunter2</password>\n</db>\n", &["hunter"]),
        ("apiVersion: v1\ndata:\n  a: aHVudGVyMg==\nkind: Secret\n", &["aHVu", "MgO"]),
        ("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0B\n-----END PRIVATE KEY-----\nend\n", &["MIIE", "kqhk"]),
        ("Authorization: Bearer abcdefghijklmnop0123456789\n", &["abcdefgh", "456789"]),
    ] {
        for at in text.char_indices().map(|(at, _)| at).skip(1) {
            let (one, other) = text.split_at(at);
            for ticks in [1, 2, 4] {
                let (_, all) = recorded(&[(false, one), (false, other)], ticks);
                let bare: String = all.replace("[redacted:", "[");
                assert!(secrets.iter().all(|secret| !bare.contains(secret)), "{one:?} {other:?}: {all:?}");
                // And in three parts.
                let middle = other.char_indices().map(|(at, _)| at).nth(4).unwrap_or(other.len());
                let (second, third) = other.split_at(middle);
                let (_, all) = recorded(&[(false, one), (false, second), (false, third)], ticks);
                assert!(secrets.iter().all(|secret| !all.contains(secret)), "{one:?} {second:?} {third:?}: {all:?}");
            }
        }
    }
}

#[test]
fn what_lies_across_both_streams_is_masked_while_the_program_runs() {
    let more = "and so on\n".repeat(60);
    for ticks in [0, 1, 3] {
        for (one, other) in [("4111 1111 ", "1111 1111\n"), ("key AKIAIOSF", "ODNN7EXAMPLE\n"), ("4111-1111-11", "11-1111")] {
            for is_err in [false, true] {
                let (_, all) =
                    recorded(&[(is_err, one), (!is_err, other), (is_err, "\n"), (is_err, &more), (!is_err, &more)], ticks.max(1));
                assert!(!all.contains("1111") && !all.contains("AKIAIOSF") && !all.contains("EXAMPLE"), "{one:?} {other:?}: {all:?}");
                assert!(all.contains("and so on"), "{all}");
                let pieces = [(is_err, one), (!is_err, other), (is_err, &*format!("\n{more}")), (!is_err, &more)];
                let (_, all) = recorded(&pieces, ticks);
                assert!(!all.contains("1111") && !all.contains("AKIAIOSF") && !all.contains("EXAMPLE"), "{one:?} {other:?}: {all:?}");
            }
        }
    }
}

#[test]
fn what_is_too_mixed_to_be_looked_at_is_withheld() {
    let mut terminal = Terminal { header: Some(json!({})), ..Terminal::default() };
    for turn in 0..TURNS_MAX + 10 {
        terminal.wrote(turn % 2 == 1, b"a line\n");
    }
    terminal.wrote(false, b"4111 1111 ");
    terminal.wrote(true, b"1111 1111");
    assert!(terminal.turns.len() <= TURNS_MAX);
    let lines = terminal.lines(0, Some(&json!(0)));
    assert!(lines.contains("a line") && lines.contains(WITHHELD) && !lines.contains("1111"));
    let mut report = MaskReport::default();
    let whole = terminal.err.whole(&[], &mut report, "/stderr");
    assert!(whole.ends_with(WITHHELD) && !whole.contains("1111") && report.counts.contains_key("content:too_mixed"));
}
