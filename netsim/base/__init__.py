"""The ground floor: errors, causes, chance and address helpers that every room may use.

Nothing here knows a packet, a Kubernetes object or a clock. Import the modules, not this package.
"""
