"""The hashes by which versions of a template are named."""

from __future__ import annotations

import json
from typing import Any

from netsim.objects.apps import PodTemplateSpec
from netsim.objects.codec import document_from_value
from netsim.store.store import ALPHANUMS


def template_hash(template: PodTemplateSpec, collisions: int = 0) -> str:
    """The ``pod-template-hash`` of a template: FNV-1a, 32 bits, in Kubernetes' safe alphabet.

    Kubernetes hashes a dump of Go structures (``pkg/controller/controller_utils.go``, ComputeHash), netsim
    the template's document: same shape, other value.
    """
    return document_hash(document_from_value(template), collisions)


def document_hash(document: Any, collisions: int = 0) -> str:
    """The same of any document; ``collisions`` gives another value for the same one."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    if collisions:
        text += str(collisions)
    return safe_encode(str(fnv_1a(text.encode())))


def fnv_1a(data: bytes) -> int:
    """Fowler, Noll and Vo's hash FNV-1a of 32 bits (draft-eastlake-fnv)."""
    value = 0x811C9DC5
    for octet in data:
        value = ((value ^ octet) * 0x01000193) & 0xFFFFFFFF
    return value


def safe_encode(text: str) -> str:
    """apimachinery ``util/rand.SafeEncodeString``: no vowels, so that no hash is a word."""
    return "".join(ALPHANUMS[octet % len(ALPHANUMS)] for octet in text.encode())
