"""What ``apportion plot`` does."""

from __future__ import annotations

from pathlib import Path

from apportion.instances.core import Instance, Plan
from apportion.instances.errors import OptionError
from apportion.instances.files import write_bytes, write_text
from apportion.ledger import rows_in
from apportion.page import picture_page, write_page
from apportion.pictures import picture, to_image


def draw_results(folder: Path) -> Path:
    """Write the page of a folder of results from its ledgers and return where it is."""
    if not folder.is_dir():
        raise OptionError(f"{folder} is not a folder of results\nMaybe name an instance and its plan")
    latest = {row.name: row for row in rows_in(folder).values()}
    rows = [latest[name] for name in sorted(latest)]
    if not rows:
        raise OptionError(f"{folder} has no ledger\nMaybe solve with --out {folder} first")
    return write_page(folder, rows)


def draw_plan(instance: Instance, plan: Plan, out: Path) -> Path:
    """Write the picture of one plan as ``.html``, ``.png`` or ``.svg`` and return where it is."""
    spec = picture(instance, plan)
    if spec is None:
        raise OptionError(f"{instance.name}: this plan has nothing to draw")
    kind = out.suffix.lower().removeprefix(".")
    if kind == "html":
        write_text(out, picture_page(instance.name, spec))
    else:
        write_bytes(out, to_image(spec, kind))
    return out
