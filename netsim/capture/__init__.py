"""Captured packets: records in, pcapng and text out.

``record`` is what taps fill, and ``journeys`` puts the records of a packet together; ``pcapng`` writes and
reads files; ``dissect`` turns a frame into layers and into one line; ``filter`` is the language of
``--filter``; ``render`` prints lists of packets and the details of one; ``profile`` sets Wireshark up for
these files. Nothing here changes a packet, and no reason is invented: what a capture explains was noted where
it was decided. Import the modules, not this package.
"""
