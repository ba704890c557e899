"""Run by the peers' Python: llama.cpp's runtime (xllamacpp) beside transformers.

Reads jobs from standard input, one JSON object a line, and answers each with one line, {"error": null | text, …}:
    {"do": "logits", "folder", "model", "adapters": [paths], "tokens": [ids], "letter": id of a token of one letter}
        {"positions", "same", "difference", "margin"}
        over the positions of `tokens` but the first: how often both hold the same token the likeliest, the largest difference of
        two log probabilities (nats) of all tokens that are not far below the likeliest, and of those positions where the likeliest
        differ the largest lead that transformers gives its own
    {"do": "agree", "sides": [{"model", "adapters": [paths]}, …two], "tokens": [ids], "letter": id}
        {"positions", "same", "difference"} of one and the other, as above
    {"do": "load", "model", "tokens": [ids], "letter": id}   {}: the runtime has loaded the file and gone on from the tokens
    {"do": "draft", "model", "draft": path or "" or null, "tokens": [ids], "count"}   {"text", "drafted"}
        what comes after the tokens, and how many tokens were drafted for it
    {"do": "tokenize", "folder", "model", "texts": [text], "special": bool}
        {"transformers": [ids], "llama": [ids], "sentencepiece": [ids], without special tokens, empty where there is no tokenizer.model}
    {"do": "hash", "folder", "text"}                         {"hash": sha256 of the list of ids, as Python writes it}
"""

import hashlib
import json
import os
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "peers"))
import serving  # noqa: E402

os.environ["HF_HUB_OFFLINE"] = "1"

FAR = 12.0
"""Nats below the likeliest where a token's probability no longer matters."""


def logits(job):
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    tokens = job["tokens"]
    torch.set_num_threads(1)
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    try:
        loaded = AutoModelForCausalLM.from_pretrained(job["folder"], **options)
    except ValueError:
        # What sees is another kind of model, even if it is asked nothing but text.
        loaded = AutoModelForImageTextToText.from_pretrained(job["folder"], **options)
    with torch.no_grad():
        # MXFP4 comes as bf16, which holds all its values.
        theirs = torch.log_softmax(loaded.eval().float()(torch.tensor([tokens])).logits[0], dim=-1).numpy()
    server = serving.serve(job["model"], adapters=job.get("adapters", []))
    same, difference, margin = 0, 0.0, 0.0
    for end in range(2, len(tokens) + 1):
        answer = server.handle_completions(
            {
                "prompt": tokens[:end], "n_predict": 1, "temperature": 0, "n_probs": min(theirs.shape[1], 600), "cache_prompt": True,
                # The probabilities are those from before the bias; of a token that is no text none would be told.
                "logit_bias": [[job["letter"], 1000.0]],
            }
        )  # fmt: skip
        found = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        expected = theirs[end - 1]
        best = int(expected.argmax())
        if found[0]["id"] == best:
            same += 1
        else:
            margin = max(margin, float(expected[best] - expected[found[0]["id"]]))
        ids = np.array([token["id"] for token in found])
        values = np.array([token["logprob"] for token in found])
        near = np.maximum(values, expected[ids]) > expected[best] - FAR
        difference = max(difference, float(np.abs(values - expected[ids])[near].max()))
    return {"positions": len(tokens) - 1, "same": same, "difference": difference, "margin": margin}


def probabilities(server, tokens, letter):
    """The log probabilities of the likeliest tokens after each beginning of `tokens`, by id."""
    found = []
    for end in range(2, len(tokens) + 1):
        request = {
            "prompt": tokens[:end], "n_predict": 1, "temperature": 0, "n_probs": 600, "cache_prompt": True,
            "logit_bias": [[letter, 1000.0]],
        }  # fmt: skip
        answer = server.handle_completions(request)["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        found.append({token["id"]: token["logprob"] for token in answer})
    return found


def agree(job):
    sides = [
        probabilities(serving.serve(side["model"], adapters=side["adapters"]), job["tokens"], job["letter"])
        for side in job["sides"]
    ]
    same, difference = 0, 0.0
    for one, other in zip(*sides, strict=True):
        best = max(one, key=one.get)
        same += best == max(other, key=other.get)
        near = [token for token in one.keys() & other.keys() if max(one[token], other[token]) > one[best] - FAR]
        difference = max(difference, max(abs(one[token] - other[token]) for token in near))
    return {"positions": len(sides[0]), "same": same, "difference": difference}


def load(job):
    request = {"prompt": job["tokens"], "n_predict": 1, "temperature": 0, "logit_bias": [[job["letter"], 1000.0]]}
    return {"text": serving.serve(job["model"]).handle_completions(request)["choices"][0]["text"]}


def draft(job):
    request = {"prompt": job["tokens"], "n_predict": job["count"], "temperature": 0, "ignore_eos": True}
    answer = serving.serve(job["model"], draft=job["draft"]).handle_completions(request)
    return {"text": answer["choices"][0]["text"], "drafted": answer["timings"].get("draft_n", 0)}


def tokenize(job):
    import sentencepiece
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job["folder"])
    server = serving.serve(job["model"])

    texts = job["texts"]
    model = os.path.join(job["folder"], "tokenizer.model")
    pieces = sentencepiece.SentencePieceProcessor(model) if os.path.isfile(model) else None
    return {
        "sentencepiece": [pieces.encode(text) for text in texts] if pieces else [],
        "transformers": [tokenizer(text, add_special_tokens=job["special"]).input_ids for text in texts],
        "llama": [serving.tokenize(server, text, special=job["special"]) for text in texts],
    }


def find_hash(job):
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(job["folder"]).encode(job["text"])
    return {"hash": hashlib.sha256(str(ids).encode()).hexdigest()}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = {
                "error": None,
                **{
                    "logits": logits,
                    "load": load,
                    "agree": agree,
                    "draft": draft,
                    "tokenize": tokenize,
                    "hash": find_hash,
                }[job["do"]](job),
            }
        except BaseException as caught:
            traceback.print_exc()
            answer = {"error": f"{type(caught).__name__}: {caught}"}
        print(json.dumps(answer), file=answers, flush=True)


main()
