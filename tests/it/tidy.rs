//! What the architecture promises, checked on the source text: who may import whom, where proofs are minted, how long files are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.sort();
    found.into_iter().map(|(path, text)| (path.strip_prefix(&root).unwrap().to_owned(), text)).collect()
}

/// The code of a file without its tests and comments.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    text.lines().map(|line| if line.trim_start().starts_with("//") { "//" } else { line }).collect::<Vec<_>>().join("\n")
}

fn room(path: &Path) -> String {
    path.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

#[test]
fn imports_go_one_way() {
    let leaves = ["id", "clock", "inert", "limit", "outbound", "refusal", "signature"];
    let table: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("operation", &[][..]),
        ("ledger", &[]),
        ("identity", &["operation"]),
        ("call", &["identity", "operation"]),
        ("record", &["call", "identity", "ledger"]),
        ("registry", &["identity", "ledger", "operation", "record"]),
        ("catalog", &["call", "operation", "identity"]),
        ("approval", &["call", "identity", "ledger", "operation", "record"]),
        ("policy", &["call", "approval", "identity", "operation", "registry"]),
        ("mask", &["call", "operation"]),
        ("workplace", &["call", "ledger", "operation", "record"]),
        ("audit", &["call", "approval", "identity", "ledger", "mask", "operation", "policy", "record", "registry", "workplace"]),
        ("credential", &["audit", "call", "identity", "operation"]),
        ("connector", &["approval", "audit", "call", "credential", "identity", "mask", "operation", "policy"]),
        ("notice", &["approval", "credential", "identity", "ledger", "operation", "record"]),
        ("pipeline", &["approval", "audit", "call", "catalog", "connector", "identity", "mask", "operation", "policy", "workplace"]),
        ("mcp", &["audit", "call", "catalog", "identity", "operation", "pipeline"]),
        ("session", &["identity", "ledger", "record"]),
        ("inbox", &["approval", "audit", "credential", "identity", "ledger", "notice", "operation", "policy", "registry", "session"]),
        ("token_service", &["identity", "ledger", "operation", "policy", "record", "registry"]),
        ("server", &["audit", "identity"]),
        ("telemetry", &[]),
    ]);
    let free = ["broker", "config", "cli", "main", "lib"];
    for (path, text) in sources() {
        let room = room(&path);
        if leaves.contains(&room.as_str()) || free.contains(&room.as_str()) || path.ends_with("tests.rs") {
            continue;
        }
        let allowed = table.get(room.as_str()).unwrap_or_else(|| panic!("the room `{room}` is not in the table"));
        let used: BTreeSet<String> = code(&text)
            .split("crate::")
            .skip(1)
            .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
            .collect();
        for other in used {
            let fine = other == room
                || leaves.contains(&other.as_str())
                || allowed.contains(&other.as_str())
                || other.is_empty()
                || (room == "inbox" && other == "call");
            assert!(fine, "{}: `{room}` may not import `{other}`", path.display());
        }
    }
}

#[test]
fn proofs_are_minted_in_one_file_each() {
    for (proof, home) in [
        ("Delegation", "identity/delegation.rs"),
        ("Person", "identity/person.rs"),
        ("Authorized", "policy/rule.rs"),
        ("Permit", "audit/open.rs"),
        ("Entry", "audit/open.rs"),
        ("Unmasked", "mask/apply.rs"),
        ("Masked", "mask/apply.rs"),
        ("Reply", "audit/reply.rs"),
        ("Approval", "approval/grant.rs"),
        ("Credential", "credential.rs"),
        ("Testimony", "identity/voucher.rs"),
        ("SignedIn", "identity/service.rs"),
        ("Actor", "identity/service.rs"),
    ] {
        for (path, text) in sources() {
            let text = code(&text);
            let literal = text.match_indices(&format!("{proof} {{")).any(|(at, _)| {
                let before = &text[..at];
                let word_before = before.chars().next_back().is_none_or(|c| !(c.is_alphanumeric() || c == '_'));
                let declares =
                    ["struct ", "impl ", "for ", "-> ", "&'_ "].iter().any(|keyword| before.ends_with(keyword)) || before.ends_with("::");
                word_before && !declares
            });
            assert!(!literal || path == Path::new(home), "{} mints a {proof}", path.display());
            let before: Vec<&str> = text
                .split(&format!("pub struct {proof} {{"))
                .next()
                .unwrap_or_default()
                .lines()
                .rev()
                .take_while(|line| !line.trim().is_empty())
                .collect();
            let derives = if path == Path::new(home) { before.join(" ") } else { String::new() };
            assert!(!["Clone", "Default", "Deserialize"].iter().any(|word| derives.contains(word)), "{proof} derives {derives}");
        }
    }
}

#[test]
fn words_that_belong_to_one_room() {
    for (word, homes) in [
        ("rmcp", &["mcp"][..]),
        ("cedar_policy", &["policy"]),
        ("sqlx::", &["connector"]),
        ("rusqlite::", &["connector", "ledger", "cli"]),
        ("kube::Client", &["connector"]),
        ("kube::config", &["connector"]),
        ("russh::", &["cli", "config", "connector", "credential"]),
        ("russh_sftp", &["connector"]),
        ("jsonwebtoken", &["identity"]),
        ("lettre", &["config", "notice"]),
    ] {
        for (path, text) in sources() {
            let quoted = format!("\"{word}");
            assert!(
                !code(&text).replace(&quoted, "").contains(word) || homes.contains(&room(&path).as_str()),
                "{} uses `{word}`",
                path.display()
            );
        }
    }
    let with = |word: &str| sources().into_iter().filter(|(_, text)| code(text).contains(word)).map(|(path, _)| path).collect::<Vec<_>>();
    let by_hand = ["connector/mysql/statement.rs", "connector/postgres/statement.rs"].map(Path::new);
    assert_eq!(with("AssertSqlSafe("), by_hand);
    // Whoever makes a clock has one that nobody else turns.
    assert!(
        with("Clock::system()").iter().all(|path| room(path) == "cli" || path.to_string_lossy().contains("tests")),
        "{:?}",
        with("Clock::system()")
    );
    assert!(with("raw_sql").is_empty() && with("unsafe ").is_empty());
    assert!(with("tracing::").iter().all(|path| room(path) != "connector"));
}

#[test]
fn files_begin_with_their_purpose_and_stay_short() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} does not say what it is for", path.display());
        let lines = text.lines().count();
        assert!(lines <= 430, "{} has {lines} lines", path.display());
    }
}
