//! Statements that grow with each step, and statements that only look like it.

use super::*;
use crate::operation::Risk;
use crate::operation::sql::Statement;

fn nested(name: &str, depth: usize) -> String {
    format!("{}'x'{}", format!("{name}(").repeat(depth), ")".repeat(depth))
}

#[test]
fn what_doubles_with_each_step_is_no_read() {
    let chain = |step: &str, steps: usize| {
        let ctes: Vec<String> = (1..=steps).map(|n| format!("c{n} AS (SELECT {step} AS v FROM c{})", n - 1)).collect();
        format!("WITH c0 AS (SELECT 'x' AS v), {} SELECT v FROM c{steps}", ctes.join(", "))
    };
    let all = [Engine::Sqlite, Engine::Postgres, Engine::MySql];
    for (engines, sql) in [
        (&[Engine::Sqlite, Engine::MySql][..], format!("SELECT length({})", nested("hex", 32))),
        (&[Engine::MySql], format!("SELECT {}", nested("to_base64", 12))),
        (&all, chain("v || v", 12)),
        (&all, chain("concat(v, v, v, v)", 6)),
        (&all, chain("replace(v, 'a', 'aaaaaaaaaaaaaaaa')", 6)),
        (&[Engine::Sqlite, Engine::MySql], chain("hex(v)", 12)),
        (&all, "WITH RECURSIVE r(n, v) AS (SELECT 1, 'x' UNION ALL SELECT n + 1, v || v FROM r WHERE n < 60) SELECT v FROM r".to_owned()),
        (
            &all,
            "WITH RECURSIVE r(n, v) AS (SELECT 1, 'x' UNION ALL SELECT n + 1, (SELECT v || v FROM r) FROM r) SELECT length(v) FROM r"
                .to_owned(),
        ),
        (
            &all,
            format!(
                "SELECT {} FROM (SELECT replace(replace(replace(a, 'a', 'bbbb'), 'b', 'cccc'), 'c', 'dddd') AS v FROM t) d",
                vec!["v"; 80].join(", ")
            ),
        ),
        (&all, format!("UPDATE t SET a = {}", vec!["a"; 300].join(" || "))),
        // Each step speaks of the one before twice: the server copies it.
        (&all, chain("v * v", 22)),
        (&all, chain("(v = v)", 22)),
        (
            &[Engine::Postgres],
            chain("concat(c0, c0)", 1)
                .replace("FROM c0)", "FROM c0, generate_series(1, 1) g)")
                .replace("SELECT v FROM c1", &format!("SELECT {} FROM c1", vec!["concat(c1, c1, c1, c1)"; 80].join(", "))),
        ),
        (
            &all,
            format!("SELECT length(max({}))", vec!["replace(replace(replace(a, 'a', 'bbbb'), 'b', 'cccc'), 'c', 'dddd')"; 60].join(", ")),
        ),
        (&all, format!("SELECT 1 FROM t WHERE {}", vec!["length(replace(replace(a, 'a', 'bbbb'), 'b', 'cccc')) > 1"; 75].join(" AND "))),
        (&all, format!("SELECT length(replace(replace(a, 'a', '{}'), 'b', '{}')) FROM t", "b".repeat(250), "c".repeat(250))),
        (
            &all,
            format!(
                "WITH c AS (SELECT '{}' AS v, '{}' AS w) SELECT length(replace(v, 'a', w)) FROM c",
                "a".repeat(30_000),
                "b".repeat(30_000)
            ),
        ),
        (&[Engine::Postgres], "SELECT length(replace($1, 'a', $2))".to_owned()),
        (&[Engine::Postgres], format!("SELECT length(array_to_string(string_to_array(a, ','), '{}')) FROM t", "b".repeat(3_000))),
        (
            &[Engine::Postgres],
            "WITH RECURSIVE r(v) AS (SELECT 'x' UNION ALL SELECT json_build_array(v)::text FROM r) SELECT v FROM r".to_owned(),
        ),
        (&[Engine::Postgres], "WITH RECURSIVE r(v) AS (SELECT 'x' UNION ALL SELECT ARRAY[v]::text FROM r) SELECT v FROM r".to_owned()),
        (&[Engine::Postgres], format!("SELECT array_agg('{}' || g) FROM generate_series(1, 30000) g", "a".repeat(60_000))),
    ] {
        for engine in engines {
            let Ok(statement) = Statement::parse(*engine, &sql) else { continue };
            assert_eq!(statement.risk(), Risk::Admin, "{engine:?} {sql}");
        }
    }
    for (engines, sql) in [
        (&all[..], "SELECT a || ' ' || b || ', ' || c || ' ' || d FROM t".to_owned()),
        (&all, format!("SELECT {} FROM t", vec!["a || b"; 40].join(", "))),
        (&all, "WITH RECURSIVE r(id, path) AS (SELECT id, name FROM t UNION ALL SELECT t.id, r.path || '/' || t.name FROM t JOIN r ON t.p = r.id) SELECT path FROM r".to_owned()),
        (&all, "WITH RECURSIVE r(id, path) AS (SELECT id, name FROM t UNION ALL SELECT t.id, path || '/' || t.name FROM t JOIN r ON p = r.id) SELECT path FROM r".to_owned()),
        (&all, "SELECT replace(replace(replace(a, 'a', 'b'), 'c', 'd'), 'e', 'f') FROM t".to_owned()),
        (&[Engine::Sqlite, Engine::MySql], "SELECT hex(a), upper(hex(b)) FROM t".to_owned()),
        (&all, chain("v || 'x'", 20)),
        (&all, format!("SELECT id FROM t WHERE id IN ({})", vec!["7"; 900].join(", "))),
        (&all, "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT CASE WHEN n < 5 THEN n + 1 ELSE n END FROM r WHERE n < 9) SELECT n FROM r".to_owned()),
        (&[Engine::Postgres], "SELECT json_agg(json_build_object('a', a, 'b', b, 'c', c)), string_agg(a || ', ' || b, '; ') FROM t".to_owned()),
        (&[Engine::Postgres], "SELECT replace(a, $1, 'x'), a::text || '', (a + b)::text FROM t WHERE a = $2 AND b LIKE $3".to_owned()),
        (&all, format!("SELECT {} FROM t", (0..200).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", "))),
    ] {
        for engine in engines {
            assert_eq!(Statement::parse(*engine, &sql).unwrap().risk(), Risk::Read, "{engine:?} {sql}");
        }
    }
}
