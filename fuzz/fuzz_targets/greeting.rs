//! What a process hears from one that says it is of the same cluster.
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
    // Then it hangs up; what this side says to it is lost.
    let _ = theirs.write_all(data);
    let _ = theirs.shutdown(std::net::Shutdown::Write);
    engine::greeting::fuzz_greeting(&mut ours);
});
