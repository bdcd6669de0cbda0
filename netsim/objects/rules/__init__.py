"""The API server's validation of the kinds that netsim models, one module for each family of fields.

Each follows a file of Kubernetes 1.35 and gives the same messages; what concerns neither names, networks
nor the life of a Pod (volumes, security, resources) is left to the real API server. Every function takes a
part of a document that was read strictly and has its defaults, the path of that part, and the
``FieldErrors`` to add to. ``validate`` calls them.
"""
