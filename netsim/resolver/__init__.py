"""Pod-side name resolution: resolv.conf, /etc/hosts and the stub resolvers of the C libraries.

``commands.py`` holds the vocabulary between a resolver machine and whoever drives it, ``glibc.py`` and
``glibc_send.py`` the machine of the GNU C library, ``resolvconf.py`` what a resolv.conf means to it and what
the kubelet writes into a Pod's. A machine is a plain generator: it yields commands and is resumed with events,
so that it runs on virtual time, on real sockets and in tests alike. Nothing here opens a socket.
"""
