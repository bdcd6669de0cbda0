"""The asyncio edge: operating-system sockets and supervised tasks. netsim's rules are elsewhere."""
