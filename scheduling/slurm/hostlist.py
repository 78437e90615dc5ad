"""Slurm's short form of names: ``a100-[1-2,4],t4-1``."""

from __future__ import annotations

import re

_MOST = 100_000
_PART = re.compile(r"[^,\[\]]*(?:\[[^\]]*\][^,\[\]]*)*")
_BRACKET = re.compile(r"\[([^\]]*)\]")


def expand(text: str) -> tuple[str, ...]:
    """All names, in their order; what is no hostlist is taken as it is.

    Examples
    --------
    >>> expand("a100-[1-2,4],t4-1")
    ('a100-1', 'a100-2', 'a100-4', 't4-1')
    >>> expand("n[08-10]")
    ('n08', 'n09', 'n10')
    """
    names: list[str] = []
    for part in _PART.findall(text):
        if part:
            names.extend(_one(part, _MOST - len(names)))
    return tuple(names[:_MOST])


def _one(part: str, most: int) -> list[str]:
    bracket = _BRACKET.search(part)
    if bracket is None:
        return [part]
    before, after = part[: bracket.start()], part[bracket.end() :]
    found: list[str] = []
    tails = _one(after, most) if after else [""]
    for item in bracket.group(1).split(","):
        low, dash, high = item.partition("-")
        if dash and low.isdigit() and high.isdigit():
            last = min(int(high), int(low) + most)
            middles = [str(n).zfill(len(low)) for n in range(int(low), last + 1)]
        else:
            middles = [item]
        found.extend(f"{before}{middle}{tail}" for middle in middles for tail in tails)
        if len(found) > most:
            break
    return found[:most]
