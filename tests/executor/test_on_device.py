"""The twins on the CPU of the tests in tests/gpu."""

from __future__ import annotations

import on_device
import pytest
import torch


def test_attention_over_the_pool_is_sdpa_in_float64():
    on_device.attention_is_sdpa("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_swap_and_back_is_bit_exact(dtype):
    on_device.swap_is_bit_exact("cpu", dtype)


def test_answers_are_those_of_generate_with_caches_that_go_to_the_host():
    on_device.answers_are_those_of_generate("cpu")
