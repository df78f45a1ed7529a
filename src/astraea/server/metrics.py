"""What scrapers read: this server's own numbers as ``astraea_*``, and the usual ones under vLLM's names as well."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from astraea.decisions import Decision, DropCache, Hold, Preempt, Refuse, RunBatch, SwapIn, SwapOut, WakeAt
from astraea.executor.requests import Finish
from astraea.policy.snapshot import Snapshot
from astraea.policy.tables import TurnState
from astraea.server.replies import Choice
from astraea.server.sessions import Job
from astraea.units import US_PER_S

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_TTFT_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2_560,
)  # fmt: skip
_LATENCY_S = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560)
_DECIDE_S = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2)
_JOB_S = (0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 7_200)

_ACTIONS = {SwapOut: "swap_out", SwapIn: "swap_in", DropCache: "drop", Preempt: "preempt"}


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self, model_name: str) -> None:
        self._registry = CollectorRegistry()
        self._model = model_name
        both = ("model_name", "engine")

        def gauge(name: str, words: str) -> Gauge:
            return Gauge(name, words, both, registry=self._registry)

        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(name, words, (*both, *labels), registry=self._registry)

        def histogram(name: str, words: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, words, both, registry=self._registry, buckets=buckets)

        self._running = gauge("vllm:num_requests_running", "Turns in the batch")
        self._waiting = gauge("vllm:num_requests_waiting", "Turns that wait, preempted ones included")
        self._kv_usage = gauge("vllm:kv_cache_usage_perc", "Used share of the device pool, 1 for all of it")
        self._prompt = counter("vllm:prompt_tokens", "Tokens of prompts")
        self._generated = counter("vllm:generation_tokens", "Tokens of answers")
        self._success = counter("vllm:request_success", "Turns that ended with an answer", "finished_reason")
        self._queries = counter("vllm:prefix_cache_queries", "Tokens of prompts that were looked up")
        self._hits = counter("vllm:prefix_cache_hits", "Tokens of prompts that did not have to be computed")
        self._ttft = histogram("vllm:time_to_first_token_seconds", "From the request to its first token", _TTFT_S)
        self._e2e = histogram("vllm:e2e_request_latency_seconds", "From the request to its last token", _LATENCY_S)
        self._queue = histogram("vllm:request_queue_time_seconds", "From the request to its dispatch", _LATENCY_S)
        self._turns = counter("astraea_turns", "Turns by how they ended", "finish")
        self._jct = histogram("astraea_job_completion_seconds", "From a job's arrival to its last token", _JOB_S)
        self._job_turns = histogram("astraea_job_turns", "Turns of a job", (1, 2, 3, 5, 8, 13, 21, 34, 55, 89))
        self._abandoned = counter("astraea_jobs_abandoned", "Jobs whose client went on with something else")
        self._preemptions = counter("vllm:num_preemptions", "Running turns that were taken out of the batch")
        self._kv = counter("astraea_kv_decisions", "What was decided about KV caches", "action", "reason")
        self._dispatches = counter("astraea_dispatches", "Turns that entered the batch, by why", "reason")
        self._held = counter("astraea_holds", "Waiting turns that were passed over, by why", "reason")
        self._decide = histogram("astraea_decide_seconds", "Time of one decision of the scheduler", _DECIDE_S)
        self._sessions = gauge("astraea_sessions", "Open sessions")
        self._jobs = gauge("astraea_jobs", "Live jobs")
        self._promoted = gauge("astraea_jobs_promoted", "Live jobs that reached the bypass bound")
        self._bypass = gauge("astraea_worst_bypass", "Most bypasses of any job so far")
        self._free = gauge("astraea_device_free_blocks", "Free KV blocks of the device pool")
        self._quarantined = gauge(
            "astraea_device_quarantined_blocks", "KV blocks that a late report may still write to"
        )
        self._host_free = gauge("astraea_host_free_blocks", "Free KV blocks of the host pool")

    def decided(self, decisions: Sequence[Decision], took_ns: int) -> None:
        """Count what the scheduler decided; called in the engine's thread."""
        labels = self._model, "0"
        self._decide.labels(*labels).observe(took_ns / 1e9)
        for decision in decisions:
            match decision:
                case RunBatch():
                    for dispatch in decision.dispatched:
                        self._dispatches.labels(*labels, str(dispatch.because.reason)).inc()
                case Hold():
                    self._held.labels(*labels, str(decision.because.reason)).inc()
                case SwapOut() | SwapIn() | DropCache() | Preempt():
                    self._kv.labels(*labels, _ACTIONS[type(decision)], str(decision.because.reason)).inc()
                    if isinstance(decision, Preempt):
                        self._preemptions.labels(*labels).inc()
                case Refuse() | WakeAt():
                    pass  # a refused turn is counted where it ends, and a time to wake at is no decision about anyone

    def turn_ended(self, choice: Choice, prompt_tokens: int) -> None:
        """Count a turn."""
        stream, answer, labels = choice.stream, choice.answer, (self._model, "0")
        self._turns.labels(*labels, str(answer.finish)).inc()
        self._generated.labels(*labels).inc(len(answer.tokens))
        if stream.began_s is None:
            return
        self._prompt.labels(*labels).inc(prompt_tokens)
        self._queries.labels(*labels).inc(prompt_tokens)
        self._hits.labels(*labels).inc(stream.cached_tokens)
        self._queue.labels(*labels).observe(stream.began_s - stream.asked_s)
        if stream.first_token_s is not None:
            self._ttft.labels(*labels).observe(stream.first_token_s - stream.asked_s)
        if answer.finish in {Finish.STOP, Finish.LENGTH}:
            self._success.labels(*labels, choice.finish).inc()
            self._e2e.labels(*labels).observe(stream.heard_s - stream.asked_s)

    def job_ended(self, job: Job, now_us: int) -> None:
        """Measure a job that has its answer."""
        self._jct.labels(self._model, "0").observe((now_us - job.began_us) / US_PER_S)
        self._job_turns.labels(self._model, "0").observe(job.turns)

    def job_abandoned(self) -> None:
        """Count a job that was given up."""
        self._abandoned.labels(self._model, "0").inc()

    def page(self, snapshot: Snapshot, sessions: int) -> bytes:
        """Return all of it as text, with the gauges as of now."""
        labels = self._model, "0"
        running = sum(turn.state is TurnState.RUNNING for turn in snapshot.turns)
        self._running.labels(*labels).set(running)
        self._waiting.labels(*labels).set(len(snapshot.turns) - running)
        self._kv_usage.labels(*labels).set(1 - snapshot.device_free / snapshot.device_blocks)
        self._sessions.labels(*labels).set(sessions)
        self._jobs.labels(*labels).set(len(snapshot.jobs))
        self._promoted.labels(*labels).set(sum(job.promoted for job in snapshot.jobs))
        self._bypass.labels(*labels).set(snapshot.worst_bypass)
        self._free.labels(*labels).set(snapshot.device_free)
        self._quarantined.labels(*labels).set(snapshot.device_quarantined)
        self._host_free.labels(*labels).set(snapshot.host_free)
        return generate_latest(self._registry)
