"""Run by the peers' Python: makes adapters with PEFT, and merges them with PEFT.

Reads jobs from standard input, one JSON object a line, and answers each with one line, {"error": null | text}:
    {"do": "merge", "base", "dtype", "merged", "adapters": [{"folder", "config": {…}, "scale": 1.0}], "size": 0.1, "rows": null}
        random LoRAs with factors of that size, each saved, and all merged into their checkpoint in this order;
        with `rows` the vocabulary has grown to so many before; with `of` it is another class than AutoModelForCausalLM
    {"do": "versions"}      {"peft", "torch", "transformers"}
"""

import json
import os
import shutil
import sys
import traceback

os.environ["HF_HUB_OFFLINE"] = "1"


def merge(job):
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer

    torch.manual_seed(job.get("seed", 0))
    of = getattr(transformers, job.get("of") or "AutoModelForCausalLM")
    model = of.from_pretrained(job["base"], dtype=getattr(torch, job["dtype"]))
    if job.get("rows"):
        model.resize_token_embeddings(job["rows"])
    adapters = dict(zip(("default", "second", "third"), job["adapters"], strict=False))
    adapted = None
    for name, adapter in adapters.items():
        config = LoraConfig(**adapter["config"])
        if adapted is None:
            adapted = get_peft_model(model, config)
        else:
            adapted.add_adapter(name, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name and "magnitude" not in name:
                parameter.copy_(torch.randn_like(parameter) * job.get("size", 0.1))
            elif "magnitude" in name or "modules_to_save" in name or "trainable_tokens_delta" in name:
                parameter.add_(torch.randn_like(parameter) * 0.05 * parameter.abs().mean())
    for name, adapter in adapters.items():
        adapted.save_pretrained(adapter["folder"], selected_adapters=[name])
        if name != "default":
            shutil.copytree(os.path.join(adapter["folder"], name), adapter["folder"], dirs_exist_ok=True)
            shutil.rmtree(os.path.join(adapter["folder"], name))
        for module in adapted.modules():
            if isinstance(module, LoraLayer) and name in module.scaling:
                module.scaling[name] *= adapter.get("scale", 1.0)
    adapted.merge_and_unload(adapter_names=list(adapters)).save_pretrained(job["merged"])
    return {}


def versions(job):
    import peft
    import torch
    import transformers

    return {each.__name__: each.__version__ for each in (peft, torch, transformers)}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = {"error": None, **{"merge": merge, "versions": versions}[job["do"]](job)}
        except BaseException as caught:
            traceback.print_exc()
            answer = {"error": f"{type(caught).__name__}: {caught}"}
        print(json.dumps(answer), file=answers, flush=True)


main()
