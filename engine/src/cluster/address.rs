//! Where a process listens, and under which addresses others may reach it.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{Error, SettingsError};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The address at which a process with this line in the hosts file listens: a loopback address or an IP address as the
/// line has it. For a name the process listens at all addresses, since a name may mean another address on this machine.
///
/// # Errors
/// [`SettingsError::NoClusterKey`] for an address that others can reach, unless the cluster `is_open` to them.
pub(super) async fn at_host(host: &str, is_open: bool) -> Result<SocketAddr, Error> {
    let looked_up = tokio::net::lookup_host(host).await;
    let addresses: Vec<SocketAddr> = looked_up.into_iter().flatten().collect();
    if let Some(&first) = addresses.first()
        && addresses.iter().all(|address| address.ip().is_loopback())
    {
        return Ok(first);
    }
    if !is_open {
        let host = host.to_owned();
        return Err(SettingsError::NoClusterKey { host }.into());
    }
    match host.parse() {
        Ok(address) => Ok(address),
        Err(_) => Ok(everywhere(port_of(host).unwrap_or(0))),
    }
}

/// The address to listen at of a process that tells the others where it is.
///
/// # Errors
/// As [`at_host`].
pub(super) fn to_advertise(advertise: Option<&str>, is_open: bool) -> Result<SocketAddr, Error> {
    let port = advertise.and_then(port_of).unwrap_or(0);
    match (is_open, advertise) {
        (true, _) => Ok(everywhere(port)),
        (false, None) => Ok((LOOPBACK, port).into()),
        (false, Some(host)) => {
            let host = host.to_owned();
            Err(SettingsError::NoClusterKey { host }.into())
        }
    }
}

/// The addresses under which others may reach a process that listens at a port: the advertised address, or all addresses
/// of this machine, the loopback address last.
///
/// # Errors
/// [`Error::Io`] if the system does not list its addresses.
pub(super) fn addresses(
    advertise: Option<&str>,
    port: u16,
    is_open: bool,
) -> Result<Vec<String>, Error> {
    if let Some(host) = advertise {
        return Ok(vec![match port_of(host) {
            Some(_) => host.to_owned(),
            None => format!("{host}:{port}"),
        }]);
    }
    let mut ips = vec![LOOPBACK];
    if is_open {
        let interfaces = if_addrs::get_if_addrs()
            .map_err(|source| Error::io("asking for the addresses of this machine", source))?;
        let of_interfaces = interfaces.iter().map(|interface| interface.ip());
        ips.extend(of_interfaces.filter(|ip| !ip.is_loopback() && !is_link_local(ip)));
        ips.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    }
    Ok(ips
        .into_iter()
        .map(|ip| SocketAddr::new(ip, port).to_string())
        .collect())
}

/// Such an address says nothing without the name of an interface.
fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// The port of `HOST:PORT`; `None` for a host without one. An IPv6 address with a port is written `[ADDRESS]:PORT`.
pub(super) fn port_of(host: &str) -> Option<u16> {
    if host.parse::<Ipv6Addr>().is_ok() {
        return None;
    }
    host.rsplit_once(':')?.1.parse().ok()
}

fn everywhere(port: u16) -> SocketAddr {
    // A machine without IPv6 refuses to bind an IPv6 address.
    let any = match std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Err(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    (any, port).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_key_a_process_listens_on_this_machine_alone() {
        for host in ["127.0.0.1:7001", "127.0.0.2:7001", "[::1]:7001"] {
            let address = at_host(host, false).await.unwrap();
            assert_eq!(address, host.parse().unwrap());
        }
        for host in ["10.1.2.3:7001", "0.0.0.0:7001", "no-such-name.invalid:7001"] {
            let error = at_host(host, false).await.unwrap_err();
            assert!(error.is_usage(), "{error}");
        }
        assert!(to_advertise(None, false).unwrap().ip().is_loopback());
        assert!(
            to_advertise(Some("10.1.2.3"), false)
                .unwrap_err()
                .is_usage()
        );
        assert_eq!(addresses(None, 7, false).unwrap(), ["127.0.0.1:7"]);
    }

    #[tokio::test]
    async fn with_a_key_a_name_is_listened_for_everywhere() {
        let address = at_host("no-such-name.invalid:7001", true).await.unwrap();
        assert!(address.ip().is_unspecified());
        assert_eq!(address.port(), 7001);
    }

    #[test]
    fn an_advertised_address_is_the_only_one() {
        assert_eq!(addresses(Some("node-a"), 7, true).unwrap(), ["node-a:7"]);
        assert_eq!(addresses(Some("node-a:9"), 7, true).unwrap(), ["node-a:9"]);
        assert_eq!(to_advertise(Some("node-a:9"), true).unwrap().port(), 9);
    }
}
