"""Barriers inside compiled code: nobody goes ahead, everybody gets on, and a missing thread is no trap."""

import threading
import time

import numpy as np
import pytest

from tsrnn.backends import contract as c
from tsrnn.backends.cpu.barrier import add, draw, load, meet, store
from tsrnn.backends.cpu.jit import jit
from tsrnn.parallel import Team

ROUNDS = 3000


@jit
def take_turns(meeting, thread, written, drawn, rounds):
    """Writes the round's number, meets, and reads everybody's; draws six numbers with the others, and meets; returns errors."""
    wrong = 0
    for number in range(rounds):
        written[thread * 16] = number
        if not meet(meeting):
            return -1 - number
        for other in range(meeting[c.N_THREADS]):
            wrong += written[other * 16] != number
        n = draw(meeting)
        while n < 6:
            drawn[n] += 1  # plain: a number is one thread's
            n = draw(meeting)
        if not meet(meeting):
            return -1 - number
    return wrong


class Meeting:
    def __init__(self):
        self.words = np.zeros(c.MEETING_WORDS, np.int64)

    def begin(self, n_threads):
        self.words[:] = 0
        self.words[c.N_THREADS] = n_threads

    def abort(self):
        self.words[c.ABORTED] = 1


def play(meeting, n, team, rounds=ROUNDS, broken=lambda thread: None):
    """`take_turns` on a team; what each thread returned, and how often each number was drawn."""
    written, drawn, found = np.full(16 * n, -1), np.zeros(6, np.int64), {}

    def work(thread):
        broken(thread)
        found[thread] = take_turns(meeting.words, thread, written, drawn, rounds)

    team.run(work, [(thread,) for thread in range(n)], meeting)
    return found, drawn


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_nobody_goes_ahead_and_each_number_is_drawn_once(n):
    """With more threads than cores too."""
    with Team(n) as team:
        for rounds in (ROUNDS, 1, 7):
            found, drawn = play(Meeting(), n, team, rounds)
            assert found == dict.fromkeys(range(n), 0) and drawn.tolist() == [rounds] * 6


def test_the_words_of_a_meeting_lie_apart():
    words = [c.DONE, c.ARRIVED, c.GENERATION, c.DRAWN]
    assert all(b - a >= 16 for a, b in zip([0, *words], words)) and c.MEETING_WORDS >= c.DRAWN + 16


def test_atomics():
    @jit
    def change(words):
        store(words, 3, 40)
        return add(words, 3, 2), load(words, 3)

    words = np.zeros(5, np.int64)
    assert change(words) == (40, 42) and words.tolist() == [0, 0, 0, 42, 0]


def test_an_error_before_the_first_barrier_frees_the_others():
    def broken(failing):
        return lambda thread: 1 / (thread - failing)

    with Team(3) as team:
        for failing in (0, 1, 2):
            meeting = Meeting()
            with pytest.raises(ZeroDivisionError):
                play(meeting, 3, team, broken=broken(failing))
            assert meeting.words[c.GENERATION] == 0
        found, _ = play(Meeting(), 3, team, 5)
    assert found == {0: 0, 1: 0, 2: 0}


def test_threads_that_cannot_be_started_are_not_waited_for(monkeypatch):
    started, real = [], threading.Thread.start

    def start(self):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(self)
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    with Team(4) as team:
        for _ in range(2):
            found, drawn = play(Meeting(), 4, team, 50)
            assert found == {0: 0, 1: 0} and drawn.tolist() == [50] * 6
    started.append(None)
    with Team(4) as team:
        assert play(Meeting(), 4, team, 50)[0] == {0: 0}


def test_one_who_has_gone_on_may_abort():
    """The others have been met: they go on, even if they look only now."""
    @jit
    def late(meeting):
        return meet(meeting)

    late(np.array([1, *[0] * (c.MEETING_WORDS - 1)]))
    meeting, found = Meeting(), []
    meeting.begin(2)
    waiting = threading.Thread(target=lambda: found.append(late(meeting.words)))
    waiting.start()
    while not meeting.words[c.ARRIVED]:
        time.sleep(1e-3)
    meeting.words[c.ABORTED] = 1
    waiting.join(10)
    assert found == [False]
    meeting.begin(2)
    meeting.words[c.ARRIVED], found[:] = 1, []
    assert late(meeting.words) and meeting.words[c.GENERATION] == 1 and meeting.words[c.ARRIVED] == 0
