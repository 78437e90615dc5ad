from apportion.solvers.status import Status


def test_statuses_with_a_plan():
    assert Status.OPTIMAL.has_plan
    assert not Status.NO_SOLUTION.has_plan
