//! Name look-up, which can do nothing but block, on a thread of its own.

use super::settings::Endpoint;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, TrySendError, channel, sync_channel};

/// Look-ups that may wait behind one that hangs.
const WAITING_MAX: usize = 64;

/// What a look-up gave.
pub type Resolved = (Endpoint, Result<Vec<SocketAddr>, String>);

/// Looks up names one after the other. A resolver that hangs holds up the names behind it, and nothing else: there is one
/// thread, however long it takes, and addresses need none.
#[derive(Debug, Default)]
pub struct Resolver {
    thread: Option<(SyncSender<Endpoint>, Receiver<Resolved>)>,
}

impl Resolver {
    /// The address itself, where the host is one.
    #[must_use]
    pub fn literal(endpoint: &Endpoint) -> Option<SocketAddr> {
        let address: IpAddr = endpoint.host.parse().ok()?;
        Some(SocketAddr::new(address, endpoint.port))
    }

    /// Asks for the addresses of a name; `wake` is called when [`Self::next_resolved`] has them.
    ///
    /// # Errors
    /// Too many look-ups wait, or no thread can be started.
    pub fn ask(&mut self, endpoint: &Endpoint, wake: impl Fn() + Send + 'static) -> Result<(), String> {
        let (names, _) = match &mut self.thread {
            Some(thread) => thread,
            none => none.insert(start(wake).map_err(|error| error.to_string())?),
        };
        names.try_send(endpoint.clone()).map_err(|error| match error {
            TrySendError::Full(_) => "look-ups before it hang".into(),
            TrySendError::Disconnected(_) => "the look-up thread is gone".into(),
        })
    }

    /// The next look-up that has ended.
    pub fn next_resolved(&mut self) -> Option<Resolved> {
        match self.thread.as_ref()?.1.try_recv() {
            Ok(resolved) => Some(resolved),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.thread = None;
                None
            }
        }
    }
}

/// The thread ends by itself when its resolver is dropped.
fn start(wake: impl Fn() + Send + 'static) -> io::Result<(SyncSender<Endpoint>, Receiver<Resolved>)> {
    let (ask, asked) = sync_channel::<Endpoint>(WAITING_MAX);
    // As many answers as questions, so bounded by them.
    let (answer, answers): (Sender<Resolved>, _) = channel();
    std::thread::Builder::new().name("dns".into()).spawn(move || {
        for endpoint in asked {
            let found = (endpoint.host.as_str(), endpoint.port).to_socket_addrs();
            let found = found.map(Iterator::collect).map_err(|error| error.to_string());
            if answer.send((endpoint, found)).is_err() {
                return;
            }
            wake();
        }
    })?;
    Ok((ask, answers))
}
