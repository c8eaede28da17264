"""Pauses that grow with the quiet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedethics.flower.polling import Polling


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.floats(min_value=0, max_value=1e6))
def test_a_pause_is_a_fifth_of_the_quiet_within_its_bounds(quiet):
    clock = _Clock()
    polling = Polling(fastest_s=0.1, slowest_s=3.0, clock=clock)
    clock.now += quiet
    assert polling.pause_s() == min(3.0, max(0.1, 0.2 * (clock.now - 100.0)))


def test_work_makes_the_next_pause_short_again():
    clock = _Clock()
    polling = Polling(fastest_s=0.1, slowest_s=3.0, clock=clock)
    clock.now += 1000
    assert polling.pause_s() == 3.0
    polling.busy()
    assert polling.pause_s() == 0.1


def test_waiting_adds_at_most_a_fifth_and_a_fastest_pause_to_what_it_waits_for():
    for takes_s in (0.3, 2.0, 10.0, 14.0):
        clock = _Clock()
        polling = Polling(fastest_s=0.1, slowest_s=3.0, clock=clock)
        while clock.now < 100.0 + takes_s:
            clock.now += polling.pause_s()
        assert clock.now - 100.0 <= takes_s * 1.2 + 0.1
