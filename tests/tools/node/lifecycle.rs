//! The package on a core node, from the bootstrap action to the uninstallation.

use std::collections::BTreeSet;
use std::time::Duration;

use hyper::StatusCode;

use crate::emr::{self, Role};
use crate::machine::{Machine, User};
use crate::packages::Packages;
use crate::services::{SOON, Services};
use crate::{Outcome, ensure, units};
use emr_ecr_agent_tests::http;
use emr_ecr_agent_tests::node::TRUSTED_REGISTRY;
use emr_ecr_agent_tests::screen::{Failure, Screen};

/// Fails unless the running program is the installed one.
const IS_RUNNING: &str =
    "cmp /proc/$(systemctl show --value --property MainPID emr-ecr-agent)/exe /usr/local/bin/emr-ecr-agent";
const SETTINGS: &str = "/etc/emr-ecr-agent/agent.toml";
const DOCKER_CONFIG: &str = "/root/.docker/config.json";

pub(crate) async fn on_a_core_node(screen: &Screen, packages: &Packages) -> Result<(), Failure> {
    screen.title("A core node");
    let core = screen.step("it boots, without Hadoop", Lifecycle::start(packages)).await?;
    screen.step("a bootstrap action installs the previous version", core.is_installed("previous")).await?;
    screen.step("it runs: live, not ready, waiting for Hadoop", core.waits_for_hadoop()).await?;
    let exposure = screen.step("systemd accepts the units", units::are_sound(&core.node)).await?;
    screen.note(&exposure);
    let provisioned = core.is_provisioned();
    screen.step("Docker, users and Hadoop appear: ready without a restart", provisioned).await?;
    screen.step("systemctl status shows registries and expiry", core.reports_to_systemd()).await?;
    screen.step("both sinks have the credentials", core.has_published()).await?;
    screen.step("kill -9: it restarts and is ready", core.survives_a_kill()).await?;
    screen.step("SIGSTOP: the watchdog restarts it", core.survives_a_stop()).await?;
    screen.step("a reload with a bad agent.toml leaves it running", core.keeps_settings_at_reload()).await?;
    screen.step("a restart with it exits 78 and stays stopped", core.refuses_settings_at_start()).await?;
    let reads = screen.step("an upgrade keeps settings and published file", core.is_upgraded()).await?;
    screen.note(&format!("{reads} good reads of the published file meanwhile"));
    for (source, reason) in FAILING_UPGRADES {
        let what = format!("an upgrade to one that is {source} goes back");
        screen.step(&what, core.goes_back(source, reason)).await?;
    }
    screen.step("installing again changes nothing", core.is_installed_again()).await?;
    screen.step("neither journal nor /var/log contains a token", core.keeps_secrets()).await?;
    screen.step("uninstall leaves nothing but credentials", core.is_uninstalled()).await?;
    Ok(())
}

/// The longest until a hung agent is back: WatchdogSec, then TimeoutStopSec since it ignores the signal, and the start.
const RESTART: Duration = Duration::from_secs(300);

/// Packages, and a substring of the reason why each is not installed.
const FAILING_UPGRADES: [(&str, &str); 3] = [
    ("crashing", "cannot restart emr-ecr-agent.service"),
    ("refusing", "refuses the settings; nothing was changed"),
    ("unready", "is not ready within 60 s, and the previous one was"),
];

struct Lifecycle {
    node: Machine,
    services: Services,
    /// Every path of the node before the installation.
    before: BTreeSet<String>,
}

impl Lifecycle {
    async fn start(packages: &Packages) -> Outcome<Self> {
        let (node, services) = (Machine::boot(packages.directory()).await?, Services::start().await?);
        emr::write_instance_files(&node, Role::Core)?;
        let before = paths(&node).await?;
        services.write_environment(&node)?;
        Ok(Self { node, services, before })
    }

    async fn install(&self, source: &str) -> Outcome<String> {
        let options = self.services.options();
        let script = format!(
            "bash /packages/{source}/install.sh --strict --verify --from /packages/{source} {options}"
        );
        self.node.run(User::Hadoop, &script).await
    }

    async fn is_installed(&self, source: &str) -> Outcome {
        let output = self.install(source).await?;
        let verified = output.lines().any(|line| {
            line.starts_with("emr-ecr-agent: VERIFIED: ") && line.ends_with(": running, not ready yet")
        });
        ensure(verified, || format!("it is not verified: {output}"))?;
        ensure(self.node.unit("ActiveState").await? == "active", || "it is not active".to_owned())?;
        self.node.run(User::Root, "systemctl is-enabled emr-ecr-agent").await?;
        let log = self.node.read("/var/log/emr-ecr-agent/install.log")?;
        ensure(log.contains("done"), || format!("install.log lacks the last line: {log}"))?;
        ensure(self.node.exists("/etc/logpusher/emr-ecr-agent.config"), || {
            "the log pusher is not configured".to_owned()
        })
    }

    async fn waits_for_hadoop(&self) -> Outcome {
        self.services.wait_for_answer("/livez", StatusCode::OK).await?;
        self.services.wait_for_answer("/readyz", StatusCode::SERVICE_UNAVAILABLE).await?;
        let metrics = http::get(self.services.listen(), "/metrics").await?.text();
        let started = metrics.lines().find_map(|line| line.strip_prefix("process_start_time_seconds "));
        ensure(started.is_some_and(|time| time != "0"), || format!("it started at {started:?}"))?;
        let what = "a status that names what it waits for";
        let line =
            "systemctl status emr-ecr-agent | grep 'Status: \"not ready; .*waiting for .*/etc/hadoop/conf'";
        self.node.wait_for(what, SOON, line).await?;
        ensure(self.services.ecr.calls().is_empty(), || {
            "it called ECR before it could know a registry".to_owned()
        })
    }

    async fn is_provisioned(&self) -> Outcome {
        let process = self.node.unit("MainPID").await?;
        emr::provision(&self.node, self.services.hdfs.client().conf_dir()).await?;
        self.services.wait_ready().await?;
        let now = self.node.unit("MainPID").await?;
        ensure(now == process, || format!("process {process} has become {now}"))
    }

    async fn reports_to_systemd(&self) -> Outcome {
        let line = format!(
            "systemctl status emr-ecr-agent | grep 'Status: \"ready; {TRUSTED_REGISTRY}; earliest expiry 20..-'"
        );
        self.node.wait_for("a ready status", SOON, &line).await.map(drop)
    }

    async fn has_published(&self) -> Outcome {
        self.services.published_is_good().await?;
        self.services.is_good(&self.node.read(DOCKER_CONFIG)?)?;
        self.node
            .run(User::Root, &format!("[[ $(stat -c '%a %U' {DOCKER_CONFIG}) == '600 root' ]]"))
            .await
            .map(drop)
    }

    async fn survives_a_kill(&self) -> Outcome {
        self.signal("KILL").await?;
        self.is_back("1").await
    }

    async fn survives_a_stop(&self) -> Outcome {
        self.signal("STOP").await?;
        self.is_back("2").await?;
        let journal = "journalctl --unit emr-ecr-agent | grep -i 'watchdog timeout'";
        self.node.run(User::Root, journal).await.map(drop)
    }

    async fn signal(&self, signal: &str) -> Outcome {
        let script = format!("systemctl kill --kill-who=main --signal={signal} emr-ecr-agent");
        self.node.run(User::Root, &script).await.map(drop)
    }

    /// Waits until systemd has restarted it this many times and it is ready.
    async fn is_back(&self, restarts: &str) -> Outcome {
        let script =
            format!("[[ $(systemctl show --value --property NRestarts emr-ecr-agent) == {restarts} ]]");
        self.node.wait_for("the restart", RESTART, &script).await?;
        self.services.wait_ready().await
    }

    async fn keeps_settings_at_reload(&self) -> Outcome {
        self.node
            .run(User::Root, &format!("cp {SETTINGS} {SETTINGS}.good && echo 'mistake = 1' >{SETTINGS}"))
            .await?;
        self.node.run(User::Root, "systemctl reload emr-ecr-agent").await?;
        let journal =
            "journalctl --unit emr-ecr-agent | grep 'reload failed; keeping previous settings.*mistake'";
        self.node.wait_for("a line in the journal", SOON, journal).await?;
        let what = "the end of the reload";
        self.node.wait_for(what, SOON, "[[ $(systemctl is-active emr-ecr-agent) == active ]]").await?;
        let status = self.services.status().await?;
        ensure(status["settings_error"].is_string(), || format!("/status lacks the error: {status}"))?;
        self.services.wait_ready().await
    }

    async fn refuses_settings_at_start(&self) -> Outcome {
        self.node.attempt(User::Root, "systemctl restart emr-ecr-agent").await?;
        let failed = "[[ $(systemctl is-failed emr-ecr-agent) == failed ]]";
        self.node.wait_for("the failed unit", SOON, failed).await?;
        let (code, restarts) = (self.node.unit("ExecMainStatus").await?, self.node.unit("NRestarts").await?);
        ensure(code == "78" && restarts == "0", || format!("exit code {code}, {restarts} restarts"))?;
        let journal = format!("journalctl --unit emr-ecr-agent | grep 'emr-ecr-agent.*{SETTINGS}.*mistake'");
        self.node.run(User::Root, &journal).await?;

        self.node.run(User::Root, &format!("mv {SETTINGS}.good {SETTINGS}")).await?;
        self.node.run(User::Root, "systemctl start emr-ecr-agent").await?;
        self.services.wait_ready().await
    }

    async fn is_upgraded(&self) -> Outcome<usize> {
        let settings = self.node.read(SETTINGS)? + "\n# a user's comment\n";
        self.node.write(SETTINGS, 0o644, &settings)?;
        let upgrade = async {
            self.install("new").await?;
            self.services.wait_ready().await
        };
        let ((), reads) = self.services.while_reading(upgrade).await?;
        ensure(self.node.read(SETTINGS)? == settings, || "the settings were changed".to_owned())?;
        self.node.run(User::Root, IS_RUNNING).await?;
        let kept = "cmp <(tail -c 9 /usr/local/bin/emr-ecr-agent.previous) <(echo previous)";
        self.node.run(User::Root, kept).await?;
        Ok(reads)
    }

    /// Checks that a failing package is not installed and the previous one is ready.
    async fn goes_back(&self, source: &str, reason: &str) -> Outcome {
        let files = "find / -xdev -path '*emr-ecr-agent*' -type f ! -path '/proc/*' ! -path '/var/log/*' ! -name '*.previous'";
        let state = format!("{IS_RUNNING}; {files} -exec md5sum {{}} + | sort");
        let before = self.node.run(User::Root, &state).await?;
        let install = format!("bash /packages/{source}/install.sh --from /packages/{source}");
        let (output, _) = self.services.while_reading(self.node.attempt(User::Hadoop, &install)).await?;
        let refusals: Vec<&str> =
            output.text.lines().filter(|line| line.starts_with("emr-ecr-agent: NOT INSTALLED: ")).collect();
        let is_refused = output.code == 0 && refusals.len() == 1 && refusals[0].contains(reason);
        ensure(is_refused, || format!("exit code {}: {}", output.code, output.text))?;
        self.services.wait_ready().await?;
        let after = self.node.run(User::Root, &state).await?;
        ensure(before == after, || format!("before:\n{before}\nafter:\n{after}"))
    }

    async fn is_installed_again(&self) -> Outcome {
        let state = "systemctl show --property MainPID,NRestarts emr-ecr-agent
            find /usr/local /etc /root -newermt '1970-01-02' -printf '%p %i %m %u %s %T@\n' | sort";
        let before = self.node.run(User::Root, state).await?;
        let output = self.install("new").await?;
        ensure(output.contains("already up to date"), || output)?;
        let after = self.node.run(User::Root, state).await?;
        ensure(before == after, || format!("before:\n{before}\nafter:\n{after}"))
    }

    async fn keeps_secrets(&self) -> Outcome {
        let issued = self.services.issued();
        ensure(!issued.is_empty(), || "no token was issued".to_owned())?;
        let secrets: Vec<String> =
            issued.iter().flat_map(|token| [token.password().to_owned(), token.auth()]).collect();
        self.node.write("/run/secrets-to-find", 0o600, &secrets.join("\n"))?;
        let script = "{ journalctl --all; cat $(find /var/log -type f ! -path '*/journal/*'); } 2>&1 |
            grep --count --fixed-strings --file /run/secrets-to-find; rm /run/secrets-to-find";
        let found = self.node.run(User::Root, script).await?;
        ensure(found == "0", || format!("{found} lines contain a token"))
    }

    async fn is_uninstalled(&self) -> Outcome {
        self.node.run(User::Hadoop, "/usr/local/lib/emr-ecr-agent/uninstall.sh").await?;
        let left =
            self.node.attempt(User::Root, "systemctl cat emr-ecr-agent || getent passwd | grep ecr").await?;
        ensure(left.code != 0, || format!("left behind: {}", left.text))?;
        self.services.published_is_good().await?;

        let expected = ["/root/.docker", DOCKER_CONFIG];
        let of_emr =
            ["/etc/hadoop", "/usr/bin/docker", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"];
        let of_emr =
            of_emr.iter().chain(&["/etc/subuid", "/etc/subgid", "/var/lib/systemd", "/var/log/journal"]);
        let of_docker =
            ["/etc/systemd/system/docker", "/usr/libexec/docker-engine", "/mnt/yarn", "/mnt/containers"];
        let of_emr = of_emr.chain(&of_docker);
        let is_known = |path: &String| {
            expected.contains(&path.as_str()) || of_emr.clone().any(|known| path.starts_with(known))
        };
        let after = paths(&self.node).await?;
        let left: Vec<&String> = after.difference(&self.before).filter(|path| !is_known(path)).collect();
        ensure(left.is_empty(), || format!("left behind: {left:?}"))?;
        let lost: Vec<&String> = self.before.difference(&after).collect();
        ensure(lost.is_empty(), || format!("missing: {lost:?}"))
    }
}

/// Every path of the node.
async fn paths(node: &Machine) -> Outcome<BTreeSet<String>> {
    let found = node.run(User::Root, "find / -xdev -path /proc -prune -o -print").await?;
    Ok(found.lines().map(str::to_owned).collect())
}
