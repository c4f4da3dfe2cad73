"""How good models are in general, as was published of them: accuracy on MMLU (Hendrycks et al., 2021) in percent.

A warm start, no measurement of ours: what the learner expects of a model before anybody judged an answer of it. Figures
are the makers' own where they published one, and not of one protocol (five-shot or a chain of thought, base model or
chat): differences of a point or two mean nothing. A model without one in this table gets none, and is not guessed from
its relatives. A figure is a fact and names its source; those marked * were not looked up again when this was written:

  [simple]   github.com/openai/simple-evals, README at 0f2cf33
  [gpt4]     GPT-4 technical report, arXiv 2303.08774                [gpt5]     openai.com, introducing GPT-5
  [gptoss]   openai.com, introducing gpt-oss                         [claude2]  Anthropic, model card of Claude 2
  [claude3]  Anthropic, the Claude 3 model family                    [claude35] anthropic.com, Claude 3.5 Sonnet
  [gem10]*   Gemini, arXiv 2312.11805                                [gem15]    Gemini 1.5, arXiv 2403.05530
  [gemma]*   Gemma, arXiv 2403.08295                                 [gemma2]   Gemma 2, arXiv 2408.00118, and its card
  [llama2]*  Llama 2, arXiv 2307.09288                               [llama3]   cards of Llama 3, 3.1, 3.2, 3.3
  [llama4]   card of Llama 4                                         [nem51]    developer.nvidia.com, Nemotron-51B
  [mixtral]  Mixtral of experts, arXiv 2401.04088                    [mistral]* mistral.ai/news and cards, by model
  [qwen15]*  qwenlm.github.io/blog/qwen1.5                           [qwen2]    cards of Qwen2
  [qwen25]*  qwenlm.github.io/blog/qwen2.5-llm                       [qwencode] Qwen2.5-Coder, arXiv 2409.12186
  [qwen3]    qwenlm.github.io/blog/qwen3, base model                 [yi]*      cards of Yi
  [phi3]*    Phi-3, arXiv 2404.14219, and cards of Phi-3.5           [phi4]     Phi-4, arXiv 2412.08905; card of mini
  [dsv2]     card of DeepSeek-V2                                     [dscoder]  DeepSeek-Coder-V2, arXiv 2406.11931
  [dsv3]     card of DeepSeek-V3 and deepseek.com (V2.5)             [dsr1]*    DeepSeek-R1, arXiv 2501.12948
  [command]* cards of Command R and R+ (Open LLM Leaderboard)        [jamba]    card of Jamba 1.5
  [nova]     Amazon Nova, technical report                           [grok]     x.ai/blog, Grok 1.5 and 2
  [kimi]     card of Kimi K2                                         [granite]  card of Granite 3.3
  [lmsys]    leaderboard_table_20230905.csv of LMSYS's Chatbot Arena
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_BY_SOURCE: Mapping[str, str] = {
    "simple": """o3 92.9  o4-mini 90.0  o3-mini 85.9  o1 91.8  o1-preview 90.8  o1-mini 85.2  gpt-4-1 90.2
        gpt-4-1-mini 87.5  gpt-4-1-nano 80.1  gpt-4-5 90.8  gpt-4o-2024-11-20 85.7  gpt-4o 88.7  gpt-4o-2024-05-13 87.2
        gpt-4o-mini 82.0  gpt-4-turbo 86.7  gpt-4-0125-preview 85.4  gpt-4-1106-preview 84.7""",
    "gpt4": "gpt-4 86.4  gpt-3-5-turbo 70.0",
    "gpt5": "gpt-5 92.5",
    "gptoss": "gpt-oss-120b 90.0  gpt-oss-20b 85.3",
    "claude2": """claude-2 78.5  claude-v2 78.5  claude-1 77.0  claude-v1 77.0  claude-instant 73.4
        claude-instant-v1 73.4  claude-instant-1 73.4""",
    "claude3": "claude-3-opus 86.8  claude-3-sonnet 79.0  claude-3-haiku 75.2",
    "claude35": "claude-3-5-sonnet 88.7",
    "gem10": "gemini-1-0-pro 71.8  gemini-pro 71.8  gemini-1-0-ultra 83.7",
    "gem15": "gemini-1-5-pro 85.9  gemini-1-5-flash 78.9",
    "gemma": "gemma-7b 64.3  gemma-2b 42.3",
    "gemma2": "gemma-2-27b 75.2  gemma-2-9b 71.3",
    "llama2": "llama-2-7b 45.3  llama-2-13b 54.8  llama-2-70b 68.9",
    "llama3": """llama-3-8b 68.4  llama-3-70b 82.0  llama-3-1-8b 69.4  llama-3-1-70b 83.6  llama-3-1-405b 87.3
        llama-3-2-1b 49.3  llama-3-2-3b 63.4  llama-3-2-11b 73.0  llama-3-2-90b 86.0  llama-3-3-70b 86.0""",
    "llama4": "llama-4-scout 79.6  llama-4-maverick 85.5",
    "nem51": "llama-3-1-nemotron-51b 80.2",
    "mixtral": "mistral-7b 62.5  mixtral-8x7b 70.6",
    "mistral": """mixtral-8x22b 77.8  mistral-large-2402 81.2  mistral-large-2407 84.0  mistral-medium-2312 75.3
        mistral-small-2402 72.2  mistral-nemo 68.0  ministral-8b 65.0  mathstral 63.5  mathstral-7b 63.5
        pixtral-12b 69.2  mistral-small-3-1 80.6  mistral-small-3-2 80.5  mistral-small-2503 80.6
        mistral-small-2506 80.5""",
    "qwen15": "qwen-1-5-72b 77.5  qwen-1-5-32b 73.4  qwen-1-5-14b 67.6  qwen-1-5-7b 61.0",
    "qwen2": "qwen-2-72b 82.3  qwen-2-7b 70.5",
    "qwen25": """qwen-2-5-0-5b 47.5  qwen-2-5-1-5b 60.9  qwen-2-5-3b 65.6  qwen-2-5-7b 74.2  qwen-2-5-14b 79.7
        qwen-2-5-32b 83.3  qwen-2-5-72b 86.1""",
    "qwencode": "qwen-2-5-coder-32b 75.1  qwen-2-5-coder-7b 67.6",
    "qwen3": "qwen-3-235b-a22b 87.8",
    "yi": "yi-34b 76.3  yi-6b 63.2",
    "phi3": "phi-3-mini 68.8  phi-3-small 75.7  phi-3-medium 78.0  phi-3-5-mini 69.0  phi-3-5-moe 78.9",
    "phi4": "phi-4 84.8  phi-4-mini 67.3",
    "dsv2": "deepseek-v2 77.8",
    "dscoder": "deepseek-coder-v2 79.2  deepseek-coder-v2-lite 60.1  deepseek-coder-v2-16b 60.1",
    "dsv3": "deepseek-v2-5 80.4  deepseek-v3 88.5",
    "dsr1": "deepseek-r1 90.8",
    "command": "command-r 68.2  command-r-plus 75.7",
    "jamba": "jamba-1-5-large 81.2  jamba-1-5-mini 69.7  jamba-large-1-5 81.2  jamba-mini-1-5 69.7",
    "nova": "nova-pro 85.9  nova-lite 80.5  nova-micro 77.6",
    "grok": "grok-1-5 81.3  grok-2 87.5  grok-2-mini 86.2",
    "kimi": "kimi-k2 89.5",
    "granite": "granite-3-3-8b 65.5",
    "lmsys": """llama-2-70b-chat 63.0  llama-2-13b-chat 53.6  wizardlm-13b-v1-2 52.7  wizardlm-70b-v1-0 63.7
        vicuna-13b 55.8  vicuna-33b 59.2""",
}
"""By source: a name as `_plain` makes it, and its figure."""

FIGURES: Mapping[str, float] = {
    name: float(figure)
    for row in _BY_SOURCE.values()
    for name, figure in (pair.split() for pair in re.split(r"\s{2,}", row.strip()))
}

# What may follow a model's name without making another model of it: versions, dates, formats, context lengths.
_REST = re.compile(
    r"(-(instruct|chat|it|hf|gguf|awq|gptq|fp\d+|bf16|q\d\w*(-[0-9kms]+)*|preview|latest|turbo|versatile|instant|free|"
    r"vision|\d+k|v\d+(-\d+)?|\d{4}-\d\d-\d\d|(\d\d-)?\d{4}|\d{3}|\d{8}|17b-\d+e))*"
)
_HOSTS = re.compile(r"^((us|eu|apac)\.)?(anthropic|meta|mistral|cohere|ai21|amazon|deepseek)\.")
_MAKERS = re.compile(r"^(meta-llama-(?=\d|llama)|meta-(?=llama)|c4ai-|ai21-|open-(?=mi)|mistralai-)")


@lru_cache(maxsize=4096)
def published(model: str) -> float | None:
    """The figure of a model by its name, however its host spells it; None where there is none.

    >>> published("openrouter/meta-llama/llama-3.1-70b-instruct"), published("ollama/llama3.1:70b")
    (83.6, 83.6)
    >>> published("openai/gpt-4-1106-preview"), published("a/model-of-ours") is None
    (84.7, True)
    """
    name = _plain(model)
    words = name.split("-")
    for count in range(len(words), 0, -1):
        head = "-".join(words[:count])
        if head in FIGURES and _REST.fullmatch(name[len(head) :]):
            return FIGURES[head]
    return None


def _plain(model: str) -> str:
    """Without its host, and with hyphens for whatever parts a name's words.

    >>> _plain("Qwen2.5-7B-Instruct"), _plain("accounts/fireworks/models/llama-v3p1-8b-instruct")
    ('qwen-2-5-7b-instruct', 'llama-3-1-8b-instruct')
    """
    name = _HOSTS.sub("", model.lower().rpartition("/")[2])
    name = name.split(":")[1] if name.startswith("ft:") else name
    name = re.sub(r"-v(\d)p(\d)", r"-\1-\2", name)
    name = re.sub(r"[\s._:@]+", "-", name)
    name = re.sub(r"^meta-llama-(?=\d)", "llama-", name)
    name = _MAKERS.sub("", name).replace("codellama", "code-llama")
    return re.sub(r"^(llama|phi|qwen|gemma|yi|grok)-?v?(?=\d)", r"\1-", name)
