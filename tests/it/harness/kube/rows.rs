//! The cells of the kinds that have columns of their own.

use serde_json::{Value, json};

use super::json::{list, moment, number, text, texts, time};
use super::selector;
use super::table::{human, since};

const NONE: &str = "<none>";

pub(super) fn count(map: &Value) -> usize {
    map.as_object().map_or(0, serde_json::Map::len)
}

fn or_none(text: &str) -> Value {
    json!(if text.is_empty() { NONE } else { text })
}

pub(super) fn containers(spec: &Value) -> (Value, Value) {
    let all = list(spec, "/containers");
    let field = |name: &str| json!(all.iter().map(|container| text(container, name)).collect::<Vec<_>>().join(","));
    (field("/name"), field("/image"))
}

/// The status column of a pod: its phase, unless a container or its end says more.
fn pod_status(pod: &Value) -> String {
    let mut status = text(pod, "/status/phase").to_owned();
    if !text(pod, "/status/reason").is_empty() {
        status = text(pod, "/status/reason").to_owned();
    }
    let inits = list(pod, "/status/initContainerStatuses");
    for (index, init) in inits.iter().enumerate() {
        let reason = text(init, "/state/waiting/reason");
        match init.pointer("/state/terminated") {
            Some(end) if number(end, "/exitCode") == 0 => continue,
            Some(end) if !text(end, "/reason").is_empty() => status = format!("Init:{}", text(end, "/reason")),
            Some(end) => status = format!("Init:ExitCode:{}", number(end, "/exitCode")),
            None if !matches!(reason, "" | "PodInitializing") => status = format!("Init:{reason}"),
            None => status = format!("Init:{index}/{}", list(pod, "/spec/initContainers").len()),
        }
        return ended(pod, status);
    }
    let mut running = false;
    for container in list(pod, "/status/containerStatuses").iter().rev() {
        let (waiting, end) = (text(container, "/state/waiting/reason"), container.pointer("/state/terminated"));
        match end {
            _ if !waiting.is_empty() => status = waiting.to_owned(),
            Some(end) if !text(end, "/reason").is_empty() => status = text(end, "/reason").to_owned(),
            Some(end) if number(end, "/signal") != 0 => status = format!("Signal:{}", number(end, "/signal")),
            Some(end) => status = format!("ExitCode:{}", number(end, "/exitCode")),
            None => running = running || container["ready"] == true && container.pointer("/state/running").is_some(),
        }
    }
    if status == "Completed" && running {
        let ready = list(pod, "/status/conditions").iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        status = if ready { "Running" } else { "NotReady" }.into();
    }
    ended(pod, status)
}

fn ended(pod: &Value, status: String) -> String {
    if text(pod, "/metadata/deletionTimestamp").is_empty() {
        return status;
    }
    match text(pod, "/status/reason") {
        "NodeLost" => "Unknown".into(),
        _ if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") => status,
        _ => "Terminating".into(),
    }
}

pub(super) fn pod(pod: &Value, name: Value, age: Value) -> Vec<Value> {
    let statuses = list(pod, "/status/containerStatuses");
    let ready = statuses.iter().filter(|status| status["ready"] == true && status.pointer("/state/running").is_some()).count();
    let restarts: i64 = statuses.iter().map(|status| number(status, "/restartCount")).sum();
    let last = statuses.iter().map(|status| text(status, "/lastState/terminated/finishedAt")).max().unwrap_or_default();
    let restarts = if restarts > 0 && !last.is_empty() { format!("{restarts} ({} ago)", since(last)) } else { restarts.to_string() };
    let gates = list(pod, "/spec/readinessGates").len();
    vec![
        name,
        json!(format!("{ready}/{}", list(pod, "/spec/containers").len())),
        json!(pod_status(pod)),
        json!(restarts),
        age,
        or_none(text(pod, "/status/podIP")),
        or_none(text(pod, "/spec/nodeName")),
        or_none(text(pod, "/status/nominatedNodeName")),
        json!(if gates == 0 { NONE.to_owned() } else { format!("0/{gates}") }),
    ]
}

pub(super) fn deployment(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let status = |field: &str| number(object, &format!("/status/{field}"));
    let (containers, images) = containers(&object["spec"]["template"]["spec"]);
    let ready = format!("{}/{}", status("readyReplicas"), number(object, "/spec/replicas"));
    let selector = selector::as_text(&object["spec"]["selector"]);
    vec![name, json!(ready), json!(status("updatedReplicas")), json!(status("availableReplicas")), age, containers, images, json!(selector)]
}

pub(super) fn replica_set(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let (containers, images) = containers(&object["spec"]["template"]["spec"]);
    let status = |field: &str| json!(number(object, &format!("/status/{field}")));
    let own = &object["spec"]["selector"];
    let selector = if own.get("matchLabels").is_some() || own.get("matchExpressions").is_some() {
        selector::as_text(own)
    } else {
        selector::as_text(&json!({ "matchLabels": own }))
    };
    let desired = json!(number(object, "/spec/replicas"));
    vec![name, desired, status("replicas"), status("readyReplicas"), age, containers, images, json!(selector)]
}

pub(super) fn daemon_set(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let status = |field: &str| json!(number(object, &format!("/status/{field}")));
    let (containers, images) = containers(&object["spec"]["template"]["spec"]);
    let chosen = selector::as_text(&json!({ "matchLabels": object["spec"]["template"]["spec"]["nodeSelector"] }));
    vec![
        name,
        status("desiredNumberScheduled"),
        status("currentNumberScheduled"),
        status("numberReady"),
        status("updatedNumberScheduled"),
        status("numberAvailable"),
        or_none(&chosen),
        age,
        containers,
        images,
        json!(selector::as_text(&object["spec"]["selector"])),
    ]
}

pub(super) fn job(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let has = |kind: &str| list(object, "/status/conditions").iter().any(|one| one["type"] == kind && one["status"] == "True");
    let states = [("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended"), ("FailureTarget", "FailureTarget")];
    let ending = if text(object, "/metadata/deletionTimestamp").is_empty() { "Running" } else { "Terminating" };
    let status = states.iter().find(|(kind, _)| has(kind)).map_or(ending, |(_, shown)| shown);
    let wanted = object["spec"]["completions"].as_i64().unwrap_or(1);
    let start = time(text(object, "/status/startTime"));
    let end = time(text(object, "/status/completionTime"));
    let took = start.map_or(String::new(), |start| human((end.unwrap_or_else(moment) - start).num_seconds()));
    let (containers, images) = containers(&object["spec"]["template"]["spec"]);
    let done = format!("{}/{wanted}", number(object, "/status/succeeded"));
    vec![name, json!(status), json!(done), json!(took), age, containers, images, json!(selector::as_text(&object["spec"]["selector"]))]
}

pub(super) fn node(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let ready = list(object, "/status/conditions").iter().find(|condition| condition["type"] == "Ready");
    let mut status = match ready {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if object["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    let roles = labels.filter_map(|(label, _)| label.strip_prefix("node-role.kubernetes.io/")).collect::<Vec<_>>().join(",");
    let address = |kind: &str| {
        let found = list(object, "/status/addresses").iter().find(|address| address["type"] == kind);
        or_none(found.map_or("", |address| text(address, "/address")))
    };
    let info = |field: &str| {
        let value = text(object, &format!("/status/nodeInfo/{field}"));
        json!(if value.is_empty() && field != "kubeletVersion" { "<unknown>" } else { value })
    };
    vec![
        name,
        json!(status),
        or_none(&roles),
        age,
        info("kubeletVersion"),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

pub(super) fn service(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let ports = list(object, "/spec/ports").iter().map(|port| match number(port, "/nodePort") {
        0 => format!("{}/{}", number(port, "/port"), text(port, "/protocol")),
        node => format!("{}:{node}/{}", number(port, "/port"), text(port, "/protocol")),
    });
    let ports = ports.collect::<Vec<_>>().join(",");
    let kind = text(object, "/spec/type");
    let mut outside = texts(object, "/spec/externalIPs");
    let ingress = list(object, "/status/loadBalancer/ingress").iter().map(|one| {
        let ip = text(one, "/ip");
        if ip.is_empty() { text(one, "/hostname") } else { ip }.to_owned()
    });
    outside.extend(ingress);
    let outside = match (kind, outside.is_empty()) {
        ("ExternalName", _) => text(object, "/spec/externalName").to_owned(),
        ("LoadBalancer", true) => "<pending>".into(),
        (_, true) => NONE.into(),
        _ => outside.join(","),
    };
    let chosen = selector::as_text(&json!({ "matchLabels": object["spec"]["selector"] }));
    vec![name, json!(kind), or_none(text(object, "/spec/clusterIP")), json!(outside), or_none(&ports), age, or_none(&chosen)]
}

pub(super) fn event(object: &Value, name: Value) -> Vec<Value> {
    let either = |one: &str, other: &str| if text(object, one).is_empty() { text(object, other) } else { text(object, one) }.to_owned();
    let target = if object.get("involvedObject").is_some() { "involvedObject" } else { "regarding" };
    let about = |field: &str| text(object, &format!("/{target}/{field}")).to_owned();
    let first = either("/firstTimestamp", "/deprecatedFirstTimestamp");
    let first = if first.is_empty() { either("/eventTime", "/metadata/creationTimestamp") } else { first };
    let last = either("/lastTimestamp", "/deprecatedLastTimestamp");
    let last = if last.is_empty() { first.clone() } else { last };
    let component = either("/source/component", "/reportingComponent");
    let count = number(object, "/count").max(number(object, "/deprecatedCount")).max(1);
    vec![
        json!(since(&last)),
        json!(text(object, "/type")),
        json!(text(object, "/reason")),
        json!(format!("{}/{}", about("kind").to_lowercase(), about("name"))),
        json!(about("fieldPath")),
        json!(
            [component, text(object, "/source/host").to_owned()]
                .iter()
                .filter(|part| !part.is_empty())
                .cloned()
                .collect::<Vec<_>>()
                .join(", ")
        ),
        json!(either("/message", "/note").trim()),
        json!(since(&first)),
        json!(count),
        name,
    ]
}
