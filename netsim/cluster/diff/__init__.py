"""What differs between clusters: every (client, destination) whose outcome is another one, and why.

``netsim diff`` calls it. ``sides`` opens the clusters; ``subjects`` says who asks for what, in names that
mean the same in all of them, and ``grouping`` who stands for whom; ``probe`` asks, with real connections;
``outcome`` is what came of it, and how two outcomes differ; ``comparison`` puts differences of one kind
together; ``explain`` asks once more for one of each kind, and reads the reasons from its packets.
"""

from netsim.cluster.diff.comparison import Comparison, Difference, compare
from netsim.cluster.diff.sides import Side, Variant, opened
from netsim.cluster.diff.subjects import Wanted

__all__ = ["Comparison", "Difference", "Side", "Variant", "Wanted", "compare", "opened"]
