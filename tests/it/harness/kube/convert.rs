//! Kinds that two versions serve from one store: events of two groups, and autoscalers of two versions.

use serde_json::{Value, json};

use super::json::{list, number, remove, set, text};
use super::registry::Resource;

const EVENT: [(&str, &str); 6] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedCount", "count"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedSource", "source"),
];

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(value) = remove(object, &[from]) {
        object[to] = value;
    }
}

pub(super) fn to_hub(resource: &Resource, mut object: Value) -> Value {
    if resource.group == "events.k8s.io" {
        object["apiVersion"] = json!("v1");
        EVENT.iter().for_each(|(from, to)| rename(&mut object, from, to));
        rename(&mut object, "reportingController", "reportingComponent");
    } else if resource.group == "autoscaling" && resource.version == "v1" {
        object["apiVersion"] = json!("autoscaling/v2");
        if let Some(percent) = remove(&mut object, &["spec", "targetCPUUtilizationPercentage"]) {
            let target = json!({ "type": "Utilization", "averageUtilization": percent });
            let metric = json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } });
            set(&mut object, &["spec", "metrics"], json!([metric]));
        }
    }
    object
}

pub(super) fn from_hub(resource: &Resource, object: &Value) -> Value {
    let mut object = object.clone();
    if resource.group == "events.k8s.io" {
        object["apiVersion"] = json!("events.k8s.io/v1");
        EVENT.iter().for_each(|(from, to)| rename(&mut object, to, from));
        rename(&mut object, "reportingComponent", "reportingController");
    } else if resource.group == "autoscaling" && resource.version == "v1" {
        object["apiVersion"] = json!("autoscaling/v1");
        let cpu = list(&object, "/spec/metrics").iter().find(|metric| text(metric, "/resource/name") == "cpu");
        let percent = cpu.map(|metric| number(metric, "/resource/target/averageUtilization"));
        remove(&mut object, &["spec", "metrics"]);
        if let Some(percent) = percent.filter(|percent| *percent > 0) {
            set(&mut object, &["spec", "targetCPUUtilizationPercentage"], json!(percent));
        }
    } else if resource.group == "metrics.k8s.io" {
        for field in ["uid", "resourceVersion", "managedFields", "generation"] {
            remove(&mut object, &["metadata", field]);
        }
    }
    object
}
