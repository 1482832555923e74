"""What is computed beside each other comes in order, and no more of it than was asked for."""

import threading
from unittest.mock import Mock

import pytest

from neid_tf.support.beside import in_order


@pytest.mark.parametrize("beside", [1, 2, 3])
def test_results_come_in_the_order_of_the_calls(beside):
    slow, threads = threading.Event(), set()

    def square(number):
        threads.add(threading.current_thread())
        if number == 0 and beside > 1:
            assert slow.wait(10)  # The first is done after the second.
        if number == 1:
            slow.set()
        return number * number

    made = list(in_order(square, ((number,) for number in range(20)), beside))
    assert made == [number * number for number in range(20)]
    assert (threading.main_thread() in threads) == (beside == 1)
    assert len(threads) <= beside


@pytest.mark.parametrize("beside", [1, 2, 3])
def test_calls_are_made_when_there_is_room(beside):
    made, threads = [], set()

    def calls():
        for number in range(100):
            made.append(number)
            threads.add(threading.current_thread())
            yield (number,)

    results = in_order(lambda number: number, calls(), beside)
    assert not made
    for number in range(10):
        assert next(results) == number
        assert len(made) <= number + 1 + beside
    results.close()
    assert len(made) <= 10 + beside
    assert threads == {threading.main_thread()}


@pytest.mark.parametrize("beside", [1, 2])
def test_what_fails_is_raised_in_its_place(beside):
    def inverse(number):
        return 1 / (number - 2)

    before = threading.enumerate()
    results = in_order(inverse, ((number,) for number in range(5)), beside)
    assert [next(results), next(results)] == [-0.5, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []
    assert set(threading.enumerate()) <= set(before)


@pytest.mark.parametrize("beside", [1, 2])
def test_what_was_asked_for_before_a_failure_comes_first(beside):
    def calls():
        yield (1,)
        yield (2,)
        raise OSError("damaged")

    results = in_order(lambda number: 1 / number, calls(), beside)
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(OSError, match="damaged"):
        next(results)


def test_without_threads_the_caller_computes(monkeypatch):
    """A pool takes nothing any more when the program is ending."""
    monkeypatch.setattr("threading.Thread.start", Mock(side_effect=RuntimeError("can't start")))
    assert list(in_order(lambda number: -number, [(1,), (2,), (3,)], 2)) == [-1, -2, -3]
