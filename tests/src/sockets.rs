//! Which sockets of a process others can reach, as Linux tells.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state of a TCP socket that listens, as the kernel's tables spell it.
const LISTENS: &str = "0A";

/// Where `pid` and all processes that it began take connections, or datagrams.
///
/// # Panics
/// When the process is gone, or this is no Linux.
pub fn reachable(pid: u32) -> BTreeSet<SocketAddr> {
    family(pid)
        .into_iter()
        .flat_map(|pid| {
            let own = sockets_of(pid);
            let tables = ["tcp", "tcp6", "udp", "udp6"];
            tables.map(|table| table_of(pid, table, &own))
        })
        .flatten()
        .collect()
}

/// How many sockets the process holds.
pub fn held(pid: u32) -> usize {
    sockets_of(pid).len()
}

/// The process and those that it began, and so on.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(pid) = all.get(next) {
        let children = format!("/proc/{pid}/task");
        for thread in fs::read_dir(children).into_iter().flatten().flatten() {
            let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            all.extend(text.split_whitespace().flat_map(str::parse::<u32>));
        }
        next += 1;
    }
    all
}

/// The numbers of the sockets that the process holds.
fn sockets_of(pid: u32) -> BTreeSet<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let targets = files.flatten().flat_map(|file| fs::read_link(file.path()));
    targets
        .filter_map(|target| {
            let name = target.to_str()?.strip_prefix("socket:[")?;
            Some(name.strip_suffix(']')?.to_owned())
        })
        .collect()
}

/// Those of its sockets in one table of the kernel that others can reach.
fn table_of(pid: u32, table: &str, own: &BTreeSet<String>) -> Vec<SocketAddr> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
    let rows = text.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        // A datagram socket has no such state: whoever knows its port can send to it.
        let is_reachable = table.starts_with("udp") || *state == LISTENS;
        (is_reachable && own.contains(*inode)).then(|| address(local))
    });
    rows.flatten().collect()
}

/// `0100007F:1F90`: words of the address as the machine's own numbers, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let words: Vec<[u8; 4]> = (0..host.len() / 8)
        .map(|n| u32::from_str_radix(&host[n * 8..n * 8 + 8], 16).map(u32::to_ne_bytes))
        .collect::<Result<_, _>>()
        .ok()?;
    let host: IpAddr = match *words.as_slice() {
        [word] => Ipv4Addr::from(word).into(),
        [_, _, _, _] => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(host, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn what_listens_is_found_and_what_is_only_connected_is_not() {
        let four = TcpListener::bind("127.0.0.1:0").unwrap();
        let six = TcpListener::bind("[::1]:0").unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(four.local_addr().unwrap()).unwrap();
        let found = reachable(std::process::id());
        for address in [
            four.local_addr().unwrap(),
            six.local_addr().unwrap(),
            datagrams.local_addr().unwrap(),
        ] {
            assert!(found.contains(&address), "{address} of {found:?}");
        }
        assert!(!found.contains(&connected.local_addr().unwrap()));
    }
}
