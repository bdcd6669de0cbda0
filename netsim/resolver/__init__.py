"""Pod-side name resolution: resolv.conf, /etc/hosts and the stub resolvers of the C libraries.

``commands.py`` holds the vocabulary between a resolver machine and whoever drives it. ``glibc.py`` (names)
and ``glibc_send.py`` (packets) are the machine of the GNU C library. ``resolvconf.py`` says what a
resolv.conf means to it and what the kubelet writes into a Pod's; ``hosts.py`` reads /etc/hosts; ``order.py``
sorts addresses.

A machine is a plain generator, resumed with events, so that it runs on virtual time, on real sockets and in
tests alike. Nothing here opens a socket.
"""
