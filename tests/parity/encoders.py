"""Run by the peers' Python: encoders in llama.cpp's runtime (xllamacpp) beside transformers.

Reads jobs from standard input, one JSON object a line, and answers each with one line, {"error": null | text, …}:
    {"do": "embed", "folder", "model", "pooling": mean | cls, "texts": [text]}
        {"cosines": [number]} of each text
    {"do": "tokens", "folder", "model", "texts": [text]}
        {"transformers": [ids], "llama": [ids]} of each text, with special tokens
    {"do": "rank", "folder", "model", "query", "texts": [text]}
        {"transformers": [score], "llama": [score]} of each text beside the query
What transformers can read only with code of the checkpoint's own is computed by `_encoder`, from the checkpoint's tensors.
"""

import json
import math
import os
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "peers"))
import serving  # noqa: E402

os.environ["HF_HUB_OFFLINE"] = "1"


def embed(job):
    import numpy as np
    import torch

    torch.set_num_threads(1)
    tokenizer, hidden = _tokenizer(job["folder"]), _hidden(job["folder"])
    server = serving.serve(job["model"], pooling=job["pooling"])
    cosines = []
    for text in job["texts"]:
        ids = tokenizer(text)
        with torch.no_grad():
            states = hidden(torch.tensor([ids]))[0].numpy()
        expected = states[0] if job["pooling"] == "cls" else states.mean(axis=0)
        answer = server.handle_embeddings({"input": [ids], "embd_normalize": -1})
        found = np.array(answer["data"][0]["embedding"], dtype=np.float64)
        cosines.append(float(found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)))
    return {"cosines": cosines}


def tokens(job):
    tokenizer, server = _tokenizer(job["folder"]), serving.serve(job["model"], pooling="mean")
    return {
        "transformers": [tokenizer(text) for text in job["texts"]],
        "llama": [serving.tokenize(server, text, special=True) for text in job["texts"]],
    }


def rank(job):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(job["folder"])
    model = AutoModelForSequenceClassification.from_pretrained(job["folder"], dtype=torch.float32).eval()
    with torch.no_grad():
        scores = [
            float(model(tokenizer(job["query"], text, return_tensors="pt")["input_ids"]).logits[0, 0])
            for text in job["texts"]
        ]
    server = serving.serve(job["model"], pooling="rank")
    answer = server.handle_rerank({"query": job["query"], "documents": job["texts"]})
    found = {each["index"]: each["relevance_score"] for each in answer["results"]}
    return {"transformers": scores, "llama": [found[number] for number in range(len(scores))]}


def _tokenizer(folder):
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if "auto_map" in _config(folder):
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{folder}/tokenizer.json")
    else:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    return lambda text: tokenizer(text)["input_ids"]


def _config(folder):
    return json.loads(Path(folder, "config.json").read_text())


def _hidden(folder):
    """What gives the last hidden states of ids."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel

    tensors = {}
    for path in Path(folder).glob("*.safetensors"):
        tensors |= {name: value.float() for name, value in load_file(path).items()}
    fused = any(".mixer." in name for name in tensors)
    if "auto_map" in _config(folder) or fused:
        return _encoder(_config(folder), _plain(tensors))
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    return lambda ids: model(ids).last_hidden_state


def _plain(tensors):
    """The tensors under the names of Jina's third embeddings, Nomic's or BERT's, without prefixes and parametrizations."""
    found = {}
    for name, value in tensors.items():
        short = (
            name.removeprefix("roberta.").removeprefix("bert.").replace(".parametrizations.weight.original", ".weight")
        )
        found[short] = value
    return found


def _encoder(config, tensors):
    """Nomic's encoders (gates, experts), Jina's second (ALiBi, gates) and third (rotary), blocks for flash attention."""
    import torch
    from torch.nn.functional import embedding, gelu, layer_norm, linear, silu

    heads = config.get("n_head") or config["num_attention_heads"]
    blocks = config.get("n_layer") or config["num_hidden_layers"]
    epsilon = config.get("layer_norm_epsilon") or config["layer_norm_eps"]
    base = config.get("rotary_emb_base")

    def norm(x, stem):
        return layer_norm(x, x.shape[-1:], tensors[f"{stem}.weight"], tensors[f"{stem}.bias"], epsilon)

    def apply(x, stem):
        return linear(x, tensors[f"{stem}.weight"], tensors.get(f"{stem}.bias"))

    def rotate(x):
        half = x.shape[-1] // 2
        angles = torch.arange(x.shape[-2])[:, None] / base ** (torch.arange(half) / half)
        first, second = x[..., :half], x[..., half:]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

    def attention(q, k, v):
        count, size = q.shape[1], q.shape[2] // heads
        q, k, v = (each.reshape(1, count, heads, size).transpose(1, 2) for each in (q, k, v))
        if base:
            q, k = rotate(q), rotate(k)
        scores = q @ k.transpose(2, 3) / math.sqrt(size)
        if config.get("position_embedding_type") == "alibi":
            distance = (torch.arange(count)[:, None] - torch.arange(count)[None]).abs()
            slopes = torch.tensor([2.0 ** (-8.0 * (head + 1) / heads) for head in range(heads)])
            scores = scores - slopes[None, :, None, None] * distance
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(1, count, heads * size)

    def experts(x, stem):
        chosen = apply(x, f"{stem}.router.layer").softmax(-1)
        weights, numbers = chosen.topk(config["moe_top_k"], dim=-1)
        w1, w2 = (
            tensors[f"{stem}.experts.mlp.{part}"].view(config["num_experts"], config["n_inner"], -1)
            for part in ("w1", "w2")
        )
        out = torch.zeros_like(x)
        for place in range(x.shape[1]):
            for weight, number in zip(weights[0, place], numbers[0, place], strict=True):
                out[0, place] += weight * (gelu(x[0, place] @ w1[number].T) @ w2[number])
        return out

    def forward(x, stem):
        if f"{stem}.router.layer.weight" in tensors:
            return experts(x, stem)
        if f"{stem}.fc11.weight" in tensors:
            return apply(apply(x, f"{stem}.fc11") * silu(apply(x, f"{stem}.fc12")), f"{stem}.fc2")
        return apply(gelu(apply(x, f"{stem}.fc1")), f"{stem}.fc2")

    def jinas(x, stem):
        if f"{stem}.gated_layers.weight" in tensors or f"{stem}.up_gated_layer.weight" in tensors:
            name = "gated_layers" if f"{stem}.gated_layers.weight" in tensors else "up_gated_layer"
            gate, up = apply(x, f"{stem}.{name}").chunk(2, dim=-1)
        else:
            gate, up = apply(x, f"{stem}.gated_layers_w"), apply(x, f"{stem}.gated_layers_v")
        return apply(gelu(gate) * up, f"{stem}.wo" if f"{stem}.wo.weight" in tensors else f"{stem}.down_layer")

    def states(ids):
        x = (
            embedding(ids, tensors["embeddings.word_embeddings.weight"])
            + tensors["embeddings.token_type_embeddings.weight"][0]
        )
        if "embeddings.position_embeddings.weight" in tensors:
            x = x + tensors["embeddings.position_embeddings.weight"][2 : 2 + ids.shape[1]]
        x = norm(x, "emb_ln" if "emb_ln.weight" in tensors else "embeddings.LayerNorm")
        for block in range(blocks):
            if f"encoder.layer.{block}.attention.self.query.weight" in tensors:
                stem = f"encoder.layer.{block}"
                q, k, v = (apply(x, f"{stem}.attention.self.{part}") for part in ("query", "key", "value"))
                if f"{stem}.attention.self.layer_norm_q.weight" in tensors:
                    q, k = (
                        norm(q, f"{stem}.attention.self.layer_norm_q"),
                        norm(k, f"{stem}.attention.self.layer_norm_k"),
                    )
                made = norm(
                    x + apply(attention(q, k, v), f"{stem}.attention.output.dense"),
                    f"{stem}.attention.output.LayerNorm",
                )
                last = f"{stem}.mlp.layernorm"
                if f"{stem}.layer_norm_1.weight" in tensors:
                    made, last = norm(x + made, f"{stem}.layer_norm_1"), f"{stem}.layer_norm_2"
                x = norm(made + jinas(made, f"{stem}.mlp"), last)
                continue
            stem = f"encoder.layers.{block}"
            mixer = "mixer" if f"{stem}.mixer.Wqkv.weight" in tensors else "attn"
            q, k, v = apply(x, f"{stem}.{mixer}.Wqkv").chunk(3, dim=-1)
            x = norm(x + apply(attention(q, k, v), f"{stem}.{mixer}.out_proj"), f"{stem}.norm1")
            x = norm(x + forward(x, f"{stem}.mlp"), f"{stem}.norm2")
        return x

    return states


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = {"error": None, **{"embed": embed, "tokens": tokens, "rank": rank}[job["do"]](job)}
        except BaseException as caught:
            traceback.print_exc()
            answer = {"error": f"{type(caught).__name__}: {caught}"}
        print(json.dumps(answer), file=answers, flush=True)


main()
