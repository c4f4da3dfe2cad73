"""What does not hold with a client and is not ours to mend, with the reason."""

from __future__ import annotations

from tests.clients.table import Known

_AI = "it tries again at every 429 and 5xx and does not read x-should-retry (ai: APICallError.isRetryable)"

KNOWN: Known = {
    ("litellm, Ollama", "embed", "vectors"): "it sends no key with these (litellm.llms.ollama: a post without headers)",
    **{
        (f"node ai, {words}", "retries", "fail-429 is not multiplied"): _AI
        for words in ("openai chat", "openai responses", "openai-compatible", "anthropic")
    },
}
