"""First come, first served, in blocks that are reserved for the whole request: a scheduler and its adapter in one."""

from collections import deque

from astraea.testing import Adapter, Request, Step, View


class PlainFcfs(Adapter):
    """Serves in order of arrival; what does not fit holds back all behind it."""

    pool_blocks = 40
    slots = 4

    def __init__(self) -> None:
        self.queue = deque[Request]()
        self.batch: dict[str, Request] = {}
        self.left: dict[str, int] = {}
        self.free = self.pool_blocks

    def need(self, request: Request) -> int:
        """Return the blocks of its prompt and its longest output."""
        return -(-request.tokens_max // self.block_tokens)

    def submit(self, request: Request, now_us: int) -> bool:
        """Queue what can ever fit."""
        fits = self.need(request) <= self.pool_blocks
        if fits:
            self.queue.append(request)
        return fits

    def cancel(self, request_id: str, now_us: int) -> None:
        """Forget the request, wherever it is."""
        if request_id in self.batch:
            self.end(request_id)
        self.queue = deque(request for request in self.queue if request.request_id != request_id)

    def end(self, request_id: str) -> None:
        """Give its blocks back."""
        self.free += self.need(self.batch.pop(request_id))
        del self.left[request_id]

    def step(self, now_us: int) -> Step:
        """Fill the batch from the head of the queue, then give each request in it one token."""
        started = []
        while self.queue and len(self.batch) < self.slots and self.need(self.queue[0]) <= self.free:
            request = self.queue.popleft()
            self.batch[request.request_id] = request
            self.left[request.request_id] = request.future.output_tokens
            self.free -= self.need(request)
            started.append(request.request_id)
        ran = dict.fromkeys(self.batch, 1)
        for request_id in ran:
            self.left[request_id] -= 1
        finished = tuple(request_id for request_id, left in self.left.items() if not left)
        for request_id in finished:
            self.end(request_id)
        return Step(started=tuple(started), ran=ran, finished=finished)

    def snapshot(self) -> View:
        """Tell the queue, the batch and the blocks."""
        held = {request_id: self.need(request) for request_id, request in self.batch.items()}
        return View(tuple(request.request_id for request in self.queue), tuple(self.batch), self.free, held)
