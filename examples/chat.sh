#!/usr/bin/env bash
# Two turns of one session with curl, against astraea-serve: see in the second answer's usage what was still cached.
set -euo pipefail
url=${1:-http://127.0.0.1:8000}
session=$(uuidgen 2>/dev/null || echo "$RANDOM-$RANDOM")
model=$(curl -fsS "$url/v1/models" | python3 -c 'import json, sys; print(json.load(sys.stdin)["data"][0]["id"])')

ask() {  # ask MESSAGES: the JSON array of the conversation so far
    curl -fsS "$url/v1/chat/completions" -H 'Content-Type: application/json' -d '{
        "model": "'"$model"'", "session_id": "'"$session"'", "max_tokens": 48, "temperature": 0, "messages": '"$1"'}'
}

first='{"role": "user", "content": "Name three rivers of Europe."}'
answer=$(ask "[$first]")
echo "$answer"
message=$(python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["choices"][0]["message"]))' <<<"$answer")
ask "[$first, $message, {\"role\": \"user\", \"content\": \"Which is the longest?\"}]"
echo
curl -fsS -X DELETE "$url/v1/sessions/$session"
echo
