"""The same model in PyTorch, trained like nanoGPT, in a process of its own.

    python -m benchmarks.training_speed.torch_gpt '{"device": "cuda", ...}'

The argument is the example's configuration as JSON. The process prints "ready", and
then, for each line N of its input, trains N updates and prints their seconds: CPU time,
then wall time. So it can take turns with a process that uses JAX.

torch.compile, bfloat16 autocast, fused AdamW and scaled_dot_product_attention, after A.
Karpathy, "nanoGPT", https://github.com/karpathy/nanoGPT. The layers are the example's:
RMSNorm, no biases, the output tied to the embedding.
"""

import contextlib
import json
import math
import os
import sys
import time
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, config: SimpleNamespace):
        super().__init__()
        D, F_ = config.width, config.mlp_width
        self.heads = config.heads
        self.attention_norm = nn.RMSNorm(D, eps=1e-6)
        self.qkv = nn.Linear(D, 3 * D, bias=False)
        self.out = nn.Linear(D, D, bias=False)
        self.mlp_norm = nn.RMSNorm(D, eps=1e-6)
        self.up = nn.Linear(D, F_, bias=False)
        self.down = nn.Linear(F_, D, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, L, D = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(B, L, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, L, D))
        h = F.gelu(self.up(self.mlp_norm(x)), approximate="tanh")
        return x + self.down(h)


class GPT(nn.Module):
    def __init__(self, config: SimpleNamespace):
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.length, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.output = nn.Linear(config.width, config.vocab_size, bias=False)
        self.output.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        inputs, targets = tokens[:, :-1], tokens[:, 1:]
        places = torch.arange(inputs.shape[1], device=inputs.device)
        x = self.tokens(inputs) + self.positions(places)
        for block in self.blocks:
            x = block(x)
        logits = self.output(self.final_norm(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Training:
    def __init__(self, config: SimpleNamespace):
        self.config, self.step = config, 0
        self.device = torch.device(config.device)
        torch.manual_seed(config.seed)
        torch.set_float32_matmul_precision("high")
        model = GPT(config).to(self.device)
        params = list(model.parameters())
        groups = [
            {"params": [p for p in params if p.ndim >= 2]},
            {"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups, lr=config.peak_value, betas=(config.b1, config.b2), eps=config.eps,
            weight_decay=config.weight_decay, fused=True,
        )  # fmt: skip
        self.model = torch.compile(model) if config.compile else model
        rng = np.random.default_rng(config.seed)
        shape = config.batch_size, config.length + 1
        batches = rng.integers(0, config.vocab_size, (8, *shape))
        self.batches = [torch.from_numpy(tokens) for tokens in batches]
        if self.device.type == "cuda":
            self.batches = [tokens.pin_memory() for tokens in self.batches]
        # On a CPU both this model and the example compute in float32.
        bfloat16 = config.compute_dtype == "bfloat16"
        self.autocast = (
            torch.autocast(self.device.type, dtype=torch.bfloat16)
            if bfloat16
            else contextlib.nullcontext()
        )
        self.advance(3)

    def advance(self, updates: int) -> None:
        for _ in range(updates):
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate()
            tokens = self.batches[self.step % len(self.batches)]
            tokens = tokens.to(self.device, non_blocking=True)
            with self.autocast:
                loss = self.model(tokens)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
        self.loss = loss.item()  # waits for the device

    def learning_rate(self) -> float:
        """Linear warmup, then a cosine to a tenth."""
        peak, warmup = self.config.peak_value, self.config.warmup_steps
        if self.step < warmup:
            return peak * (self.step + 1) / (warmup + 1)
        decay = max(self.config.total_steps - warmup, 1)
        progress = min((self.step - warmup) / decay, 1.0)
        return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # other prints must not look like answers
    config = SimpleNamespace(**json.loads(sys.argv[1]))
    if config.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(f"PyTorch {torch.__version__} sees no CUDA device")
    training = Training(config)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        began = time.process_time(), time.perf_counter()
        training.advance(int(line))
        spent = time.process_time() - began[0], time.perf_counter() - began[1]
        print(*spent, file=answers, flush=True)


if __name__ == "__main__":
    main()
