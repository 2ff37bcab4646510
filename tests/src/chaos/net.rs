//! The cluster's network: a namespace for each computer, joined by a bridge in the run's own namespace, from which the
//! recorder and the clients reach everybody, whatever is cut.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail};

use super::cage::run;

/// Where the recorder and the clients are: no rule is about it.
const BRIDGE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Something that is wrong with a computer's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Nothing arrives from these.
    DropFrom(Vec<Ipv4Addr>),
    /// Nothing gets out to these.
    DropTo(Vec<Ipv4Addr>),
    /// So many of a hundred packets are lost, each way.
    Lossy(u8),
    /// So many kilobits pass in a second, each way; the rest queues for up to a second, then is lost.
    Slow(u32),
}

/// A computer on the network.
#[derive(Debug)]
pub struct Host {
    name: String,
    address: Ipv4Addr,
    rules: Mutex<Rules>,
}

#[derive(Debug, Default)]
struct Rules {
    last: u64,
    all: Vec<(u64, Rule)>,
    slowed: bool,
}

/// Makes the bridge.
///
/// # Errors
/// When the kernel does not let it.
pub fn bridge() -> anyhow::Result<()> {
    ip("link set lo up")?;
    ip("link add br0 type bridge")?;
    ip(&format!("addr add {BRIDGE}/16 dev br0"))?;
    ip("link set br0 up")
}

fn ip(words: &str) -> anyhow::Result<()> {
    run(Command::new("ip").args(words.split(' ')))
}

impl Host {
    /// A computer at `address`, on the bridge.
    ///
    /// # Errors
    /// When the kernel does not let it.
    pub fn new(name: &str, address: Ipv4Addr) -> anyhow::Result<Self> {
        ip(&format!("netns add {name}"))?;
        ip(&format!(
            "link add v-{name} type veth peer name eth0 netns {name}"
        ))?;
        ip(&format!("link set v-{name} master br0 up"))?;
        ip(&format!("-n {name} addr add {address}/16 dev eth0"))?;
        ip(&format!("-n {name} link set eth0 up"))?;
        ip(&format!("-n {name} link set lo up"))?;
        Ok(Self {
            name: name.to_owned(),
            address,
            rules: Mutex::default(),
        })
    }

    /// Where it is.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A command that runs on it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Breaks some things at once; the numbers are for [`Host::mend_all`].
    ///
    /// # Errors
    /// When the kernel does not let it.
    pub fn spoil_all(&self, broken: Vec<Rule>) -> anyhow::Result<Vec<u64>> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let mut numbers = Vec::new();
        for rule in broken {
            rules.last += 1;
            let number = rules.last;
            numbers.push(number);
            rules.all.push((number, rule));
        }
        self.apply(&mut rules)?;
        Ok(numbers)
    }

    /// Mends what was broken under these numbers.
    ///
    /// # Errors
    /// When the kernel does not let it.
    pub fn mend_all(&self, numbers: &[u64]) -> anyhow::Result<()> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.all.retain(|(it, _)| !numbers.contains(it));
        self.apply(&mut rules)
    }

    /// How many packets the present rules have dropped.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn dropped(&self) -> anyhow::Result<u64> {
        let output = self.command("nft").args(["list", "ruleset"]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let words: Vec<&str> = text.split_whitespace().collect();
        let counts = words.windows(2).filter(|pair| pair[0] == "packets");
        Ok(counts.filter_map(|pair| pair[1].parse::<u64>().ok()).sum())
    }

    fn apply(&self, rules: &mut Rules) -> anyhow::Result<()> {
        let all = || rules.all.iter().map(|(_, rule)| rule);
        let mut nft = self
            .command("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("nft does not start")?;
        let mut input = nft.stdin.take().context("nft reads its rules")?;
        input.write_all(table(all()).as_bytes())?;
        drop(input);
        let output = nft.wait_with_output()?;
        if !output.status.success() {
            bail!("nft: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let rate = all().filter_map(|rule| match rule {
            Rule::Slow(rate) => Some(*rate),
            Rule::DropFrom(_) | Rule::DropTo(_) | Rule::Lossy(_) => None,
        });
        let rate = rate.min();
        self.limit(rate, rules.slowed)?;
        rules.slowed = rate.is_some();
        Ok(())
    }

    /// Both ends of the cable send only so fast.
    fn limit(&self, rate: Option<u32>, slowed: bool) -> anyhow::Result<()> {
        let far = format!("v-{}", self.name);
        let on = |command: &mut Command, device: &str| match rate {
            Some(rate) => run(command
                .args(["qdisc", "replace", "dev", device, "root", "tbf"])
                .args([
                    "rate",
                    &format!("{rate}kbit"),
                    "burst",
                    "8kb",
                    "latency",
                    "1s",
                ])),
            None if slowed => run(command.args(["qdisc", "del", "dev", device, "root"])),
            None => Ok(()),
        };
        on(&mut self.command("tc"), "eth0")?;
        on(&mut Command::new("tc"), &far)
    }
}

/// The whole table, in place of the one before.
fn table<'a>(rules: impl Iterator<Item = &'a Rule>) -> String {
    let (mut into, mut out) = (String::new(), String::new());
    let list = |all: &[Ipv4Addr]| {
        let all: Vec<String> = all.iter().map(Ipv4Addr::to_string).collect();
        all.join(", ")
    };
    for rule in rules {
        match rule {
            Rule::DropFrom(peers) => {
                into += &format!("ip saddr {{ {} }} counter drop;\n", list(peers));
            }
            Rule::DropTo(peers) => {
                out += &format!("ip daddr {{ {} }} counter drop;\n", list(peers));
            }
            Rule::Lossy(percent) => {
                into += &format!(
                    "ip saddr != {BRIDGE} numgen random mod 100 < {percent} counter drop;\n"
                );
                out += &format!(
                    "ip daddr != {BRIDGE} numgen random mod 100 < {percent} counter drop;\n"
                );
            }
            Rule::Slow(_) => {}
        }
    }
    format!(
        "table inet chaos\ndelete table inet chaos\ntable inet chaos {{\n\
         chain in {{ type filter hook input priority 0;\niif lo accept;\n{into}}}\n\
         chain out {{ type filter hook output priority 0;\noif lo accept;\n{out}}}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_a_cut_is_a_rule_of_its_own() {
        let peer = vec![Ipv4Addr::new(10, 77, 1, 1)];
        let rules = [
            Rule::DropFrom(peer.clone()),
            Rule::DropTo(peer),
            Rule::Lossy(30),
        ];
        let table = table(rules.iter());
        assert_eq!(table.matches("saddr { 10.77.1.1 } counter drop").count(), 1);
        assert_eq!(table.matches("daddr { 10.77.1.1 } counter drop").count(), 1);
        assert_eq!(table.matches("mod 100 < 30").count(), 2);
    }
}
