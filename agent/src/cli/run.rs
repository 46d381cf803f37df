//! `run`: the daemon, in the foreground, for a service manager.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use domain::health::KnownHosts;
use domain::status::{Status, StatusReport};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use super::{ConfigOption, Exit, FAILURE, runtime};
use crate::agent::{Agent, Request};
use crate::io::clock::Clock;
use crate::io::http::{self, Endpoint, Listening, Source};
use crate::io::metrics::Metrics;
use crate::io::systemd::{self, ReloadBell};
use crate::io::{log, node};
use crate::wiring::Node;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Exit> {
    let settings = options.config.read()?;
    let _log = log::start(&options.config.log(&settings.log))?;
    log::redact_panics();
    crate::io::process::forbid_core_dumps()?;
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let clock = Clock::start();
        let metrics = Metrics::new()?;
        let node = Node::watched(clock, options.config.file(), metrics.clone())?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), listen = %settings.listen, "started");
        let (listen, socket) = (settings.listen, settings.health_socket.clone());
        let (listening, socket_listening) = (Listening::default(), Listening::default());
        let hosts = KnownHosts::new(&node::name(), &settings.health_hosts);
        let agent = Agent::new(settings, Box::new(node), metrics.clone());
        let status = agent.status();
        let source = Arc::new(Health {
            status: status.clone(),
            clock,
            metrics,
            endpoints: vec![
                (format!("the address {listen}"), listening.clone()),
                (format!("the socket {}", socket.display()), socket_listening.clone()),
            ],
        });
        let reloads = ReloadBell::default();
        let (requests, stop) = (requests(reloads.clone())?, stop_signal()?);
        let serving = http::serve(Endpoint::Address(listen), hosts.clone(), source.clone(), listening);
        let socket = http::serve(Endpoint::Socket(socket), hosts, source.clone(), socket_listening);
        let notifying = systemd::notify(move || source.report(), status, reloads);
        let health = HealthThread::start(async {
            tokio::join!(serving, socket, notifying);
        })?;
        let ended = agent.run(requests, stop).await;
        drop(health);
        systemd::notify_stopping().await;
        match ended {
            Ok(()) => {
                tracing::info!("stopped");
                Ok(ExitCode::SUCCESS)
            }
            Err(fatal) => {
                tracing::error!(error = %fatal, "stopping; the service manager must restart the process");
                Ok(ExitCode::from(FAILURE))
            }
        }
    });
    // A call that still blocks must not delay the stop.
    runtime.shutdown_background();
    ended
}

/// Answers health requests and feeds the watchdog until dropped, independently of the main loop's thread.
struct HealthThread {
    _running: oneshot::Sender<()>,
}

impl HealthThread {
    fn start(work: impl Future<Output = ()> + Send + 'static) -> std::io::Result<Self> {
        let (running, ended) = oneshot::channel();
        let runtime = runtime()?;
        std::thread::Builder::new().name("health".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = work => {}
                    _ = ended => {}
                }
            });
            // A service manager that does not read must not delay the stop.
            runtime.shutdown_background();
        })?;
        Ok(Self { _running: running })
    }
}

/// What the health endpoint serves.
struct Health {
    status: watch::Receiver<Status>,
    clock: Clock,
    metrics: Metrics,
    /// With the name that the status lists while the endpoint does not listen.
    endpoints: Vec<(String, Listening)>,
}

impl Source for Health {
    fn report(&self) -> StatusReport {
        let mut report = StatusReport::new(&self.status.borrow(), self.clock.now());
        // Shown in systemd's status line.
        let missing = self.endpoints.iter().filter(|(_, listening)| !listening.get());
        report.waiting_for.extend(missing.map(|(what, _)| what.clone()));
        report
    }

    fn metrics(&self) -> String {
        self.metrics.render(&self.report())
    }
}

/// Completes on SIGTERM or SIGINT.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Sends a request for each SIGHUP and SIGUSR1 from now on, and rings the bell for a reload.
fn requests(reloads: ReloadBell) -> std::io::Result<mpsc::Receiver<Request>> {
    let (mut hangup, mut user) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?);
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            let request = tokio::select! {
                Some(()) = hangup.recv() => {
                    reloads.ring();
                    Request::Reload
                }
                Some(()) = user.recv() => Request::Renew,
                else => return,
            };
            if sender.send(request).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
