"""Programs of the user's own, made up: a converter of thirty lines with its interpreter, and llama.cpp's programs as scripts."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import tests

CLASS = "MysteryForCausalLM"

CONVERTER = """
import argparse, json, os, struct, sys
from pathlib import Path
sys.path.insert(1, str(Path(__file__).parent / "gguf-py"))
import gguf
from conversion import NAMES

arguments = argparse.ArgumentParser()
arguments.add_argument("model")
arguments.add_argument("--outfile")
arguments.add_argument("--outtype")
asked = arguments.parse_args()
print("environment", json.dumps(dict(os.environ)))
print("listing", json.dumps(sorted(str(p.relative_to(asked.model)) for p in Path(asked.model).rglob("*") if p.is_file())))
print("stdin", os.fstat(0).st_rdev == os.stat(os.devnull).st_rdev)
config = json.loads((Path(asked.model) / "config.json").read_text())
exec(config.get("do", ""))
if config["architectures"] != ["MysteryForCausalLM"]:
    raise NotImplementedError(f"Model {config['architectures'][0]!r} is not supported")
data = (Path(asked.model) / "model.safetensors").read_bytes()
length = struct.unpack("<Q", data[:8])[0]
table = json.loads(data[8 : 8 + length])
table.pop("__metadata__", None)
tensors = []
for name, entry in table.items():
    begin, end = entry["data_offsets"]
    bf16 = data[8 + length + begin : 8 + length + end]
    tensors.append((NAMES.get(name, name), entry["shape"], bf16))
gguf.write(asked.outfile, config, tensors)
"""

GGUF = '''
import struct

def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data

def write(path, config, tensors):
    """A GGUF file of bf16 tensors."""
    arch = config.get("arch", "mystery")
    count = config.get("tokens", config["vocab_size"])
    tokens = struct.pack("<IQ", 8, count) + b"".join(text(f"t{n}") for n in range(count))
    pairs = [("general.architecture", 8, text(arch)), ("tokenizer.ggml.tokens", 9, tokens)]
    for key in ("block_count", "embedding_length", "attention.head_count"):
        if key in config:
            pairs.append((f"{arch}.{key}", 4, struct.pack("<I", config[key])))
    if arch is None or arch == "":
        pairs = pairs[1:]
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(pairs))
    head += b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in pairs)
    at, body = 0, b""
    for name, shape, data in tensors:
        head += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in reversed(shape))
        head += struct.pack("<IQ", 30, at)
        data += bytes(-len(data) % 32)
        body, at = body + data, at + len(data)
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % 32) + body[: len(body) - config.get("cut", 0)])
'''

NAMES = 'NAMES = {"embed": "token_embd.weight", "q": "blk.0.attn_q.weight", "norm": "output_norm.weight"}\n'

IMATRIX = """
import sys
from modelbuild.tensors.formats import gguf
words = sys.argv[1:]
asked = dict(zip(words[::2], words[1::2]))
table = gguf.table(asked["-m"])
text = open(asked["-f"], "rb").read()
chunks = int(asked.get("--chunks", 100))
metadata = {"general.type": gguf.encode_value("str", "imatrix"), "imatrix.datasets": gguf.encode_value("[str]", [asked["-f"]]),
    "imatrix.chunk_count": gguf.encode_value("u32", chunks), "imatrix.chunk_size": gguf.encode_value("u32", 512)}
import struct
rows, body = [], b""
for name, tensor in table.tensors.items():
    if len(tensor.shape) == 2 and name.startswith("blk"):
        width = tensor.shape[-1]
        values = [1.0 + (text[n % len(text)] % 7) for n in range(width)]
        for part, shape, data in ((".in_sum2", (1, width), values), (".counts", (1, 1), [float(chunks)])):
            rows.append((name + part, "f32", shape))
            data = struct.pack(f"<{len(data)}f", *data)
            body += data + bytes(-len(data) % 32)
with open(asked["-o"], "wb") as file:
    file.write(gguf.header(metadata, rows) + body)
"""

PERPLEXITY = """
import os, struct, sys
words = sys.argv[1:]
if "--kl-divergence" in words:
    path = os.path.realpath(words[words.index("-m") + 1])
    assert open(words[words.index("--kl-divergence-base") + 1], "rb").read(8) == b"_logits_"
    print("kl_divergence: computing over 2 chunks, n_ctx=512, batch_size=2048, n_seq=4")
    print(f"Mean    KLD: {1e3 / os.path.getsize(path):10.6f} \\u00b1   0.000100")
    print("Maximum KLD:   1.500000\\nSame top p: 97.908 \\u00b1 0.518 %")
else:
    row = 2 * (2 * ((300 + 1) // 2) + 4)
    with open(words[words.index("--save-all-logits") + 1], "wb") as file:
        file.write(struct.pack("<8sIii", b"_logits_", 8, 300, 2) + bytes(4 * 16 + 2 * 3 * row))
"""


def write(root: Path, versions: dict[str, str] | None = None) -> Path:
    """Write a folder of llama.cpp's with its programs, and an interpreter; returns the folder."""
    folder = root / "llama.cpp"
    for name, text in (
        ("convert_hf_to_gguf.py", CONVERTER),
        ("conversion/__init__.py", "from .base import NAMES\n"),
        ("conversion/base.py", NAMES),
        ("gguf-py/gguf/__init__.py", GGUF),
        ("README.md", "not a part of any tool\n"),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name, text in (("llama-imatrix", IMATRIX), ("llama-perplexity", PERPLEXITY), ("libggml.so", "")):
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        package = f"import sys\nsys.path[:0] = {[*sys.path, str(Path(tests.__file__).parents[1])]!r}\n" if text else ""
        program.write_text(f"#!{sys.executable} -IS\n{package}{text}")
        program.chmod(0o755)
    interpreter(root / "python", versions or {"torch": "2.13.0", "numpy": "2.1.0"})
    return folder


def interpreter(folder: Path, versions: dict[str, str]) -> Path:
    """An environment of this Python in which packages are named and none is there; returns its program."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    packages.mkdir(parents=True, exist_ok=True)
    base = os.path.realpath(sys.executable)
    (folder / "pyvenv.cfg").write_text(f"home = {os.path.dirname(base)}\ninclude-system-site-packages = false\n")
    (folder / "bin").mkdir(exist_ok=True)
    program = folder / "bin" / "python"
    if not program.exists():
        program.symlink_to(base)
    for name, number in versions.items():
        package(packages, name, number)
    return program


def package(packages: Path, name: str, version: str) -> None:
    """Install a package of a version, in place of any other."""
    import shutil

    for old in packages.glob(f"{name}-*.dist-info"):
        shutil.rmtree(old)
    info = packages / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def site(root: Path) -> Path:
    """The packages of the interpreter."""
    return Path(sysconfig.get_path("purelib", vars={"base": str(root / "python"), "platbase": str(root / "python")}))
