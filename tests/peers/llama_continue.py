"""Continue prompts greedily with llama.cpp (xllamacpp), KV cache in f32. JSON on stdin and stdout; runs in the peers' Python.

{"model": path of a GGUF, "adapters": [paths of others], "prompts": [text or ids], "count": 32}
[{"continued": ids, "text": …}]
"""

from __future__ import annotations

import json
import sys

import xllamacpp

request = json.load(sys.stdin)
params = xllamacpp.CommonParams()
params.model.path = request["model"]
params.n_ctx = 512
loras = []
for path in request.get("adapters", []):
    loras.append(xllamacpp.CommonAdapterLoraInfo())
    loras[-1].path, loras[-1].scale = path, 1.0
params.lora_adapters = loras
params.n_parallel = 1
params.cpuparams.n_threads = 1
params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
params.warmup = False
params.verbosity = -1
server = xllamacpp.Server(params)
answers = []
for prompt in request["prompts"]:
    # n_probs asks for nothing but the token ids, which come with them.
    choice = server.handle_completions(
        {"prompt": prompt, "n_predict": request["count"], "temperature": 0, "n_probs": 1, "cache_prompt": False}
    )["choices"][0]
    continued = [token["id"] for token in choice["logprobs"]["content"]]
    answers.append({"continued": continued, "text": choice["text"]})
json.dump(answers, sys.stdout)
