"""What a planted bug is. Not here: the bugs (catalogue.py, watches.py)."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """One planted bug."""

    name: str
    module: str
    old: str
    new: str
    safety: bool = True
