import threading
import time

import pytest

from forgescope.construction.bounded_threads import finished_calls


@pytest.mark.parametrize("workers", [1, 3, 20])
def test_every_item_is_called_once_and_never_too_many_at_a_time(workers):
    running, most, lock = [], [], threading.Lock()

    def square(item):
        with lock:
            running.append(item)
            most.append(len(running))
        time.sleep(0.002)
        with lock:
            running.remove(item)
        return item**2

    results = {item: call.result() for item, call in finished_calls(square, range(12), workers)}
    assert results == {item: item**2 for item in range(12)}
    assert max(most) <= workers
    assert max(most) > 1 or workers == 1


def test_errors_stay_with_their_item():
    calls = dict(finished_calls(lambda item: 1 // item, [0, 1, 2], 2))
    assert [calls[1].result(), calls[2].result()] == [1, 0]
    assert isinstance(calls[0].exception(), ZeroDivisionError)


def test_items_are_taken_one_by_one_and_may_end_early():
    taken, stop = [], []

    def items():
        for item in range(100):
            if stop:
                return
            taken.append(item)
            yield item

    finished = []
    for item, _ in finished_calls(lambda item: item, items(), 4):
        finished.append(item)
        if len(finished) == 5:
            stop.append(True)
    assert sorted(finished) == taken
    assert len(taken) <= 5 + 4
