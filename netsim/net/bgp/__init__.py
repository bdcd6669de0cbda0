"""A BGP-4 speaker as a machine: events in, commands out, no socket and no clock.

Read ``speaker.py`` first: it ties the peers' sessions (``peer.py``, ``session.py``, ``states.py``) to the
routing tables (``rib.py``, ``decision.py``, ``policy.py``). ``render.py`` prints what birdc would.
``programs.bgp`` gives it sockets.
"""
