"""The OpenAI Agents SDK against astraea-serve: pip install openai-agents; python examples/agents_sdk.py "6 times 7?".

It sends no session id, and needs none: the server knows the conversation by the answers that it gave in it.
"""

import os
import sys

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI


@function_tool
def multiply(a: float, b: float) -> float:
    """Multiply a and b."""
    return a * b


set_tracing_disabled(disabled=True)  # traces would go to OpenAI
client = AsyncOpenAI(base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"), api_key="none")
agent = Agent(
    name="calculator",
    instructions="Use your tool.",
    tools=[multiply],
    model=OpenAIChatCompletionsModel(model=os.environ.get("MODEL", "default"), openai_client=client),
)
print(Runner.run_sync(agent, sys.argv[1], max_turns=8).final_output)
