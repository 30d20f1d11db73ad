"""Tells public addresses from others: the name of a host in a job may only lead to those."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_UNICAST = IPv6Network("2000::/3")
_TRANSLATED = IPv6Network("64:ff9b::/96")  # a gateway turns it into IPv4 (RFC 6052)


def is_public(text: str) -> bool:
    """Return whether an address is one of the public internet.

    Addresses that are loopback, private, link-local, multicast, unspecified or reserved are not;
    nor are IPv6 forms of such IPv4 addresses.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return _is_public_v4(address)
    carried = _carried(address)
    if carried is not None:
        return _is_public_v4(carried)
    # is_global alone is true for whole ranges that are not allocated, or no longer.
    return address in _UNICAST and address.is_global


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not address.is_multicast


def _carried(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that packets to this address are sent on to, or None."""
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
