"""An agent with the OpenAI SDK and one tool, against astraea-serve: python examples/agent.py "what is 6 times 7?"."""

import json
import operator
import os
import sys
import uuid
from typing import Any

from openai import OpenAI

OPERATORS = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul}
PARAMETERS = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "description": f"{name} a and b", "parameters": PARAMETERS}}
    for name in OPERATORS
]

client = OpenAI(base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"), api_key="none")
session = {"session_id": str(uuid.uuid4())}  # one name for all calls of the job: its cache is kept, its order fair
messages: list[Any] = [{"role": "user", "content": sys.argv[1]}]
model = client.models.list().data[0].id
for _ in range(8):
    answer = client.chat.completions.create(model=model, messages=messages, tools=TOOLS, extra_body=session)
    message = answer.choices[0].message
    messages.append(message.model_dump(exclude_none=True))
    if not message.tool_calls:
        print(message.content)
        break
    for call in message.tool_calls:
        arguments = json.loads(call.function.arguments)  # type: ignore[union-attr]  # all our tools are functions
        result = OPERATORS[call.function.name](arguments["a"], arguments["b"])  # type: ignore[union-attr]
        messages.append({"role": "tool", "tool_call_id": call.id, "content": str(result)})
