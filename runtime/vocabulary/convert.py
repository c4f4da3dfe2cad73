"""Makes `o200k.z` of the vocabulary as npm's js-tiktoken ships it, after checking that it is OpenAI's to the byte.

npm pack js-tiktoken@1.0.21 && tar xzf js-tiktoken-1.0.21.tgz
python -m runtime.vocabulary.convert package/dist/ranks/o200k_base.js runtime/vocabulary/o200k.z

o200k.z    zlib of: how many tokens (4 bytes, little endian), the length of each (1 byte), all tokens in order
"""

from __future__ import annotations

import hashlib
import json
import sys
import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path

SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
"""Of OpenAI's own file `o200k_base.tiktoken`, as tiktoken pins it (tiktoken_ext/openai_public.py)."""


def read_js(text: str) -> list[bytes]:
    """The tokens in the order of their ranks. A line is `! FIRST_RANK TOKEN TOKEN …`, in base64."""
    said = json.loads(text[text.index("{") : text.rindex("}") + 1])
    found: dict[int, bytes] = {}
    for line in said["bpe_ranks"].split("\n"):
        _, first, *words = line.split(" ")
        found.update((int(first) + place, b64decode(word)) for place, word in enumerate(words))
    return [found[rank] for rank in range(len(found))]


def sha256_of(tokens: Sequence[bytes]) -> str:
    """The hash of the file that OpenAI would make of these tokens."""
    lines = (b64encode(token) + b" " + str(rank).encode() + b"\n" for rank, token in enumerate(tokens))
    return hashlib.sha256(b"".join(lines)).hexdigest()


def packed(tokens: Sequence[bytes]) -> bytes:
    raw = (len(tokens).to_bytes(4, "little"), bytes(map(len, tokens)), *tokens)
    return zlib.compress(b"".join(raw), 9)


if __name__ == "__main__":
    made = read_js(Path(sys.argv[1]).read_text())
    if sha256_of(made) != SHA256:
        sys.exit("this is not OpenAI's o200k_base")
    Path(sys.argv[2]).write_bytes(packed(made))
