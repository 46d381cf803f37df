//! The output of the demo and the node test: steps with a running timer on a terminal, plain lines in a pipe.

use std::error::Error;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

/// The step that failed, and why.
#[derive(Debug)]
pub struct Failure {
    step: String,
    source: Box<dyn Error>,
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step failed: {}", self.step)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
}

/// Prints steps to standard output and failures to standard error.
#[derive(Debug)]
pub struct Screen {
    terminal: bool,
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Screen {
    pub fn new() -> Self {
        Self { terminal: io::stdout().is_terminal() }
    }

    pub fn title(&self, text: &str) {
        self.line("");
        self.line(&self.colored(BOLD, text));
    }

    pub fn line(&self, text: &str) {
        // The reader may have closed the pipe; go on regardless.
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// A note on the step above.
    pub fn note(&self, text: &str) {
        self.line(&format!("         {text}"));
    }

    /// Prints in red, to standard error.
    pub fn warn(&self, text: &str) {
        let _ = writeln!(io::stderr(), "\n{}", self.colored(RED, text));
    }

    /// Prints the error with all its causes.
    pub fn failed(&self, error: &dyn Error) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!("\n  because: {error}"));
            cause = error.source();
        }
        self.warn(&text);
    }

    /// Runs `work`, prints its outcome under this name, and returns it.
    pub async fn step<T, E: Into<Box<dyn Error>>>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let begin = Instant::now();
        let outcome = self.ticking(name, begin, work).await;
        let verdict = match outcome {
            Ok(_) => self.colored(GREEN, "ok    "),
            Err(_) => self.colored(RED, "FAILED"),
        };
        self.line(&format!("  {verdict} {name} ({:.1} s)", begin.elapsed().as_secs_f32()));
        outcome.map_err(|error| Failure { step: name.to_owned(), source: error.into() })
    }

    async fn ticking<T>(&self, name: &str, begin: Instant, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        if !self.terminal {
            return work.await;
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                outcome = &mut work => {
                    self.rewrite("");
                    return outcome;
                }
                _ = ticks.tick() => {
                    self.rewrite(&format!("  ...    {name} ({} s)", begin.elapsed().as_secs()));
                }
            }
        }
    }

    fn rewrite(&self, text: &str) {
        let mut out = io::stdout();
        let _ = write!(out, "\r\x1b[K{text}");
        let _ = out.flush();
    }

    fn colored(&self, color: &str, text: &str) -> String {
        if self.terminal {
            return format!("\x1b[{color}m{text}\x1b[0m");
        }
        text.to_owned()
    }
}

const TICK: Duration = Duration::from_millis(250);
const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31";
