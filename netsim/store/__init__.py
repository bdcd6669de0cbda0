"""The cluster's memory: versioned objects, their indexes, and the events of their changes.

``store`` writes, ``reader`` reads, ``selectors`` match labels, ``admission`` does to a request what the
API server does before it stores one. Nothing here speaks HTTP, waits, or reads a clock.
"""
