//! The reducer of the benches: decodes everything, keeps nothing but counts.

use std::{
    io::Read as _,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use k8s_relay::wire::{Message, Reader};

use super::PATIENCE;

/// Listens on a free port, on a thread of its own; one connection at a time.
pub struct Reducer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the present connection has sent.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// The number of the connection, from 1.
    pub connection: u64,
    /// When it was accepted.
    pub accepted: Instant,
    /// `pod_new_with_name`s.
    pub pods: u64,
    /// `pod_container`s.
    pub containers: u64,
    /// `pod_delete`s.
    pub deletes: u64,
    /// `pod_resync`s.
    pub resyncs: u64,
    /// When all these were decoded.
    pub at: Instant,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    heard: Option<Heard>,
    stream: Option<TcpStream>,
    /// When each pod came, if anybody wants to know.
    arrivals: Option<Vec<Instant>>,
}

impl Reducer {
    /// Starts to listen.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let sharing = shared.clone();
        thread::spawn(move || {
            for (number, stream) in (1..).zip(listener.incoming()) {
                sharing.serve(number, stream.unwrap());
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the present connection has sent this.
    pub fn wait(&self, what: &str, sent: impl Fn(&Heard) -> bool) -> Heard {
        let heard = self.wait_for(PATIENCE, sent);
        heard.unwrap_or_else(|heard| panic!("waited in vain for {what}: {heard:?}"))
    }

    /// Waits until the present connection has sent this, or so long in vain: then this is all that
    /// was logged.
    pub fn wait_for(
        &self,
        patience: Duration,
        sent: impl Fn(&Heard) -> bool,
    ) -> Result<Heard, Option<Heard>> {
        let state = self.shared.state.lock().unwrap();
        let waits = |state: &mut State| !state.heard.as_ref().is_some_and(&sent);
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, patience, waits)
            .unwrap();
        state.heard.filter(&sent).ok_or(state.heard)
    }

    /// Remembers from now on when each pod comes.
    pub fn time_pods(&self) {
        self.shared.state.lock().unwrap().arrivals = Some(Vec::new());
    }

    /// When each pod came since [`Self::time_pods`].
    pub fn arrivals(&self) -> Vec<Instant> {
        let arrivals = self.shared.state.lock().unwrap().arrivals.take();
        arrivals.unwrap_or_default()
    }

    /// Closes the present connection.
    pub fn hang_up(&self) {
        let state = self.shared.state.lock().unwrap();
        // It may be gone already.
        let _ = state
            .stream
            .as_ref()
            .map(|stream| stream.shutdown(Shutdown::Both));
    }
}

impl Shared {
    /// Listens to one connection until it ends.
    fn serve(&self, connection: u64, mut stream: TcpStream) {
        let accepted = Instant::now();
        let mut heard = Heard {
            connection,
            accepted,
            pods: 0,
            containers: 0,
            deletes: 0,
            resyncs: 0,
            at: accepted,
        };
        self.state.lock().unwrap().stream = stream.try_clone().ok();
        let mut reader = Reader::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(len) => reader.push(&buffer[..len]),
            }
            while let Some((_, message)) = reader.next_message().unwrap() {
                heard.count(&message);
            }
            heard.at = Instant::now();
            let mut state = self.state.lock().unwrap();
            let before = state.heard.replace(heard).map_or(0, |before| before.pods);
            if let Some(arrivals) = &mut state.arrivals {
                let pods = heard.pods.saturating_sub(before) as usize;
                arrivals.extend(std::iter::repeat_n(heard.at, pods));
            }
            drop(state);
            self.changed.notify_all();
        }
    }
}

impl Heard {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others say nothing of pods"
    )]
    fn count(&mut self, message: &Message<'_>) {
        match message {
            Message::PodNewWithName(_) => self.pods += 1,
            Message::PodContainer(_) => self.containers += 1,
            Message::PodDelete(_) => self.deletes += 1,
            Message::PodResync(_) => self.resyncs += 1,
            _ => {}
        }
    }
}
