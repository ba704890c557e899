"""The prompts of requests, as llama.cpp (xllamacpp) and transformers tokenize them. JSON on stdin and stdout; runs in the peers' Python.

{"model": path of a GGUF, "folder": checkpoint, "requests": [{"where", "body"}], "conversations": [[{"role", "content"}]]}
{"llama": [ids of each request], "counted": [tokens that llama.cpp says the prompt has], "transformers": [ids of each conversation]}
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import tempfile

import xllamacpp
from transformers import AutoTokenizer

request = json.load(sys.stdin)
folder = tempfile.TemporaryDirectory()
path = os.path.join(folder.name, "s.sock")
params = xllamacpp.CommonParams()
params.model.path = request["model"]
params.hostnames = [path]
params.n_ctx = 512
params.n_parallel = 1
params.cpuparams.n_threads = 1
params.warmup = False
params.verbosity = -1
server = xllamacpp.Server(params)


def post(where: str, body: object) -> dict[str, object]:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(path)
    connection.request("POST", where, json.dumps(body), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


llama, counted = [], []
for each in request["requests"]:
    body = each["body"]
    text = body["prompt"] if "prompt" in body else post("/apply-template", {"messages": body["messages"]})["prompt"]
    llama.append(post("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"])
    done = post(each["where"], {**body, "stream": False, "n_predict": 1})
    counted.append(done["usage"]["prompt_tokens"])
tokenizer = AutoTokenizer.from_pretrained(request["folder"])
expected = [
    tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    for messages in request["conversations"]
]
json.dump({"llama": llama, "counted": counted, "transformers": expected}, sys.stdout)
sys.stdout.flush()
# The library's threads would go on.
os._exit(0)
