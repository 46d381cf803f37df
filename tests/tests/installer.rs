//! The installer, on this machine with everything it writes hidden behind temporary file systems.

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

/// Directories that it writes to, in addition to /etc.
const HIDDEN: [&str; 4] = ["/usr/local", "/var/log", "/run", "/root"];

/// Runs `script` where `install` stands for the installer, or returns `None` without root.
fn on_hidden_node(script: &str) -> Outcome<Option<Output>> {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: only root may mount file systems");
        return Ok(None);
    }
    let home = scratch::directory("installer")?;
    let package = package(home.path())?;
    let made: Vec<String> = HIDDEN.iter().map(|path| format!("mount -t tmpfs tmpfs {path}")).collect();
    // What is below /root, the package and its tools among it, must outlive the mounts.
    let text = format!(
        "set -e
mount -t tmpfs tmpfs /mnt
cp -R /etc /mnt/etc
mount --bind /mnt/etc /etc
cp -R {package} /mnt/package
cp -R {tools} /mnt/tools
cp {installer} /mnt/install.sh
{mounts}
export PATH=/mnt/tools:$PATH
install() {{ bash /mnt/install.sh --strict --no-start \"$@\"; }}
{script}",
        package = package.display(),
        tools = home.path().join("tools").display(),
        installer = repository().join("bootstrap/install.sh").display(),
        mounts = made.join("\n"),
    );
    let output = Command::new("unshare").args(["--mount", "bash", "-c", &text]).output()?;
    Ok(Some(output))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// An unpacked package whose program only names its version, and a systemctl that does nothing.
fn package(home: &Path) -> Outcome<PathBuf> {
    let package = home.join("package");
    fs::create_dir(&package)?;
    fs::create_dir(home.join("tools"))?;
    let program = |path: PathBuf, text: &str| -> Outcome {
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    };
    program(package.join("emr-ecr-agent"), "#!/bin/sh\necho emr-ecr-agent 0\nexit 0\n")?;
    program(home.join("tools/systemctl"), "#!/bin/sh\necho systemd 252\n")?;
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
    // The mounts themselves are open, as tmpfs is; nothing in them is.
    let open: Vec<&str> = out.lines().filter(|line| !HIDDEN.contains(line)).collect();
    assert_eq!(open, ["both"], "{}", text(&output));
    Ok(())
}

#[test]
fn the_capability_for_a_keytab_comes_with_the_keytab() -> Outcome {
    let script =
        "printf '[published]\\nprincipal = \"a@B\"\\nkeytab = \"/etc/hadoop.keytab\"\\n' >/mnt/agent.toml
install --from /mnt/package --config /mnt/agent.toml
cat /etc/systemd/system/emr-ecr-agent.service.d/keytab.conf";
    let Some(output) = on_hidden_node(script)? else { return Ok(()) };
    assert!(text(&output).contains("CapabilityBoundingSet=CAP_DAC_READ_SEARCH"), "{}", text(&output));
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
    // The installer runs while this thread serves its requests.
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
