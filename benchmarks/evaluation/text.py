"""The sentences of the page that no run changes."""

from __future__ import annotations

__all__ = [
    "BOUND",
    "BY_POINT",
    "EVERYTHING",
    "FAIRNESS",
    "GUARD_OFF",
    "INTRODUCTION",
    "LEFT_OUT",
    "LEFT_OUT_OF_THE_MODEL",
    "NOISE",
    "PARTS",
    "SENSITIVITY",
    "SUSTAINED",
]

INTRODUCTION = """\
{count} published policies ({rivals}) run behind the same protocol in the same simulator as Astraea, on the same
jobs at the same times. What each rival is and what it assumes stands in its file in `src/astraea/rivals/`. Not
counted as rivals: {own}, which order otherwise but use Astraea's memory rules, and {oracles}, which are told
the future. Told the true length of each turn, as their papers assume, and counted: {favoured}.

Jobs of a seed {sizes}. Seeds: {seeds}. JCT is a job's completion time, from its arrival to its last token, tool
waits included; the first tenth of the jobs by arrival is not counted, and each run goes on until all jobs are
done, so that above a load of 1 the figures grow with the number of jobs. A load of 1 is the throughput of jobs
in order of arrival under Astraea's memory rules when all are there at once: a policy that loses caches is past
its own limit before that. Engines: gptj-6b-a100 for infercept-mix, llama-8b-h100 for all else. Tool waits of
coding_requests are cut to 120 s, and its jobs of one turn are left out."""

BY_POINT = """\
Ratios are Astraea's figure over the rival's: below 1 Astraea is ahead. The best rival is the one against which
the ratio is largest. The mark is `srpt-oracle`, which nobody can reach."""

GUARD_OFF = "The same without the guard, which gives the bound on bypassing up:"

BOUND = """\
K bounds how often a job may be passed. A small one serves the old sooner and the rest later. The line joins the
same policy under different K, the marks are the other policies. In the table: mean / p99 JCT over those of the
default."""

SUSTAINED = """\
The highest rate, in jobs a second, at which the mean slowdown (JCT over the job's time alone on the engine)
stays at or below 2, found by bisection on common seeds; in brackets the ratio to `fcfs`. This is the plainest
answer to what scheduling buys: well below saturation nothing is scarce and all policies are alike. Rates are
1.1 % apart."""

PARTS = """\
Mean JCT without a part over mean JCT with it: above 1 the part helps. The control gives each job the class of
some other job, so that classes are as frequent as before and say nothing."""

NOISE = """\
Mean JCT over that of the undisturbed policy / over the best rival's. The error is log-normal and one and the
same for a whole job, so that it does not average out over the job's turns. Tool waits are predicted as ever."""

LEFT_OUT = """\
The traces hold fewer jobs than are replayed, so entries are drawn again and again, and a predictor that has
seen an entry end knows its next run. Here every estimate rests on other entries only (16 folds by the entry's
name). What is lost is the part of the gain that is recognition and not prediction. Rivals that learn keep their
luck."""

SENSITIVITY = """\
At a load of 0.95, which is set anew for each value, so that a smaller pool is not simply a higher load. The
ratio is to the best of the strong rivals, who is named. A heavier tail has the same mean wait: each wait to the
power of the exponent, scaled back. Jobs that no longer fit a smaller pool are left out on both sides."""

FAIRNESS = """\
Lost work is the share of all prompt tokens that had been computed before in the same context. Jain's index is 1
where all jobs have the same slowdown."""

LEFT_OUT_OF_THE_MODEL = """\
- **All of it is simulation**, on engines whose step time is a fixed part, a part a token and a part a KV token
  read. The constants of gptj-6b-a100 are partly from published code, those of llama-8b-h100 are assumed. How
  far such a model is from the project's own executor, in percent, is measured on the machine at hand by
  `benchmarks/executor_prediction.py`; [executor.md](executor.md) says how.
- One engine, one batch at a time. No tensor parallelism, no speculative decoding, no overlap of scheduling and
  computing; decisions take no time.
- Copies between device and host share one link and cost the engine nothing else.
- Arrivals are Poisson; no source here has real arrivals of jobs and measured tool waits both. Agents do not
  react to how fast they are served, and nobody gives up.
- infercept-mix, bfcl, swebench, calculator and sharegpt-chat are drawn from published means and spreads;
  deep-research is assumed. coding_requests: waits are corrected by an estimated generation time (noise of about
  1.5 s; 28 % clip to 0). swebench.jsonl: the split of a measured gap into model and tool time is fitted. chat:
  links between turns are inferred.
- The policy was tuned on these workloads and traces. On others it will do less well.
- sharegpt-chat and short runs of infercept-mix never fill the engine: where all policies are alike, that is all
  they say.
- The rivals are re-implementations inside this scheduler's contract. None was run in its authors' system.
- The bootstrap takes jobs of a run as independent, which they are not; over new arrivals the spread is wider."""

EVERYTHING = """\
Mean / p99 JCT in seconds / recomputed share, by load. Figures are means over the seeds."""
