//! Makes a good relay look like a bad one: a proxy between it and its reducer.
//!
//! It takes the relay's bytes apart into messages and puts them together again, so what goes
//! wrong is a message, not a frame. Everything happens once, at the first message about a pod.

use std::{io, net::SocketAddr, time::Duration};

use k8s_relay::wire::{
    Encode, Message, Reader, TooLong, Writer,
    messages::{PodContainer, PodNewWithName},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing, but all passes the proxy.
    Nothing,
    /// The message never arrives.
    Drop,
    /// It says something else.
    Alter,
    /// It arrives so much later.
    Delay(Duration),
    /// It arrives after the next one.
    Reorder,
    /// The relay is stopped there, and does nothing ever after.
    Hang,
    /// The relay is killed there.
    Die,
    /// Bytes that are no message arrive in its place.
    Garbage,
}

/// Stands between a relay and its reducer while it lives.
pub struct Proxy {
    address: SocketAddr,
    relay: watch::Sender<Option<Pid>>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Passes on to this reducer.
    pub async fn start(fault: Fault, reducer: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (relay, pid) = watch::channel(None);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut fault = fault;
            while let Ok((stream, _)) = listener.accept().await {
                let pid = pid.clone();
                connections.spawn(async move { pass(stream, reducer, fault, pid).await });
                fault = Fault::Nothing;
            }
        });
        Ok(Self {
            address,
            relay,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// Where the relay finds it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says which process to stop or kill.
    pub fn relay_is(&self, pid: Pid) {
        self.relay.send_replace(Some(pid));
    }
}

/// Passes one connection on until either side ends it.
async fn pass(
    mut relay: TcpStream,
    reducer: SocketAddr,
    fault: Fault,
    mut pid: watch::Receiver<Option<Pid>>,
) -> io::Result<()> {
    let mut reducer = TcpStream::connect(reducer).await?;
    let (mut from_reducer, mut to_reducer) = reducer.split();
    let mut way = Way {
        writer: Writer::new(),
        out: Vec::new(),
        fault,
        held: None,
    };
    let mut reader = Reader::new();
    let (mut bytes, mut nothing) = ([0; 16_384], [0; 1]);
    loop {
        let len = tokio::select! {
            read = relay.read(&mut bytes) => read?,
            _ = from_reducer.read(&mut nothing) => return Ok(()),
        };
        if len == 0 {
            return to_reducer.shutdown().await;
        }
        reader.push(bytes.get(..len).unwrap_or_default());
        while let Some((timestamp, message)) = reader.next_message().map_err(io::Error::other)? {
            match way.take(timestamp, &message).map_err(io::Error::other)? {
                Then::GoOn => {}
                Then::Wait(delay) => tokio::time::sleep(delay).await,
                Then::Signal(signal) => {
                    if let Ok(pid) = pid.wait_for(Option::is_some).await
                        && let Some(pid) = *pid
                    {
                        kill(pid, signal)?;
                    }
                }
            }
        }
        way.writer.flush(&mut way.out);
        to_reducer.write_all(&way.out).await?;
        way.out.clear();
    }
}

/// What leaves the proxy.
struct Way {
    writer: Writer,
    out: Vec<u8>,
    /// [`Fault::Nothing`] once it has happened.
    fault: Fault,
    /// A message that comes after the next one, encoded.
    held: Option<(u64, Vec<u8>)>,
}

enum Then {
    GoOn,
    Wait(Duration),
    Signal(Signal),
}

impl Way {
    fn take(
        &mut self,
        timestamp: u64,
        message: &Message<'_>,
    ) -> Result<Then, Box<dyn std::error::Error + Send + Sync>> {
        let about_a_pod = matches!(
            message,
            Message::PodNewWithName(_) | Message::PodContainer(_)
        );
        let fault = match about_a_pod {
            true => std::mem::replace(&mut self.fault, Fault::Nothing),
            false => Fault::Nothing,
        };
        let then = match fault {
            Fault::Nothing => Then::GoOn,
            Fault::Drop => return Ok(Then::GoOn),
            Fault::Alter => {
                self.write(timestamp, altered(message))?;
                return Ok(Then::GoOn);
            }
            Fault::Delay(delay) => Then::Wait(delay),
            Fault::Reorder => {
                let mut held = Vec::new();
                message.encode(timestamp, &mut held)?;
                self.held = Some((timestamp, held));
                return Ok(Then::GoOn);
            }
            Fault::Hang => Then::Signal(Signal::SIGSTOP),
            Fault::Die => Then::Signal(Signal::SIGKILL),
            Fault::Garbage => {
                self.writer.flush(&mut self.out);
                self.out.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
                return Ok(Then::GoOn);
            }
        };
        self.write(timestamp, *message)?;
        if let Some((timestamp, held)) = self.held.take()
            && let Some((_, message, _)) = k8s_relay::wire::decode(&held)?
        {
            self.writer.push(timestamp, &Any(message), &mut self.out)?;
        }
        Ok(then)
    }

    fn write(&mut self, timestamp: u64, message: Message<'_>) -> Result<(), TooLong> {
        self.writer.push(timestamp, &Any(message), &mut self.out)?;
        Ok(())
    }
}

/// A message of any kind.
struct Any<'a>(Message<'a>);

impl Encode for Any<'_> {
    const ID: u16 = 0;
    const NAME: &'static str = "a message that passes a proxy";

    fn encoded_len(&self) -> usize {
        self.0.encoded_len()
    }

    fn encode(&self, timestamp: u64, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.0.encode(timestamp, out)
    }
}

/// The same message with another name in it, if it is one about a pod.
fn altered<'a>(message: &Message<'a>) -> Message<'a> {
    const NAME: &[u8] = b"altered";
    if let Message::PodNewWithName(pod) = *message {
        return Message::PodNewWithName(PodNewWithName {
            pod_name: NAME,
            ..pod
        });
    }
    if let Message::PodContainer(container) = *message {
        return Message::PodContainer(PodContainer {
            container_name: NAME,
            ..container
        });
    }
    *message
}
