//! The storage: objects by key, one counter of revisions, and the history that watches and old lists read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::auth::Access;
use super::json::{name, namespace, set};
use super::registry;
use super::remove::Leaving;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) shelf: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    pub(super) fn new(shelf: &str, namespace: &str, name: &str) -> Self {
        Self { shelf: shelf.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// What happened to one object at one revision.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) key: Key,
    pub(super) before: Option<Arc<Value>>,
    pub(super) after: Option<Arc<Value>>,
}

#[derive(Clone, Default)]
pub(super) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    history: Vec<Change>,
    pub(super) revision: u64,
    /// The last revision that can no longer be read.
    pub(super) compacted: u64,
    /// Objects whose deletion was answered and has to be carried out.
    pub(super) leaving: Vec<(Key, Leaving)>,
    /// Pods that no node runs yet.
    pub(super) starting: Vec<Key>,
    /// Objects that a test seeded with a status of its own: controllers leave them as they are.
    pub(super) fixed: BTreeSet<String>,
    pub(super) access: Access,
    /// Whether the metrics API is installed.
    pub(super) metrics: bool,
}

impl Store {
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.objects.get(key).cloned()
    }

    pub(super) fn find(&self, shelf: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.get(&Key::new(shelf, namespace, name))
    }

    /// All objects of a resource, by namespace and name.
    pub(super) fn shelf(&self, shelf: &str) -> Vec<Arc<Value>> {
        self.objects.iter().filter(|(key, _)| key.shelf == shelf).map(|(_, object)| object.clone()).collect()
    }

    pub(super) fn within(&self, shelf: &str, namespace: &str) -> Vec<Arc<Value>> {
        self.objects.iter().filter(|(key, _)| key.shelf == shelf && key.namespace == namespace).map(|(_, object)| object.clone()).collect()
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.objects.keys().cloned().collect()
    }

    pub(super) fn put(&mut self, key: &Key, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        set(&mut object, &["metadata", "resourceVersion"], json!(self.revision.to_string()));
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), object.clone());
        self.history.push(Change { revision: self.revision, key: key.clone(), before, after: Some(object.clone()) });
        object
    }

    /// The object as its watchers see it go: with the revision of its removal.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = self.objects.remove(key)?;
        self.revision += 1;
        let mut last = (*before).clone();
        set(&mut last, &["metadata", "resourceVersion"], json!(self.revision.to_string()));
        let last = Arc::new(last);
        self.history.push(Change { revision: self.revision, key: key.clone(), before: Some(last.clone()), after: None });
        Some(last)
    }

    pub(super) fn since(&self, revision: u64, shelf: &str) -> Vec<Change> {
        self.history.iter().filter(|change| change.revision > revision && change.key.shelf == shelf).cloned().collect()
    }

    /// The objects of a resource as they were at a revision.
    pub(super) fn at(&self, revision: u64, shelf: &str) -> Vec<(Key, Arc<Value>)> {
        let mut objects: BTreeMap<_, _> =
            self.objects.iter().filter(|(key, _)| key.shelf == shelf).map(|(key, object)| (key.clone(), object.clone())).collect();
        for change in self.history.iter().rev().take_while(|change| change.revision > revision).filter(|change| change.key.shelf == shelf) {
            match &change.before {
                Some(before) => objects.insert(change.key.clone(), before.clone()),
                None => objects.remove(&change.key),
            };
        }
        objects.into_iter().collect()
    }
}

/// Where an object of a resource is kept.
pub(super) fn key_of(resource: &registry::Resource, object: &Value) -> Key {
    Key::new(&resource.shelf(), if resource.namespaced { namespace(object) } else { "" }, name(object))
}
