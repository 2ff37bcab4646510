//! How a process is told to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// Orders to stop, by signal: the first asks, the second ends the process at once.
#[derive(Debug)]
pub(crate) struct Stop {
    asked: tokio::sync::watch::Receiver<bool>,
}

impl Stop {
    /// Listens for SIGTERM and SIGINT from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (sender, asked) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            for round in 0.. {
                let number = tokio::select! { biased;
                    _ = terminate.recv() => 15,
                    _ = interrupt.recv() => 2,
                };
                if round > 0 {
                    warn!("told to stop again: ends at once");
                    std::process::exit(128 + number);
                }
                info!("told to stop: finishes what runs; a second signal ends it at once");
                let _ = sender.send(true);
            }
        });
        Ok(Self { asked })
    }

    /// Done once the process was told to stop.
    pub(crate) fn asked(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut asked = self.asked.clone();
        async move {
            // The sender lives as long as the process listens.
            if asked.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
