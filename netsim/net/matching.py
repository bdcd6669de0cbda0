"""Whether a packet is one that a netfilter rule is for; sets and virtual servers apart, which the host knows.

``Netfilter`` asks for each rule of a hook, in their order.
"""

from __future__ import annotations

from netsim.net.conntrack_tuple import tuple_from_packet
from netsim.net.packet import Packet
from netsim.net.tables import Filter


def matches(rule: Filter, packet: Packet, out_device: str) -> bool:
    """Whether a packet that leaves by a device (empty: none) meets the rule's conditions."""
    if rule.family != packet.family or (rule.invalid and packet.flow is not None):
        return False
    if rule.protocol is not None and rule.protocol != packet.protocol:
        return False
    if rule.out_device is not None and rule.out_device != out_device:
        return False
    if rule.in_device is not None and rule.in_device != packet.device:
        return False
    if rule.new and not _is_new(packet):
        return False
    if rule.destination_port is not None:
        key = tuple_from_packet(packet.data)
        if key is None or key.destination_port != rule.destination_port:
            return False
    source = int.from_bytes(packet.source, "big")
    destination = int.from_bytes(packet.destination, "big")
    return all((source & mask == network) is wanted for network, mask, wanted in rule.sources) and all(
        (destination & mask == network) is wanted for network, mask, wanted in rule.destinations
    )


def _is_new(packet: Packet) -> bool:
    """State NEW: a flow that has had no reply."""
    flow = packet.flow
    return flow is not None and not flow.seen_reply and not packet.reply and not packet.related
