//! The greeting of a process that claims to belong to the same cluster.
#![no_main]
use std::{
    io::Write,
    net::{TcpListener, TcpStream},
};

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let address = listener.local_addr().expect("it is bound");
    let mut theirs = TcpStream::connect(address).expect("it listens");
    let (mut ours, _) = listener.accept().expect("somebody connects");
    // The other side closes its connection. The answer of this side is lost.
    let _ = theirs.write_all(data);
    let _ = theirs.shutdown(std::net::Shutdown::Write);
    hubbleflow::cluster::fuzz_greeting(&mut ours);
});
