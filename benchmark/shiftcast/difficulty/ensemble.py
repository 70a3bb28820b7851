"""Who judges difficulty for a scored run: never a member of its own family, always M members."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shiftcast.difficulty.scores import MINIMUM_MEMBERS
from shiftcast.errors import InvalidInputError


def choose_members(
    members: Sequence[tuple[str, str]], reserves: Sequence[tuple[str, str]], family: str
) -> list[str]:
    """Return the reference ensemble for a scored run of `family`.

    Each member of the scored run's own family is replaced, in its place, by the next reserve
    whose family is neither the scored one nor that of another member, so that every run of a
    suite is judged by the same number of members.

    Parameters
    ----------
    members
        (name, family) of the ensemble, at least three.
    reserves
        (name, family) of those who step in, in the order in which they are asked.
    family
        Family of the scored run.

    Returns
    -------
    list[str]
        Names, as many as there are members and in their order.

    Raises
    ------
    InvalidInputError
        If there are fewer than three members, or the reserves run out.
    """
    if len(members) < MINIMUM_MEMBERS:
        raise InvalidInputError(
            f"reference ensemble: expected at least {MINIMUM_MEMBERS} members, got {len(members)}"
        )
    taken = {family} | {own for _, own in members}
    waiting = iter(reserves)
    return [
        name if own != family else _next_reserve(waiting, taken, f"member {name!r} of family {family!r}")
        for name, own in members
    ]


def _next_reserve(waiting: Iterator[tuple[str, str]], taken: set[str], whom: str) -> str:
    for name, family in waiting:
        if family not in taken:
            taken.add(family)
            return name
    raise InvalidInputError(
        f"reference ensemble: no reserve is left to replace {whom}; name one more reserve, of a family "
        f"other than {', '.join(sorted(taken))}"
    )
