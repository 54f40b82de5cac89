//! A stand-in of a Kubernetes API server: the API over TLS, its rights, its storage and as much of what runs behind it as
//! clients can see. A test starts one, seeds it, and looks at what was asked of it.

mod amend;
mod auth;
mod call;
mod controllers;
mod convert;
mod defaults;
mod discovery;
mod disruption;
mod exec;
mod fields;
mod json;
mod list;
mod logs;
mod managed;
mod node;
mod openapi;
mod patch;
mod protobuf;
mod registry;
mod remove;
mod request;
mod reviews;
mod rights;
mod rows;
mod scale;
mod schema;
mod seeds;
mod selector;
mod server;
mod status;
mod store;
mod subresources;
mod table;
mod types_core;
mod types_pod;
mod types_rest;
mod validate;
mod watch;
mod write;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch::Sender;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use call::User;
use json::text;
use logs::Log;
use store::Store;

/// The letters of generated names, which spell no words.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Five letters that tell one generated name from another.
fn suffix() -> String {
    uuid::Uuid::new_v4().as_bytes()[..5].iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}

/// One request, as it was heard.
#[derive(Clone, Debug)]
pub struct Heard {
    pub method: String,
    pub path: String,
    pub query: String,
    /// Who it acted as, after impersonation; empty when the caller was not known.
    pub user: String,
    /// Who asked, when that is not who it acted as.
    pub impersonator: Option<String>,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
    pub body: Value,
    /// By lower-case name; repeated ones are joined with commas.
    pub headers: BTreeMap<String, String>,
    /// 0 while it is not answered, and for ever when it was cut off before an answer.
    pub status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    User(String),
    Group(String),
}

/// A right: verbs on resources such as `pods`, `pods/log` or `*`, of API groups, in one namespace or in the whole cluster.
#[derive(Clone, Debug)]
pub struct Rule {
    pub verbs: Vec<String>,
    pub groups: Vec<String>,
    pub resources: Vec<String>,
    pub namespace: Option<String>,
    /// All names when empty.
    pub names: Vec<String>,
}

/// What goes wrong with the next requests that match.
#[derive(Clone, Debug)]
pub struct Fault {
    pub method: Option<&'static str>,
    pub path_contains: String,
    pub times: usize,
    pub what: FaultKind,
}

#[derive(Clone, Debug)]
pub enum FaultKind {
    /// A status instead of an answer, with a `Retry-After` in seconds; nothing is done.
    Status(u16, Option<u32>),
    /// The answer comes late.
    Slow(Duration),
    /// The request is carried out; the connection ends in the middle of the answer's body.
    Cut,
    /// The connection ends without an answer; nothing is done.
    CutBefore,
}

struct State {
    store: Mutex<Store>,
    /// The revision, for those who wait for the next one.
    changed: Sender<u64>,
    /// Changes when the cluster goes.
    stop: Sender<bool>,
    heard: Mutex<Vec<Heard>>,
    faults: Mutex<Vec<Fault>>,
    logs: Mutex<BTreeMap<logs::Place, Log>>,
    processes: AtomicUsize,
    address: String,
    ca: String,
}

impl State {
    /// The fault of a request, which is spent with it.
    fn fault_for(&self, method: &str, path: &str) -> Option<FaultKind> {
        let mut faults = self.faults.lock().unwrap();
        let matches = |fault: &Fault| fault.method.is_none_or(|only| only == method) && path.contains(&fault.path_contains);
        let at = faults.iter().position(|fault| fault.times > 0 && matches(fault))?;
        faults[at].times -= 1;
        let what = faults[at].what.clone();
        faults.retain(|fault| fault.times > 0);
        Some(what)
    }
}

struct Handle {
    state: Arc<State>,
    server: AbortHandle,
    token: String,
    admin: String,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.state.stop.send_replace(true);
        self.server.abort();
    }
}

/// A running cluster; it stops when the last handle to it goes.
#[derive(Clone)]
pub struct Cluster {
    handle: Arc<Handle>,
}

fn certificate() -> (String, ServerConfig) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "kubernetes");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let own = params.signed_by(&key, &issuer).unwrap();
    let chain = vec![CertificateDer::from(own.der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    (issuer.pem(), config)
}

impl Cluster {
    /// TLS on a free port of 127.0.0.1, with an authority of its own.
    pub async fn start() -> Self {
        let (ca, config) = certificate();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut store = Store::default();
        seeds::plant(&mut store);
        let state = Arc::new(State {
            store: Mutex::new(store),
            changed: Sender::new(0),
            stop: Sender::new(false),
            heard: Mutex::default(),
            faults: Mutex::default(),
            logs: Mutex::default(),
            processes: AtomicUsize::new(0),
            address,
            ca,
        });
        server::after(&state, &mut state.store.lock().unwrap());
        let server = tokio::spawn(server::run(state.clone(), listener, TlsAcceptor::from(Arc::new(config)))).abort_handle();
        let mut cluster = Handle { state, server, token: String::new(), admin: String::new() };
        cluster.token = account(&cluster.state, "countersign", &["system:authenticated"]);
        cluster.admin = account(&cluster.state, "admin", &["system:masters", "system:authenticated"]);
        Self { handle: Arc::new(cluster) }
    }

    fn state(&self) -> &Arc<State> {
        &self.handle.state
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.state().address)
    }

    pub fn ca_pem(&self) -> String {
        self.state().ca.clone()
    }

    /// The token of the broker's own account, the user `countersign`, who may do nothing yet.
    pub fn token(&self) -> String {
        self.handle.token.clone()
    }

    /// The token of a user who may do everything.
    pub fn admin_token(&self) -> String {
        self.handle.admin.clone()
    }

    /// A new token of a user with these groups.
    pub fn account(&self, user: &str, groups: &[&str]) -> String {
        account(self.state(), user, groups)
    }

    /// A kubeconfig with this token, the authority inline and the context `test`.
    pub fn kubeconfig(&self, token: &str, namespace: Option<&str>) -> String {
        let namespace = namespace.map(|namespace| format!("    namespace: {namespace}\n")).unwrap_or_default();
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  cluster:\n    server: {}\n    \
             certificate-authority-data: {}\nusers:\n- name: test\n  user:\n    token: {token}\ncontexts:\n- name: test\n  context:\n    \
             cluster: test\n    user: test\n{namespace}",
            self.url(),
            STANDARD.encode(self.ca_pem()),
        )
    }

    /// Stores an object as the API would have, whoever may write it. One with a status of its own is left as it is by the
    /// controllers and the node.
    pub fn put(&self, object: Value) -> Value {
        let mut store = self.state().store.lock().unwrap();
        let (version, kind) = (text(&object, "/apiVersion"), text(&object, "/kind"));
        let resource = registry::by_kind(&store, version, kind).unwrap_or_else(|| panic!("no resource: {version} {kind}"));
        let stored = write::seed(&mut store, &resource, object);
        server::after(self.state(), &mut store);
        // As it is once the cluster has taken notice of it.
        let settled = store.get(&store::key_of(&resource, &stored));
        settled.map_or(stored, |settled| convert::from_hub(&resource, &settled))
    }

    /// An object as it is stored, in the version that is asked for.
    pub fn object(&self, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        let store = self.state().store.lock().unwrap();
        let resource = registry::by_kind(&store, api_version, kind)?;
        let found = store.find(&resource.shelf(), namespace.unwrap_or_default(), name)?;
        Some(convert::from_hub(&resource, &found))
    }

    /// Takes an object away, whatever holds it.
    pub fn remove(&self, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        let mut store = self.state().store.lock().unwrap();
        let resource = registry::by_kind(&store, api_version, kind)?;
        let gone = remove::erase(&mut store, &store::Key::new(&resource.shelf(), namespace.unwrap_or_default(), name));
        server::after(self.state(), &mut store);
        gone
    }

    /// Every request so far, in order.
    pub fn requests(&self) -> Vec<Heard> {
        self.state().heard.lock().unwrap().clone()
    }

    pub fn clear_requests(&self) {
        self.state().heard.lock().unwrap().clear();
    }

    pub fn grant(&self, subject: Subject, rule: Rule) {
        self.state().store.lock().unwrap().access.grants.push((subject, rule));
    }

    pub fn revoke_all(&self, subject: &Subject) {
        self.state().store.lock().unwrap().access.grants.retain(|(granted, _)| granted != subject);
    }

    /// From now on the token is not known.
    pub fn revoke_token(&self, token: &str) {
        self.state().store.lock().unwrap().access.tokens.remove(token);
    }

    pub fn fault(&self, fault: Fault) {
        self.state().faults.lock().unwrap().push(fault);
    }

    /// Forgets the history: continue tokens and watches of older versions are expired.
    pub fn compact(&self) {
        let mut store = self.state().store.lock().unwrap();
        store.revision += 1;
        store.compacted = store.revision;
    }

    /// From now on `metrics.k8s.io/v1beta1` is served; `put` gives it its NodeMetrics and PodMetrics.
    pub fn install_metrics(&self) {
        let mut store = self.state().store.lock().unwrap();
        store.metrics = true;
        seeds::api_service(&mut store, "metrics.k8s.io", "v1beta1");
        server::after(self.state(), &mut store);
    }

    /// A custom resource with a status and without a schema.
    pub fn crd(&self, group: &str, version: &str, kind: &str, plural: &str, namespaced: bool, short_names: &[&str]) {
        let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let served = json!({
            "name": version, "served": true, "storage": true, "schema": { "openAPIV3Schema": schema }, "subresources": { "status": {} },
        });
        self.put(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.{group}") },
            "spec": {
                "group": group, "scope": if namespaced { "Namespaced" } else { "Cluster" }, "versions": [served],
                "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "shortNames": short_names },
            },
        }));
    }

    /// Adds lines to the log of a container.
    pub fn log(&self, namespace: &str, pod: &str, container: &str, lines: &[(DateTime<Utc>, &str)]) {
        self.with_log(namespace, pod, container, |log| log.lines.extend(lines.iter().map(|(at, line)| (*at, (*line).to_owned()))));
    }

    /// The log of the container's run before this one.
    pub fn previous_log(&self, namespace: &str, pod: &str, container: &str, lines: &[(DateTime<Utc>, &str)]) {
        let lines = lines.iter().map(|(at, line)| (*at, (*line).to_owned())).collect();
        self.with_log(namespace, pod, container, |log| log.previous = Some(lines));
    }

    /// A log that never ends, in lines as fast as they are read.
    pub fn endless_log(&self, namespace: &str, pod: &str, container: &str) {
        self.with_log(namespace, pod, container, |log| log.endless = true);
    }

    fn with_log(&self, namespace: &str, pod: &str, container: &str, change: impl FnOnce(&mut Log)) {
        let place = (namespace.to_owned(), pod.to_owned(), container.to_owned());
        change(self.state().logs.lock().unwrap().entry(place).or_default());
    }

    /// How many processes of `exec` are alive.
    pub fn processes(&self) -> usize {
        self.state().processes.load(Ordering::SeqCst)
    }
}

fn account(state: &State, user: &str, groups: &[&str]) -> String {
    let token = format!("{}.{}", user.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-"), uuid::Uuid::new_v4().simple());
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    let user = User { name: user.to_owned(), groups, ..User::default() };
    state.store.lock().unwrap().access.tokens.insert(token.clone(), (user, None));
    token
}
