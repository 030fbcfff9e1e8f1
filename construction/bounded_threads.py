"""Calls in threads with few of them begun ahead, for work that waits for a server."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def finished_calls(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, "Future[Result]"]]:
    """Call a function on each item in threads, and yield each item when its call is done, in any order.

    The next item is taken only when a thread is free, so a caller that ends `items` gets what was begun and no more.

    Args:
        function: safe to be called by several threads.
        items: taken one by one.
        workers: calls at the same time, at least 1.
    """
    waiting = iter(items)
    running: dict[Future[Result], Item] = {}
    with ThreadPoolExecutor(workers) as pool:
        while True:
            for item in islice(waiting, workers - len(running)):
                running[pool.submit(function, item)] = item
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future


__all__ = ["finished_calls"]
