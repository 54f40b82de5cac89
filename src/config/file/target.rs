//! The shape of a `[[target]]`: of whichever engine, since which keys go together is told better than by "unknown field".

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// `login = "{human.login}"`, a template for everybody, or `[[target.login]]`, one by one.
#[derive(Debug)]
pub(in crate::config) enum Each<T> {
    Template(String),
    Listed(Vec<T>),
}

impl<T> Default for Each<T> {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Each<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// By hand: an untagged enum would say no more than that nothing fits.
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Each<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a template such as \"{human.login}\", or tables")
            }
            fn visit_str<E>(self, text: &str) -> Result<Each<T>, E> {
                Ok(Each::Template(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, tables: A) -> Result<Each<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(tables)).map(Each::Listed)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Target {
    pub(in crate::config) name: String,
    pub(in crate::config) engine: String,
    pub(in crate::config) environment: String,
    pub(in crate::config) path: Option<PathBuf>,
    pub(in crate::config) host: Option<String>,
    pub(in crate::config) port: Option<u16>,
    pub(in crate::config) database: Option<String>,
    #[serde(default = "yes")]
    pub(in crate::config) tls: bool,
    pub(in crate::config) ca: Option<PathBuf>,
    pub(in crate::config) search_path: Option<Vec<String>>,
    #[serde(default = "eight")]
    pub(in crate::config) max_concurrent: usize,
    #[serde(default = "thirty_two")]
    pub(in crate::config) max_logins: usize,
    #[serde(default = "five")]
    pub(in crate::config) connect_timeout_s: u64,
    #[serde(default)]
    pub(in crate::config) login: Each<Login>,
    pub(in crate::config) password: Option<String>,
    pub(in crate::config) cert: Option<String>,
    pub(in crate::config) key: Option<String>,
    pub(in crate::config) service: Option<Service>,
    #[serde(default)]
    pub(in crate::config) role: Each<Role>,
    pub(in crate::config) kubeconfig: Option<PathBuf>,
    pub(in crate::config) context: Option<String>,
    #[serde(default)]
    pub(in crate::config) exec_plugins: Vec<String>,
    #[serde(default)]
    pub(in crate::config) in_cluster: bool,
    pub(in crate::config) url: Option<String>,
    pub(in crate::config) token: Option<String>,
    pub(in crate::config) user: Option<String>,
    pub(in crate::config) groups: Option<String>,
    #[serde(default)]
    pub(in crate::config) group: Vec<Group>,
    #[serde(default)]
    pub(in crate::config) debug_images: Vec<String>,
    pub(in crate::config) account: Option<String>,
    pub(in crate::config) known_hosts: Option<PathBuf>,
    #[serde(default)]
    pub(in crate::config) host_keys: Vec<String>,
    #[serde(default)]
    pub(in crate::config) trust_on_first_use: bool,
    #[serde(default)]
    pub(in crate::config) jump: Vec<String>,
    #[serde(default)]
    pub(in crate::config) roots: Vec<String>,
    #[serde(default)]
    pub(in crate::config) env: Vec<String>,
    pub(in crate::config) shell: Option<String>,
    #[serde(default)]
    pub(in crate::config) host_groups: Vec<String>,
}

/// The broker's authority for hosts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Ssh {
    pub(in crate::config) ca: Option<String>,
    pub(in crate::config) ca_agent: Option<PathBuf>,
    pub(in crate::config) ca_public: Option<PathBuf>,
    #[serde(default = "five")]
    pub(in crate::config) certificate_minutes: u64,
}

/// A team's group in a cluster.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Group {
    pub(in crate::config) issuer: Option<String>,
    pub(in crate::config) team: String,
    pub(in crate::config) group: String,
}

const fn thirty_two() -> usize {
    32
}

const fn yes() -> bool {
    true
}

const fn eight() -> usize {
    8
}

const fn five() -> u64 {
    5
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Login {
    pub(in crate::config) issuer: Option<String>,
    pub(in crate::config) human: String,
    pub(in crate::config) user: Option<String>,
    pub(in crate::config) password: Option<String>,
    pub(in crate::config) cert: Option<String>,
    pub(in crate::config) key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Service {
    pub(in crate::config) user: Option<String>,
    pub(in crate::config) password: Option<String>,
    pub(in crate::config) cert: Option<String>,
    pub(in crate::config) key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Role {
    pub(in crate::config) issuer: Option<String>,
    pub(in crate::config) human: Option<String>,
    pub(in crate::config) team: Option<String>,
    pub(in crate::config) role: String,
}
