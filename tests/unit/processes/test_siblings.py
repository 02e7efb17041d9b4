"""What the children of a worker know of each other."""

import multiprocessing

from worker.processes.siblings import Siblings


def test_one_child_is_kept_free() -> None:
    """Others are free as long as not every child is in the middle of a task, whoever asks."""
    children = Siblings(2)
    children.is_child(0)
    children.is_busy()
    assert children.others_are_free()
    children.is_child(1)
    children.is_busy()
    assert not children.others_are_free()


def test_processes_share_it() -> None:
    """What one process says another one sees, over a fork; whoever takes a dead child's number begins free."""
    children = Siblings(1)

    def busy() -> None:
        children.is_child(0)
        children.is_busy()
        children.end()

    other = multiprocessing.get_context("fork").Process(target=busy)
    other.start()
    other.join()
    assert (children.others_are_free(), children.must_end) == (False, True)
    children.is_child(0)
    assert children.others_are_free()


def test_one_child_speaks_for_all() -> None:
    """Of what is done once for all children each turn is one child's; the next comes when its time has."""
    children = Siblings(2)
    assert [children.has_turn(3600) for _ in range(3)] == [True, False, False]
    assert children.has_turn(0)
