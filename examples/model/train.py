"""Train the example models on the stories of `stories.py`, from nothing.

    pip install torch==2.13.0 transformers==4.57.6 sentencepiece protobuf safetensors
    python examples/model/train.py storyteller examples/storyteller       # ten minutes on two cores
    python examples/model/train.py fable build/fable                      # two or three

`storyteller` answers prompts and fits K-quants (every row is a multiple of 256); `fable` is small enough for a GGUF
in the repository, and only tells stories. Seeds are fixed and torch's deterministic algorithms are on: the same torch
on the same processor gives the same weights; another processor gives other weights that are as good.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import sentencepiece
import torch
from safetensors.torch import save_file
from stories import documents
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, LlamaTokenizerFast

SEED = 20260921
HELD_OUT_SEED = 1  # other stories of the same grammar, to measure with
VOCABULARY = 1024
CONTEXT = 512

# One document per exchange: the model never saw a longer conversation, but it may look back at earlier stories.
CHAT_TEMPLATE = (
    "{% set ns = namespace(system='') %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{% set ns.system = message['content'] + '\n' %}"
    "{% elif message['role'] == 'user' %}{{ bos_token + ns.system + message['content'] + '\n' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)

CARD = """---
license: mit
language:
- en
pipeline_tag: text-generation
tags:
- stories
---

# {title}

A Llama of {millions:.1f} million parameters that tells short stories. It was trained by `examples/model/train.py` on
the stories that `examples/model/stories.py` makes, so all of it is ours and under the MIT licence.
{prompts}
Loss on stories it never saw: {loss:.3f} nats a token.
"""

PROMPTS = """
Give it a story's beginning, or up to two lines of prompt:

    You are a sailor. You tell funny stories.
    Tell me a story about a brave fox.

The first line is the system prompt: thirty tellers, five tones (funny, kind, sad, brave, scary). The second says what
the story is about.
"""


@dataclass(frozen=True)
class Recipe:
    shape: dict[str, int]
    prompts: bool
    steps: int
    batch: int  # rows of `row` tokens a step; the last sixth of the steps takes rows of CONTEXT tokens, fewer of them
    row: int
    rate: float
    threads: int


RECIPES = {
    "storyteller": Recipe(
        shape={
            "hidden_size": 256,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        },
        prompts=True,
        steps=1000,
        batch=16,
        row=256,
        rate=3e-3,
        threads=2,
    ),
    "fable": Recipe(
        shape={
            "hidden_size": 64,
            "intermediate_size": 192,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        },
        prompts=False,
        steps=800,
        batch=16,
        row=256,
        rate=6e-3,
        threads=1,  # too small for two to help
    ),
}


def train_tokenizer(folder: Path) -> LlamaTokenizerFast:
    """Train a SentencePiece BPE with byte fallback and write it in both forms, SentencePiece's and transformers'."""
    with tempfile.TemporaryDirectory() as scratch:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(line for text in islice(documents(SEED), 20_000) for line in text.split("\n")),
            model_prefix=f"{scratch}/tokenizer",
            model_type="bpe",
            vocab_size=VOCABULARY,
            byte_fallback=True,
            character_coverage=1.0,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            num_threads=1,
            minloglevel=2,
        )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.model").write_bytes(Path(scratch, "tokenizer.model").read_bytes())
    tokenizer = LlamaTokenizerFast(
        vocab_file=str(folder / "tokenizer.model"), add_prefix_space=True, legacy=True, model_max_length=CONTEXT
    )
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["chat_template"] = CHAT_TEMPLATE
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    return LlamaTokenizerFast.from_pretrained(folder)


class Rows:
    """Rows of whole documents, each between BOS and EOS; every row starts with one and cuts its last."""

    def __init__(self, tokenizer: LlamaTokenizerFast, seed: int, prompts: bool) -> None:
        self.tokenizer = tokenizer
        self.documents = documents(seed, prompts)

    def take(self, count: int, length: int) -> torch.Tensor:
        rows = []
        for _ in range(count):
            row: list[int] = []
            while len(row) < length:
                row += [*self.tokenizer(next(self.documents)).input_ids, self.tokenizer.eos_token_id]
            rows.append(row[:length])
        return torch.tensor(rows)


def train(recipe: Recipe, tokenizer: LlamaTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        **recipe.shape,
        vocab_size=VOCABULARY,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    rows = Rows(tokenizer, SEED + 1, recipe.prompts)
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    vectors = [weight for weight in model.parameters() if weight.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=recipe.rate,
        betas=(0.9, 0.95),
    )
    # Warm up over a twentieth of the steps, then fall linearly to nothing.
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (recipe.steps / 20), 1.0) * (1 - step / recipe.steps)
    )
    started = time.monotonic()
    for step in range(recipe.steps):
        long = step >= recipe.steps * 5 // 6
        length = CONTEXT if long else recipe.row
        batch = rows.take(recipe.batch * recipe.row // length, length)
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 25 == 24:
            print(f"step {step + 1}  loss {loss.item():.3f}  {time.monotonic() - started:.0f} s", file=sys.stderr)
    return model


def held_out_loss(model: LlamaForCausalLM, tokenizer: LlamaTokenizerFast, prompts: bool) -> float:
    batch = Rows(tokenizer, HELD_OUT_SEED, prompts).take(64, 256)
    with torch.no_grad():
        return float(model(input_ids=batch, labels=batch).loss)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train an example model.")
    parser.add_argument("model", choices=RECIPES)
    parser.add_argument("folder", type=Path, help="where the checkpoint goes")
    arguments = parser.parse_args()
    recipe, folder = RECIPES[arguments.model], arguments.folder

    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(recipe.threads)
    tokenizer = train_tokenizer(folder)
    model = train(recipe, tokenizer).to(torch.bfloat16)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    model.config.architectures = ["LlamaForCausalLM"]
    model.config.dtype = "bfloat16"
    model.config.save_pretrained(folder)
    GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        do_sample=True,
        temperature=0.7,
        top_p=0.9,
    ).save_pretrained(folder)

    model = model.float()  # the rounded weights, computed in f32
    loss = held_out_loss(model, tokenizer, recipe.prompts)
    count = sum(weight.numel() for weight in weights.values())
    (folder / "README.md").write_text(
        CARD.format(
            title=arguments.model.title(), millions=count / 1e6, loss=loss, prompts=PROMPTS if recipe.prompts else ""
        )
    )
    print(f"{count} parameters, held-out loss {loss:.4f}, perplexity {math.exp(loss):.3f}", file=sys.stderr)
    for prompt in (
        "Once upon a time",
        *(["You are a ghost.\nTell me a story about a lazy dragon.\n"] * recipe.prompts),
    ):
        tokens = tokenizer(prompt, return_tensors="pt").input_ids
        told = model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=200, do_sample=False)
        print(tokenizer.decode(told[0], skip_special_tokens=True), end="\n\n")


if __name__ == "__main__":
    main()
