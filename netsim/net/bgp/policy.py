"""What becomes of a route's attributes on the way in and on the way out, and which routes stay behind.

RFC 4271 sections 5.1 and 9, RFC 4456 section 8 (route reflection), RFC 1997 (well-known communities).
"""

from __future__ import annotations

from typing import NamedTuple

from netsim.net.bgp.decision import DEFAULT_LOCAL_PREF, Path, Source
from netsim.net.bgp.settings import SpeakerSettings
from netsim.wire.bgp_attributes import (
    AS_SEQUENCE,
    LONGEST_SEGMENT,
    NO_ADVERTISE,
    NO_EXPORT,
    NO_EXPORT_SUBCONFED,
    PARTIAL,
    TRANSITIVE,
    PathAttributes,
    Segment,
)


class Neighbour(NamedTuple):
    """What the routing tables know of an established peer."""

    source: Source
    next_hop_self: bool
    own_as_allowed: int

    @property
    def audience(self) -> Audience:
        return Audience(self.source.external, self.source.client, self.next_hop_self, self.source.local)


class Audience(NamedTuple):
    """Peers that are told the same."""

    external: bool
    client: bool
    next_hop_self: bool
    local: bytes


def imported(attributes: PathAttributes, neighbour: Neighbour, own: SpeakerSettings) -> PathAttributes | None:
    """The attributes that count here, or None for a route that must not be used.

    Refused are routes through ourselves: by AS path, next hop, ORIGINATOR_ID or CLUSTER_LIST. Attributes
    that mean something inside an AS only are not taken from an external peer.
    """
    path = attributes.as_path or ()
    if sum(segment.asns.count(own.asn) for segment in path) > neighbour.own_as_allowed:
        return None
    if attributes.next_hop == neighbour.source.local:
        return None
    if neighbour.source.external:
        attributes = attributes._replace(local_pref=DEFAULT_LOCAL_PREF, originator_id=None, cluster_list=())
    elif attributes.originator_id == own.identifier.packed or own.cluster in attributes.cluster_list:
        return None
    elif attributes.local_pref is None:
        attributes = attributes._replace(local_pref=DEFAULT_LOCAL_PREF)
    if attributes.unknown:
        attributes = attributes._replace(
            unknown=tuple(item for item in attributes.unknown if item.flags & TRANSITIVE)
        )
    return attributes


def exported(path: Path, to: Audience, own: SpeakerSettings) -> PathAttributes | None:
    """What an audience hears of a route, or None when it hears nothing of it."""
    attributes = path.attributes
    if NO_ADVERTISE in attributes.communities:
        return None
    if attributes.unknown:
        attributes = attributes._replace(
            unknown=tuple(item._replace(flags=item.flags | PARTIAL) for item in attributes.unknown)
        )
    if to.external:
        return _for_external(attributes, path, to, own)
    if path.local or path.source.external:
        if path.local or to.next_hop_self:
            attributes = attributes._replace(next_hop=to.local)
        return attributes
    return _reflected(attributes, path.source, to, own)


def _for_external(
    attributes: PathAttributes, path: Path, to: Audience, own: SpeakerSettings
) -> PathAttributes | None:
    """Our AS in front, ourselves as next hop, and nothing that is the AS's own affair (section 5.1).

    Between external peers on one wire of ours the next hop stays, for they reach each other without us: the
    second form of "third party" next hop of section 5.1.3. Here, one wire is one address of ours.
    """
    if NO_EXPORT in attributes.communities or NO_EXPORT_SUBCONFED in attributes.communities:
        return None
    return attributes._replace(
        as_path=prepended(own.asn, attributes.as_path or ()),
        next_hop=attributes.next_hop if _neighbours(path.source, to) else to.local,
        med=attributes.med if path.local else None,
        local_pref=None,
        originator_id=None,
        cluster_list=(),
    )


def _neighbours(source: Source, to: Audience) -> bool:
    """Whether a route's source and its audience are external peers on one wire."""
    return source.external and source.local == to.local and not to.next_hop_self


def prepended(asn: int, path: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """RFC 4271 section 5.1.2 b: into the first segment, or into a new one before a set or a full one."""
    if path and path[0].kind == AS_SEQUENCE and len(path[0].asns) < LONGEST_SEGMENT:
        return (Segment(AS_SEQUENCE, (asn, *path[0].asns)), *path[1:])
    return (Segment(AS_SEQUENCE, (asn,)), *path)


def _reflected(
    attributes: PathAttributes, source: Source, to: Audience, own: SpeakerSettings
) -> PathAttributes | None:
    """Internal routes go from clients to all, from others to clients, and else nowhere (RFC 4456)."""
    if not (source.client or to.client):
        return None
    return attributes._replace(
        next_hop=to.local if to.next_hop_self else attributes.next_hop,
        originator_id=attributes.originator_id or source.identifier,
        cluster_list=(own.cluster, *attributes.cluster_list),
    )
