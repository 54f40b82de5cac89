//! A directory for one run, and what is different in it afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The user `nobody` of Debian.
const NOBODY: u32 = 65534;
const PATH: &str = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every sandbox is a copy of.
pub(crate) struct Template {
    dir: TempDir,
    root: bool,
}

/// Everything below a directory: mode, time, and content or target.
pub(crate) type Snapshot = BTreeMap<String, (u32, i64, i64, Vec<u8>)>;

impl Template {
    /// Files of several kinds.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = "set -e; mkdir -p home work/sub/deep; cd work; printf 'b 2\\na 1\\na 1\\n' > a.txt; printf 'a 1\\nc 3\\n' > b.txt; echo 3q > c.txt; \
            echo x > sub/c.txt; echo y > sub/deep/d.txt; echo '{\"a\":[1,2]}' > in.json; mkdir empty; echo '00000000: 6162 0a  ab.' > dump.hex; \
            tar cf x.tar a.txt b.txt; tar czf x.tgz a.txt; zip -q x.zip a.txt b.txt; gzip -k a.txt; bzip2 -k a.txt; xz -k a.txt; ln -s a.txt link";
        let done = Command::new("sh").args(["-c", script]).current_dir(dir.path()).env("HOME", dir.path().join("home")).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let root = fs::metadata("/proc/self").unwrap().uid() == 0;
        Self { dir, root }
    }
}

/// One run's directory: `work` and `home` are compared, `tmp` is not.
pub(crate) struct Sandbox {
    dir: TempDir,
    root: bool,
}

impl Sandbox {
    /// A copy of the template.
    pub(crate) fn new(template: &Template) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Self { dir, root: template.root };
        fs::create_dir(sandbox.dir.path().join("tmp")).unwrap();
        copy(template.dir.path(), sandbox.dir.path());
        if sandbox.root {
            own(sandbox.dir.path());
        }
        sandbox
    }

    /// Runs a command; its exit code and what it said as an error.
    pub(crate) fn run(&self, words: &[String], in_shell: bool) -> (Option<i32>, String) {
        let mut command = Command::new(if self.root { "setpriv" } else { "env" });
        if self.root {
            command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
        }
        command.args(["timeout", "-k", "1", "1"]);
        if in_shell {
            command.args(["bash", "-c"]).arg(words.join(" "));
        } else {
            command.args(words);
        }
        let dir = self.dir.path();
        command.current_dir(dir.join("work")).env_clear().env("PATH", PATH).env("LC_ALL", "C").env("TERM", "dumb");
        command.env("HOME", dir.join("home")).env("TMPDIR", dir.join("tmp"));
        let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut found = Snapshot::new();
        for part in ["home", "work"] {
            walk(&self.dir.path().join(part), "", &mut found);
        }
        found
    }

    pub(crate) fn is_dir(&self, path: &str) -> bool {
        path.is_empty() || self.dir.path().join("work").join(path).is_dir()
    }
}

/// The names of what is not the same.
pub(crate) fn difference(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

fn walk(dir: &Path, below: &str, found: &mut Snapshot) {
    let about = fs::metadata(dir).unwrap();
    found.insert(below.to_owned(), (about.mode(), about.mtime(), about.mtime_nsec(), Vec::new()));
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{below}{}{}", if below.is_empty() { "" } else { "/" }, path.file_name().unwrap().to_string_lossy());
        let about = fs::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            walk(&path, &name, found);
            continue;
        }
        let content =
            if about.is_symlink() { fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes() } else { fs::read(&path).unwrap() };
        found.insert(name, (about.mode(), about.mtime(), about.mtime_nsec(), content));
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target: PathBuf = to.join(path.file_name().unwrap());
        let about = fs::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&path, &target);
        } else if about.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path).unwrap(), &target).unwrap();
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Gives all to the user of the runs.
fn own(path: &Path) {
    std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    let about = fs::symlink_metadata(path).unwrap();
    if about.is_dir() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::read_dir(path).unwrap().for_each(|entry| own(&entry.unwrap().path()));
    }
}

/// Tells what was run, where a test's output is shown.
pub(crate) fn say(text: &str) {
    println!("{text}");
}
