//! Targets that are hosts: the way there, what tells their keys from others', and as whom the broker comes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use crate::config::credentials::reference;
use crate::config::file::Each;
use crate::config::targets::is_empty;
use crate::config::{Reader, file};
use crate::connector::{Endpoint, HostBounds, HostPlace, Route, Trust};
use crate::credential::Access;
use crate::credential::host::{Accounts, Authority, HostAccess, Shared, is_spoken, private_key};
use crate::credential::name::Template;
use crate::operation::ssh::{file as path, is_account};

/// Minutes for which a certificate may be used to log in.
const MINUTES_MAX: u64 = 60;
/// Variables that decide what a program runs, loads or obeys, or whom it asks: no target hands them to a caller.
const NEVER_SET: &str = "PATH IFS ENV SHELL SHELLOPTS CDPATH HOME PAGER EDITOR VISUAL BROWSER TERMINFO TERMINFO_DIRS TERMCAP COUNTERSIGN_CALL ZDOTDIR FPATH \
    PS1 PS2 PS3 PS4 PROMPT_COMMAND POSIXLY_CORRECT GCONV_PATH LOCPATH NLSPATH MANPATH TZDIR HOSTALIASES LOCALDOMAIN RES_OPTIONS TAR_OPTIONS TAPE \
    CLASSPATH KUBECONFIG MAKEFLAGS MFLAGS GNUMAKEFLAGS MAKEFILES SSLKEYLOGFILE CURL_HOME WGETRC NETRC GNUPGHOME KRB5_CONFIG PHPRC PSQLRC PGPASSFILE \
    PGSERVICEFILE PGSYSCONFDIR MYSQL_HOME RUSTFLAGS RUSTC_WRAPPER GOFLAGS GOENV GOROOT GOPATH AWKPATH AWKLIBPATH VIMINIT EXINIT INPUTRC GREP_OPTIONS \
    XZ_OPT XZ_DEFAULTS GZIP UNZIP ZIPINFO ZIPOPT";
const NEVER_BEGIN: &str = "LD_ DYLD_ PYTHON PERL GIT_ SSH_ SUDO_ BASH LESS GLIBC_ _ DBUS_ JDK_ JAVA_ RUBY GEM_ BUNDLE_ NODE_ NPM_ npm_ DOCKER_ RSYNC_ \
    SYSTEMD_ XDG_ OPENSSL_ MALLOC_ ANSIBLE_ LUA_ PHP_ CARGO_";

/// A key that only hosts have, if the target has one.
pub(super) fn own_key(target: &file::Target) -> Option<&'static str> {
    let keys = [
        ("account", target.account.is_some()),
        ("known_hosts", target.known_hosts.is_some()),
        ("host_keys", !target.host_keys.is_empty()),
        ("trust_on_first_use", target.trust_on_first_use),
        ("jump", !target.jump.is_empty()),
        ("roots", !target.roots.is_empty()),
        ("env", !target.env.is_empty()),
        ("shell", target.shell.is_some()),
        ("host_groups", !target.host_groups.is_empty()),
    ];
    keys.into_iter().find_map(|(key, is_there)| is_there.then_some(key))
}

/// The broker's authority, if there is one.
pub(super) fn authority(reader: &mut Reader<'_>, ssh: Option<Spanned<file::Ssh>>) -> Option<(Authority, Duration)> {
    let ssh = ssh?;
    let span = ssh.span();
    let file::Ssh { ca, ca_agent, ca_public, certificate_minutes } = ssh.into_inner();
    if !(1..=MINUTES_MAX).contains(&certificate_minutes) {
        reader.problem(span.clone(), format!("`certificate_minutes` must be 1 to {MINUTES_MAX}"));
    }
    let lifetime = Duration::from_secs(certificate_minutes * 60);
    match (ca, ca_agent, ca_public) {
        (Some(text), None, None) => {
            let reference = reference(reader, &span, &text)?;
            if !reference.is_fixed() || reference.is_lease() {
                reader.problem(span, "`ca` is one key for everybody");
                return None;
            }
            if !reference.is_in_vault()
                && let Err(why) = reference.read_here(None).and_then(|text| private_key(&text).map(drop))
            {
                reader.problem(span, format!("`ca`: {why}"));
                return None;
            }
            Some((Authority::Key(reference), lifetime))
        }
        (None, Some(socket), Some(public)) => {
            let (socket, path) = (reader.beside(&socket), reader.beside(&public));
            let public = match std::fs::read_to_string(&path) {
                Ok(text) => text.trim().to_owned(),
                Err(error) => {
                    reader.problem(span, format!("failed to read `{}`: {error}", path.display()));
                    return None;
                }
            };
            if !russh::keys::PublicKey::from_openssh(&public).is_ok_and(|key| is_spoken(&key.algorithm())) {
                reader.problem(span, "`ca_public` holds no public key of OpenSSH's that is ed25519 or ECDSA");
                return None;
            }
            Some((Authority::Agent { socket, public }, lifetime))
        }
        _ => {
            reader.problem(span, "[ssh] has either `ca`, the authority's key by reference, or `ca_agent` with `ca_public`");
            None
        }
    }
}

pub(super) fn ssh(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    target: &file::Target,
    default_issuer: &str,
    authority: Option<&(Authority, Duration)>,
) -> Option<(Endpoint, Access)> {
    let has_other = target.path.is_some() || target.database.is_some() || target.search_path.is_some() || !is_empty(&target.role);
    if has_other || !target.tls || target.ca.is_some() || target.password.is_some() || target.cert.is_some() || target.key.is_some() {
        reader.problem(
            span.clone(),
            "an ssh target has `host` and `port`, and neither path, database, search_path, role, tls, ca, password, cert nor key",
        );
        return None;
    }
    let Some(host) = &target.host else {
        reader.problem(span.clone(), "an ssh target needs `host`");
        return None;
    };
    let to = place(reader, span, host, target.port.unwrap_or(22))?;
    let through = target.jump.iter().map(|text| jump(reader, span, text)).collect::<Option<Vec<_>>>()?;
    if through.len() > 4 {
        reader.problem(span.clone(), "a `jump` has at most 4 hosts");
    }
    let trust = Trust {
        known_hosts: target.known_hosts.as_ref().map(|path| reader.beside(path)),
        pinned: target.host_keys.clone(),
        first_use: target.trust_on_first_use,
    };
    check_trust(reader, span, &trust);
    if !through.is_empty() && trust.known_hosts.is_none() && !trust.pinned.is_empty() {
        let why =
            "`host_keys` are those of the host itself and speak for no host of `jump`: give `known_hosts`, with a line for each of those";
        reader.problem(span.clone(), why);
    }
    let bounds = bounds(reader, span, target);
    let access = access(reader, span, target, default_issuer, authority)?;
    Some((Endpoint::Ssh { route: Route { to, through, trust }, bounds }, Access::Host(access)))
}

/// A host's name or address: nothing that a program could take for a flag or a command.
fn place(reader: &mut Reader<'_>, span: &Range<usize>, host: &str, port: u16) -> Option<HostPlace> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:%".contains(&b);
    if host.is_empty() || host.len() > 253 || host.starts_with('-') || !host.bytes().all(plain) || port == 0 {
        reader.problem(span.clone(), format!("`{}` is no name or address of a host", host.escape_default()));
        return None;
    }
    Some(HostPlace { host: host.to_owned(), port })
}

/// `host`, `host:port`, `[address]:port`.
fn jump(reader: &mut Reader<'_>, span: &Range<usize>, text: &str) -> Option<HostPlace> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match (bracketed, text.split_once(':')) {
        (Some((host, port)), _) => (host, port.strip_prefix(':')),
        (None, Some((host, port))) if !port.contains(':') => (host, Some(port)),
        _ => (text, None),
    };
    let Ok(port) = port.map_or(Ok(22), str::parse) else {
        reader.problem(span.clone(), format!("`jump` is a host or `host:port`, not `{}`", text.escape_default()));
        return None;
    };
    place(reader, span, host, port)
}

fn check_trust(reader: &mut Reader<'_>, span: &Range<usize>, trust: &Trust) {
    if trust.known_hosts.is_none() && trust.pinned.is_empty() {
        reader.problem(span.clone(), "an ssh target needs `known_hosts` (a file) or `host_keys` (fingerprints): no key is believed unseen");
    }
    if trust.first_use && (trust.known_hosts.is_none() || !trust.pinned.is_empty()) {
        reader.problem(span.clone(), "`trust_on_first_use` writes a host's first key into `known_hosts`, and goes without `host_keys`");
    }
    if let Some(path) = trust.known_hosts.as_ref().filter(|_| !trust.first_use)
        && let Err(error) = std::fs::File::open(path)
    {
        reader.problem(span.clone(), format!("failed to read `{}`: {error}", path.display()));
    }
    if let Some(wrong) =
        trust.pinned.iter().find(|pin| pin.parse::<russh::keys::ssh_key::Fingerprint>().is_err() || !pin.starts_with("SHA256:"))
    {
        reader.problem(span.clone(), format!("`{}` is no fingerprint, `SHA256:…` as `ssh-keygen -l` prints it", wrong.escape_default()));
    }
}

fn bounds(reader: &mut Reader<'_>, span: &Range<usize>, target: &file::Target) -> HostBounds {
    for root in &target.roots {
        if path::absolute("roots", root).is_err() {
            reader.problem(span.clone(), format!("the root `{}` is no absolute path without `..`", root.escape_default()));
        }
    }
    for name in &target.env {
        let plain = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        let is_never = NEVER_SET.split(' ').any(|never| never == name);
        if !plain || is_never || NEVER_BEGIN.split(' ').any(|begin| name.starts_with(begin)) {
            reader.problem(
                span.clone(),
                format!("`{}` may not be set by a caller: it is no name, or decides what a program runs", name.escape_default()),
            );
        }
    }
    if let Some(shell) = target.shell.as_ref().filter(|shell| !["sh", "bash", "dash"].contains(&shell.as_str())) {
        reader.problem(span.clone(), format!("`shell` is sh, bash or dash, not `{}`", shell.escape_default()));
    }
    HostBounds { roots: target.roots.clone(), env: target.env.clone(), shell: target.shell.clone(), groups: target.host_groups.clone() }
}

fn access(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    target: &file::Target,
    default_issuer: &str,
    authority: Option<&(Authority, Duration)>,
) -> Option<HostAccess> {
    if let Some(service) = &target.service {
        if !is_empty(&target.login) || target.account.is_some() {
            reader
                .problem(span.clone(), "an ssh target has either `login` (certificates), or [target.service] (one account for everybody)");
            return None;
        }
        return shared(reader, span, service);
    }
    let Some((authority, lifetime)) = authority else {
        reader.problem(span.clone(), "certificates need [ssh] with the broker's authority: `countersign ssh-ca init` makes one");
        return None;
    };
    if let Some(account) = target.account.as_ref().filter(|account| !is_account(account)) {
        reader.problem(span.clone(), format!("`{}` is no name of an account", account.escape_default()));
        return None;
    }
    let principals = match &target.login {
        Each::Template(template) => match Template::parse(template) {
            Ok(template) if !template.is_fixed() => Accounts::Each(template),
            Ok(_) => {
                reader.problem(span.clone(), "`login` must hold `{human.login}`: one account for everybody is `account` beside it");
                return None;
            }
            Err(message) => {
                reader.problem(span.clone(), message);
                return None;
            }
        },
        Each::Listed(listed) if listed.is_empty() => {
            reader.problem(span.clone(), "an ssh target needs `login`, the principal of each human, or [target.service]");
            return None;
        }
        Each::Listed(listed) => Accounts::Mapped(mapped(reader, span, listed, default_issuer)?),
    };
    Some(HostAccess::Certificate { authority: authority.clone(), principals, account: target.account.clone(), lifetime: *lifetime })
}

fn mapped(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    listed: &[file::Login],
    default_issuer: &str,
) -> Option<BTreeMap<(String, String), String>> {
    let mut mapped = BTreeMap::new();
    for login in listed {
        if login.password.is_some() || login.cert.is_some() || login.key.is_some() {
            reader.problem(
                span.clone(),
                "a [[target.login]] of an ssh target has `human` and `user`: the certificate is the broker's to make",
            );
            return None;
        }
        let Some(user) = login.user.as_ref().filter(|user| is_account(user)) else {
            reader.problem(span.clone(), format!("the `user` of `{}` must be the name of an account", login.human));
            return None;
        };
        let issuer = login.issuer.clone().unwrap_or_else(|| default_issuer.to_owned());
        if mapped.insert((issuer, login.human.clone()), user.clone()).is_some() {
            reader.problem(span.clone(), format!("the human `{}` has several logins", login.human));
        }
    }
    Some(mapped)
}

fn shared(reader: &mut Reader<'_>, span: &Range<usize>, service: &file::Service) -> Option<HostAccess> {
    let account = service.user.as_ref().filter(|user| is_account(user));
    let by = match (&service.key, &service.password, &service.cert) {
        (Some(key), None, None) => Shared::Key(reference(reader, span, key)?),
        (None, Some(password), None) => Shared::Password(reference(reader, span, password)?),
        _ => {
            reader.problem(span.clone(), "[target.service] of an ssh target has `user`, and either `key` or `password` by reference");
            return None;
        }
    };
    let Some(account) = account else {
        reader.problem(span.clone(), "[target.service] of an ssh target needs `user`, the name of an account");
        return None;
    };
    Some(HostAccess::Shared { account: account.clone(), by })
}
