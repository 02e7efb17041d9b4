"""State that the children of a worker share."""

import multiprocessing

from worker.processes.siblings import Siblings


def test_a_child_is_free_until_all_run_a_task() -> None:
    """A child is free unless every child runs a task; all children see the same result."""
    children = Siblings(2)
    children.register(0)
    children.mark_busy()
    assert children.has_free_child()
    children.register(1)
    children.mark_busy()
    assert not children.has_free_child()


def test_processes_share_it() -> None:
    """State is shared across a fork; a child that gets the number of a dead one starts free."""
    children = Siblings(1)

    def busy() -> None:
        children.register(0)
        children.mark_busy()
        children.start_shutdown()

    other = multiprocessing.get_context("fork").Process(target=busy)
    other.start()
    other.join()
    assert (children.has_free_child(), children.is_shutting_down) == (False, True)
    children.register(0)
    assert children.has_free_child()


def test_one_child_runs_a_shared_job() -> None:
    """One child gets each turn of a shared job; the next turn is available after the interval."""
    children = Siblings(2)
    assert [children.take_turn(3600) for _ in range(3)] == [True, False, False]
    assert children.take_turn(0)
