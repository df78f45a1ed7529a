"""The Anthropic SDK against a server: ``pip install anthropic``, then ``python tests/clients/anthropic_sdk.py URL``.

It needs a server that is there, say ``astraea-serve --model toy``, and ends with 1 and a sentence where something is
not as the SDK wants it.
"""

from __future__ import annotations

import sys

import anthropic

QUESTION = {"role": "user", "content": "What is one and one?"}
TOOL = {"name": "add", "description": "Adds.", "input_schema": {"type": "object", "properties": {}}}


def main(url: str) -> int:
    client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
    asked = {"model": "any", "max_tokens": 16, "messages": [QUESTION]}
    told = client.messages.create(**asked, system="Be brief.", tools=[TOOL])
    if told.type != "message" or told.usage.output_tokens < 1:
        return _wrong(f"an answer is not one: {told}")
    with client.messages.stream(**asked) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    if text != "".join(block.text for block in final.content) or final.stop_reason is None:
        return _wrong(f"a stream does not add up: {text!r} and {final}")
    counted = client.messages.count_tokens(model="any", messages=[QUESTION]).input_tokens
    if counted != final.usage.input_tokens + (final.usage.cache_read_input_tokens or 0):
        return _wrong(f"{counted} tokens were counted, but {final.usage} used")
    try:
        client.messages.create(model="any", max_tokens=0, messages=[QUESTION])
    except anthropic.BadRequestError:
        print("the Anthropic SDK: an answer, a stream, a count and a refusal are as it wants them")
        return 0
    return _wrong("an impossible request was not refused")


def _wrong(sentence: str) -> int:
    print(f"the Anthropic SDK: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
