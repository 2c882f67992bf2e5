//! Heartbeats: each two processes of a cluster tell each other once a second that they are there.
//!
//! Timely waits for ever for a process that hangs, or whose network is gone. Beats come from threads of their own, so a
//! process whose workers are busy is not taken for one that hangs. Silence is counted in waits that ended without a
//! beat, not by a clock: a process that was itself stopped for a while has not waited.
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

/// How often each side says that it is there, and how long the other waits for it.
const EVERY: Duration = Duration::from_secs(1);
/// So many waits without a beat, and the other is gone.
const MISSED_MAX: u32 = 8;

const BEAT: u8 = b'.';
/// The last beat: the process has done its part, and may go.
const GOODBYE: u8 = b'!';

/// Is told how a process was lost.
pub type OnLoss = Arc<dyn Fn(&str) + Send + Sync>;

/// Another process, and the connection for its beats.
#[derive(Debug)]
pub struct Peer {
    /// What messages call it.
    pub name: String,
    /// The connection.
    pub socket: TcpStream,
}

/// The beats of this process. Where they are dropped without [`Heartbeats::end`], the other processes take it for dead.
#[derive(Debug)]
pub struct Heartbeats {
    sockets: Vec<TcpStream>,
    listeners: Vec<JoinHandle<()>>,
    over: Arc<AtomicBool>,
}

impl Heartbeats {
    /// Starts them. `lost` is told of a process that falls silent, or goes without a goodbye.
    ///
    /// # Errors
    /// The system's.
    pub fn start(peers: Vec<Peer>, lost: OnLoss) -> std::io::Result<Self> {
        let mut beats = Self {
            sockets: Vec::new(),
            listeners: Vec::new(),
            over: Arc::default(),
        };
        for Peer { name, mut socket } in peers {
            socket.set_read_timeout(Some(EVERY))?;
            beats.sockets.push(socket.try_clone()?);
            let (over, lost) = (beats.over.clone(), lost.clone());
            let listen = move || {
                if let Some(how) = listen(&mut socket)
                    && !over.load(Ordering::SeqCst)
                {
                    lost(&format!("{name} {how}"));
                }
            };
            let thread = Builder::new().name("hear".to_owned()).spawn(listen)?;
            beats.listeners.push(thread);
        }
        if !beats.sockets.is_empty() {
            let (sockets, over) = (clones(&beats.sockets)?, beats.over.clone());
            let beat = move || beat(sockets, &over);
            Builder::new().name("beat".to_owned()).spawn(beat)?;
        }
        Ok(beats)
    }

    /// Says goodbye, and waits until each other process has said so, or is gone: nothing that becomes of them concerns
    /// this one any more.
    pub fn end(mut self) {
        self.over.store(true, Ordering::SeqCst);
        for socket in &mut self.sockets {
            // Fails only if the other process has gone before.
            let _ = socket.write_all(&[GOODBYE]);
        }
        for listener in self.listeners.drain(..) {
            // Whether it has panicked or not, it listens no more.
            let _ = listener.join();
        }
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        for socket in &self.sockets {
            // Ends the thread that listens, and tells the other.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn clones(sockets: &[TcpStream]) -> std::io::Result<Vec<TcpStream>> {
    sockets.iter().map(TcpStream::try_clone).collect()
}

fn beat(mut sockets: Vec<TcpStream>, over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        for socket in &mut sockets {
            // Where nobody listens any more, the thread that listens there finds out.
            let _ = socket.write_all(&[BEAT]);
        }
        std::thread::sleep(EVERY);
    }
}

/// Listens until the other says goodbye; or how it was lost.
fn listen(socket: &mut TcpStream) -> Option<String> {
    let (mut missed, mut heard) = (0, [0; 64]);
    while missed < MISSED_MAX {
        match socket.read(&mut heard) {
            Ok(0) => return Some("ended, or was cut off".to_owned()),
            Ok(count) if heard[..count].contains(&GOODBYE) => return None,
            Ok(_) => missed = 0,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => missed += 1,
                ErrorKind::Interrupted => (),
                _ => return Some(format!("was cut off ({error})")),
            },
        }
    }
    let seconds = EVERY.as_secs() * u64::from(MISSED_MAX);
    Some(format!(
        "has not been heard of for {seconds} s: it hangs, or its network does"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> [TcpStream; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        [near, listener.accept().unwrap().0]
    }

    /// What a listener makes of another process that does this.
    fn heard(of: impl FnOnce(TcpStream) + Send + 'static) -> Option<String> {
        let [mut near, far] = pair();
        near.set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let other = std::thread::spawn(move || of(far));
        let how = listen(&mut near);
        drop(near);
        other.join().unwrap();
        how
    }

    #[test]
    fn a_process_that_says_goodbye_is_not_lost() {
        let goodbye = |mut far: TcpStream| far.write_all(&[BEAT, BEAT, GOODBYE]).unwrap();
        assert_eq!(heard(goodbye), None);
    }

    #[test]
    fn a_process_that_goes_without_a_goodbye_is_lost() {
        let gone = |mut far: TcpStream| far.write_all(&[BEAT]).unwrap();
        assert!(heard(gone).is_some());
    }

    #[test]
    fn a_process_that_falls_silent_is_lost() {
        // It reads, and says nothing, until the listener has given up on it.
        let silent = |mut far: TcpStream| {
            // How the connection ends is not its concern.
            far.read_to_end(&mut Vec::new()).ok();
        };
        assert!(heard(silent).unwrap().contains("has not been heard of"));
    }

    #[test]
    fn heartbeats_that_end_are_no_loss_to_either_side() {
        let [near, far] = pair();
        let start = |socket| {
            let name = "the other".to_owned();
            let lost: OnLoss = Arc::new(|how| panic!("{how}"));
            Heartbeats::start(vec![Peer { name, socket }], lost).unwrap()
        };
        let (near, far) = (start(near), start(far));
        let far = std::thread::spawn(|| far.end());
        near.end();
        far.join().unwrap();
    }
}
