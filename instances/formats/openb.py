"""The openb trace of GPU clusters: a CSV of pods and, beside it, a CSV of nodes.

Pods have ``name, cpu_milli, memory_mib, num_gpu, gpu_milli`` and perhaps ``gpu_spec`` (GPU types joined by ``|``);
nodes ``sn, cpu_milli, memory_mib, gpu, model``. Further columns, such as the times of a pod, are not needed here.
Source: the FGD simulator (Weng et al., USENIX ATC 2023), folder ``data/csv``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from apportion.instances.cluster import MOST_AMOUNT, ClusterPlacement, Nodes, Tasks
from apportion.instances.errors import Fault, InstanceError
from apportion.instances.files import read_text
from apportion.instances.validation import FaultList

if TYPE_CHECKING:
    from apportion.instances.reading import Source

NODE_FILE = "openb_node_list_gpu_node.csv"
"""The list of nodes that is taken from the folder of the pods when none is named."""

_POD_NUMBERS = ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
_NODE_NUMBERS = ("cpu_milli", "memory_mib", "gpu")
_MOST_SHOWN = 20
_MOST_DIGITS = 18

Row = tuple[int, dict[str, str]]


def parse(text: str, source: Source) -> ClusterPlacement:
    """Read a list of pods, and the nodes from the companion ``nodes`` or from :data:`NODE_FILE` beside it.

    Raises
    ------
    InstanceError
        With line, column and value of every fault; also when there is no list of nodes.
    """
    faults = FaultList(str(source.path))
    tasks = _tasks(list(_rows(text, ("name", *_POD_NUMBERS), faults)), faults)
    faults.raise_if_any()
    nodes_path = _nodes_path(source)
    node_faults = FaultList(str(nodes_path))
    nodes = _nodes(list(_rows(read_text(nodes_path), ("sn", *_NODE_NUMBERS, "model"), node_faults)), node_faults)
    node_faults.raise_if_any()
    return ClusterPlacement(source.name, nodes, tasks)


def _nodes_path(source: Source) -> Path:
    given = source.companions.get("nodes")
    if given is not None:
        return given
    for name in (NODE_FILE, f"{NODE_FILE}.gz"):
        if (beside := source.path.parent / name).is_file():
            return beside
    hint = "name the list of nodes with --nodes FILE"
    raise InstanceError(str(source.path), [Fault("", f"has no {NODE_FILE} beside it", hint=hint)])


def _rows(text: str, needed: tuple[str, ...], faults: FaultList) -> Iterator[Row]:
    """Yield line number and cells by column of every row that has as many cells as the header."""
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        missing = [column for column in needed if column not in header]
        if missing or len(set(header)) != len(header):
            message = f"lacks the column {missing[0]}" if missing else "names a column twice"
            faults.add("line 1", message, ",".join(header), f"the header begins {','.join(needed)}")
            return
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                faults.add(f"line {reader.line_num}", f"must have {len(header)} cells", len(cells), "it was cut off")
            else:
                yield reader.line_num, dict(zip(header, cells, strict=True))
            if len(faults.faults) >= _MOST_SHOWN:
                return
    except csv.Error as error:
        faults.add(f"line {reader.line_num}", f"is not CSV ({error})")


def _tasks(rows: list[Row], faults: FaultList) -> Tasks:
    names = _identifiers(rows, "name", faults)
    cpu, memory, gpus, milli = (_numbers(rows, column, faults) for column in _POD_NUMBERS)
    for position, (line, row) in enumerate(rows):
        _check_share(line, row, gpus[position], milli[position], faults)
    allowed = [tuple(dict.fromkeys(filter(None, row.get("gpu_spec", "").strip().split("|")))) for _, row in rows]
    faults.raise_if_any()
    return Tasks.build(names, cpu, memory, gpus, milli, allowed)


def _nodes(rows: list[Row], faults: FaultList) -> Nodes:
    names = _identifiers(rows, "sn", faults)
    cpu, memory, gpus = (_numbers(rows, column, faults) for column in _NODE_NUMBERS)
    faults.raise_if_any()
    return Nodes.build(names, cpu, memory, gpus, [row["model"].strip() for _, row in rows])


def _identifiers(rows: list[Row], column: str, faults: FaultList) -> list[str]:
    seen: dict[str, int] = {}
    for line, row in rows:
        name = row[column].strip()
        if not name:
            faults.add(f"line {line}, {column}", "is empty")
        elif name in seen:
            faults.add(f"line {line}, {column}", f"repeats the identifier of line {seen[name]}", name)
        seen.setdefault(name, line)
    return [row[column].strip() for _, row in rows]


def _numbers(rows: list[Row], column: str, faults: FaultList) -> list[int]:
    return [_number(row[column], f"line {line}, {column}", faults) for line, row in rows]


def _number(cell: str, place: str, faults: FaultList) -> int:
    """A whole number from 0 up; a trailing ``.0`` is accepted, as pandas writes it."""
    digits = cell.strip().removesuffix(".0")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > _MOST_DIGITS or int(digits) > MOST_AMOUNT:
        faults.add(place, f"must be a whole number from 0 to {MOST_AMOUNT:g}", cell)
        return 0
    return int(digits)


def _check_share(line: int, row: dict[str, str], gpus: int, milli: int, faults: FaultList) -> None:
    if gpus > 1 and 0 < milli < 1000:
        faults.add(f"line {line}, gpu_milli", "must be 1000 for a task on several GPUs", row["gpu_milli"])
    if milli > 1000:
        faults.add(f"line {line}, gpu_milli", "must be at most 1000", row["gpu_milli"])
