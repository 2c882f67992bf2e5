//! Accepts connections of other processes: a process gets in if it proves the key and greets in time.
//!
//! Greetings go on side by side, each bounded in time and size. If too many are under way, the oldest is ended. A greeting
//! of the cluster takes a moment only, so a flood of connections does not keep the processes of the cluster out for long.
use std::{
    collections::VecDeque,
    io::{Error, ErrorKind, Result},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use super::{
    greeting::Greeting,
    hello::Hello,
    key::ClusterKey,
    line::{Line, in_time},
};

/// Greetings that are under way at a time.
const GREETINGS_MAX: usize = 200;
/// How long to wait when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// A process that has greeted.
pub(super) struct Guest {
    /// Its hello.
    pub hello: Hello,
    /// Its greeting.
    pub greeting: Greeting,
    /// The connection.
    pub line: Line,
}

/// A socket that listens until the door is dropped.
pub(super) struct Door {
    guests: mpsc::Receiver<Guest>,
    /// The port of the socket.
    pub port: u16,
    /// Connections whose other side did not prove the key, or did not greet in time.
    strangers: Arc<AtomicU64>,
    /// Ends with the door.
    _porter: JoinSet<()>,
}

impl Door {
    /// Begins to listen.
    ///
    /// # Errors
    /// The system's.
    pub async fn open(address: SocketAddr, key: Option<ClusterKey>) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let port = listener.local_addr()?.port();
        let (tell, guests) = mpsc::channel(1);
        let strangers = Arc::<AtomicU64>::default();
        let mut porter = JoinSet::new();
        porter.spawn(listen(listener, key, tell, strangers.clone()));
        Ok(Self {
            guests,
            port,
            strangers,
            _porter: porter,
        })
    }

    /// Waits for the next guest.
    pub async fn next(&mut self) -> Guest {
        match self.guests.recv().await {
            Some(guest) => guest,
            // The porter ends with the door alone.
            None => std::future::pending().await,
        }
    }

    /// Why a process that was waited for has not come, as far as the door can tell.
    pub fn nobody_came(&self) -> Error {
        let said = match self.strangers.load(Ordering::Relaxed) {
            0 => "no connection came".to_owned(),
            count => format!(
                "{count} connections were ended, since the other side did not prove the cluster's key or did not greet in time"
            ),
        };
        Error::new(ErrorKind::TimedOut, said)
    }
}

async fn listen(
    listener: TcpListener,
    key: Option<ClusterKey>,
    tell: mpsc::Sender<Guest>,
    strangers: Arc<AtomicU64>,
) {
    let (mut greetings, mut oldest) = (JoinSet::new(), VecDeque::<AbortHandle>::new());
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        while greetings.try_join_next().is_some() {}
        oldest.retain(|greeting| !greeting.is_finished());
        if oldest.len() >= GREETINGS_MAX
            && let Some(greeting) = oldest.pop_front()
        {
            greeting.abort();
            strangers.fetch_add(1, Ordering::Relaxed);
        }
        let greeted = greet(socket, key.clone(), tell.clone(), strangers.clone());
        oldest.push_back(greetings.spawn(greeted));
    }
}

async fn greet(
    socket: TcpStream,
    key: Option<ClusterKey>,
    tell: mpsc::Sender<Guest>,
    strangers: Arc<AtomicU64>,
) {
    let greeted = in_time(async {
        let (hello, mut line) = Line::answer(socket, key.as_ref()).await?;
        let greeting = line.hear().await?;
        Ok(Guest {
            hello,
            greeting,
            line,
        })
    });
    match greeted.await {
        // Fails only when the door is closed.
        Ok(guest) => drop(tell.send(guest).await),
        Err(_) => drop(strangers.fetch_add(1, Ordering::Relaxed)),
    }
}

/// Hears whoever is at the other end, with and without a key, for the fuzzer.
#[cfg(fuzzing)]
pub async fn fuzz_greeting(socket: std::net::TcpStream, key: Option<ClusterKey>) -> Result<()> {
    socket.set_nonblocking(true)?;
    let (_, mut line) = Line::answer(TcpStream::from_std(socket)?, key.as_ref()).await?;
    line.hear::<Greeting>().await.map(|_| ())
}
