//! When to stop: the signals by which an operator, a terminal or a supervisor ends a process.

/// Ends when this process is asked to stop: by Ctrl-C, or SIGTERM where there is one.
pub(super) async fn asked() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = interrupt.await;
}
