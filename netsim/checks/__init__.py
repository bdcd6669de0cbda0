"""Expectations to verdicts: one engine for a Topology's checks, for labs, grading and pytest.

``verbs`` holds the one list of what can be checked; each verb has a module with what it does and how each of
its ``expect`` keys is judged. ``targets`` says what ``svc/dev/ent`` stands for; ``walk`` tells of captured
packets; ``report`` runs checks and says how they went. Import the modules, not this package.
"""
