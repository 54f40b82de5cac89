//! What an operator copies works: every file of policies/, tools/ and examples/ loads, and none is of a kind that nothing here loads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use countersign::broker;
use countersign::catalog::{Bounds, Catalog, DeclaredFile};
use countersign::clock::Clock;
use countersign::config::Config;
use countersign::connector::{Cluster, Endpoint, HostBounds, HostPlace, Route, Trust};
use countersign::credential::Access;
use countersign::identity::development::DevelopmentIssuer;
use countersign::policy::{self, Policy, PolicyFile};

use crate::harness::{shop, target};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Every file below these folders, by name.
fn files(folders: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn of_kind(kind: &str) -> Vec<PathBuf> {
    let files = files(&["policies", "tools", "examples"]);
    files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == kind)).collect()
}

fn declared(path: &Path) -> DeclaredFile {
    DeclaredFile { path: path.display().to_string(), text: read(path) }
}

fn tools() -> Vec<PathBuf> {
    of_kind("toml")
        .into_iter()
        .filter(|path| ["tools/sql", "tools/kube", "tools/ssh"].iter().any(|folder| path.parent().unwrap().ends_with(folder)))
        .collect()
}

#[test]
fn no_file_is_of_a_kind_that_no_test_loads() {
    let kinds: BTreeSet<String> = files(&["policies", "tools", "examples"])
        .iter()
        .map(|path| path.extension().unwrap_or_default().to_str().unwrap().to_owned())
        .collect();
    // The programs are built, the notes are read, and sshd reads what is its own (`policy_matrix_ssh`).
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["", "cedar", "cedarschema", "conf", "md", "rs", "sql", "toml", "yaml"]);
    let other: Vec<PathBuf> = of_kind("toml").into_iter().filter(|path| !tools().contains(path)).collect();
    assert_eq!(other, [root().join("examples/quickstart/countersign.toml")]);
    assert_eq!(of_kind("cedarschema"), [root().join("policies/schema.cedarschema")]);
    assert_eq!(policy::load::SCHEMA, read(&root().join("policies/schema.cedarschema")));
}

#[test]
fn every_policy_loads_and_says_what_it_is_for() {
    let loaded = of_kind("cedar");
    assert!(loaded.len() >= 2, "{loaded:?}");
    for path in loaded {
        let text = read(&path);
        let settings = policy::Settings {
            glass_is_told: true,
            escalations_told_to: vec![None],
            schema: policy::load::SCHEMA.to_owned(),
            files: vec![PolicyFile { path: path.display().to_string(), text: text.clone() }],
            targets: ["shop", "prod", "web-1"].map(ToOwned::to_owned).into(),
            environments: ["demo".to_owned()].into(),
            teams: ["support", "approvers", "reviewers", "oncall"].map(ToOwned::to_owned).into(),
            ..policy::Settings::default()
        };
        Policy::load(&settings, Clock::system()).unwrap_or_else(|problems| panic!("{problems:?}"));
        for (number, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("@id(")) {
            let before = text.lines().nth(number - 1).unwrap();
            assert!(before.starts_with("// "), "{}: {line} has no comment that states its intent", path.display());
        }
    }
}

#[test]
fn every_declared_tool_loads() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Endpoint::Kubernetes { cluster: Cluster::InCluster, debug_images: Vec::new() };
    let to = HostPlace { host: "web-1.example.com".to_owned(), port: 22 };
    let route = Route { to, through: Vec::new(), trust: Trust::default() };
    let host = Endpoint::Ssh { route, bounds: HostBounds::default() };
    let targets = vec![
        broker::known_target(&shop(dir.path())),
        broker::known_target(&target("prod", cluster, Access::File)),
        broker::known_target(&target("web-1", host, Access::File)),
    ];
    let paths = tools();
    assert!(paths.len() >= 2, "{paths:?}");
    let declared: Vec<DeclaredFile> = paths.iter().map(|path| self::declared(path)).collect();
    let catalog = Catalog::new(targets, &declared, Bounds::default()).unwrap_or_else(|problems| panic!("{problems:?}"));
    let of_clusters = read(&root().join("tests/it/snapshots/it__policy_matrix_kube__policy_matrix_kube.snap"));
    let of_hosts = read(&root().join("tests/it/snapshots/it__policy_matrix_ssh__policy_matrix_ssh.snap"));
    let matrix = read(&root().join("tests/it/snapshots/it__policy_matrix__policy_matrix.snap"));
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(catalog.listings().iter().any(|listing| listing.name == name), "{name} is not called as its file is");
        assert!([&matrix, &of_clusters, &of_hosts].iter().any(|matrix| matrix.contains(name)), "{name} is in no policy matrix");
    }
}

/// A parameter is a word that a program is given, and never says what runs.
#[test]
fn a_declared_tool_says_itself_what_runs() {
    let to = HostPlace { host: "web-1.example.com".to_owned(), port: 22 };
    let endpoint = Endpoint::Ssh { route: Route { to, through: Vec::new(), trust: Trust::default() }, bounds: HostBounds::default() };
    let host = target("web-1", endpoint, Access::File);
    let problems = |call: &str, arguments: &str| {
        let text = format!(
            "name = \"t\"\ndescription = \"Does one thing on a host.\"\ntarget = \"web-1\"\ncall = \"{call}\"\n[arguments]\n{arguments}\n\
             [[parameter]]\nname = \"p\"\ntype = \"string\"\ndescription = \"A word.\"\nmax_length = 20\nrequired = true\n"
        );
        let declared = [DeclaredFile { path: "t.toml".to_owned(), text }];
        let catalog = Catalog::new(vec![broker::known_target(&host)], &declared, Bounds::default());
        catalog.err().map(|problems| format!("{problems:?}")).unwrap_or_default()
    };
    for (call, arguments) in [
        ("ssh_exec", "command = \"{p}\""),
        ("ssh_exec", "command = \"ls {p}\""),
        ("ssh_exec", "argv = [\"{p}\"]"),
        ("ssh_exec", "argv = [\"/usr/bin/{p}\", \"x\"]"),
        ("ssh_sudo", "argv = [\"{p}\", \"x\"]"),
        ("ssh_job_start", "argv = [\"{p}\"]"),
        ("ssh_session_run", "session = \"s\"\ncommand = \"{p}\""),
        ("ssh_read", "program = \"{p}\""),
        ("ssh_exec", "argv = [\"env\", \"{p}\"]"),
        ("ssh_exec", "argv = [\"timeout\", \"5\", \"{p}\", \"x\"]"),
        ("ssh_exec", "argv = [\"sh\", \"-c\", \"{p}\"]"),
        ("ssh_exec", "argv = [\"find\", \"/srv\", \"-exec\", \"{p}\", \";\"]"),
        ("ssh_read", "program = \"nice\"\nargs = [\"{p}\"]"),
    ] {
        let told = problems(call, arguments);
        assert!(told.contains("says itself what runs") || told.contains("says that itself"), "{call} {arguments}: {told}");
    }
    for (call, arguments) in [
        ("ssh_exec", "argv = [\"printf\", \"%s\", \"{p}\"]"),
        ("ssh_read", "program = \"grep\"\nargs = [\"-e\", \"{p}\", \"/var/log/syslog\"]"),
        ("ssh_exec", "argv = [\"timeout\", \"5\", \"ls\", \"{p}\"]"),
        ("ssh_service", "unit = \"{p}\"\naction = \"status\""),
        ("sftp_read", "path = \"{p}\""),
    ] {
        assert_eq!(problems(call, arguments), "", "{call} {arguments}");
    }
}

#[test]
fn the_quickstarts_configuration_and_shop_load() {
    let dir = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp").arg("-r").arg(root().join("examples")).arg(dir.path()).status().unwrap();
    assert!(copied.success());
    let url = "http://127.0.0.1:7300/issuer";
    let _issuer = DevelopmentIssuer::open(&dir.path().join("countersign-data/issuer"), url, Clock::system()).unwrap();
    let config = Config::read(&dir.path().join("examples/quickstart/countersign.toml"), &Clock::system());
    let settings = config.unwrap_or_else(|problems| panic!("{problems:?}")).settings;
    assert_eq!((settings.targets.len(), settings.tools.len(), settings.policies.len()), (1, 2, 1));
    for path in of_kind("sql") {
        let database = rusqlite::Connection::open_in_memory().unwrap();
        database.execute_batch(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let customers: u32 = database.query_row("SELECT count(*) FROM customers", [], |row| row.get(0)).unwrap();
        assert_eq!(customers, 400);
    }
}
