//! A company: its identity provider (a certified one, see `tests/parts/provider.mjs`), a broker that trusts it, and the machines of its people.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use countersign::identity::{Algorithm, IssuerSettings, KeySource};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::harness::provider::Provider;
use crate::harness::{Human, Wish, World};

/// The provider, and the broker's address as it knows it.
pub struct Company {
    provider: Provider,
    pub issuer: String,
    http: reqwest::Client,
}

impl Company {
    /// A provider with the command line's clients, in which `more` is different.
    pub async fn new(more: Value) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let client = |id: &str| {
            json!({
                "client_id": id, "application_type": "native", "token_endpoint_auth_method": "none",
                "redirect_uris": ["http://127.0.0.1/callback"],
                "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            })
        };
        let mut config = json!({"clients": [client("countersign-cli"), client("countersign-connect"), client("desk")]});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let provider = Provider::start(&config);
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { issuer: provider.issuer.clone(), provider, http }
    }

    /// A broker that takes this provider's tokens and no others.
    pub async fn broker(&self, wish: Wish) -> World {
        let mut world = World::with(wish).await;
        let issuer = self.trusted("");
        world.restart_with(|settings| settings.identity.issuers = vec![issuer]).await;
        world
    }

    /// The provider as a broker's settings have it.
    pub fn trusted(&self, namespace: &str) -> IssuerSettings {
        IssuerSettings {
            namespace: namespace.to_owned(),
            human_clients: vec!["countersign-cli".to_owned()],
            ..IssuerSettings::new(&self.issuer, KeySource::Discovered, vec![Algorithm::Rs256])
        }
    }

    /// What only a test may ask of the provider.
    pub async fn test(&self, what: &str, body: Value) -> Value {
        self.provider.admin(what, body).await
    }

    /// What it was asked, in order.
    pub async fn log(&self) -> Vec<Value> {
        self.http.get(format!("{}/test/log", self.issuer)).send().await.unwrap().json().await.unwrap()
    }

    /// Asks the token endpoint, as whoever holds a token could.
    pub async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let response = self.http.post(format!("{}/token", self.issuer)).form(form).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// A token for a door, signed by the provider without a sign-in.
    pub async fn minted(&self, world: &World, account: &str, door: &str) -> String {
        let claims = json!({"sub": account, "aud": format!("{}/{door}", world.base), "client_id": "countersign-cli"});
        self.provider.token(json!({"claims": claims})).await
    }

    /// Bob, who approves and reviews.
    pub async fn approver(&self, world: &World) -> Human {
        Human { base: world.base.clone(), token: self.minted(world, "bob", "inbox").await, http: reqwest::Client::new() }
    }

    /// A browser in which this human is: opens an address and follows where it leads; answers the last page.
    pub async fn browse(&self, address: &str, account: &str) -> (u16, String) {
        let mut url = reqwest::Url::parse(address).unwrap();
        let mut cookies = std::collections::BTreeMap::new();
        for _ in 0..20 {
            let jar: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let response =
                self.http.get(url.clone()).header("x-test-account", account).header("cookie", jar.join("; ")).send().await.unwrap();
            for cookie in response.headers().get_all("set-cookie") {
                let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
                cookies.insert(name.to_owned(), value.to_owned());
            }
            match response.headers().get("location") {
                Some(onward) => url = url.join(onward.to_str().unwrap()).unwrap(),
                None => return (response.status().as_u16(), response.text().await.unwrap()),
            }
        }
        panic!("{url} leads nowhere")
    }
}

/// A human's machine: the command line with a home of its own and no desktop.
pub struct Machine {
    home: TempDir,
    broker: String,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Machine {
    pub fn new(world: &World) -> Self {
        Self::at(&world.base)
    }

    /// With this broker's address in its environment.
    pub fn at(broker: &str) -> Self {
        Self { home: tempfile::tempdir().unwrap(), broker: broker.to_owned() }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(arguments).env_clear().env("XDG_CONFIG_HOME", self.home.path()).env("COUNTERSIGN_URL", &self.broker);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments).spawn().unwrap(), String::new()).await
    }

    /// Starts a sign-in; answers what it tells the human, up to the line that says `until`.
    pub async fn login(&self, arguments: &[&str], until: &str) -> SigningIn {
        let mut child = self.command(&[&["login"], arguments].concat()).spawn().unwrap();
        let mut err = BufReader::new(child.stderr.take().unwrap()).lines();
        let told = told(&mut err, until).await;
        SigningIn { child, err, told }
    }

    /// Signs in at a door by a browser.
    pub async fn signed_in(&self, company: &Company, account: &str, door: &str, more: &[&str]) -> Ended {
        let login = self.login(&[&["--browser", "--door", door], more].concat(), "open http").await;
        let (status, page) = company.browse(&login.address(), account).await;
        assert!(status == 200 || account == "nobody", "{page}");
        login.ended().await
    }

    /// The files of the kept sign-ins.
    pub fn kept(&self) -> Vec<PathBuf> {
        let folder = self.home.path().join("countersign");
        let files = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect()
    }

    /// What the one kept sign-in holds.
    pub fn login_file(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(&self.kept()[0]).unwrap()).unwrap()
    }

    /// Changes a member of the one kept sign-in.
    pub fn change(&self, member: &str, value: &str) {
        let mut login = self.login_file();
        login[member] = json!(value);
        std::fs::write(&self.kept()[0], login.to_string()).unwrap();
    }
}

/// A `login` that waits for its human.
pub struct SigningIn {
    child: Child,
    err: Lines<BufReader<ChildStderr>>,
    pub told: String,
}

impl SigningIn {
    /// The address that the human was told.
    pub fn address(&self) -> String {
        self.told.split_whitespace().find(|word| word.starts_with("http")).unwrap().to_owned()
    }

    /// The code that the human was told.
    pub fn code(&self) -> String {
        self.told.split("enter the code ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
    }

    pub async fn ended(mut self) -> Ended {
        let mut err = self.told;
        while let Some(line) = self.err.next_line().await.unwrap() {
            err = format!("{err}{line}\n");
        }
        ended(self.child, err).await
    }
}

/// Reads lines until one says it.
pub async fn told(lines: &mut Lines<BufReader<ChildStderr>>, until: &str) -> String {
    let mut told = String::new();
    while !told.contains(until) {
        let line = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await.expect("nothing was said").unwrap();
        told = format!("{told}{}\n", line.unwrap_or_else(|| panic!("it ended after:\n{told}")));
    }
    told
}

async fn ended(mut child: Child, mut err: String) -> Ended {
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut err).await.unwrap();
    }
    let code = child.wait().await.unwrap().code().unwrap();
    Ended { code, out, err }
}
