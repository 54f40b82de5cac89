//! A real browser: Debian's Chromium without a window, driven by its own driver over WebDriver (W3C), which is plain HTTP.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A browser in which one human is at the provider of the tests.
pub struct Chrome {
    driver: Child,
    session: String,
    http: reqwest::Client,
}

impl Chrome {
    pub async fn start(account: &str) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("run tests/run once: it installs what the tests need");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let said = lines.find(|line| line.contains("started successfully on port")).expect("the driver did not start");
        let port: String = said.chars().filter(char::is_ascii_digit).collect();
        // Whatever else it says is read, or it would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        let options = json!({ "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"] });
        let asked = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let base = format!("http://127.0.0.1:{port}/session");
        let answer: Value = http.post(&base).json(&asked).send().await.unwrap().json().await.unwrap();
        let id = answer.pointer("/value/sessionId").and_then(Value::as_str).unwrap_or_else(|| panic!("{answer}"));
        let chrome = Self { driver, session: format!("{base}/{id}"), http };
        chrome.devtools("Network.enable", json!({})).await;
        chrome.devtools("Network.setExtraHTTPHeaders", json!({ "headers": { "x-test-account": account } })).await;
        chrome
    }

    async fn command(&self, what: &str, body: Value) -> Value {
        let answer = self.http.post(format!("{}/{what}", self.session)).json(&body).send().await.unwrap();
        let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert!(status.is_success(), "{what}: {body}");
        body["value"].clone()
    }

    /// A command of the browser's own protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.command("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// Goes to an address, and on to where it leads by redirects.
    pub async fn go(&self, url: &str) {
        self.command("url", json!({ "url": url })).await;
    }

    /// What a script on the page says.
    pub async fn tells(&self, script: &str) -> Value {
        self.command("execute/sync", json!({ "script": format!("return ({script});"), "args": [] })).await
    }

    pub async fn text(&self) -> String {
        self.tells("document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    pub async fn address(&self) -> String {
        self.tells("location.href").await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page says it: some pages go on by themselves.
    pub async fn until(&self, word: &str) {
        for _ in 0..600 {
            if self.text().await.contains(word) || self.address().await.contains(word) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("`{word}` is not on {}:\n{}", self.address().await, self.text().await);
    }

    async fn element(&self, css: &str) -> String {
        let found = self.command("element", json!({ "using": "css selector", "value": css })).await;
        found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
    }

    /// Clicks, as a hand with a mouse does.
    pub async fn click(&self, css: &str) {
        let element = self.element(css).await;
        self.command(&format!("element/{element}/click"), json!({})).await;
    }

    pub async fn write(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.command(&format!("element/{element}/value"), json!({ "text": text })).await;
    }

    /// A picture of the whole page, where `COUNTERSIGN_TEST_PICTURES` names a folder: for people to look at.
    pub async fn picture(&self, name: &str, width: u32, scheme: &str) {
        let Some(folder) = std::env::var_os("COUNTERSIGN_TEST_PICTURES") else { return };
        let feature = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": feature })).await;
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let whole = self.devtools("Page.getLayoutMetrics", json!({})).await["cssContentSize"].clone();
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": whole["height"], "scale": 1 });
        let shot = self.devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": true, "clip": clip })).await;
        let bytes = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}-{width}-{scheme}.png")), bytes).unwrap();
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        // The driver ends its browser when it is asked to, and not when it is killed.
        let (session, http) = (self.session.clone(), self.http.clone());
        let asked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            drop(runtime.map(|runtime| runtime.block_on(async { drop(http.delete(session).send().await) })));
        });
        drop(asked.join());
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
