"""Schedulers with one mistake each, made from the plain first-come-first-served one, which makes none."""

from __future__ import annotations

import random
from collections import deque
from operator import attrgetter

from attrs import evolve

from astraea.testing import Step
from examples.conformance.plain_fcfs import PlainFcfs


class DoubleCounts(PlainFcfs):
    """Takes a block too few from the free ones."""

    def step(self, now_us):
        step = super().step(now_us)
        self.free += len(step.started)
        return step


class ForgetsToFree(PlainFcfs):
    """Keeps the blocks of a request that is cancelled while it runs."""

    def cancel(self, request_id, now_us):
        free = self.free
        super().cancel(request_id, now_us)
        self.free = free


class HoldsForTheDead(PlainFcfs):
    """Frees the blocks of what finished a step late, and says so."""

    def __init__(self):
        super().__init__()
        self.dead = {}

    def step(self, now_us):
        before = dict(self.batch)
        step = super().step(now_us)
        self.dead = {name: self.need(before[name]) for name in step.finished if name in before}
        return step

    def snapshot(self):
        view = super().snapshot()
        free = view.free_blocks - sum(self.dead.values())
        return evolve(view, free_blocks=free, held_blocks={**view.held_blocks, **self.dead})


class LosesCancels(PlainFcfs):
    """Does not hear that a client has gone."""

    def cancel(self, request_id, now_us):
        pass


class CancelsOnlyTheQueue(PlainFcfs):
    """Lets what runs run on when its client has gone."""

    def cancel(self, request_id, now_us):
        self.queue = deque(request for request in self.queue if request.request_id != request_id)


class TellsATokenTwice(PlainFcfs):
    """Says the last token again."""

    def step(self, now_us):
        step = super().step(now_us)
        return evolve(step, ran={name: 1 + (name in step.finished) for name in step.ran})


class EndsEarly(PlainFcfs):
    """Leaves out the last token of a long answer."""

    def step(self, now_us):
        long = [name for name, left in self.left.items() if left == 2]
        step = super().step(now_us)
        for name in long:
            self.end(name)
        return evolve(step, finished=(*step.finished, *long))


class FinishesTwice(PlainFcfs):
    """Says again in the next step what finished in the last."""

    last = ()

    def step(self, now_us):
        step = super().step(now_us)
        told, self.last = (*self.last, *step.finished), step.finished
        return evolve(step, finished=told)


class HidesStarts(PlainFcfs):
    """Does not say what it starts."""

    def step(self, now_us):
        return evolve(super().step(now_us), started=())


class PreemptsInSilence(PlainFcfs):
    """Puts the newest of a full batch back into the queue, and says nothing of it."""

    def step(self, now_us):
        step = super().step(now_us)
        if len(self.batch) == self.slots:
            name = [*self.batch][-1]
            request, left = self.batch[name], self.left[name]
            self.end(name)
            self.queue.appendleft(evolve(request, future=evolve(request.future, output_tokens=left)))
        return step


class AdmitsAnything(PlainFcfs):
    """Queues what can never fit."""

    def submit(self, request, now_us):
        self.queue.append(request)
        return True


class Dozes(PlainFcfs):
    """Does nothing in every third step."""

    steps = 0

    def step(self, now_us):
        self.steps += 1
        return super().step(now_us) if self.steps % 3 else Step()


class Gambles(PlainFcfs):
    """Begins with any of those that wait."""

    def step(self, now_us):
        self.queue = deque(random.sample(self.queue, len(self.queue)))
        return super().step(now_us)


class OrdersByHash(PlainFcfs):
    """Begins with whichever comes first out of a set of names."""

    def step(self, now_us):
        by_name = {request.request_id: request for request in self.queue}
        self.queue = deque(by_name[name] for name in set(by_name))
        return super().step(now_us)


class SeesTheFuture(PlainFcfs):
    """Begins with the shortest answer."""

    def step(self, now_us):
        self.queue = deque(sorted(self.queue, key=lambda request: request.future.output_tokens))
        return super().step(now_us)


class LastComeFirstServed(PlainFcfs):
    """Begins with the newest."""

    def submit(self, request, now_us):
        admitted = super().submit(request, now_us)
        self.queue.rotate(admitted)
        return admitted


class ShortestPromptFirst(PlainFcfs):
    """Begins with the shortest prompt."""

    def step(self, now_us):
        self.queue = deque(sorted(self.queue, key=attrgetter("prompt_tokens")))
        return super().step(now_us)


class PromisesTooMuch(ShortestPromptFirst):
    """Promises that none is passed more than twice."""

    bypass_bound = 2


class ForgetsOne(PlainFcfs):
    """Never starts the second request that it was sent while another waited."""

    forgotten = None

    def step(self, now_us):
        if self.forgotten is None and len(self.queue) > 1:
            self.forgotten = self.queue[1]
        kept = [request for request in self.queue if request is self.forgotten]
        self.queue = deque(request for request in self.queue if request is not self.forgotten)
        step = super().step(now_us)
        self.queue.extend(kept)
        return step


class Exchanges(PlainFcfs):
    """Gives each request one step in turn, and needs that step for its prompt, which it then computes again."""

    slots = 1

    def __init__(self):
        super().__init__()
        self.paused = {}

    def step(self, now_us):
        preempted = tuple(self.batch) if self.queue else ()
        for name in preempted:
            self.paused[name] = self.left[name]
            self.queue.append(self.batch[name])
            self.end(name)
        if self.batch or not self.queue:
            return super().step(now_us)
        request = self.queue.popleft()
        name = request.request_id
        self.batch[name], self.left[name] = request, self.paused.get(name, request.future.output_tokens)
        self.free -= self.need(request)
        return Step(preempted, (name,), {name: 0})


class RaisesOnCancel(PlainFcfs):
    """Cannot cancel what runs."""

    def cancel(self, request_id, now_us):
        self.queue.remove(next(request for request in self.queue if request.request_id == request_id))
