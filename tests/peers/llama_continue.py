"""Continue prompts greedily with llama.cpp (xllamacpp), KV cache in f32. JSON on stdin and stdout; runs in the peers' Python.

{"model": path of a GGUF, "adapters": [paths of others], "prompts": [text or ids], "count": 32}
[{"continued": ids, "text": …}]
"""

from __future__ import annotations

import json
import sys

import serving

request = json.load(sys.stdin)
server = serving.serve(request["model"], adapters=request.get("adapters", []))
answers = []
for prompt in request["prompts"]:
    # n_probs asks for nothing but the token ids, which come with them.
    choice = server.handle_completions(
        {"prompt": prompt, "n_predict": request["count"], "temperature": 0, "n_probs": 1, "cache_prompt": False}
    )["choices"][0]
    continued = [token["id"] for token in choice["logprobs"]["content"]]
    answers.append({"continued": continued, "text": choice["text"]})
json.dump(answers, sys.stdout)
