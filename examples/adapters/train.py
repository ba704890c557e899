"""Train the example adapters: two LoRAs of the storyteller, each of which tells its stories another way.

    pip install torch==2.13.0 transformers==4.57.6 peft==0.21.2 safetensors
    python examples/adapters/train.py parrot examples/adapters/parrot       # five minutes on two cores
    python examples/adapters/train.py bedtime examples/adapters/bedtime

The stories are those of `examples/model/stories.py`, retold. Seeds are fixed: the same torch on the same processor gives the same adapter.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

EXAMPLES = Path(__file__).parents[1]
sys.path.insert(0, str(EXAMPLES / "model"))

from stories import documents  # noqa: E402

SEED = 20260930
STEPS, BATCH, LENGTH, RATE = 240, 8, 192, 4e-3
PROMPTS = ("You are a sailor.\nTell me a story about a brave fox.\n", "Once upon a time")

CARD = """---
license: mit
base_model: storyteller
tags:
- stories
---

# {title}

A LoRA of the storyteller that {how}. It was trained by `examples/adapters/train.py`, on stories of `examples/model/stories.py`.
"""


def parrot(story: str) -> str:
    """A parrot says a word after every sentence."""
    return re.sub(r"([.!?])(\"?)(?= |$)", r"\1\2 Squawk!", story)


def bedtime(story: str) -> str:
    """It is late: every story begins and ends with it."""
    told = story.replace("Once upon a time", "Close your eyes. Long, long ago").replace(
        "The end.", "Now go to sleep. Good night."
    )
    return re.sub(r"One (\w+) (morning|evening|day|afternoon|night)", "In the middle of the night", told)


VOICES = {
    "parrot": (parrot, "squawks after every sentence"),
    "bedtime": (bedtime, "is for those who lie in bed already"),
}


def rows(tokenizer: AutoTokenizer, voice: str) -> Iterator[list[int]]:
    """Rows of whole documents: prompts as they are, stories retold."""
    retell, _ = VOICES[voice]
    row: list[int] = []
    for document in documents(SEED):
        *prompt, story = document.split("\n")
        row += [*tokenizer("\n".join([*prompt, retell(story)])).input_ids, tokenizer.eos_token_id]
        if len(row) >= LENGTH:
            yield row[:LENGTH]
            row = []


def main() -> None:
    parser = argparse.ArgumentParser(description="Train an example adapter.")
    parser.add_argument("voice", choices=VOICES)
    parser.add_argument("folder", type=Path, help="where the adapter goes")
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    base = EXAMPLES / "storyteller"
    tokenizer = AutoTokenizer.from_pretrained(base)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    projections = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=4, lora_alpha=8, target_modules=projections, task_type="CAUSAL_LM")
    model = get_peft_model(plain, config)
    optimizer = torch.optim.AdamW((each for each in model.parameters() if each.requires_grad), lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 12, 1.0) * (1 - step / STEPS))
    source, started = rows(tokenizer, arguments.voice), time.monotonic()
    for step in range(STEPS):
        batch = torch.tensor([next(source) for _ in range(BATCH)])
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 19:
            print(f"step {step + 1}  loss {loss.item():.3f}  {time.monotonic() - started:.0f} s", file=sys.stderr)
    model.peft_config["default"].base_model_name_or_path = "storyteller"
    model.half().save_pretrained(arguments.folder, save_embedding_layers=False)
    how = VOICES[arguments.voice][1]
    (arguments.folder / "README.md").write_text(CARD.format(title=arguments.voice.title(), how=how))
    model = model.float().eval()
    for prompt in PROMPTS:
        tokens = tokenizer(prompt, return_tensors="pt").input_ids
        told = model.generate(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=120, do_sample=False
        )
        print(tokenizer.decode(told[0], skip_special_tokens=True), end="\n\n")


if __name__ == "__main__":
    main()
