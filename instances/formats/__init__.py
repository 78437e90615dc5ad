"""The file formats. One module each, with ``parse(text, source) -> Instance`` and, where it writes, ``render``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["FORMATS", "Format"]


@dataclass(frozen=True)
class Format:
    """How to recognise a format by suffix and by the first 4,096 characters, and which module knows it."""

    name: str
    problem: str
    suffixes: tuple[str, ...]
    sniff: Callable[[str], bool]
    module: str
    writes: bool = False


def _pattern(expression: str) -> Callable[[str], bool]:
    compiled = re.compile(expression, re.IGNORECASE | re.MULTILINE)
    return lambda head: compiled.search(head) is not None


FORMATS: tuple[Format, ...] = (
    Format(
        "cluster-json",
        "cluster-placement",
        (".json",),
        _pattern(r'"problem"\s*:\s*"cluster-placement"'),
        "apportion.instances.formats.cluster_json",
        writes=True,
    ),
    Format(
        "fleet-json",
        "fleet-allocation",
        (".json",),
        _pattern(r'"problem"\s*:\s*"fleet-allocation"'),
        "apportion.instances.formats.fleet_json",
        writes=True,
    ),
    Format(
        "openb",
        "cluster-placement",
        (".csv",),
        _pattern(r"\A\s*name,cpu_milli,memory_mib,num_gpu,gpu_milli"),
        "apportion.instances.formats.openb",
    ),
    Format(
        "vrplib-rich",
        "rich-routing",
        (".vrp",),
        _pattern(r"^\s*TYPE\s*:\s*(HFVRP|MDVRP|MDVRPTW|SDVRPTW|PCVRPTW|MTVRPTWR|VRPB|GVRP|RICH)\s*$"),
        "apportion.instances.formats.vrplib_rich",
    ),
    Format(
        "li-lim",
        "rich-routing",
        (".txt",),
        _pattern(r"\A\s*\d+\s+\d+\s+\d+\s*\n\s*0(\s+-?[\d.]+){8}\s*$"),
        "apportion.instances.formats.li_lim",
    ),
    Format(
        "cordeau",
        "rich-routing",
        (".txt",),
        _pattern(r"\A\s*2\s+\d+\s+\d+\s+\d+\s*\n\s*\d+\s+\d+\s*$"),
        "apportion.instances.formats.cordeau",
    ),
    Format(
        "rich-json",
        "rich-routing",
        (".json",),
        _pattern(r'"problem"\s*:\s*"rich-routing"'),
        "apportion.instances.formats.rich_json",
        writes=True,
    ),
    Format(
        "vrplib",
        "vehicle-routing",
        (".vrp",),
        _pattern(r"^\s*DIMENSION\s*:"),
        "apportion.instances.formats.vrplib",
        writes=True,
    ),
    Format(
        "solomon",
        "vehicle-routing",
        (".txt",),
        _pattern(r"^\s*VEHICLE\s*$[\s\S]*^\s*CUSTOMER\s*$"),
        "apportion.instances.formats.solomon",
        writes=True,
    ),
    Format(
        "power-json",
        "optimal-power-flow",
        (".json",),
        _pattern(r'"problem"\s*:\s*"optimal-power-flow"'),
        "apportion.instances.formats.power_json",
        writes=True,
    ),
    Format(
        "matpower",
        "optimal-power-flow",
        (".m",),
        _pattern(r"^\s*mpc\.\w+\s*=|^\s*function\s+mpc\b"),
        "apportion.instances.formats.matpower",
    ),
    Format(
        "egret",
        "security-constrained-commitment",
        (".json",),
        _pattern(r'"elements"\s*:\s*\{|"time_period_length_minutes"\s*:'),
        "apportion.instances.formats.egret_json",
    ),
    Format(
        "rts-gmlc",
        "unit-commitment",
        (".json",),
        _pattern(r'"rts_gmlc"\s*:'),
        "apportion.instances.formats.rts_gmlc",
    ),
    Format(
        "security-json",
        "security-constrained-commitment",
        (".json",),
        _pattern(r'"problem"\s*:\s*"security-constrained-commitment"'),
        "apportion.instances.formats.security_json",
        writes=True,
    ),
    Format(
        "unitcommitment-jl",
        "security-constrained-commitment",
        (".json",),
        _pattern(
            r'"(Time horizon \((h|min)\)|Time \(h\)|Production cost curve \((MW|\$)\)|Power balance penalty \(\$/MW\))"'
        ),
        "apportion.instances.formats.unitcommitment_jl",
    ),
    Format(
        "pglib-uc",
        "unit-commitment",
        (".json",),
        _pattern(r'"(thermal_generators|time_periods|renewable_generators|reserves|demand)"\s*:'),
        "apportion.instances.formats.pglib_uc",
        writes=True,
    ),
    Format(
        "mps",
        "mixed-integer-program",
        (".mps",),
        _pattern(r"^(NAME\b|ROWS\s*$)"),
        "apportion.instances.formats.mps",
        writes=True,
    ),
    Format(
        "lp",
        "mixed-integer-program",
        (".lp",),
        _pattern(r"^\s*(min|max)(imi[sz]e)?\b|^\s*(subject to|such that|st|s\.t\.)\s*:?\s*$"),
        "apportion.instances.formats.lp",
        writes=True,
    ),
)
"""Every format, the first match wins."""
