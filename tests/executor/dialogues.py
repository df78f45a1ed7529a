"""Eight fixed dialogues on a tiny model, and what the model's own ``generate`` answers in each.

A prompt is the dialogue so far and new tokens after it, so it rests on earlier answers and not on any schedule. Some
dialogues edit their history on the way, two share each session, and all of a tenant begin with the same tokens.
"""

from __future__ import annotations

import functools
import random

import torch
from tiny_models import ROPES, SIZES
from transformers import LlamaConfig, LlamaForCausalLM

from astraea.executor.model import LoadedModel

DIALOGUES = 8
TURNS = 3
TENANTS = ("ann", "bob")
TOOLS = ("shell", "search", None)
SYSTEM_TOKENS = (9, 22)
VOCABULARY = 64


@functools.cache
def tiny():
    """The smallest Llama that still has two layers and shared heads."""
    torch.manual_seed(10)
    config = LlamaConfig(
        **SIZES
        | {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "vocab_size": VOCABULARY,
            "rope_parameters": ROPES["default"],
        }
    )
    return LoadedModel(LlamaForCausalLM(config).eval(), None, "tiny", "random weights")


def where(dialogue):
    """(tenant, session, context) of a dialogue."""
    return TENANTS[dialogue // 4], f"s{dialogue // 2}", f"c{dialogue % 2}"


def _tokens(seed, count):
    rng = random.Random(seed)
    return [rng.randrange(1, VOCABULARY) for _ in range(count)]


@functools.cache
def prompt(dialogue, turn):
    rng = random.Random(1000 * dialogue + turn)
    new = _tokens(f"new {dialogue} {turn}", rng.choice([1, 3, 7, 15, 30]))
    if not turn:
        tenant = dialogue // 4
        return (*_tokens(f"system {tenant}", SYSTEM_TOKENS[tenant]), *new)
    before = prompt(dialogue, turn - 1) + answer(dialogue, turn - 1)
    kept = len(before) if dialogue % 4 != 3 else len(before) * rng.randrange(8) // 8
    return (*before[:kept], *new)


def max_output(dialogue, turn):
    return (1, 3, 9, 24, 40)[(3 * dialogue + turn) % 5]


@functools.cache
def answer(dialogue, turn):
    """What ``generate`` answers, greedily."""
    return generated(prompt(dialogue, turn), max_output(dialogue, turn))


@functools.cache
def generated(prompt_tokens, count):
    ids = torch.tensor([prompt_tokens])
    out = tiny().model.generate(ids, max_new_tokens=count, do_sample=False, attention_mask=torch.ones_like(ids))
    return tuple(out[0, len(prompt_tokens) :].tolist())
