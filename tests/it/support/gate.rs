//! A way between two that can be shut, stalled and opened, at an address that stays.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They lead here.
    Open(SocketAddr),
    /// They stand, and nothing passes.
    Stalled,
    /// They end at once.
    Shut,
}

/// Dropping it ends all connections.
pub struct Gate {
    address: SocketAddr,
    way: watch::Sender<Way>,
    /// The number of the connection that was cut last.
    cut: watch::Sender<usize>,
    _task: AbortOnDropHandle<()>,
}

impl Gate {
    pub async fn new(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, way) = watch::channel(way);
        let (cut, cuts) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            for number in 1.. {
                let Ok((from, _)) = listener.accept().await else {
                    break;
                };
                let (way, mut cuts) = (way.clone(), cuts.clone());
                connections.spawn(async move {
                    tokio::select! {
                        () = connection(from, way) => {}
                        _ = cuts.wait_for(|cut| *cut == number) => {}
                    }
                });
            }
        });
        Self {
            address,
            way: sender,
            cut,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Ends one connection; the first has the number 1.
    pub fn cut(&self, number: usize) {
        self.cut.send_replace(number);
    }
}

async fn connection(near: TcpStream, mut way: watch::Receiver<Way>) {
    let opened = way.wait_for(|way| *way != Way::Stalled).await;
    let Ok(Way::Open(target)) = opened.map(|way| *way) else {
        return;
    };
    let Ok(far) = TcpStream::connect(target).await else {
        return;
    };
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    let shut = async {
        let mut way = way.clone();
        let _ = way.wait_for(|way| *way == Way::Shut).await;
    };
    tokio::select! {
        _ = async { tokio::join!(pass(from_near, to_far, way.clone()), pass(from_far, to_near, way.clone())) } => {}
        () = shut => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let opened = way
            .wait_for(|way| matches!(way, Way::Open(_)))
            .await
            .is_ok();
        if !opened || to.write_all(&buffer[..len]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
