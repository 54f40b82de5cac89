//! Objects without what only servers need.

use serde_json::Value;

use crate::operation::kube::Type;

/// The annotation in which kubectl keeps the whole manifest, Secrets' values included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// For the masks: all objects of an answer are of this kind, though they may not say so.
pub(super) fn kind_hint(kind: &Type) -> Option<String> {
    Some(kind.kind.clone())
}

/// Takes out what nobody reads.
pub(super) fn clean(object: &mut Value) {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else { return };
    metadata.remove("managedFields");
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nobody_reads_is_taken_out() {
        let mut object = json!({"metadata": {"name": "s", "managedFields": [1], "annotations": {LAST_APPLIED: "{}"}}});
        clean(&mut object);
        assert_eq!(object["metadata"], json!({"name": "s"}));
    }
}
