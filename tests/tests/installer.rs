//! The installer on this machine, with temporary file systems hiding everything it writes. Program and systemctl are
//! stand-ins; `make node-test` uses the real ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use emr_ecr_agent_tests::listener::{Listener, Reply};
use emr_ecr_agent_tests::scratch;
use emr_ecr_agent_tests::testbed::Outcome;
use emr_ecr_agent_tests::tls::{Route, TlsProxy};
use hyper::{Response, StatusCode};
use nix::unistd::geteuid;

/// Directories the installer writes to, in addition to /etc.
const HIDDEN: [&str; 4] = ["/usr/local", "/var/log", "/run", "/root"];

/// The beginning of every script.
const PRELUDE: &str = r#"set -e
mount -t tmpfs tmpfs /mnt
cp -R /etc /mnt/etc
mount --bind /mnt/etc /etc
export PATH=/mnt/tools:$PATH

install() { bash /mnt/install.sh --strict --no-start "$@"; }
started() { bash /mnt/install.sh --strict --from "$@"; }

# variant NAME SED: a package in /mnt/NAME whose program differs.
variant() {
    cp -R /mnt/package "/mnt/$1"
    sed -i "$2" "/mnt/$1/emr-ecr-agent"
    (cd "/mnt/$1" && rm SHA256SUMS && sha256sum -- * >SHA256SUMS)
}

# Everything that the installer can have changed, but for logs.
files() { find /usr/local /etc/emr-ecr-agent /etc/systemd/system/emr* /etc/logpusher /root -type f -exec md5sum {} + 2>/dev/null || true; }
"#;

/// Its own text contains its version and readiness; editing that makes a variant.
const PROGRAM: &str = r#"#!/bin/sh
version=1 ready=yes crashes=no
case "$1 $2" in
    "--version "*) echo "emr-ecr-agent $version" ;;
    "config check") ! grep mistake "$4" >&2 || exit 78 ;;
    "status "*) [ -e /run/active ] || exit 3; cat /mnt/status.json 2>/dev/null; [ $ready = yes ] || exit 1 ;;
esac
"#;

/// A service is active after a start with a program that does not crash.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >>/mnt/systemctl.log
case "$*" in
    --version) echo systemd 252 ;;
    *is-active*) [ -e /run/active ] ;;
    *stop* | *kill*) rm -f /run/active ;;
    start* | restart*) rm -f /run/active; ! grep -q crashes=yes /usr/local/bin/emr-ecr-agent && touch /run/active ;;
esac
"#;

/// Runs `script`, in which `install` is the installer; returns `None` without root.
fn on_hidden_node(script: &str) -> Outcome<Option<Output>> {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: only root may mount file systems");
        return Ok(None);
    }
    let home = scratch::directory("installer")?;
    let package = package(home.path())?;
    let made: Vec<String> = HIDDEN.iter().map(|path| format!("mount -t tmpfs tmpfs {path}")).collect();
    // Everything below /root, including the package and its tools, must outlive the mounts.
    let text = format!(
        "{PRELUDE}
cp -R {package} /mnt/package
cp -R {tools} /mnt/tools
cp {installer} /mnt/install.sh
{mounts}
{script}",
        package = package.display(),
        tools = home.path().join("tools").display(),
        installer = repository().join("bootstrap/install.sh").display(),
        mounts = made.join("\n"),
    );
    let output = Command::new("unshare").args(["--mount", "bash", "-c", &text]).output()?;
    Ok(Some(output))
}

/// Runs a script that must succeed, and returns its output.
fn succeeds(script: &str) -> Outcome<Option<String>> {
    let Some(output) = on_hidden_node(script)? else { return Ok(None) };
    assert!(output.status.success(), "{}", text(&output));
    Ok(Some(text(&output)))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// An unpacked package, and the tools that the installer finds first.
fn package(home: &Path) -> Outcome<PathBuf> {
    let package = home.join("package");
    fs::create_dir(&package)?;
    fs::create_dir(home.join("tools"))?;
    let program = |path: PathBuf, text: &str| -> Outcome {
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    };
    program(package.join("emr-ecr-agent"), PROGRAM)?;
    program(home.join("tools/systemctl"), SYSTEMCTL)?;
    for (from, name) in [
        ("agent/agent.toml", "agent.toml"),
        ("systemd/keytab.conf", "keytab.conf"),
        ("systemd/emr-ecr-agent.service", "emr-ecr-agent.service"),
        ("systemd/emr-ecr-agent.service.d/sandbox.conf", "sandbox.conf"),
        ("bootstrap/logpusher.config", "logpusher.config"),
        ("bootstrap/uninstall.sh", "uninstall.sh"),
        ("LICENSE", "LICENSE"),
        ("LICENSE", "THIRD-PARTY-LICENSES.txt"),
    ] {
        fs::copy(repository().join(from), package.join(name))?;
    }
    let sums =
        Command::new("sh").args(["-c", "sha256sum -- * >SHA256SUMS"]).current_dir(&package).status()?;
    assert!(sums.success());
    Ok(package)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The lines for scripts with this prefix.
fn lines<'t>(text: &'t str, beginning: &str) -> Vec<&'t str> {
    text.lines().filter(|line| line.starts_with(beginning)).collect()
}

const REFUSAL: &str = "emr-ecr-agent: NOT INSTALLED: ";

#[test]
fn a_failure_is_one_line_and_ends_a_cluster_only_if_strict() -> Outcome {
    for (arguments, reason) in [
        ("--bogus", "unknown option --bogus"),
        ("--bogus=hunter2", "unknown option --bogus;"),
        ("hunter2", "unexpected argument"),
        ("--from", "--from requires a value"),
        ("--from /nowhere", "cannot get /nowhere/SHA256SUMS"),
        ("--from /mnt/package --registry 'a\"b'", "invalid value for --registry"),
        ("--from /mnt/package --env hunter2", "--env requires KEY=VALUE"),
        ("--from /mnt/package --env $'KEY=hunter2\\nX=1'", "--env requires KEY=VALUE"),
        (
            "--from /mnt/package --config /mnt/wrong.toml",
            "refuses the settings; nothing was changed: mistake = 1; mistake = 2",
        ),
        ("--from /mnt/package --endpoint http://example.com", "invalid value for --endpoint"),
        ("--from /mnt/package --proxy http://user:hunter2@proxy:1", "--proxy must not have a user"),
        (
            "--from /mnt/package --sha256 0000000000000000000000000000000000000000000000000000000000000000",
            "need a packed package",
        ),
    ] {
        let script = format!(
            "printf 'mistake = 1\\nmistake = 2\\n' >/mnt/wrong.toml
before=$(files)
bash /mnt/install.sh {arguments}
! bash /mnt/install.sh --strict {arguments} 2>/mnt/strict || exit 9
grep -c '^{REFUSAL}' /mnt/strict >/mnt/count
[[ $(cat /mnt/count) == 1 && $(files) == \"$before\" ]]"
        );
        let Some(text) = succeeds(&script)? else { return Ok(()) };
        let refusals = lines(&text, REFUSAL);
        assert!(refusals.len() == 1 && refusals[0].contains(reason), "{arguments}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    Ok(())
}

#[test]
fn settings_are_applied_on_request_and_never_logged() -> Outcome {
    let script = r#"exec 2>&1
echo '{"auths":{}}' >/mnt/credentials.json
secret='hunter2 \ " $HOME `id`'
started /mnt/package --listen 127.0.0.1:1 --env "SECRET=$secret" --env B=2 --credentials-file /mnt/credentials.json
(cd /etc/emr-ecr-agent && stat -c '%a %U %n' *)
cat /etc/emr-ecr-agent/agent.toml
grep -x 'SECRET="hunter2 \\\\ \\" \\$HOME \\`id\\`"' /etc/emr-ecr-agent/environment >/dev/null && echo quoted
! grep hunter2 /var/log/emr-ecr-agent/install.log
echo; echo again
before=$(files)
echo '{"auths":{"a":{}}}' >/mnt/credentials.json
started /mnt/package --listen 127.0.0.1:2 --registry a.b --env SECRET=3 --env B=2 --credentials-file /mnt/credentials.json
[[ $(files) == "$before" ]]
echo; echo comment
echo '# a comment' >>/etc/emr-ecr-agent/agent.toml
started /mnt/package --listen 127.0.0.1:1
echo; echo replaced
started /mnt/package --listen 127.0.0.1:2 --env C=3 --replace-config
cat /etc/emr-ecr-agent/agent.toml /etc/emr-ecr-agent/environment
grep comment /etc/emr-ecr-agent/agent.toml.previous
cat /etc/emr-ecr-agent/environment.previous | grep B="#;
    let Some(text) = succeeds(script)? else { return Ok(()) };
    assert!(
        text.contains("644 root agent.toml\n600 root credentials.json\n600 root environment\n"),
        "{text}"
    );
    assert!(text.contains("quoted\n"), "{text}");
    let [_, again, comment, replaced] = parts(&text, ["again", "comment", "replaced"]);
    let lost = "emr-ecr-agent: NOT applied: ";
    assert_eq!(
        lines(again, lost),
        ["emr-ecr-agent: NOT applied: --listen 127.0.0.1:2, --registry a.b, --env SECRET, --env B, \
          --credentials-file /mnt/credentials.json: the existing settings stay; --replace-config replaces them"]
    );
    assert_eq!(lines(comment, lost), [""; 0], "{text}");
    assert_eq!(lines(replaced, lost), [""; 0], "{text}");
    assert!(replaced.contains("listen = \"127.0.0.1:2\"") && replaced.contains("\nC=\"3\"\n"), "{text}");
    Ok(())
}

/// The text between the lines in `marks`.
fn parts<'t, const N: usize, const M: usize>(text: &'t str, marks: [&str; N]) -> [&'t str; M] {
    let mut rest = text;
    let mut found = Vec::new();
    for mark in marks {
        let (before, after) =
            rest.split_once(&format!("\n{mark}\n")).unwrap_or_else(|| panic!("no {mark}: {text}"));
        found.push(before);
        rest = after;
    }
    found.push(rest);
    found.try_into().expect("one more part than marks")
}

/// Region, endpoint and proxy apply only to downloads, not to the settings or the daemon's environment.
#[test]
fn downloads_go_where_they_are_told() -> Outcome {
    let script = r#"printf '#!/bin/sh\necho "${0##*/} $*; $HTTPS_PROXY" >>/mnt/asked; exit 1\n' >/mnt/tools/aws
chmod 755 /mnt/tools/aws && cp /mnt/tools/aws /mnt/tools/curl
options='--region eu-west-1 --endpoint https://vpce-1.s3.example --proxy http://proxy:3128'
for from in s3://bucket/agent/ https://packages.example/agent/; do
    ! install --from $from $options --config ${from}agent.toml || exit 9
done
! install --from s3://bucket/agent/ || exit 9
[[ $(grep -c '; http://proxy:3128$' /mnt/asked) == 2 ]]
echo; sed 's#/tmp/[^ ;]*#FILE#; s# FILE; http.*##; s# --proto.*##' /mnt/asked
! install --from /mnt/package $options --config s3://bucket/agent.toml || exit 9
install --from /mnt/package $options
! grep -rE 'proxy|vpce|eu-west' /etc/emr-ecr-agent || exit 9"#;
    let Some(text) = succeeds(script)? else { return Ok(()) };
    for line in [
        "aws s3 cp --only-show-errors --region eu-west-1 --endpoint-url https://vpce-1.s3.example s3://bucket/agent/SHA256SUMS",
        "curl --fail --silent --show-error --retry 2 --output FILE",
        "aws s3 cp --only-show-errors s3://bucket/agent/SHA256SUMS FILE; ",
        "emr-ecr-agent: NOT INSTALLED: cannot get settings s3://bucket/agent.toml",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}: {text}");
    }
    Ok(())
}

#[test]
fn an_upgrade_that_fails_goes_back() -> Outcome {
    let script = r#"variant good 's/version=1/version=2/'
variant crashing 's/version=1/version=3/; s/crashes=no/crashes=yes/'
variant unready 's/version=1/version=4/; s/ready=yes/ready=no/'
variant refusing 's/version=1/version=5/; s/grep mistake/grep listen/'
exec 2>&1
started /mnt/package --listen 127.0.0.1:1
before=$(files)
for bad in crashing unready refusing; do
    echo; echo "$bad"
    ! started "/mnt/$bad" || exit 9
    [[ $(files) == "$before" && -e /run/active ]]
done
echo; echo good
started /mnt/good
emr-ecr-agent --version && emr-ecr-agent.previous --version
ls /usr/local/lib/emr-ecr-agent /etc/systemd/system/emr-ecr-agent.service.d
echo; echo "not ready before"
sed -i s/ready=yes/ready=no/ /usr/local/bin/emr-ecr-agent
started /mnt/unready --verify || true
emr-ecr-agent --version"#;
    let Some(text) = succeeds(script)? else { return Ok(()) };
    let [_, crashing, unready, refusing, good, unready_before] =
        parts(&text, ["crashing", "unready", "refusing", "good", "not ready before"]);
    for (part, reason) in [
        (
            crashing,
            "cannot restart emr-ecr-agent.service; see journalctl -u emr-ecr-agent.service; rolled back to emr-ecr-agent 1, which is running",
        ),
        (
            unready,
            "the agent is not ready within 60 s, and the previous one was; see journalctl -u emr-ecr-agent.service; rolled back to emr-ecr-agent 1, which is running",
        ),
        (refusing, "this version refuses the settings; nothing was changed: listen = \"127.0.0.1:1\""),
    ] {
        assert_eq!(lines(part, REFUSAL), [format!("{REFUSAL}{reason}")], "{text}");
    }
    assert!(good.contains("emr-ecr-agent 2\nemr-ecr-agent 1\n"), "{text}");
    assert!(
        !good.contains("conf.previous") && !good.contains("sh.previous") && !good.contains("pending"),
        "{text}"
    );
    assert!(unready_before.contains("emr-ecr-agent 4"), "{text}");
    Ok(())
}

#[test]
fn a_first_installation_that_fails_leaves_nothing() -> Outcome {
    let script = r#"variant crashing 's/crashes=no/crashes=yes/'
mkdir /usr/local/bin /usr/local/lib
before=$(files; find /usr/local /etc)
! started /mnt/crashing || exit 9
[[ $(files; find /usr/local /etc) == "$before" ]]
grep disable /mnt/systemctl.log"#;
    let Some(text) = succeeds(script)? else { return Ok(()) };
    assert_eq!(lines(&text, REFUSAL).len(), 1, "{text}");
    assert!(text.contains("; all changes were undone\n"), "{text}");
    Ok(())
}

#[test]
fn an_upgrade_goes_back_to_what_was_started_by_hand() -> Outcome {
    let script = r#"variant unready 's/version=1/version=2/; s/ready=yes/ready=no/'
exec 2>&1
install --from /mnt/package
systemctl start emr-ecr-agent
echo '# by the operator' >>/etc/emr-ecr-agent/agent.toml
before=$(files)
! started /mnt/unready || exit 9
[[ $(files) == "$before" && -e /run/active ]]"#;
    let Some(text) = succeeds(script)? else { return Ok(()) };
    assert!(text.contains("; rolled back to emr-ecr-agent 1, which is running\n"), "{text}");
    Ok(())
}

#[test]
fn an_upgrade_whose_terminal_is_lost_still_goes_back() -> Outcome {
    let script = r#"variant unready 's/version=1/version=2/; s/ready=yes/ready=no/; s/"status "\*)/& . \/mnt\/hangup;/'
cat >/mnt/hangup <<'END'
if [ "$2" = --wait ]; then
    # Above it: timeout, the worker, timeout, the installer.
    process=$PPID
    for _ in 1 2 3; do read -r _ _ _ process _ </proc/$process/stat; done
    kill -HUP "$process"
    touch /mnt/hung-up
fi
END
started /mnt/package
before=$(files)
started /mnt/unready || true
flock /run/emr-ecr-agent-install.lock test -e /mnt/hung-up
[[ $(files) == "$before" && -e /run/active ]]"#;
    succeeds(script)?;
    Ok(())
}

/// The next installation restarts the service, and falls back to what ran before the killed one.
#[test]
fn what_a_killed_upgrade_replaced_is_remembered() -> Outcome {
    let script = r#"variant second 's/version=1/version=2/'
variant crashing 's/version=1/version=3/; s/crashes=no/crashes=yes/'
variant unready 's/version=1/version=4/; s/ready=yes/ready=no/'
started /mnt/package
before=$(files)
mkdir /mnt/killing
# Its parent is timeout; the installer is the parent of that.
printf '#!/bin/sh\n/bin/mv "$@"; read -r _ _ _ installer _ </proc/$PPID/stat; kill -KILL $installer\n' >/mnt/killing/mv
chmod 755 /mnt/killing/mv
for attempts in "second crashing" "unready unready"; do
    read -r killed next <<<"$attempts"
    PATH=/mnt/killing:$PATH bash /mnt/install.sh --strict --from "/mnt/$killed" || true
    emr-ecr-agent --version
    # What runs by now does not matter, only what ran before.
    systemctl stop emr-ecr-agent
    ! started "/mnt/$next" || exit 9
    [[ $(files) == "$before" && -e /run/active ]]
done"#;
    let Some(text) = succeeds(script)? else { return Ok(()) };
    assert!(text.contains("emr-ecr-agent 2\n") && text.contains("emr-ecr-agent 4\n"), "{text}");
    assert_eq!(text.matches("rolled back to emr-ecr-agent 1, which is running\n").count(), 2, "{text}");
    Ok(())
}

#[test]
fn a_primary_node_gets_the_program_and_says_so() -> Outcome {
    let script = r#"mkdir -p /mnt/var/lib/info && echo '{"isMaster": true}' >/mnt/var/lib/info/instance.json
started /mnt/package --verify
ls /usr/local/lib/emr-ecr-agent /etc/emr-ecr-agent
! ls /etc/systemd/system/emr-ecr-agent.service || exit 9"#;
    let Some(text) = succeeds(script)? else { return Ok(()) };
    assert_eq!(
        lines(&text, "emr-ecr-agent: VERIFIED: "),
        ["emr-ecr-agent: VERIFIED: emr-ecr-agent 1: installed, without the daemon"]
    );
    assert!(!text.contains("pending"), "{text}");
    Ok(())
}

#[test]
fn uninstalling_says_what_it_leaves_and_takes_more_on_request() -> Outcome {
    let script = r#"printf '#!/bin/sh\necho "$HADOOP_USER_NAME: $*" >>/mnt/hadoop.log\n' >/mnt/tools/hadoop && chmod 755 /mnt/tools/hadoop
status() { echo '{"sinks": [{"kind": "local", "path": "/x"}, {"kind": "hdfs", "path": "/apps/c.json", "verified_at": "2026-01-01T00:00:00Z", "error": '$2', "other_entries_count": '$1'}]}' >/mnt/status.json; }
uninstall() { /usr/local/lib/emr-ecr-agent/uninstall.sh "$@"; }
exec 2>&1
variant second 's/version=1/version=2/'
started /mnt/package --env A=1
started /mnt/second --env A=2 --replace-config
echo '{}' >/root/.docker/config.json
printf '#!/bin/sh\n[ "$*" = "images --quiet emr-ecr-agent-warm" ] && echo 0123456789ab\n' >/mnt/tools/docker
chmod 755 /mnt/tools/docker
status 1 null
echo; echo others
! uninstall --remove-published || exit 9
status 0 '"refused"'
echo; echo unread
! uninstall --remove-published || exit 9
test -x /usr/local/bin/emr-ecr-agent && ! test -e /mnt/hadoop.log
status 0 null
touch /usr/local/lib/emr-ecr-agent/pending /etc/emr-ecr-agent/environment.new /var/log/emr-ecr-agent/agent.log.1
echo; echo kept
uninstall
[[ -z $(find /usr/local /etc /root /var/log -path '*emr-ecr-agent*') ]]
! test -e /mnt/hadoop.log
started /mnt/package
of_others="/etc/emr-ecr-agent/cloudwatch-prometheus.yml /etc/systemd/system/emr-ecr-agent.service.d/proxy.conf"
touch $of_others
echo; echo files of others
uninstall
[[ $(find /usr/local /etc /var/log -path '*emr-ecr-agent*' -type f | sort | xargs) == "$of_others" ]]
rm $of_others
started /mnt/package
rm /mnt/tools/docker
echo; echo removed
uninstall --remove-published --remove-credentials
cat /mnt/hadoop.log && ! test -e /root/.docker"#;
    let Some(text) = succeeds(script)? else { return Ok(()) };
    let [_, others, unread, kept, of_others, removed] =
        parts(&text, ["others", "unread", "kept", "files of others", "removed"]);
    assert!(unread.contains("NOT UNINSTALLED: the agent cannot read /apps/c.json"), "{text}");
    assert!(others.contains("NOT UNINSTALLED: /apps/c.json contains entries of others: 1"), "{text}");
    assert!(
        kept.contains("left: /root/.docker/config.json")
            && kept.contains("left: the published file /apps/c.json")
            && kept.contains("left: images of warm.images")
            && !kept.contains("which contains other files"),
        "{text}"
    );
    for directory in ["/etc/emr-ecr-agent", "/etc/systemd/system/emr-ecr-agent.service.d"] {
        assert!(of_others.contains(&format!("left: {directory}, which contains other files\n")), "{text}");
    }
    assert!(
        removed.ends_with("hadoop: fs -rm -f -skipTrash /apps/c.json\nhadoop: fs -rm -r -f -skipTrash /apps/.emr-ecr-agent\n")
            && !removed.contains("left:"),
        "{text}"
    );
    Ok(())
}

#[test]
fn it_leaves_a_node_with_the_rpm_alone() -> Outcome {
    let script = r#"mount -t tmpfs tmpfs /usr/lib/systemd
mkdir /usr/lib/systemd/system && touch /usr/lib/systemd/system/emr-ecr-agent.service
before=$(files)
! started /mnt/package || exit 9
[[ $(files) == "$before" ]]"#;
    let Some(text) = succeeds(script)? else { return Ok(()) };
    let refusals = lines(&text, REFUSAL);
    assert!(refusals.len() == 1 && refusals[0].contains("the RPM emr-ecr-agent is on this node"), "{text}");
    Ok(())
}

/// Digests, and signatures over SHA256SUMS, which covers the packages of every architecture.
#[test]
fn only_what_is_pinned_or_signed_is_installed() -> Outcome {
    let script = r#"mkdir /mnt/dist && cd /mnt/dist
mv /mnt/package /mnt/emr-ecr-agent-1-$(uname -m)
tar -czf emr-ecr-agent-1-$(uname -m).tar.gz -C /mnt emr-ecr-agent-1-$(uname -m)
echo other >emr-ecr-agent-1-other.tar.gz
sha256sum -- *.tar.gz >SHA256SUMS
openssl ecparam -name prime256v1 -genkey -noout -out /mnt/ec.pem 2>/dev/null
openssl genrsa -out /mnt/rsa.pem 2048 2>/dev/null
for kind in ec rsa; do openssl pkey -in /mnt/$kind.pem -pubout -out /mnt/$kind.pub; done
sums=$(sha256sum <SHA256SUMS) package=$(sha256sum <emr-ecr-agent-1-$(uname -m).tar.gz)
exec 2>&1

good() { install --from "$@" >/mnt/log 2>&1 || { cat /mnt/log; exit 9; }; }
bad() {
    local reason="$1"
    shift
    ! install --from "$@" >/mnt/log 2>&1 || { echo "installed: $*"; exit 9; }
    grep -q "^emr-ecr-agent: NOT INSTALLED: .*$reason" /mnt/log || { cat /mnt/log; exit 9; }
}
good . --sha256 "${sums%% *}"
good . --sha256 "${package%% *}"
bad 'does not have the SHA-256 digest' . --sha256 "$(printf '0%.0s' {1..64})"
bad 'cannot get .*SHA256SUMS.sig' . --public-key /mnt/ec.pub
for kind in ec rsa; do
    openssl dgst -sha256 -sign /mnt/$kind.pem -out SHA256SUMS.sig SHA256SUMS
    good . --public-key /mnt/$kind.pub
    good ./emr-ecr-agent-1-$(uname -m).tar.gz --public-key /mnt/$kind.pub --sha256 "${sums%% *}"
done
bad 'is not a signature of SHA256SUMS' . --public-key /mnt/ec.pub
bad 'cannot get the public key' . --public-key /mnt/missing.pub
echo more >>emr-ecr-agent-1-$(uname -m).tar.gz
bad 'does not have the SHA-256 digest' . --public-key /mnt/rsa.pub
sha256sum -- *.tar.gz >SHA256SUMS
bad 'is not a signature of SHA256SUMS' . --public-key /mnt/rsa.pub
bad 'does not have the SHA-256 digest' . --sha256 "${sums%% *}"
mv SHA256SUMS /mnt/
bad 'cannot get' ./emr-ecr-agent-1-$(uname -m).tar.gz --public-key /mnt/rsa.pub --sha256 "${package%% *}"
echo all"#;
    let Some(text) = succeeds(script)? else { return Ok(()) };
    assert!(text.ends_with("all\n"), "{text}");
    Ok(())
}

/// `make verify-release` and install.sh accept exactly what `make sign-release` signs.
#[test]
fn a_release_is_signed_and_verified() -> Outcome {
    let home = scratch::directory("release")?;
    let script = r#"set -e
cd "$1" && mkdir dist
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
openssl pkey -in key.pem -pubout -out key.pub
for name in install.sh emr-ecr-agent-1.cdx.json; do echo $name >dist/$name; done
(cd dist && sha256sum -- * >SHA256SUMS)
cp -R dist build
bash "$2/sign.sh" --key key.pem dist
verify() { bash "$2/verify-release.sh" --public-key key.pub --against build dist; }
verify "$@"
bad() {
    echo; echo "$1"
    ! verify "$2" "$3" || exit 9
}
exec 2>&1
echo more >dist/more
bad unnamed "$@"
rm dist/more
echo more >>build/install.sh
bad rebuilt "$@"
cp dist/install.sh build/
echo more >>dist/install.sh
bad damaged "$@"
(cd dist && sha256sum -- install.sh *.json >SHA256SUMS)
bad forged "$@""#;
    let output = Command::new("bash")
        .args(["-c", script, "release"])
        .arg(home.path())
        .arg(repository().join("bootstrap"))
        .output()?;
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    let [_, unnamed, rebuilt, damaged, forged] = parts(&text, ["unnamed", "rebuilt", "damaged", "forged"]);
    assert!(unnamed.contains("SHA256SUMS does not name more"), "{text}");
    assert!(rebuilt.contains("differs from what this checkout builds: install.sh"), "{text}");
    assert!(damaged.contains("files differ from SHA256SUMS"), "{text}");
    assert!(forged.contains("SHA256SUMS.sig is not a signature of SHA256SUMS"), "{text}");
    Ok(())
}

#[test]
fn two_at_once_both_succeed_and_an_open_umask_opens_nothing() -> Outcome {
    let script = "umask 0
install --from /mnt/package & first=$!
install --from /mnt/package & second=$!
wait $first
wait $second
find /usr/local /etc/emr-ecr-agent /etc/logpusher /etc/systemd/system/emr* /var/log /run /root -perm /022 ! -type l
test -x /usr/local/bin/emr-ecr-agent && ! test -e /etc/systemd/system/emr-ecr-agent.service.d/keytab.conf
echo both";
    let Some(output) = on_hidden_node(script)? else { return Ok(()) };
    let out = String::from_utf8_lossy(&output.stdout);
    // The mount points themselves are world-writable, as tmpfs is; nothing in them is.
    let open: Vec<&str> = out.lines().filter(|line| !HIDDEN.contains(line)).collect();
    assert_eq!(open, ["both"], "{}", text(&output));
    Ok(())
}

#[test]
fn the_capability_for_a_keytab_comes_with_the_keytab() -> Outcome {
    for settings in [
        "[published]\nprincipal = \"a@B\"\nkeytab = \"/etc/hadoop.keytab\"",
        "published = { principal = \"a@B\", keytab = \"/etc/hadoop.keytab\" }",
        "published.principal = \"a@B\"\npublished . 'keytab' = \"/etc/hadoop.keytab\"",
    ] {
        let script = format!(
            "cat >/mnt/agent.toml <<'END'\n{settings}\nEND
install --from /mnt/package --config /mnt/agent.toml
cat /etc/systemd/system/emr-ecr-agent.service.d/keytab.conf"
        );
        let Some(output) = on_hidden_node(&script)? else { return Ok(()) };
        assert!(text(&output).contains("CapabilityBoundingSet=CAP_DAC_READ_SEARCH"), "{}", text(&output));
    }
    let commented = "printf '# keytab = 1\\n' >/mnt/agent.toml
install --from /mnt/package --config /mnt/agent.toml
! test -e /etc/systemd/system/emr-ecr-agent.service.d/keytab.conf";
    succeeds(commented)?;
    Ok(())
}

#[test]
fn the_capability_for_a_keytab_goes_with_the_keytab() -> Outcome {
    let script = r#"variant crashing 's/version=1/version=2/; s/crashes=no/crashes=yes/'
drop_in=/etc/systemd/system/emr-ecr-agent.service.d/keytab.conf
printf '[published]\nprincipal = "a@B"\nkeytab = "/etc/hadoop.keytab"\n' >/mnt/agent.toml
exec 2>&1
is_gone() {
    grep -x 'restart emr-ecr-agent.service' /mnt/systemctl.log
    [[ -z $(find /etc/systemd -name 'keytab.conf*') && -e /run/active ]]
}
started /mnt/package --config /mnt/agent.toml
before=$(files)
! started /mnt/crashing --replace-config || exit 9
[[ $(files) == "$before" && -e $drop_in && -e /run/active ]]
: >/mnt/systemctl.log
started /mnt/package --replace-config
is_gone
started /mnt/package --config /mnt/agent.toml --replace-config
[[ -e $drop_in ]]
sed -i /keytab/d /etc/emr-ecr-agent/agent.toml
: >/mnt/systemctl.log
started /mnt/package
is_gone"#;
    let Some(text) = succeeds(script)? else { return Ok(()) };
    assert!(text.contains("keytab.conf: the settings do not need it\n"), "{text}");
    Ok(())
}

#[test]
fn credentials_in_a_url_are_refused_and_not_logged() -> Outcome {
    for url in ["https://user:hunter2@example.com/agent/", "https://example.com/agent?signature=hunter2"] {
        for option in ["--from", "--config"] {
            let script = format!(
                "install --from /mnt/package {option} '{url}' && echo installed
cat /var/log/emr-ecr-agent/install.log"
            );
            let Some(output) = on_hidden_node(&script)? else { return Ok(()) };
            let text = text(&output);
            assert!(text.contains("must not have a user, a password or a query"), "{text}");
            assert!(!text.contains("hunter2") && !text.contains("installed"), "{text}");
        }
    }
    Ok(())
}

#[test]
fn a_refused_value_is_not_logged() -> Outcome {
    let script = "install --from /mnt/package --proxy user:hunter2@proxy:3128 && echo installed
cat /var/log/emr-ecr-agent/install.log";
    let Some(output) = on_hidden_node(script)? else { return Ok(()) };
    let text = text(&output);
    assert!(text.contains("invalid value for --proxy; see --help"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("installed"), "{text}");
    Ok(())
}

#[test]
fn plain_http_and_endless_bodies_are_refused() -> Outcome {
    let script = "install --from http://127.0.0.1:1/ && echo installed
mkdir /mnt/endless && truncate -s 1G /mnt/endless/SHA256SUMS
install --from /mnt/endless && echo installed
du -sk /tmp /mnt/endless";
    let Some(output) = on_hidden_node(script)? else { return Ok(()) };
    let text = text(&output);
    assert!(text.contains("cannot get http://127.0.0.1:1/SHA256SUMS: use s3:// or https://"), "{text}");
    assert!(text.contains("cannot get /mnt/endless/SHA256SUMS"), "{text}");
    assert!(!text.contains("installed"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_redirect_to_plain_http_is_refused() -> Outcome {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let plain = Listener::start(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Reply::Whole(Response::new(Bytes::from("of anybody")))
    })
    .await?;
    let location = format!("http://{}/SHA256SUMS", plain.address());
    let redirecting = Listener::start(move |_| {
        let redirect = Response::builder().status(StatusCode::FOUND).header("location", &location);
        Reply::Whole(redirect.body(Bytes::new()).expect("a response"))
    })
    .await?;
    let route = Route { host: "packages.example.com".to_owned(), server: redirecting.address() };
    let proxy = TlsProxy::start(vec![route]).await?;
    let script = format!(
        "printf '%s' '{authority}' >/mnt/authority.pem
export CURL_CA_BUNDLE=/mnt/authority.pem https_proxy=http://{proxy}
install --from https://packages.example.com/agent/ && echo installed",
        authority = proxy.authority(),
        proxy = proxy.address(),
    );
    // The installer runs in another thread while this one serves its requests.
    let output =
        tokio::task::spawn_blocking(move || on_hidden_node(&script).map_err(|error| error.to_string()));
    let Some(output) = output.await?? else { return Ok(()) };
    let text = text(&output);
    assert!(text.contains("cannot get https://packages.example.com/agent/SHA256SUMS"), "{text}");
    assert!(text.contains("curl: (1)"), "an unsupported protocol ends it: {text}");
    assert!(!text.contains("installed"), "{text}");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    Ok(())
}
