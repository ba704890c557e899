"""Continue prompts greedily with transformers, in f32. JSON on stdin and stdout; runs in the peers' Python.

{"checkpoint": folder, "prompts": [text], "count": 32}
[{"tokens": ids of the prompt, "continued": ids, "text": …, "margins": best logit less the second, before each token}]
"""

from __future__ import annotations

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

request = json.load(sys.stdin)
torch.set_num_threads(1)
tokenizer = AutoTokenizer.from_pretrained(request["checkpoint"])
model = AutoModelForCausalLM.from_pretrained(request["checkpoint"], dtype=torch.float32)
answers = []
for prompt in request["prompts"]:
    tokens = tokenizer(prompt).input_ids
    continued: list[int] = []
    margins: list[float] = []
    while len(continued) < request["count"] and tokenizer.eos_token_id not in continued:
        with torch.no_grad():
            logits = model(torch.tensor([tokens + continued])).logits[0, -1]
        best, second = logits.topk(2).values.tolist()
        continued.append(int(logits.argmax()))
        margins.append(best - second)
    text = tokenizer.decode(continued, skip_special_tokens=True)
    answers.append({"tokens": tokens, "continued": continued, "text": text, "margins": margins})
json.dump(answers, sys.stdout)
