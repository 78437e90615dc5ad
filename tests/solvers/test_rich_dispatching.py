"""Days of requests: the rules of the epochs, and policies that meet the same requests."""

from __future__ import annotations

import numpy as np
import pytest

from apportion.instances.errors import OptionError
from apportion.instances.generate.routing import generate_routing
from apportion.instances.routing import VehicleRouting
from apportion.solvers.rich_routing.dispatching import EPOCH, MARGIN, POLICIES, Effort, draw, run_day

QUICK = Effort(iterations=100, scenarios=1, scenario_iterations=50)


def _city(clients: int = 40) -> VehicleRouting:
    """A day of six hours around noon, in seconds."""
    random = np.random.default_rng(3)
    points = random.uniform(0, 3000, (clients + 1, 2))
    travel = np.rint(np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)))
    travel[:, 0] += 7.0
    ready = np.rint(random.uniform(2, 5, clients + 1)) * EPOCH
    ready[0] = 0
    due = ready + 2 * EPOCH
    due[0] = 9 * EPOCH
    demand = np.concatenate([[0.0], np.full(clients, 2.0)])
    service = np.concatenate([[0.0], np.full(clients, 60.0)])
    plain = generate_routing(1, clients=3, time_windows=True)
    return VehicleRouting(
        name="city",
        distance=travel,
        duration=travel,
        demand=demand,
        capacity=20.0,
        ready=ready,
        due=due,
        service=service,
        num_vehicles=plain.num_vehicles,
    )


@pytest.mark.parametrize("policy", POLICIES)
def test_everything_is_sent_once_and_in_time(policy: str) -> None:
    day = run_day(_city(), policy, seed=2, effort=QUICK)  # type: ignore[arg-type]
    for open_now, must, sent in day.epochs:
        assert must <= sent <= open_now
    assert day.epochs[-1][0] == day.epochs[-1][2]
    assert day.cost > 0


def test_the_requests_depend_on_the_seed_alone() -> None:
    greedy, again = (run_day(_city(), "greedy", seed=5, effort=QUICK) for _ in range(2))
    assert greedy == again
    lazy = run_day(_city(), "lazy", seed=5, effort=QUICK)
    assert sum(sent for _, _, sent in lazy.epochs) == sum(sent for _, _, sent in greedy.epochs)


def test_only_what_can_still_be_served_comes_in() -> None:
    city = _city()
    for epoch in range(1, 7):
        requests = draw(city, epoch, np.random.default_rng(epoch))
        arrives = np.maximum(epoch * EPOCH + MARGIN + city.duration[0, requests.place], requests.ready)
        assert (arrives <= requests.due).all()
        assert (arrives + requests.service + city.duration[requests.place, 0] <= city.due[0]).all()


def test_unknown_policies_are_named() -> None:
    with pytest.raises(OptionError, match="Maybe one of greedy"):
        run_day(_city(), "eager")  # type: ignore[arg-type]
