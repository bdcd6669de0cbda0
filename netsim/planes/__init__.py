"""Where a plan becomes a network that packets cross: ``sim`` in this process, in virtual time.

``protocol`` says what a plane must do; a second plane in Linux network namespaces has its place beside
``sim``. The planes do not know each other.
"""
