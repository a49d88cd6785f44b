//! The admin listener, which moves to the next process with the others.

use crate::control::admin::{self, AdminState};
use std::{
    io,
    net::{SocketAddr, TcpListener},
};
use tokio::sync::oneshot;

/// The admin API: not yet, or while this process serves.
pub(super) struct AdminApi {
    state: AdminState,
    socket: TcpListener,
    end: Option<oneshot::Sender<()>>,
}

impl AdminApi {
    /// Nothing is accepted yet.
    pub fn new(state: AdminState, socket: TcpListener) -> Self {
        Self { state, socket, end: None }
    }

    /// Serves it.
    pub fn open(&mut self) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(self.socket.try_clone()?)?;
        let (end, ended) = oneshot::channel::<()>();
        self.end = Some(end);
        let service = admin::router(self.state.clone()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move {
            let served = axum::serve(listener, service).with_graceful_shutdown(async move {
                let _asked = ended.await;
            });
            if let Err(error) = served.await {
                tracing::error!(%error, "the admin listener ended");
            }
        });
        Ok(())
    }

    /// Another process serves it: questions under way are answered, further ones wait for that process.
    pub fn close(&mut self) {
        self.end = None;
    }
}
