"""What users declare: Kubernetes objects and the Topology, as frozen values, and the files they come in.

``meta``, ``core``, ``discovery`` and ``apps`` hold the objects; ``codec`` turns them into JSON documents
and back; ``manifest`` reads files and reports every mistake with file, line and column; ``topology`` is
the Topology. No behaviour lives here: controllers and the components give these values their meaning.
"""
