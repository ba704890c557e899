"""Run by the peers' Python: makes checkpoints, and converts folders with llama.cpp's own converters.

Reads a list of jobs from standard input, one JSON object a line, and answers each with one line:
    {"do": "make", "folder", "config": {…}, "dtype", "seed", "shard": "40KB"}     a random Llama, saved by transformers;
                                                                                  with "of": "Jamba" another model
    {"do": "convert", "folder", "outtype", "out", "options"}                      {"error": null | text}
    {"do": "adapter", "folder", "base", "outtype", "out", "pre"}                  an adapter of PEFT, over the folder of its base
The environment names the source of llama.cpp: MODELBUILD_LLAMA_SRC.
"""

import json
import logging
import os
import runpy
import sys
import traceback

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, os.environ["MODELBUILD_LLAMA_SRC"])


def make(job):
    import torch
    import transformers

    torch.manual_seed(job.get("seed", 0))
    of = job.get("of", "Llama")
    model = getattr(transformers, f"{of}ForCausalLM")(getattr(transformers, f"{of}Config")(**job["config"]))
    with torch.no_grad():
        for parameter in model.parameters():
            # Real weights have no two alike; norms start as ones.
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.to(getattr(torch, job.get("dtype", "bfloat16"))).save_pretrained(
        job["folder"], max_shard_size=job.get("shard", "5GB"), safe_serialization=True
    )


def convert(job):
    import convert_hf_to_gguf
    from conversion.base import ModelBase, TextModel

    find = TextModel.get_vocab_base_pre
    if job.get("pre"):
        TextModel.get_vocab_base_pre = lambda self, tokenizer: job["pre"]
    sys.argv = ["convert", job["folder"], "--outtype", job["outtype"], "--outfile", job["out"], *job.get("options", [])]
    try:
        convert_hf_to_gguf.main()
    finally:
        TextModel.get_vocab_base_pre = find
        # Of a command they are set once, on the class.
        for classes in ModelBase._model_classes.values():
            for each in classes.values():
                for name in {"no_mtp", "mtp_only"} & vars(each).keys():
                    delattr(each, name)
        # The adapters of a conversion, open files of its own: a process is meant for one.
        if (encoders := sys.modules.get("conversion.bert")) is not None:
            encoders.XLMRobertaModel._lora_files = {}
        # So are the values of activations, block by block.
        if (llamas := sys.modules.get("conversion.llama")) is not None:
            for name in ("_alpha_n", "_alpha_p", "_beta", "_eps"):
                getattr(llamas.ApertusModel, name).clear()


def adapter(job):
    from conversion.base import TextModel

    script = os.path.join(os.environ["MODELBUILD_LLAMA_SRC"], "convert_lora_to_gguf.py")
    sys.argv = [script, job["folder"], "--base", job["base"], "--outtype", job["outtype"], "--outfile", job["out"]]
    find = TextModel.get_vocab_base_pre
    if job.get("pre"):
        TextModel.get_vocab_base_pre = lambda self, tokenizer: job["pre"]
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        TextModel.get_vocab_base_pre = find


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        job = json.loads(line)
        error = None
        try:
            {"make": make, "convert": convert, "adapter": adapter}[job["do"]](job)
        except BaseException as caught:
            traceback.print_exc()
            error = f"{type(caught).__name__}: {caught}"
        logging.disable(logging.INFO)
        print(json.dumps({"error": error}), file=answers, flush=True)


main()
