"""What decides the tokens of a preparation."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from ..core.settings import InputError
from .documents import Source


@dataclass(frozen=True)
class Settings:
    """What decides the tokens. `tokenizer` is "bytes", "train" or a tokenizer.json."""

    source: Source
    tokenizer: str = "bytes"
    vocab_size: int = 8192  # of a tokenizer that is trained
    train_bytes: int = 100_000_000  # of text that it is trained on
    end_token: str | None = None
    heldout_fraction: float = 0.05
    shard_tokens: int = 2**28

    def __post_init__(self) -> None:
        if not 0 < self.heldout_fraction < 1:
            raise InputError(
                f"heldout_fraction={self.heldout_fraction} is invalid: it must be "
                f"above 0 and below 1."
            )
        for name in ("shard_tokens", "train_bytes"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"{name}={getattr(self, name)} is invalid: it must be 1 or more."
                )
        if self.source.separator == "":
            raise InputError("separator: it is empty. Give a text, or leave it out.")

    def describe(self) -> dict[str, Any]:
        return json.loads(json.dumps(vars(self) | {"source": self.source._asdict()}))


def is_heldout(text: str, fraction: float) -> bool:
    """Whether the document that begins with this text is held out.

    It depends on the document alone: more data moves none from one part to the other,
    and copies of a document are in the same part.
    """
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64
