from __future__ import annotations

import json
import tempfile
from math import inf, isfinite
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.ledger import Ledger, Row, exit_code_of, rows_in
from apportion.solvers.status import Status

_TEXT = st.text(max_size=20)


@st.composite
def _rows(draw: st.DrawFn) -> Row:
    limit = draw(st.sampled_from([None, "time", "interrupted"]))
    result = draw(st.sampled_from([None, {"limit": limit, "status": "feasible"}]))
    return Row(
        name=draw(st.sampled_from(["a", "b", "c"])),
        file=draw(_TEXT),
        key=draw(st.sampled_from(["k1", "k2"])),
        exit_code=draw(st.sampled_from([0, 1, 3, 4, 5, 6, 70])),
        reason=draw(_TEXT),
        result=result,
        files=tuple(draw(st.lists(_TEXT, max_size=2))),
        history=tuple(draw(st.lists(st.just((0.5, "inf", 1.0)), max_size=2))),
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(_rows(), min_size=1, max_size=8), st.data())
def test_the_last_row_of_each_identity_comes_back(rows: list[Row], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        for row in rows:
            ledger.append(row)
        expected = {row.identity: row for row in rows}
        assert ledger.rows() == expected
        assert rows_in(Path(folder)) == expected
        assert list(ledger.rows().values())[-1] == rows[-1]


@settings(max_examples=40, deadline=None)
@given(st.lists(_rows(), min_size=2, max_size=5), _rows(), st.data())
def test_a_cut_anywhere_costs_only_the_line_it_cuts(rows: list[Row], later: Row, data: st.DataObject) -> None:
    rows = [Row(f"n{i}", row.file, row.key, row.exit_code, row.reason) for i, row in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        for row in rows:
            ledger.append(row)
        content = ledger.path.read_bytes()
        start = content[:-1].rfind(b"\n") + 1
        cut = data.draw(st.integers(start, len(content) - 1))
        ledger.path.write_bytes(content[:cut])
        whole = cut == len(content) - 1  # only the newline is missing
        kept = rows if whole else rows[:-1]
        assert list(ledger.rows().values()) == kept
        later = Row("later", later.file, later.key, 0)
        ledger.append(later)
        assert list(ledger.rows().values()) == [*kept, later]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([b"{}", b"[1]", b"null", b'{"name": 1}'])), max_size=6)
)
def test_rubbish_is_passed_over(lines: list[bytes]) -> None:
    row = Row("a", "a.mps", "k", 0)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        ledger.path.write_bytes(b"\n".join(lines))
        ledger.append(row)
        assert ledger.rows() == {row.identity: row}


def test_deep_rubbish_is_passed_over(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.path.write_bytes(b"[" * 100_000 + b"\n")
    ledger.append(Row("a", "a.mps", "k", 0))
    assert len(ledger.rows()) == 1


def test_final_rows() -> None:
    done = {"limit": "time", "status": "no solution"}
    assert Row("a", "f", "k", 1, result=done).is_final
    assert Row("a", "f", "k", 4, "bad").is_final
    assert not Row("a", "f", "k", 0, result={"limit": "interrupted"}).is_final
    assert not Row("a", "f", "k", 1, "killed at the hard limit").is_final
    assert not Row("a", "f", "k", 5, "missing").is_final
    assert not Row("a", "f", "k", 70, "crash").is_final


def test_every_status_has_an_exit_code() -> None:
    codes = {
        status: exit_code_of({"status": str(status), "verdict": None, "message": "", "rejected": False})
        for status in Status
    }
    assert codes == {
        Status.OPTIMAL: 0,
        Status.FEASIBLE: 0,
        Status.NO_SOLUTION: 1,
        Status.INFEASIBLE: 3,
        Status.UNBOUNDED: 3,
        Status.INFEASIBLE_OR_UNBOUNDED: 3,
        Status.ERROR: 70,
    }
    assert exit_code_of({"status": "error", "verdict": {"ok": False}, "message": "fails"}) == 6


def test_rows_are_valid_json(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.jsonl").append(Row("a", "f", "k", 0, history=((0.0, "inf", 1.0),)))
    row = json.loads((tmp_path / "ledger.jsonl").read_text())
    assert not isfinite(float(row["history"][0][1]))
    assert float(row["history"][0][1]) == inf
