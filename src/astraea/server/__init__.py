"""The OpenAI-compatible server: what HTTP says becomes events, what the engine does becomes answers."""
