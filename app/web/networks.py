"""The network of a client, which limits count instead of its address."""

import ipaddress

IPV6_NETWORK = 64  # bits: one subscriber's network (RFC 6177), which has too many addresses to count each
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # IPv4 addresses written as IPv6 (RFC 6052)


def network_of(address: str | None) -> str:
    """An IPv4 address or an IPv6 /64.  All invalid addresses are one network, the empty text."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        embedded = ipaddress.IPv4Address(parsed.packed[-4:]) if parsed in NAT64 else parsed.ipv4_mapped
        return str(embedded or ipaddress.ip_network((parsed, IPV6_NETWORK), strict=False))
    return str(parsed)
