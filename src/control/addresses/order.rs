//! The order in which addresses are dialled: families in turns, IPv6 first (RFC 8305 §4), and behind all others those to which
//! this host has no route (RFC 6724 §5, rule 1), so that a host without IPv6 loses no time with it.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Puts addresses in order.
pub fn ordered(addresses: &[IpAddr]) -> Vec<IpAddr> {
    order_by(addresses, has_route)
}

fn order_by(addresses: &[IpAddr], has_route: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
    let (near, far): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().copied().partition(|address| has_route(*address));
    let mut order = in_turns(&near);
    order.extend(in_turns(&far));
    order
}

fn in_turns(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut six = addresses.iter().filter(|address| address.is_ipv6());
    let mut four = addresses.iter().filter(|address| address.is_ipv4());
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(six.next());
        order.extend(four.next());
    }
    order
}

/// Connecting a datagram socket sends nothing; it only looks for a route.
fn has_route(address: IpAddr) -> bool {
    let any: SocketAddr = match address {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    UdpSocket::bind(any).and_then(|socket| socket.connect((address, 443))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_dialled_only_after_the_other_has_failed_as_a_whole() {
        let all: Vec<IpAddr> =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"].map(|a| a.parse().unwrap()).into();
        let text = |order: Vec<IpAddr>| order.iter().map(ToString::to_string).collect::<Vec<_>>();
        let in_turns = ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "192.0.2.3"];
        assert_eq!(text(order_by(&all, |_| true)), in_turns);
        assert_eq!(text(order_by(&all, |_| false)), in_turns);
        let four_first = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"];
        assert_eq!(text(order_by(&all, |address| address.is_ipv4())), four_first);
        assert_eq!(ordered(&["127.0.0.1".parse().unwrap()]).len(), 1);
    }
}
