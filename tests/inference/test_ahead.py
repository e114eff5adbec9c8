"""One item ahead: order, errors in their place, no more than one in advance."""

import threading

import pytest

from rs2sam2.inference.ahead import one_ahead


def test_items_come_in_order_and_one_ahead():
    made, second = [], threading.Event()

    def items():
        for number in range(4):
            made.append(number)
            if number == 1:
                second.set()
            yield number

    seen = []
    for item in one_ahead(items()):
        if item == 0:
            assert second.wait(5)  # made while the first is in hand
        assert len(made) <= item + 2
        seen.append(item)
    assert seen == [0, 1, 2, 3]


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        raise ValueError('the second')

    got = one_ahead(items())
    assert next(got) == 1
    with pytest.raises(ValueError, match='the second'):
        next(got)


def test_nothing_gives_nothing():
    assert list(one_ahead([])) == []
