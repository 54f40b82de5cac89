//! The way to an API server: a context of a kubeconfig, the account of the pod that the broker runs in, or an address with its authorities.
//!
//! A kubeconfig can name a program to run for a token; that one runs only if the configuration allows it by name. Nothing of a kubeconfig may say
//! whom to be (the call does), leave TLS unverified, or send the traffic elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// How a cluster's API server is reached.
#[derive(Debug, Clone)]
pub enum Cluster {
    /// A context of a kubeconfig.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context; the file's current one otherwise.
        context: Option<String>,
        /// Programs that it may run for a token, as it names them.
        exec_plugins: Vec<String>,
    },
    /// The service account of the pod that the broker runs in.
    InCluster,
    /// An address.
    Url {
        /// `https://…`.
        url: String,
        /// Authorities (PEM) to trust instead of the public ones.
        ca: Option<PathBuf>,
    },
}

impl Cluster {
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Kubeconfig { path, context, .. } => format!("{} {}", path.display(), context.as_deref().unwrap_or_default()),
            Self::InCluster => "the cluster of the broker".to_owned(),
            Self::Url { url, .. } => url.clone(),
        }
    }
}

/// Looks at what can be looked at without asking the cluster.
///
/// # Errors
/// What is wrong with it.
pub fn check_cluster(cluster: &Cluster) -> Result<(), String> {
    match cluster {
        Cluster::Kubeconfig { path, context, exec_plugins } => kubeconfig(path, context.as_deref(), exec_plugins).map(|_| ()),
        Cluster::InCluster => Ok(()),
        Cluster::Url { url, .. } => address(url).map(|_| ()),
    }
}

fn address(url: &str) -> Result<http::Uri, String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("`url` is no address: {error}"))?;
    let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@')) && uri.query().is_none();
    if uri.scheme_str() != Some("https") || !plain {
        return Err("`url` must begin with https:// and hold no user and no query".to_owned());
    }
    Ok(uri)
}

fn kubeconfig(path: &std::path::Path, context: Option<&str>, exec_plugins: &[String]) -> Result<Kubeconfig, String> {
    let file = path.display();
    let config = Kubeconfig::read_from(path).map_err(|error| format!("failed to read the kubeconfig `{file}`: {error}"))?;
    let name = context.or(config.current_context.as_deref()).ok_or_else(|| format!("`{file}` has no current context: name a `context`"))?;
    let found = config.contexts.iter().find(|known| known.name == name).and_then(|known| known.context.as_ref());
    let found = found.ok_or_else(|| format!("`{file}` has no context `{name}`"))?;
    let cluster = config.clusters.iter().find(|known| known.name == found.cluster).and_then(|known| known.cluster.as_ref());
    let cluster = cluster.ok_or_else(|| format!("`{file}` has no cluster `{}`", found.cluster))?;
    address(cluster.server.as_deref().unwrap_or_default()).map_err(|why| format!("the server in `{file}`: {why}"))?;
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err(format!("the cluster in `{file}` has insecure-skip-tls-verify: nobody could tell the API server from another"));
    }
    if cluster.proxy_url.is_some() {
        return Err(format!("the cluster in `{file}` has a proxy-url, which is not supported"));
    }
    let user = found.user.as_deref().and_then(|name| config.auth_infos.iter().find(|known| known.name == name));
    let user = user.and_then(|known| known.auth_info.as_ref()).ok_or_else(|| format!("the context `{name}` in `{file}` has no user"))?;
    if user.impersonate.is_some() || user.impersonate_groups.is_some() || user.impersonate_user_extra.is_some() {
        return Err(format!("the user in `{file}` says whom to be (`as`): every call says that itself"));
    }
    if user.auth_provider.is_some() {
        return Err(format!("the user in `{file}` has an auth-provider, which Kubernetes has given up; use an exec plugin or a token"));
    }
    if let Some(exec) = &user.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        if !exec_plugins.iter().any(|allowed| allowed == command) {
            return Err(format!("the user in `{file}` runs `{command}` for a token: add it to `exec_plugins` if it should"));
        }
    }
    Ok(config)
}

/// What the client library needs.
pub(super) async fn config(cluster: &Cluster, connect_timeout: Duration) -> Result<Config, String> {
    let mut config = match cluster {
        Cluster::Kubeconfig { path, context, exec_plugins } => {
            // Read anew: what the file says now must be allowed now.
            let kubeconfig = kubeconfig(path, context.as_deref(), exec_plugins)?;
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| error.to_string())?
        }
        Cluster::InCluster => Config::incluster().map_err(|error| error.to_string())?,
        Cluster::Url { url, ca } => {
            let mut config = Config::new(address(url)?);
            config.root_cert_file.clone_from(ca);
            config
        }
    };
    config.connect_timeout = Some(connect_timeout);
    config.read_timeout = None;
    config.proxy_url = None;
    // What may be tried again is told here, by what the request does.
    config.default_retry = false;
    Ok(config)
}
