"""What runs on every node: Pod programs are started, given their files and environment, probed and reported.

``files.py`` and ``environment.py`` are pure functions of the Pod and its node.
"""
