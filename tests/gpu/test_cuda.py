"""What tests/executor/test_on_device.py shows on the CPU, on CUDA: with streams, events and pinned memory."""

from __future__ import annotations

import on_device
import pytest
import torch

from astraea.executor.sampling import Sampling


def test_attention_over_the_pool_is_sdpa_in_float64(cuda):
    on_device.attention_is_sdpa(cuda)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_swap_and_back_on_a_stream_is_bit_exact(cuda, dtype):
    on_device.swap_is_bit_exact(cuda, dtype)


def test_answers_are_those_of_generate_with_caches_that_go_to_the_host(cuda):
    on_device.answers_are_those_of_generate(cuda)


@pytest.mark.parametrize("sampling", [{}, {"logprobs": 2}, on_device.HARDEST])
def test_preparing_the_next_step_asks_the_device_for_nothing(cuda, sampling, monkeypatch):
    on_device.nothing_is_waited_for(cuda, monkeypatch, Sampling(**sampling))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own compiler raises it
def test_compiled_flex_attention_says_what_gathered_blocks_say(cuda):
    on_device.flex_says_the_same(cuda)
