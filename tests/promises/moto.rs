//! The conformance suite against moto, an S3 of another make.
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use crate::conformance::{bucket, conforms};

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/python");

/// A server that ends with its test.
struct Moto {
    process: Child,
    endpoint: String,
}

impl Moto {
    /// Starts it on a port that is free, and waits until it answers.
    fn start() -> Self {
        let mut process = Command::new(PYTHON)
            .args(["-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto starts; `make test-moto` installs it");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let endpoint = lines
            .by_ref()
            .find_map(|line| {
                line.unwrap()
                    .split_once("Running on ")
                    .map(|(_, url)| url.trim().to_owned())
            })
            .expect("moto says where it listens");
        // It logs each request: somebody must read on.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, endpoint }
    }

    fn create_bucket(&self, name: &str) {
        let script = format!(
            "import boto3; boto3.client('s3', endpoint_url='{}', region_name='us-east-1', aws_access_key_id='key', \
             aws_secret_access_key='secret').create_bucket(Bucket='{name}')",
            self.endpoint
        );
        let made = Command::new(PYTHON).args(["-c", &script]).status().unwrap();
        assert!(made.success());
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by make test-moto"]
async fn moto_conforms() {
    let moto = Moto::start();
    moto.create_bucket("sky");
    conforms(bucket("s3://sky/survey", &moto.endpoint, "key", "secret")).await;
}
