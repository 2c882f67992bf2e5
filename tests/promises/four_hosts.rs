//! Four machines with a network between them: namespaces of the kernel, each with an address of its own, on one bridge. They
//! need root; where there are none, the tests say so and pass.
use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use hubbleflow::clock::clock;
use testkit::{
    outputs::{committed, drops},
    processes::wait_until,
    program::Program,
    running::Running,
    survey::{model, run_catalog, survey, undisturbed_run},
    tree::{assert_same, copy_tree, folder, text},
};

/// Sets of hosts that were made, for their names.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Hosts on one bridge.
struct Hosts {
    /// The namespace of the bridge.
    bridge: String,
    names: Vec<String>,
}

fn ip(words: &str) -> bool {
    let ran = Command::new("ip").args(words.split(' ')).output();
    ran.is_ok_and(|ran| ran.status.success())
}

impl Hosts {
    /// Makes hosts; `None` where the kernel or the user's rights do not allow it.
    fn make(count: usize) -> Option<Self> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let tag = format!("hf{}-{number}", std::process::id());
        let bridge = format!("{tag}-bridge");
        if !ip(&format!("netns add {bridge}")) {
            eprintln!("skipped: no network namespaces here");
            return None;
        }
        let mut hosts = Self {
            bridge: bridge.clone(),
            names: Vec::new(),
        };
        let mut is_made = ip(&format!("-n {bridge} link add br0 type bridge"))
            && ip(&format!("-n {bridge} link set br0 up"));
        for host in 0..count {
            let name = format!("{tag}-{host}");
            is_made &= [
                format!("netns add {name}"),
                format!("-n {name} link set lo up"),
                format!("-n {name} link add eth0 type veth peer name veth{host} netns {bridge}"),
                format!("-n {name} addr add 10.77.0.{}/24 dev eth0", host + 1),
                format!("-n {name} link set eth0 up"),
                format!("-n {bridge} link set veth{host} master br0 up"),
            ]
            .iter()
            .all(|words| ip(words));
            hosts.names.push(name);
        }
        if !is_made {
            eprintln!("skipped: no network between namespaces here");
        }
        is_made.then_some(hosts)
    }

    fn on(&self, host: usize, program: Program) -> Running {
        program
            .through(&["ip", "netns", "exec", &self.names[host]])
            .start()
    }

    fn set_link(&self, host: usize, state: &str) {
        assert!(ip(&format!(
            "-n {} link set veth{host} {state}",
            self.bridge
        )));
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in self.names.iter().chain([&self.bridge]) {
            ip(&format!("netns del {name}"));
        }
    }
}

fn key(folder: &Path) -> String {
    let key = text(&folder.join("key"));
    Program::new(["cluster-key", &key]).ends(0);
    key
}

#[test]
fn four_hosts_meet_without_a_hosts_file() {
    let Some(hosts) = Hosts::make(4) else { return };
    let (at, alone) = (folder(), undisturbed_run(survey(), ""));
    let (key, out) = (key(at.path()), at.path().join("out"));
    let run = || {
        let run = run_catalog(survey(), &out).with("--threads 1 --processes 4 --cluster-key");
        run.args([key.as_str()])
    };
    let processes: Vec<Running> = (0..4).map(|host| hosts.on(host, run())).collect();
    for process in processes {
        process.ends(0).says(&["of a cluster of 4"]);
    }
    assert_same(&alone, &committed(&out));
}

#[test]
fn a_host_whose_link_is_cut_is_lost_within_ten_seconds_and_the_next_start_goes_on() {
    let Some(hosts) = Hosts::make(4) else { return };
    let (at, catalog, alone) = (folder(), folder(), undisturbed_run(survey(), ""));
    let (key, out) = (key(at.path()), at.path().join("out"));
    let start = |host| {
        let watch = Program::on("watch", &text(catalog.path()), &text(&out), model());
        let watch = watch
            .with("--threads 1 --processes 4 --cluster-key")
            .args([&key]);
        hosts.on(host, watch)
    };
    let processes: Vec<Running> = (0..4).map(start).collect();
    let arrives = |drop: &str| copy_tree(&survey().join(drop), &catalog.path().join(drop));
    arrives("drop-0001");
    wait_until("the first drop is committed", || drops(&out).len() == 1);
    hosts.set_link(3, "down");
    let cut = clock();
    for mut process in processes {
        // Eight waits of a second, and what the machine needs beside its other tests.
        assert!(process.has_ended_within(Duration::from_secs(20)));
        process.ends(75).says(&["has not been heard of"]);
    }
    println!("all ended {:?} after the cut", clock() - cut);
    hosts.set_link(3, "up");
    arrives("drop-0002");
    arrives("drop-0003-specz");
    let processes: Vec<Running> = (0..4).map(start).collect();
    wait_until("all drops are committed", || drops(&out).len() == 3);
    processes.iter().for_each(|process| process.signal("TERM"));
    for process in processes {
        process.ends(0);
    }
    assert_same(&alone, &committed(&out));
}
