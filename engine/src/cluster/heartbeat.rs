//! Heartbeats: each two processes of a cluster tell each other once a second that they are there.
//!
//! Timely waits for ever for a process that hangs, or whose network is gone. Beats come from threads of their own, so a
//! process whose workers are busy is not taken for one that hangs. Silence is counted in waits that ended without a
//! beat, not by a clock: a process that was itself stopped for a while has not waited.
use std::{
    io::{ErrorKind, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use super::channel::Channel;

/// How often each side says that it is there, and how long the other waits for it.
const EVERY: Duration = Duration::from_secs(1);
/// How often a process looks whether all is over, after another has left.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// So many waits without a beat, and the other is gone.
const MISSED_MAX: u32 = 8;

const LEFT_EARLY: &str = "has left before the last drop was settled";

const BEAT: u8 = b'.';
/// The last beat: the process has done its part, and may go. A goodbye before this process has done its own part is a
/// loss.
const GOODBYE: u8 = b'!';
/// The cluster is to begin again, at another size.
const REGROUP: u8 = b'+';

/// What is to happen when another process is lost, or asks to begin again.
pub(super) struct Listener {
    /// Is told how a process was lost.
    pub lost: Box<dyn Fn(&str) + Send + Sync>,
    /// A process asks all to end, and to begin again.
    pub regroup: Box<dyn Fn() + Send + Sync>,
}

/// Another process, and the connection for its beats.
pub(super) struct Peer {
    /// What messages call it.
    pub name: String,
    /// The connection.
    pub channel: Channel,
}

/// The beats of this process. Where they are dropped without [`Heartbeats::end`], the other processes take it for dead.
#[derive(Default)]
pub struct Heartbeats {
    channels: Vec<Channel>,
    listeners: Vec<JoinHandle<()>>,
    over: Arc<AtomicBool>,
}

impl Heartbeats {
    /// Starts them. The listener is told of a process that falls silent, or goes before all is done.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(peers: Vec<Peer>, listener: Listener) -> std::io::Result<Self> {
        let (mut beats, listener) = (Self::default(), Arc::new(listener));
        for Peer { name, mut channel } in peers {
            channel.set_read_timeout(EVERY)?;
            beats.channels.push(channel.clone());
            let (over, listener) = (beats.over.clone(), listener.clone());
            let listen = move || {
                if let Some(how) = listen(&mut channel, &over, &*listener.regroup)
                    && !over.load(Ordering::SeqCst)
                {
                    (listener.lost)(&format!("{name} {how}"));
                }
            };
            let thread = Builder::new().name("hear".to_owned()).spawn(listen)?;
            beats.listeners.push(thread);
        }
        if !beats.channels.is_empty() {
            let (channels, over) = (beats.channels.clone(), beats.over.clone());
            let beat = move || beat(channels, &over);
            Builder::new().name("beat".to_owned()).spawn(beat)?;
        }
        Ok(beats)
    }

    /// Asks all other processes to end, and to begin again.
    pub fn regroup(&self) -> impl Fn() + Send + use<> {
        let channels = self.channels.clone();
        move || say(&channels, REGROUP)
    }

    /// Says goodbye, and waits until each other process has said so, or is gone: nothing that becomes of them concerns
    /// this one any more.
    pub fn end(mut self) {
        self.over.store(true, Ordering::SeqCst);
        say(&self.channels, GOODBYE);
        for listener in self.listeners.drain(..) {
            // Whether it has panicked or not, it listens no more.
            let _ = listener.join();
        }
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Ends the threads that listen, and tells the others.
        self.channels.iter().for_each(Channel::cut);
    }
}

/// Says something to all. Where nobody listens any more, the thread that listens there finds out.
fn say(channels: &[Channel], what: u8) {
    for channel in channels {
        let _ = channel.clone().write_all(&[what]);
    }
}

fn beat(channels: Vec<Channel>, over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        say(&channels, BEAT);
        std::thread::sleep(EVERY);
    }
}

/// Listens until the other has said goodbye and all is `over` here too; or how it was lost.
fn listen(from: &mut impl Read, over: &AtomicBool, regroup: &dyn Fn()) -> Option<String> {
    let (mut missed, mut heard, mut has_left) = (0, [0; 64], false);
    while missed < MISSED_MAX {
        if has_left && over.load(Ordering::SeqCst) {
            return None;
        }
        match from.read(&mut heard) {
            Ok(0) if has_left => return wait_until_over(over),
            Ok(0) => return Some("ended, or was cut off".to_owned()),
            Ok(bytes) => {
                let heard = &heard[..bytes];
                if heard.contains(&REGROUP) {
                    regroup();
                }
                (missed, has_left) = (0, has_left || heard.contains(&GOODBYE));
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => missed += 1,
                ErrorKind::Interrupted => (),
                _ => return Some(format!("was cut off ({error})")),
            },
        }
    }
    if has_left {
        return Some(LEFT_EARLY.to_owned());
    }
    let seconds = EVERY.as_secs() * u64::from(MISSED_MAX);
    Some(format!(
        "has not been heard of for {seconds} s: it hangs, or its network does"
    ))
}

/// Waits until this process has done its part, after another process has: the last messages are on their way.
fn wait_until_over(over: &AtomicBool) -> Option<String> {
    let mut waited = Duration::ZERO;
    while !over.load(Ordering::SeqCst) {
        if waited >= EVERY * MISSED_MAX {
            return Some(LEFT_EARLY.to_owned());
        }
        std::thread::sleep(LOOK_EVERY);
        waited += LOOK_EVERY;
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cluster::channel::pair;

    /// What a listener makes of another process that does this, when all is over or not.
    fn heard(is_over: bool, of: impl FnOnce(Channel) + Send + 'static) -> Option<String> {
        let [mut near, far] = pair();
        near.set_read_timeout(Duration::from_millis(50)).unwrap();
        let other = std::thread::spawn(move || of(far));
        let how = listen(&mut near, &AtomicBool::new(is_over), &|| ());
        near.cut();
        other.join().unwrap();
        how
    }

    #[test]
    fn a_process_that_says_goodbye_when_all_is_over_is_not_lost() {
        let goodbye = |mut far: Channel| far.write_all(&[BEAT, BEAT, GOODBYE]).unwrap();
        assert_eq!(heard(true, goodbye), None);
    }

    /// An early goodbye ended the watching, and the other processes waited for ever.
    #[test]
    fn a_process_that_says_goodbye_early_is_lost() {
        let stays = |mut far: Channel| {
            far.write_all(&[GOODBYE]).unwrap();
            // How the connection ends is not its concern.
            far.read_to_end(&mut Vec::new()).ok();
        };
        assert_eq!(heard(false, stays).unwrap(), LEFT_EARLY);
    }

    #[test]
    fn a_process_that_goes_without_a_goodbye_is_lost() {
        for is_over in [false, true] {
            let gone = |mut far: Channel| far.write_all(&[BEAT]).unwrap();
            assert!(heard(is_over, gone).is_some());
        }
    }

    #[test]
    fn a_process_that_falls_silent_is_lost() {
        // It reads, and says nothing, until the listener has given up on it.
        let silent = |mut far: Channel| {
            far.read_to_end(&mut Vec::new()).ok();
        };
        let how = heard(false, silent).unwrap();
        assert!(how.contains("has not been heard of"), "{how}");
    }

    #[test]
    fn heartbeats_that_end_are_no_loss_to_either_side() {
        let [near, far] = pair();
        let start = |channel| {
            let name = "the other".to_owned();
            let listener = Listener {
                lost: Box::new(|how| panic!("{how}")),
                regroup: Box::new(|| ()),
            };
            Heartbeats::start(vec![Peer { name, channel }], listener).unwrap()
        };
        let (near, far) = (start(near), start(far));
        let far = std::thread::spawn(|| far.end());
        near.end();
        far.join().unwrap();
    }
}
