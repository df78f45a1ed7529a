"""The real model answers chats as its own ``generate`` does, all at once and with caches that come and go.

Three chats, or all twenty under ``--hypothesis-profile=night``.
"""

from __future__ import annotations

import pytest
import torch

from astraea.executor.model import load_model
from astraea.executor.requests import Finish, TurnRequest
from astraea.executor.runner import Engine
from astraea.policy.limits import EngineCosts, Limits

QUESTIONS = (
    "What is the capital of France?",
    "Name three colours of the rainbow.",
    "Write one sentence about the sea.",
    "How many days has a week?",
    "Translate 'good morning' into Spanish.",
    "What is two plus two?",
    "Why is the sky blue?",
    "Give me a recipe for tea.",
    "Who wrote Romeo and Juliet?",
    "What does a compiler do?",
    "Say hello to my grandmother.",
    "Which planet is the largest?",
    "List the first five prime numbers.",
    "What is a good name for a cat?",
    "Explain gravity to a child.",
    "What is the opposite of hot?",
    "Tell me a very short story.",
    "How do bees make honey?",
    "What should I pack for a hike?",
    "Name an animal that can fly.",
)
OUTPUT_TOKENS = 16


@pytest.fixture
def chats(request):
    """How many chats there are time for."""
    return QUESTIONS if request.config.getoption("--hypothesis-profile") == "night" else QUESTIONS[:3]


def test_each_of_two_turns_of_every_chat_is_what_generate_answers(smollm2_folder, chats):
    loaded = load_model(str(smollm2_folder), dtype=torch.float32)
    tokenizer, generator = loaded.tokenizer, load_model(str(smollm2_folder), dtype=torch.float32).model

    def asked(text):
        return tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
        )

    def generated(prompt):
        ids = torch.tensor([prompt])
        out = generator.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=OUTPUT_TOKENS, do_sample=False
        )
        return out[0, len(prompt) :].tolist()

    limits = Limits(
        device_blocks=6 + 3 * len(chats), host_blocks=400, batch_turns_max=8, step_tokens_max=48,
        costs=EngineCosts(swap_ns_per_token=1),
    )  # fmt: skip
    prompts = [list(asked(text)) for text in chats]
    with Engine(loaded, limits) as engine:
        for turn in range(2):
            answers = [
                engine.submit(
                    TurnRequest(
                        session_id=f"s{i}", job_id=f"s{i}", turn_id=f"t{i}.{turn}", prompt=prompt,
                        max_output_tokens=OUTPUT_TOKENS, tool_of=lambda _: "person",
                    )
                )
                for i, prompt in enumerate(prompts)
            ]  # fmt: skip
            engine.run_until_idle()
            for i, told in enumerate(answers):
                assert told.finish in {Finish.STOP, Finish.LENGTH}, told.error
                assert told.tokens == generated(prompts[i]), chats[i]
                prompts[i] = [*prompts[i], *told.tokens, *asked("Go on.")]
