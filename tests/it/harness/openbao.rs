//! A real OpenBao for a test, in its development mode: in memory, on a free port, gone when the test is. `tests/run` installs it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::cluster::{Cluster, PASSWORD};
use crate::harness::process::free_port;

pub struct OpenBao {
    child: Child,
    pub url: String,
    http: reqwest::Client,
}

pub const TOKEN: &str = "token-of-the-broker-in-openbao";

impl OpenBao {
    pub async fn start() -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let port = free_port();
        let bao = format!("{}/tests/parts/venv/bin/bao", env!("CARGO_MANIFEST_DIR"));
        let child = Command::new(&bao)
            .args(["server", "-dev", "-dev-no-store-token"])
            .args([format!("-dev-listen-address=127.0.0.1:{port}"), format!("-dev-root-token-id={TOKEN}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("`{bao}`, which tests/run installs: {error}"));
        let this = Self { child, url: format!("http://127.0.0.1:{port}"), http: reqwest::Client::new() };
        for _ in 0..200 {
            if this.http.get(format!("{}/v1/sys/health", this.url)).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return this;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("OpenBao did not start");
    }

    pub async fn write(&self, path: &str, body: Value) {
        let request = self.http.post(format!("{}/v1/{path}", self.url)).header("x-vault-token", TOKEN);
        let answer = request.json(&body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
    }

    /// The database engine on a cluster, with a role whose logins may become `support`.
    pub async fn lease_logins(&self, cluster: &Cluster, role: &str, ttl: &str, max_ttl: &str) {
        let url = format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable", cluster.port);
        let connection = json!({
            "plugin_name": "postgresql-database-plugin", "connection_url": url, "allowed_roles": [role], "username": "admin", "password": PASSWORD,
        });
        let create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE support NOINHERIT;";
        self.lease(connection, role, &[create], (ttl, max_ttl)).await;
    }

    /// Mounts a database engine that makes logins with these statements.
    pub async fn lease(&self, connection: Value, role: &str, create: &[&str], (ttl, max_ttl): (&str, &str)) {
        self.write("sys/mounts/database", json!({"type": "database"})).await;
        self.write("database/config/orders", connection).await;
        let body = json!({"db_name": "orders", "creation_statements": create, "default_ttl": ttl, "max_ttl": max_ttl});
        self.write(&format!("database/roles/{role}"), body).await;
    }

    pub fn stop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        self.stop();
    }
}
