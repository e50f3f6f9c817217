//! Who a container has spoken to by TCP, as the kernel remembers it: what is open, and for a minute what was.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::container::{Container, ContainerEngine, ContainerSpec, LABEL_HELPER};
use super::error::{Error, Result};

/// One TCP connection of a container's network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Connection {
    pub local: String,
    pub local_port: u16,
    pub remote: String,
    pub remote_port: u16,
    /// Whether it is over: the side that ended it keeps it for a minute.
    pub is_over: bool,
}

const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// The connections of a running container, looked at by a helper of `image` in its network.
pub fn connections(engine: &dyn ContainerEngine, container: &Container, image: &str) -> Result<Vec<Connection>> {
    let spec = ContainerSpec {
        image: Some(image.to_owned()),
        entrypoint: Some(vec!["cat".into()]),
        command: Some(TABLES.map(str::to_owned).to_vec()),
        labels: Some(BTreeMap::from([(LABEL_HELPER.to_owned(), "connections".to_owned())])),
        network: Some(format!("container:{}", container.id)),
        ..ContainerSpec::default()
    };
    let output = engine.run(&spec)?;
    // Without IPv6 there is no second table.
    let text = String::from_utf8_lossy(&output.stdout);
    if text.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let message = format!("the connections of {} can't be seen from {image}: {said}", container.name);
        return Err(Error::failed("docker.failed", message));
    }
    Ok(parse(&text))
}

/// Lines of `/proc/net/tcp`; those that listen, and heads, are left out.
fn parse(tables: &str) -> Vec<Connection> {
    let mut found: Vec<_> = tables.lines().filter_map(connection).collect();
    found.sort();
    found
}

fn connection(line: &str) -> Option<Connection> {
    const TIME_WAIT: u8 = 6;
    const LISTEN: u8 = 10;
    let mut words = line.split_whitespace().skip(1);
    let ((local, local_port), (remote, remote_port)) = (end(words.next()?)?, end(words.next()?)?);
    let state = u8::from_str_radix(words.next()?, 16).ok().filter(|state| *state != LISTEN)?;
    Some(Connection { local, local_port, remote, remote_port, is_over: state == TIME_WAIT })
}

/// `020019AC:1538`: an address as the machine holds its words, and a port.
fn end(text: &str) -> Option<(String, u16)> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_le_bytes());
    let address = match address.len() {
        8 => Ipv4Addr::from(word(0)?).to_string(),
        32 => {
            let bytes: Vec<u8> = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            address.to_ipv4_mapped().map_or_else(|| address.to_string(), |mapped| mapped.to_string())
        }
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B00007F:B699 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2580210 1 \
   00000000f94dcd37 100 0 0 10 0
   1: 030019AC:91DA 020019AC:1538 06 00000000:00000000 03:0000147E 00000000     0        0 0 3 000000004a2c8
   2: 030019AC:91E2 020019AC:1538 01 00000000:00000000 03:00001568 00000000     0        0 0 3 000000006aa23605
  sl  local_address                         remote_address                        st tx_queue
   0: 0000000000000000FFFF0000020019AC:1538 0000000000000000FFFF0000030019AC:91E2 01 00000000:00000000 00:0 0
   1: 000080FE000000000000000001000000:1538 000080FE000000000000000002000000:0050 01 00000000:00000000 00:0 0
";

    #[test]
    fn a_connection_that_is_over_is_still_known() {
        let connection = |local: (&str, u16), remote: (&str, u16), is_over| {
            let (local, local_port, remote, remote_port) = (local.0.into(), local.1, remote.0.into(), remote.1);
            Connection { local, local_port, remote, remote_port, is_over }
        };
        let expected = [
            connection(("172.25.0.2", 5432), ("172.25.0.3", 37346), false),
            connection(("172.25.0.3", 37338), ("172.25.0.2", 5432), true),
            connection(("172.25.0.3", 37346), ("172.25.0.2", 5432), false),
            connection(("fe80::1", 5432), ("fe80::2", 80), false),
        ];
        assert_eq!(parse(TABLES), expected);
        assert_eq!(parse("cat: /proc/net/tcp6: No such file or directory\n\n1: x y z\n"), []);
    }
}
