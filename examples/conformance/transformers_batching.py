"""The schedulers of continuous batching in transformers, driven without a model.

The scheduler, its paged cache and its offloading are the library's own, in the configuration below; what stands around
them here does what ``ContinuousBatchProcessor`` does before and after a forward pass, in synchronous mode. There is no
host pool, so a request that loses its blocks is computed again ("soft reset"), and no sharing of blocks.

Written for transformers 5.24; the modules it imports are not promised to stay.
"""

from collections.abc import Callable

import torch
from transformers import ContinuousBatchingConfig, LlamaConfig
from transformers.generation.continuous_batching.cache import PagedAttentionCache
from transformers.generation.continuous_batching.distributed import DistributedHelper
from transformers.generation.continuous_batching.offloading_manager import OffloadingManager
from transformers.generation.continuous_batching.requests import FutureRequestState, RequestState
from transformers.generation.continuous_batching.scheduler import SCHEDULER_MAPPING, Scheduler

from astraea.testing import Adapter, Request, Step, View

TOKEN, EOS = 0, 1
BLOCK_TOKENS, BLOCKS, BATCH_TOKENS, BATCH_REQUESTS = 16, 16, 256, 8


class TransformersBatching(Adapter):
    """One of the library's schedulers, by the name that ``ContinuousBatchingConfig.scheduler_type`` has for it."""

    pool_blocks = BLOCKS
    block_tokens = BLOCK_TOKENS

    def __init__(self, scheduler_type: str) -> None:
        config = ContinuousBatchingConfig(
            page_size=BLOCK_TOKENS, num_blocks=BLOCKS, max_batch_tokens=BATCH_TOKENS, max_memory_percent=0.5,
            allow_block_sharing=False, use_async_batching=False, scheduler_type=scheduler_type, cpu_offload_space=0.0,
        )  # fmt: skip
        model = LlamaConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=1, vocab_size=8)
        alone = DistributedHelper(None, None)
        self.cache = PagedAttentionCache(model, config, torch.device("cpu"), alone)
        (self.allocator,) = self.cache.cache_allocators.values()
        # The mapping is typed by the abstract class, but holds concrete ones.
        make: Callable[..., Scheduler] = SCHEDULER_MAPPING[scheduler_type]
        self.scheduler = make(self.cache, config.safety_margin, BATCH_REQUESTS)
        self.offloading = OffloadingManager(self.cache, self.scheduler, 0.0, 1.0, None, alone)
        self.left: dict[str, int] = {}

    def submit(self, request: Request, now_us: int) -> bool:
        """Hand the request over; the scheduler refuses none."""
        prompt = [TOKEN] * request.prompt_tokens
        state = RequestState(request.request_id, prompt, max_new_tokens=request.max_output_tokens, eos_token_id=EOS)
        self.scheduler.add_waiting_request(state)
        self.left[request.request_id] = request.future.output_tokens
        return True

    def cancel(self, request_id: str, now_us: int) -> None:
        """Mark the request; the next step removes it."""
        self.scheduler.set_request_cancellation(request_id)

    def step(self, now_us: int) -> Step:
        """Prepare a batch as the processor does, then give each request in it the token that a model would."""
        for state in self.scheduler.clear_cancelled_requests():
            self.offloading.free_request_cpu_cache(state)
        before = list(self.scheduler.active_requests)
        batch = self.schedule()
        active = self.scheduler.active_requests
        preempted = tuple(name for name in before if name not in active)
        started = tuple(name for name in active if name not in before)
        ran, finished = {}, []
        for future in batch:
            state = future.state
            state.position_offset += future.query_length
            ran[state.request_id] = int(future.has_new_token)
            if future.has_new_token and self.sample(state):
                finished.append(state.request_id)
        return Step(preempted, started, ran, tuple(finished))

    def schedule(self) -> list[FutureRequestState]:
        """Return the next batch; offload where the scheduler says that it must be."""
        if not self.scheduler.has_pending_requests():
            return []
        while True:
            batch, *_ = self.scheduler.schedule_batch(BATCH_TOKENS, self.cache.max_tokens_read)
            if batch is not None:
                break
            if not self.offloading.offload_requests():
                raise RuntimeError("No requests can be scheduled and no requests can be offloaded.")
        if batch and self.scheduler.starved_requests:
            self.offloading.offload_requests()
        return batch

    def sample(self, state: RequestState) -> bool:
        """Give the request a token, its last where it is time; return whether it is finished."""
        self.left[state.request_id] -= 1
        token = TOKEN if self.left[state.request_id] else EOS
        finished = state.update_and_check_completion(token, None)
        if finished:
            self.scheduler.finish_request(state.request_id)
            self.scheduler.block_new_requests = False
        return finished

    def snapshot(self) -> View:
        """Tell the scheduler's two dictionaries and the allocator's block tables."""
        pool, index = self.cache.pool, self.allocator.index
        free = pool.num_free_sectors * self.allocator.blocks_per_sector + pool.count_free_blocks(index)
        held = {name: len(blocks) for name, blocks in self.allocator.block_table.items()}
        return View(tuple(self.scheduler.waiting_requests), tuple(self.scheduler.active_requests), free, held)


def fifo() -> TransformersBatching:
    """Return the default scheduler."""
    return TransformersBatching("fifo")


def prefill_first() -> TransformersBatching:
    """Return the one that prefers started prompts to decoding."""
    return TransformersBatching("prefill_first")
