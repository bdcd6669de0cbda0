"""Codecs: one module per header, from bytes to a NamedTuple and back.

Everybody who makes or reads packets calls these. They hold no state, decide nothing, and raise
``WireError`` for bytes that are not what the protocol allows. Addresses are packed ``bytes``, as they
stand in the header. Import the modules, not this package.
"""
