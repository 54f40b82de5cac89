//! Answers of our own fixed commands, read into what is asked of them: facts of a host, the state of a unit, a job. What cannot be read is left out, never
//! guessed.

use serde_json::{Map, Value, json};

use crate::operation::ssh::Telling;

/// Reads a program's two streams, masked, into a document.
pub(super) fn reader(telling: &Telling) -> fn(&str, &str) -> Value {
    match telling {
        Telling::Streams => |out, err| json!({ "stdout": out, "stderr": err }),
        Telling::Facts => facts,
        Telling::Unit => |out, err| json!({ "unit": pairs(out), "journal": err.lines().collect::<Vec<_>>() }),
        Telling::Acted => |out, err| json!({ "unit": pairs(out), "stderr": err }),
        Telling::Sent => |out, err| json!({ "sent": pairs(out).contains_key("sent"), "stderr": err }),
        Telling::Started => |out, err| json!({ "job_id": pairs(out).get("job"), "stderr": err }),
        Telling::Ended => {
            |out, err| json!({ "stopped_confirmed": pairs(out).get("confirmed").is_some_and(|said| said == "yes"), "stderr": err })
        }
        Telling::Folder => |out, _| json!({ "folder": out.strip_suffix('\n').unwrap_or(out) }),
        Telling::Jobs => jobs,
        Telling::Lines => lines,
    }
}

/// `NAME=value` a line, as `systemctl show` and our own commands print.
fn pairs(text: &str) -> Map<String, Value> {
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), Value::from(value.trim_matches('"'))));
    text.lines().filter_map(pair).collect()
}

fn section<'t>(text: &'t str, name: &str) -> &'t str {
    let begin = format!("[{name}]\n");
    let rest = text.split_once(begin.as_str()).map_or("", |(_, rest)| rest);
    rest.split_once("\n[").map_or(rest, |(section, _)| section)
}

fn number(text: &str) -> Value {
    text.parse::<u64>().map_or(Value::Null, Value::from)
}

fn facts(out: &str, _: &str) -> Value {
    let os = pairs(section(out, "os"));
    let memory: Map<String, Value> = section(out, "memory")
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let kib = rest.split_whitespace().next()?.parse::<u64>().ok()?;
            let known = [("MemTotal", "total"), ("MemAvailable", "available"), ("SwapTotal", "swap_total"), ("SwapFree", "swap_free")];
            let (_, name) = known.into_iter().find(|(known, _)| *known == name)?;
            Some((name.to_owned(), Value::from(kib.saturating_mul(1_024))))
        })
        .collect();
    let disks: Vec<Value> = section(out, "disk")
        .lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [device, blocks, used, free, share, ..] = words.as_slice() else { return None };
            let bytes = |kib: &str| kib.parse::<u64>().ok().map(|kib| kib.saturating_mul(1_024));
            let mount = words.get(5..)?.join(" ");
            Some(json!({ "device": device, "mount": mount, "bytes": bytes(blocks)?, "used": bytes(used)?, "free": bytes(free)?, "used_share": share }))
        })
        .collect();
    let load: Vec<f64> = section(out, "load").split_whitespace().take(3).filter_map(|word| word.parse().ok()).collect();
    let kernel: Vec<&str> = section(out, "kernel").split_whitespace().collect();
    json!({
        "os": { "name": os.get("PRETTY_NAME"), "id": os.get("ID"), "version": os.get("VERSION_ID") },
        "kernel": { "name": kernel.first(), "release": kernel.get(1), "machine": kernel.get(2) },
        "hostname": section(out, "host").lines().next(), "cpus": number(section(out, "cpus").trim()),
        "uptime_s": number(section(out, "uptime").split(['.', ' ']).next().unwrap_or_default()),
        "load": load, "memory": memory, "disks": disks,
    })
}

/// `id<TAB>state<TAB>exit<TAB>bytes<TAB>command` a line.
fn jobs(out: &str, _: &str) -> Value {
    let job = |line: &str| {
        let words: Vec<&str> = line.splitn(5, '\t').collect();
        let [id, state, exit, bytes, command] = words.as_slice() else { return None };
        Some(json!({ "job_id": id, "state": state, "exit_code": exit.parse::<i64>().ok(), "bytes": number(bytes), "command": command }))
    };
    json!({ "jobs": out.lines().filter_map(job).collect::<Vec<_>>() })
}

/// A job's lines; how it stands comes apart from them.
fn lines(out: &str, err: &str) -> Value {
    let lines: Vec<&str> = out.lines().collect();
    let about = pairs(err);
    let text = |name: &str| about.get(name).and_then(Value::as_str);
    let state = if text("exit").is_some() { "ended" } else { text("state").unwrap_or("running") };
    json!({
        "lines": lines, "since_line": text("since").map(number), "next_line": text("next").map(number), "total_lines": text("total").map(number),
        "state": state, "exit_code": text("exit").and_then(|code| code.parse::<i64>().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_and_what_cannot_be_read_is_left_out() {
        let out = "[os]\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n[kernel]\nLinux 6.1.0 x86_64\n[host]\nweb-1\n[cpus]\n2\n[load]\n0.10 0.20 0.30 1/99 7\n[uptime]\n99.5 3\n\
                   [memory]\nMemTotal:  2048 kB\nOdd: x kB\n[disk]\nFilesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda1 100 40 60 40% /a b\nrubbish\n";
        let told = facts(out, "");
        assert_eq!(told["os"]["id"], "debian");
        assert_eq!(
            told["disks"],
            json!([{"device": "/dev/vda1", "mount": "/a b", "bytes": 102_400, "used": 40_960, "free": 61_440, "used_share": "40%"}])
        );
        assert_eq!((&told["uptime_s"], &told["memory"]["total"], &told["cpus"]), (&json!(99), &json!(2_097_152), &json!(2)));
        assert_eq!(facts("", "")["disks"], json!([]));
    }
}
