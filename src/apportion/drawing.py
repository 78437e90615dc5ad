"""What ``apportion plot`` does."""

from __future__ import annotations

from pathlib import Path

from apportion.instances.commitment import Commitment, UnitCommitment
from apportion.instances.core import Instance, Json, Plan
from apportion.instances.errors import OptionError
from apportion.instances.files import write_bytes, write_text
from apportion.ledger import rows_in
from apportion.models.checking import check
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


def draw_plan(instance: Instance, plan: Plan, out: Path, prices: str = "lmp") -> Path:
    """Write the picture of one plan as ``.html``, ``.png`` or ``.svg`` and return where it is.

    ``prices`` says which are drawn over a unit commitment: a kind, a file of prices, or ``none``.
    """
    spec = _priced(instance, plan, prices) if isinstance(instance, UnitCommitment) else picture(instance, plan)
    if spec is None:
        raise OptionError(f"{instance.name}: this plan has nothing to draw")
    kind = out.suffix.lower().removeprefix(".")
    if kind == "html":
        write_text(out, picture_page(instance.name, spec))
    else:
        write_bytes(out, to_image(spec, kind))
    return out


def _priced(instance: UnitCommitment, plan: Plan, wanted: str) -> Json | None:
    """Dispatch with prices; a plan that breaks rules is drawn without them, for nobody can price it."""
    from apportion.instances.commitment_prices import KINDS
    from apportion.power_pictures import draw_commitment
    from apportion.pricing import prices, read_prices

    if not isinstance(plan, Commitment):
        raise OptionError(f"{instance.name}: the plan is one of {plan.problem}")
    if wanted == "none":
        return draw_commitment(instance, plan)
    if wanted not in KINDS:
        found = read_prices(Path(wanted))
        if len(found.energy) != instance.num_periods:
            raise OptionError(f"{wanted} has prices of {len(found.energy)} hours, the plan has {instance.num_periods}")
        return draw_commitment(instance, plan, found)
    if not check(instance, plan).ok:
        return draw_commitment(instance, plan)
    return draw_commitment(instance, plan, prices(instance, plan, wanted))
