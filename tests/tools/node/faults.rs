//! Installs from every kind of source, on a primary node, and under faults: a failure is reported, leaves the node
//! unchanged, and never fails the bootstrap action.

use crate::emr::{self, Role};
use crate::machine::{Machine, Output, User};
use crate::packages::Packages;
use crate::{Outcome, ensure};
use emr_ecr_agent_tests::screen::{Failure, Screen};

const PROGRAM: &str = "/usr/local/bin/emr-ecr-agent";
const UNINSTALL: &str = "/usr/local/lib/emr-ecr-agent/uninstall.sh";

pub(crate) async fn of_installing(screen: &Screen, packages: &Packages) -> Result<(), Failure> {
    screen.title("Sources and faults");
    let node = screen.step("a fresh core node boots", boot(packages, Role::Core)).await?;
    for case in FAULTS {
        screen.step(case.name, case.changes_nothing(&node)).await?;
    }
    screen.step("s3://, by the AWS CLI", from_s3(&node)).await?;
    screen.step("https://, by curl", from_https(&node)).await?;
    screen.step("killed halfway and repeated, it succeeds", killed_and_repeated(&node)).await?;
    drop(node);

    screen.title("A primary node");
    let node = screen.step("it boots", boot(packages, Role::Primary)).await?;
    screen.step("by default it gets only the program", primary(&node, "", true, false)).await?;
    screen.step("with skip it gets nothing", primary(&node, "--on-primary skip", false, false)).await?;
    screen.step("with run it gets the daemon", primary(&node, "--on-primary run", true, true)).await?;
    Ok(())
}

/// Something that makes an installation fail.
struct Fault {
    name: &'static str,
    arguments: &'static str,
    /// Scripts that cause the fault and remove it.
    cause: &'static str,
    remove: &'static str,
    /// A substring of the installer's output.
    message: &'static str,
}

const FROM_NEW: &str = "--from /packages/new";

const FAULTS: [Fault; 11] = [
    Fault {
        name: "a corrupted package is rejected",
        arguments: "--from /packages/corrupted",
        cause: "true",
        remove: "true",
        message: "does not have the SHA-256 digest",
    },
    Fault {
        name: "a truncated package is rejected",
        arguments: "--from /packages/truncated",
        cause: "true",
        remove: "true",
        message: "does not have the SHA-256 digest",
    },
    Fault {
        name: "a package with another digest is rejected",
        arguments: "--from /packages/new --sha256 0000000000000000000000000000000000000000000000000000000000000000",
        cause: "true",
        remove: "true",
        message: "does not have the SHA-256 digest",
    },
    Fault {
        name: "a missing version",
        arguments: "--from /packages/new --version 99.0.0",
        cause: "true",
        remove: "true",
        message: "names no emr-ecr-agent-99.0.0",
    },
    Fault {
        name: "an unreachable source",
        arguments: "--from https://127.0.0.1:1/packages",
        cause: "true",
        remove: "true",
        message: "cannot get https://127.0.0.1:1/packages/SHA256SUMS",
    },
    Fault {
        name: "a network that hangs",
        arguments: "--from https://127.0.0.1:4430/packages",
        // Accepts connections but never responds.
        cause: "systemd-run --quiet --unit silent --property Type=exec python3 -c '
import socket, time
silent = socket.create_server((\"127.0.0.1\", 4430)); time.sleep(600)'",
        remove: "systemctl stop silent",
        message: "cannot get https://127.0.0.1:4430/packages/SHA256SUMS",
    },
    Fault {
        name: "invalid settings",
        arguments: "--from /packages/new --config /tmp/wrong.toml",
        cause: "echo 'mistake = 1' >/tmp/wrong.toml",
        remove: "rm /tmp/wrong.toml",
        message: "refuses the settings; nothing was changed",
    },
    Fault {
        name: "a read-only /usr/local",
        arguments: FROM_NEW,
        cause: "mount --bind /usr/local /usr/local && mount -o remount,bind,ro /usr/local",
        remove: "umount /usr/local",
        message: "nothing was changed",
    },
    Fault {
        name: "a full disk",
        arguments: FROM_NEW,
        cause: "mkdir -p /usr/local/bin && mount -t tmpfs -o size=1M tmpfs /usr/local/bin",
        remove: "umount /usr/local/bin",
        message: "nothing was changed",
    },
    Fault {
        name: "no room for temporary files",
        arguments: FROM_NEW,
        cause: "mount -t tmpfs -o size=1M,mode=1777 tmpfs /tmp",
        remove: "umount /tmp",
        message: "cannot get /packages/new",
    },
    Fault {
        name: "a missing sudo",
        arguments: FROM_NEW,
        cause: "mv /usr/bin/sudo /usr/bin/sudo.away",
        remove: "mv /usr/bin/sudo.away /usr/bin/sudo",
        message: "sudo is missing",
    },
];

impl Fault {
    async fn changes_nothing(&self, node: &Machine) -> Outcome {
        node.run(User::Root, self.cause).await?;
        let lenient = install(node, self.arguments).await;
        let strict = install(node, &format!("--strict {}", self.arguments)).await;
        node.run(User::Root, self.remove).await?;

        let (lenient, strict) = (lenient?, strict?);
        ensure(lenient.code == 0 && strict.code == 1, || {
            format!("codes {} and {}", lenient.code, strict.code)
        })?;
        for output in [&lenient.text, &strict.text] {
            let refusals = output.lines().filter(|line| line.starts_with("emr-ecr-agent: NOT INSTALLED: "));
            let refusals: Vec<&str> = refusals.collect();
            let is_told = refusals.len() == 1 && refusals[0].contains(self.message);
            ensure(is_told, || format!("unexpected output: {output}"))?;
        }
        nothing_is_installed(node).await
    }
}

async fn from_s3(node: &Machine) -> Outcome {
    node.run(
        User::Root,
        "systemd-run --quiet --unit s3 --setenv=HOME=/root --property Type=exec python3 -m moto.server -p 5555",
    )
    .await?;
    let listens = "curl --silent http://127.0.0.1:5555/ >/dev/null";
    node.wait_for("the S3 server", crate::services::SOON, listens).await?;
    let environment = "export AWS_ENDPOINT_URL=http://127.0.0.1:5555 AWS_DEFAULT_REGION=us-east-1
        export AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing
        echo '[[registries]]
host = \"123456789123.dkr.ecr.eu-west-1.amazonaws.com\"' >/tmp/agent.toml";
    node.run(
        User::Hadoop,
        &format!(
            "{environment}
            aws s3 mb s3://bucket && aws s3 cp --quiet --recursive /packages/new s3://bucket/agent/ &&
            aws s3 cp --quiet /tmp/agent.toml s3://bucket/agent.toml"
        ),
    )
    .await?;
    let install =
        "bash /packages/new/install.sh --strict --from s3://bucket/agent/ --config s3://bucket/agent.toml";
    node.run(User::Hadoop, &format!("{environment}\n{install} --no-start")).await?;
    let settings = node.read("/etc/emr-ecr-agent/agent.toml")?;
    ensure(settings.contains("eu-west-1"), || format!("unexpected settings: {settings}"))?;
    ensure(node.unit("ActiveState").await? == "inactive", || "it was started".to_owned())?;
    node.run(User::Root, "systemctl stop s3").await?;
    is_uninstalled(node).await
}

async fn from_https(node: &Machine) -> Outcome {
    node.run(
        User::Root,
        "cd /srv && openssl req -quiet -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 \
            -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2>/dev/null ||
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 \
            -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
         systemd-run --quiet --unit https --working-directory=/packages --property Type=exec python3 -c '
import http.server, ssl
server = http.server.ThreadingHTTPServer((\"127.0.0.1\", 4431), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(\"/srv/cert.pem\", \"/srv/key.pem\")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()'",
    )
    .await?;
    let environment = "export CURL_CA_BUNDLE=/srv/cert.pem";
    let listens = format!("{environment}; curl --silent https://localhost:4431/ >/dev/null");
    node.wait_for("the HTTPS server", crate::services::SOON, &listens).await?;
    let install = "bash /packages/new/install.sh --strict --no-start";
    let package =
        format!("https://localhost:4431/new/$(cd /packages/new && echo *-{}.tar.gz)", std::env::consts::ARCH);
    for source in ["https://localhost:4431/new", &package] {
        node.run(User::Hadoop, &format!("{environment}; {install} --from {source}")).await?;
        is_uninstalled(node).await?;
    }
    node.run(User::Root, "systemctl stop https; rm /srv/*.pem").await.map(drop)
}

/// A wrapper of `mv` kills the installer after each of the first files that it installs.
async fn killed_and_repeated(node: &Machine) -> Outcome {
    node.write(
        "/run/killing",
        0o755,
        "#!/bin/sh\n/run/mv \"$@\"\npkill -KILL -f /packages/new/install.sh\n",
    )?;
    for round in 1..=3 {
        node.run(User::Root, "cp /usr/bin/mv /run/mv && mount --bind /run/killing /usr/bin/mv").await?;
        let killed = install(node, "--from /packages/new").await;
        node.run(User::Root, "umount /usr/bin/mv").await?;
        ensure(!killed?.text.contains(" done"), || format!("not killed in round {round}"))?;
    }
    let repeated = install(node, "--strict --from /packages/new").await?;
    ensure(repeated.code == 0, || repeated.text)?;
    ensure(node.unit("ActiveState").await? == "active", || "it is not running".to_owned())?;
    let left = node
        .run(User::Root, "find /usr/local /etc -name '*.new' -o -name pending -o -name '*.previous'")
        .await?;
    ensure(left.is_empty(), || format!("left behind: {left}"))?;
    is_uninstalled(node).await
}

async fn primary(node: &Machine, options: &str, program: bool, daemon: bool) -> Outcome {
    let output = install(node, &format!("--strict --from /packages/new {options}")).await?;
    ensure(output.code == 0, || output.text)?;
    ensure(node.exists(PROGRAM) == program, || format!("{PROGRAM} exists: {}", !program))?;
    let unit = node.exists("/etc/systemd/system/emr-ecr-agent.service");
    ensure(unit == daemon, || format!("the unit exists: {unit}"))?;
    if program {
        node.run(User::Hadoop, "emr-ecr-agent --version").await?;
        is_uninstalled(node).await?;
    }
    nothing_is_installed(node).await
}

async fn boot(packages: &Packages, role: Role) -> Outcome<Machine> {
    let node = Machine::boot(packages.directory()).await?;
    emr::write_instance_files(&node, role)?;
    Ok(node)
}

async fn install(node: &Machine, arguments: &str) -> Outcome<Output> {
    node.attempt(User::Hadoop, &format!("bash /packages/new/install.sh {arguments}")).await
}

async fn is_uninstalled(node: &Machine) -> Outcome {
    node.run(User::Hadoop, UNINSTALL).await?;
    nothing_is_installed(node).await
}

/// Checks that no file of the package exists except logs.
async fn nothing_is_installed(node: &Machine) -> Outcome {
    let script = "find / -xdev -path /proc -prune -o -path '*emr-ecr-agent*' -not -path '/var/log/*' -print";
    let found = node.run(User::Root, script).await?;
    ensure(found.is_empty(), || format!("files were installed: {found}"))
}
