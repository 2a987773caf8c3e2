//! A network between two parties that breaks on demand.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Task;

/// Where the proxy breaks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Break {
    /// Never.
    None,
    /// Both ways, after so many bytes from the requester.
    Up(u64),
    /// Both ways, after so many bytes from the responder.
    Down(u64),
    /// Goes silent, without closing, after so many bytes from the requester.
    Silent(u64),
}

/// What passed one way, up to some amount.
type Bytes = Arc<Mutex<Vec<u8>>>;

/// The most that is kept of each direction.
const SEEN_MAX: usize = 4 << 20;

pub(super) struct Proxy {
    pub(super) address: String,
    pub(super) up: Arc<AtomicU64>,
    pub(super) down: Arc<AtomicU64>,
    seen: (Bytes, Bytes),
    _task: Task<()>,
}

impl Proxy {
    pub(super) async fn start(target: SocketAddr, breaks: Break) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("grpc://{}", listener.local_addr().unwrap());
        let (up, down) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counts = (Arc::clone(&up), Arc::clone(&down));
        let seen = (Bytes::default(), Bytes::default());
        let kept = (Arc::clone(&seen.0), Arc::clone(&seen.1));
        let task = Task::start(async move {
            let mut copies = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(target).await else { continue };
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                let broken = Arc::new(Notify::new());
                let silent = matches!(breaks, Break::Silent(_));
                let limits = match breaks {
                    Break::None => (u64::MAX, u64::MAX),
                    Break::Up(bytes) | Break::Silent(bytes) => (bytes, u64::MAX),
                    Break::Down(bytes) => (u64::MAX, bytes),
                };
                copies.spawn(copy(
                    near_in,
                    far_out,
                    (Arc::clone(&counts.0), Arc::clone(&kept.0)),
                    limits.0,
                    silent,
                    Arc::clone(&broken),
                ));
                copies.spawn(copy(
                    far_in,
                    near_out,
                    (Arc::clone(&counts.1), Arc::clone(&kept.1)),
                    limits.1,
                    silent,
                    broken,
                ));
            }
        });
        Proxy { address, up, down, seen, _task: task }
    }

    /// What an observer has seen: up, down.
    pub(super) fn seen(&self) -> (Vec<u8>, Vec<u8>) {
        (self.seen.0.lock().unwrap().clone(), self.seen.1.lock().unwrap().clone())
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    (count, seen): (Arc<AtomicU64>, Bytes),
    limit: u64,
    silent: bool,
    broken: Arc<Notify>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut passed = 0;
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            () = broken.notified() => 0,
        };
        let allowed = (limit - passed).min(read as u64);
        passed += allowed;
        count.fetch_add(allowed, Ordering::Relaxed);
        {
            let mut seen = seen.lock().unwrap();
            let room = (SEEN_MAX - seen.len()).min(allowed as usize);
            seen.extend_from_slice(&buffer[..room]);
        }
        let written = to.write_all(&buffer[..allowed as usize]).await;
        if silent && passed == limit {
            // Keeps both sockets open.
            std::future::pending::<()>().await;
        }
        if read == 0 || written.is_err() || passed == limit {
            // For the other direction, now or when it next looks.
            broken.notify_one();
            return;
        }
    }
}
