//! The greeting of a process that claims to belong to the same cluster.
#![no_main]
use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    sync::LazyLock,
};

use hubbleflow::cluster::{ClusterKey, fuzz_greeting};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("there are threads"));
static KEY: LazyLock<ClusterKey> = LazyLock::new(|| ClusterKey::generate().expect("random bytes"));

fuzz_target!(|data: &[u8]| {
    for key in [None, Some(KEY.clone())] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
        let address = listener.local_addr().expect("it is bound");
        let mut theirs = TcpStream::connect(address).expect("it listens");
        let (ours, _) = listener.accept().expect("somebody connects");
        // The other side closes its connection. The answer of this side is lost.
        let _ = theirs.write_all(data);
        let _ = theirs.shutdown(std::net::Shutdown::Write);
        let _ = RUNTIME.block_on(fuzz_greeting(ours, key));
    }
});
