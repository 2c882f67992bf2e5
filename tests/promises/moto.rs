//! The conformance suite against moto, an S3 server by other authors.
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use testkit::{conformance::conforms, python::python, s3::bucket};

/// A moto server, which is killed when its test ends.
struct Moto {
    process: Child,
    endpoint: String,
}

impl Moto {
    /// Starts the server on a free port, and waits until it answers.
    fn start() -> Self {
        let mut process = Command::new(python(".venv"))
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
        // The server logs each request. Its pipe must be read, or it blocks.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, endpoint }
    }

    fn create_bucket(&self, name: &str) {
        let script = format!(
            "import boto3; boto3.client('s3', endpoint_url='{}', region_name='us-east-1', aws_access_key_id='key', \
             aws_secret_access_key='secret').create_bucket(Bucket='{name}')",
            self.endpoint
        );
        let made = Command::new(python(".venv"))
            .args(["-c", &script])
            .status()
            .unwrap();
        assert!(made.success());
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // Both fail if the server has ended already. Then there is nothing to do.
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
