"""Run by the peers' Python: makes adapters with PEFT, and merges them with PEFT.

Reads jobs from standard input, one JSON object a line, and answers each with one line, {"error": null | text}:
    {"base", "adapter", "merged", "dtype", "config": {…}}     a random LoRA, saved, and merged into its checkpoint
"""

import json
import os
import sys
import traceback

os.environ["HF_HUB_OFFLINE"] = "1"


def make(job):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(job.get("seed", 0))
    model = AutoModelForCausalLM.from_pretrained(job["base"], dtype=getattr(torch, job["dtype"]))
    adapted = get_peft_model(model, LoraConfig(**job["config"]))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name and "magnitude" not in name:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
            elif "magnitude" in name or "modules_to_save" in name or "trainable_tokens_delta" in name:
                parameter.add_(torch.randn_like(parameter) * 0.05 * parameter.abs().mean())
    adapted.save_pretrained(job["adapter"])
    adapted.merge_and_unload().save_pretrained(job["merged"])


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        error = None
        try:
            make(json.loads(line))
        except BaseException as caught:
            traceback.print_exc()
            error = f"{type(caught).__name__}: {caught}"
        print(json.dumps({"error": error}), file=answers, flush=True)


main()
