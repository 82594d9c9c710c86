"""What a planted bug is: a text of a module, and another in its place."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """One planted bug."""

    name: str
    module: str
    old: str
    new: str
    safety: bool = True
