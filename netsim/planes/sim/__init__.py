"""The sim plane: every host a ``net.Stack``, one event heap, virtual time, deterministic to the byte."""
