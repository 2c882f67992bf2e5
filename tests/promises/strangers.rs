//! No stranger gets into a cluster that has a key, stops it, or learns anything of it.
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use testkit::{
    hosts::HostsFile,
    outputs::committed,
    program::Program,
    running::Running,
    survey::{run_catalog, survey},
    tree::{assert_same, folder, text, write_file},
};

/// A cluster of two processes with a key, of which the second is not started yet.
struct Cluster {
    folder: tempfile::TempDir,
    hosts: HostsFile,
    leader: Running,
}

impl Cluster {
    fn begin() -> Self {
        let folder = folder();
        Program::new(["cluster-key", &text(&folder.path().join("key"))]).ends(0);
        Self::begin_in(folder)
    }

    /// Begins in a folder that holds a key.
    fn begin_in(folder: tempfile::TempDir) -> Self {
        let (key, hosts) = (folder.path().join("key"), HostsFile::new());
        let leader = Self::program(folder.path(), &key, hosts.flags(0)).start();
        let cluster = Self {
            folder,
            hosts,
            leader,
        };
        drop(cluster.dial());
        cluster
    }

    fn program(folder: &Path, key: &Path, flags: Vec<String>) -> Program {
        run_catalog(survey(), folder.join("out"))
            .with("--threads 1 --cluster-key")
            .args([text(key)])
            .args(flags)
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    fn second(&self, key: &Path) -> Program {
        Self::program(self.folder.path(), key, self.hosts.flags(1))
    }

    fn address(&self) -> String {
        let hosts = std::fs::read_to_string(self.hosts.path()).unwrap();
        hosts.lines().next().unwrap().to_owned()
    }

    /// Connects with the leader, as soon as it listens.
    fn dial(&self) -> TcpStream {
        loop {
            match TcpStream::connect(self.address()) {
                Ok(socket) => return socket,
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Starts the second process; both go through, and the answer is that of one process alone.
    fn ends(self) {
        let second = self.second(&self.key()).start();
        second.ends(0);
        self.leader.ends(0);
        let alone = folder();
        run_catalog(survey(), &alone).ends(0);
        assert_same(
            &committed(alone.path()),
            &committed(&self.folder.path().join("out")),
        );
    }
}

/// What the leader answers to these bytes before it ends the connection.
fn answer(mut socket: TcpStream, said: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    socket.write_all(said).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    // A connection that is reset has ended too.
    socket.read_to_end(&mut heard).ok();
    heard
}

/// A greeting as it was before there were keys.
fn greeting(agreement: &str) -> Vec<u8> {
    let text = format!(r#"{{"process":1,"heartbeats":false,"agreement":{agreement}}}"#);
    [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// The first bytes of a process that wants to be number 1, for the workers, encrypted or not.
fn hello(is_sealed: bool) -> Vec<u8> {
    let mut hello = b"HFC1\x01".to_vec();
    hello.push(u8::from(is_sealed));
    hello.extend([0; 16]);
    hello.extend([1, 0, 0, 0]);
    hello
}

#[test]
fn garbage_is_told_nothing_and_stops_no_start() {
    let cluster = Cluster::begin();
    let said: [Vec<u8>; 9] = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        greeting("{}"),
        [greeting("{}"), vec![0xff; 48]].concat(),
        vec![0; 100],
        vec![0xff; 1 << 16],
        hello(false),
        [hello(false), greeting("{}")].concat(),
        [hello(true), vec![7; 48]].concat(),
        [hello(true), vec![7; 4096]].concat(),
    ];
    for said in said {
        let heard = answer(cluster.dial(), &said);
        assert!(heard.is_empty(), "{said:?} is answered {heard:?}");
    }
    cluster.ends();
}

#[test]
fn silence_trickles_and_ten_thousand_connections_stop_no_start() {
    let cluster = Cluster::begin();
    let silent: Vec<TcpStream> = (0..300).map(|_| cluster.dial()).collect();
    let over = Arc::new(AtomicBool::new(false));
    let mut trickle = cluster.dial();
    let until = over.clone();
    let trickling = std::thread::spawn(move || {
        for byte in hello(true).iter().cycle() {
            if until.load(Ordering::Relaxed) || trickle.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    let (address, until) = (cluster.address(), over.clone());
    let flood = std::thread::spawn(move || {
        let mut open = Vec::new();
        for dialled in 0..10_000 {
            // The cluster has started, or the system has no room for more.
            if let Ok(socket) = TcpStream::connect(&address) {
                open.push(socket);
            }
            if dialled % 400 == 0 {
                open.clear();
            }
            if until.load(Ordering::Relaxed) {
                break;
            }
        }
    });
    cluster.ends();
    over.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    trickling.join().unwrap();
    drop(silent);
}

#[test]
fn another_key_and_no_key_get_nobody_in() {
    let cluster = Cluster::begin();
    let other = cluster.folder.path().join("other");
    Program::new(["cluster-key", &text(&other)]).ends(0);
    let said = ["give all processes the same --cluster-key"];
    cluster
        .second(&other)
        .with("--gather 2s")
        .ends(1)
        .says(&said);
    let without = run_catalog(survey(), cluster.folder.path().join("out"));
    let without = without
        .with("--threads 1 --gather 2s")
        .args(cluster.hosts.flags(1));
    without.ends(75).says(&["process 0 at 127.0.0.1:"]);
    cluster.ends();
}

/// Passes bytes on between a process and the leader, and keeps what the process says and hears.
struct Tap {
    address: String,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    fn start(leader: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let kept = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let keep = kept.clone();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                let Ok(far) = TcpStream::connect(&leader) else {
                    continue;
                };
                pass(
                    near.try_clone().unwrap(),
                    far.try_clone().unwrap(),
                    keep.clone(),
                );
                pass(far, near, keep.clone());
            }
        });
        Self { address, kept }
    }

    /// All that has passed, a direction of a connection each.
    fn kept(&self) -> Vec<Vec<u8>> {
        self.kept.lock().unwrap().clone()
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, keep: Arc<Mutex<Vec<Vec<u8>>>>) -> JoinHandle<()> {
    let place = {
        let mut keep = keep.lock().unwrap();
        keep.push(Vec::new());
        keep.len() - 1
    };
    std::thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            keep.lock().unwrap()[place].extend(&bytes[..count]);
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        // Fails if the other direction has ended it.
        to.shutdown(std::net::Shutdown::Write).ok();
    })
}

/// Runs a cluster whose second process reaches the leader through a tap.
fn tapped(flags: &str) -> Vec<Vec<u8>> {
    let (out, hosts) = (folder(), HostsFile::new());
    let lines = std::fs::read_to_string(hosts.path()).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    let tap = Tap::start(lines[0].to_owned());
    let through = out.path().join("hosts");
    write_file(&through, format!("{}\n{}\n", tap.address, lines[1]));
    let run = || {
        run_catalog(survey(), out.path().join("out"))
            .with("--threads 1")
            .with(flags)
    };
    let leader = run().args(hosts.flags(0)).start();
    let second = run()
        .with("--processes 2 --process 1 --hosts")
        .args([text(&through)]);
    second.ends(0);
    leader.ends(0);
    tap.kept()
}

/// What a listener must not find: the names of columns, paths, settings.
const SECRETS: [&str; 6] = [
    "object_id",
    "z_phot",
    "drop-0001",
    ".parquet",
    "precision",
    "agreement",
];

fn holds(kept: &[Vec<u8>], words: &str) -> bool {
    let holds = |stream: &Vec<u8>| {
        stream
            .windows(words.len())
            .any(|part| part == words.as_bytes())
    };
    kept.iter().any(holds)
}

#[test]
fn nobody_who_listens_learns_a_name_and_a_recorded_stream_gets_nobody_in() {
    // Without a key all of them are there to be found: the test looks at the right place.
    let clear = tapped("");
    for words in SECRETS {
        assert!(holds(&clear, words), "{words} does not pass in clear");
    }
    let folder = folder();
    let key = text(&folder.path().join("key"));
    Program::new(["cluster-key", &key]).ends(0);
    let sealed = tapped(&format!("--cluster-key {key}"));
    let bytes: usize = sealed.iter().map(Vec::len).sum();
    assert!(bytes > 50_000, "{bytes} bytes have passed");
    for words in SECRETS {
        assert!(!holds(&sealed, words), "{words} passes in clear");
    }
    // What both processes said is said again, to a cluster with the same key.
    let cluster = Cluster::begin_in(folder);
    for said in sealed {
        let heard = answer(cluster.dial(), &said);
        // No more than the second message of a handshake, which nobody can read without the key of this connection.
        assert!(heard.len() <= 48, "{} bytes are answered", heard.len());
    }
    cluster.ends();
}

#[test]
fn the_key_is_in_no_message_and_in_no_file() {
    let cluster = Cluster::begin();
    let key = std::fs::read_to_string(cluster.key()).unwrap();
    let key = key.trim();
    let seen = std::fs::read(format!("/proc/{}/cmdline", cluster.leader.id())).unwrap();
    assert!(!String::from_utf8_lossy(&seen).contains(key));
    let second = cluster
        .second(&cluster.key())
        .env("HUBBLEFLOW_LOG", "trace")
        .start();
    let out = cluster.folder.path().join("out");
    for ended in [second.ends(0), cluster.leader.ends(0)] {
        assert!(!ended.stderr.contains(key) && !ended.stdout.contains(key));
    }
    for (name, bytes) in testkit::tree::tree(&out) {
        let holds = bytes.windows(key.len()).any(|part| part == key.as_bytes());
        assert!(!holds, "{name} holds the key");
    }
}
