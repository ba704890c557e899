"""The files of a checkpoint folder: which there are, whether all of the weights are there, and the tensors in them."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from modelbuild import bounded_json
from modelbuild.checkpoint.checkpoint import parse_json
from modelbuild.checkpoint.tensor_names import one_of_each
from modelbuild.digest import xxh3
from modelbuild.errors import Error
from modelbuild.tensors import mistaken
from modelbuild.tensors.tensor import Tensor, TensorTable
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed, shown

INDEX = "model.safetensors.index.json"

FILES = (
    "config.json", "generation_config.json", "README.md", "tokenizer.model", "tokenizer.json", "tokenizer_config.json",
    "added_tokens.json", "special_tokens_map.json", "merges.txt", "chat_template.jinja", "chat_template.json",
    "hf_quant_config.json", "tekken.json", INDEX,
)  # fmt: skip
"""The small files that decide bytes, by being there or by not being there."""


IMAGES = ("preprocessor_config.json", "processor_config.json")
"""The small files that say how images are prepared."""

PIECES = "sentencepiece.bpe.model"
"""The SentencePiece model of XLM-RoBERTa, which decides bytes of its kind of models alone."""

SOMETIMES = ("modules.json", PIECES)
"""Small files that decide bytes too, and that only models of embeddings have."""

POOLING = "1_Pooling/config.json"
"""How a model of embeddings pools, in the folder that sentence-transformers makes for that."""

PATH_LIMIT = 200
"""Bytes of a folder's name that modules.json gives. Those of sentence-transformers are `N_CLASS`."""

BESIDE = ("vocab.json", *IMAGES, "video_preprocessor_config.json", "LICENSE", "LICENSE.txt")
"""Small files that decide nothing of a GGUF, and belong to the checkpoint."""

TENSORS_LIMIT = 1 << 18
"""Tensors of a checkpoint. The largest real ones, of hundreds of experts in each block, have two hundred thousand."""
_DAMAGED = "no real checkpoint has so many: the folder may contain files of several checkpoints, or one file is damaged"
INDEX_LIMIT = 64 << 20
"""Bytes. The largest real ones, of two hundred thousand tensors, have some 23 million."""


def small(names: Sequence[str], read: Callable[[str], bytes | None] = lambda name: None) -> list[str]:
    """The small files that a conversion depends on, there or not, given the folder's listing and a reader of its modules.json."""
    templates = [name for name in names if name.startswith("additional_chat_templates/") and name.endswith(".jinja")]
    sometimes = [name for name in SOMETIMES if name in names]
    pools = [pooling(read)] if "modules.json" in names else []
    return [*FILES, *sometimes, *pools, *sorted(templates)]


def pooling(read: Callable[[str], bytes | None]) -> str:
    """The file that says how a model of embeddings pools, by its modules.json; the usual one where that names none in the folder."""
    try:
        found = json.loads(read("modules.json") or b"[]")
        path = next(str(module["path"]) for module in found if str(module["type"]).endswith("Pooling"))
    except (OSError, ValueError, RecursionError, KeyError, TypeError, StopIteration):
        return POOLING
    parts = path.split("/")
    fits = path.isprintable() and len(path.encode()) < PATH_LIMIT and not {"", ".", ".."}.intersection(parts)
    return f"{path}/config.json" if fits else POOLING


def weights(names: Sequence[str], index: bytes | None, folder: str = ".") -> list[str]:
    """The weights files of a folder, given its listing and what its index holds; `folder` is for what is said of it.

    Whether they are all is for their tensors to tell, whatever their names say: two saves may have gone into one folder, and an
    index may be that of another. Raises Error where there are none, or where one is merely spelled otherwise.
    """
    here = set(names)
    found = sorted(name for name in names if name.startswith("model") and name.endswith(".safetensors"))
    if index is not None:
        wanted = sorted(set(_weight_map(index).values()))
        missing = [name for name in wanted if name not in here]
        if not missing:
            return wanted
        if set(found) <= set(wanted) or _near(missing, names):
            raise _incomplete(missing, len(wanted), names)
        found = sorted({*found, *here.intersection(wanted)})
    if not found:
        raise _no_weights(sorted(names), folder)
    return found


def reads_pieces(config: bytes) -> bool:
    """Whether a model of this config.json has a tokenizer that PIECES may hold."""
    return b"XLMRoberta" in config or b"NomicBert" in config


_PART = re.compile(r"model-(\d{5,9})-of-(\d{5,9})\.safetensors")


class Gap(NamedTuple):
    """Files that the names of others count, and that are not there: how many of how many, and the first of them."""

    lacking: int
    total: int
    first: tuple[str, ...]

    def explains(self, error: Error) -> Error:
        """An error about tensors that are missing, with the files that they may lie in."""
        where = ("not there", f"{self.lacking} of {self.total} files: {listed(self.first, 4)}")
        hint = "the download or the save is incomplete: get the files that contain these tensors from where the model came from"
        return error.replace(facts=(*error.facts, where), hint=hint)

    def doubted(self, warning: Error) -> Error:
        """A warning about what may be missing for good, or lie in these files."""
        where = ("not there", f"{self.lacking} of {self.total} files: {listed(self.first, 4)}")
        hint = "the missing files may contain that: get them from where the model came from"
        wanted = f"; otherwise: {warning.hint}" if warning.hint else ""
        return warning.replace(facts=(*warning.facts, where), hint=hint + wanted)

    def warning(self) -> Error:
        """What to say where all tensors of the text model are there in spite of it."""
        here = self.total - self.lacking
        return Error(
            f"the weights files are named as {self.total} files, but only {here} are here",
            facts=[("not there", listed(self.first, 4))],
            hint="the files contain every tensor of the text model, so they are used as they are; "
            f"to end this warning, name them …-of-{here:05}.safetensors",
        )


def gap(names: Iterable[str]) -> Gap | None:
    """What is missing of the numbered weights files among some names; None where nothing is.

    That means little by itself: two saves into one folder leave files that count others which never existed.
    """
    numbers: dict[int, set[int]] = {}
    for part in filter(None, map(_PART.fullmatch, names)):
        numbers.setdefault(int(part[2]), set()).add(int(part[1]))
    for count, present in numbers.items():
        lacking = count - sum(1 <= number <= count for number in present)
        if lacking:
            first = itertools.islice((number for number in range(1, count + 1) if number not in present), 20)
            return Gap(lacking, count, tuple(f"model-{number:05}-of-{count:05}.safetensors" for number in first))
    return None


def _near(missing: Sequence[str], names: Iterable[str]) -> tuple[str, str] | None:
    """A file that is spelled otherwise than the missing one, and that one."""
    folded = {name.casefold(): name for name in names}
    return next(((folded[name.casefold()], name) for name in missing if name.casefold() in folded), None)


def _incomplete(missing: Sequence[str], count: int, names: Sequence[str]) -> Error:
    hint = "the download is incomplete; download the missing files"
    if near := _near(missing, names):
        hint = f"'{near[0]}' differs only in case: rename it to '{near[1]}'"
    return Error(
        f"the checkpoint is incomplete: {len(missing)} of {count} weights files {'is' if len(missing) == 1 else 'are'} missing",
        path=INDEX if INDEX in names else None,
        facts=[("missing", listed(missing))],
        hint=hint,
    )


def _no_weights(names: Sequence[str], folder: str) -> Error:
    """What a folder without weights that can be read is."""
    safetensors = [name for name in names if name.endswith(".safetensors")]
    pickles = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
    if "adapter_config.json" in names:
        return Error(
            "the folder contains an adapter, not a model",
            hint="name the model's folder in FROM, and this folder as its adapter",
        )
    if any(name.startswith("consolidated") for name in (*safetensors, *pickles)):
        mistral = bool(safetensors)
        expected = "config.json, model.safetensors, tokenizer.json or tokenizer.model"
        return Error(
            f"the model is in {'Mistral' if mistral else 'Meta'}'s own format, expected Hugging Face's",
            facts=[("found", listed(names)), ("expected", expected)],
            hint="download those files too: the model's repository at Hugging Face has them beside these; or convert it with "
            f"llama.cpp (python convert_hf_to_gguf.py --mistral-format {shlex.quote(folder)}), and name the GGUF file in FROM"
            if mistral
            else "download the model from a repository in the format of transformers; its name often ends in '-hf'",
        )
    if any(name.startswith("pytorch_model") for name in pickles):
        return Error(
            f"the weights are pickles ('{pickles[0]}'), expected safetensors",
            hint="pickles can run code, so they are not read; where torch and safetensors are installed, this converts them:\n"
            + unpickling(folder),
        )
    if pickles:
        return Error(
            f"the weights are pickles ('{pickles[0]}'), expected safetensors",
            hint="pickles can run code, so they are not read; load the model with the library that wrote it, then save_pretrained",
        )
    return Error(
        "no weights here: expected model.safetensors, or model-00001-of-….safetensors with its index",
        facts=[("found", listed(safetensors or names))] if names else [],
    )


_remembered: tuple[str, Mapping[str, str]] = ("", {})
"""The digest of the last index, and what it maps: a build asks several times, and a large one takes long to parse."""


def _weight_map(index: bytes) -> Mapping[str, str]:
    global _remembered
    digest = xxh3(index)
    if _remembered[0] != digest:
        _remembered = digest, _parsed_map(index)
    return _remembered[1]


def _parsed_map(index: bytes) -> Mapping[str, str]:
    mistaken.refuse_pointer(index, INDEX, "file")
    if len(index) > INDEX_LIMIT:
        raise Error(f"is {len(index):,} bytes long, expected at most {INDEX_LIMIT:,}", path=INDEX, hint=_DAMAGED)
    found = parse_json(bounded_json.text(index, INDEX), INDEX).get("weight_map")
    if isinstance(found, dict) and len(found) > TENSORS_LIMIT:
        what = f"'weight_map' names {len(found):,} tensors, expected at most {TENSORS_LIMIT:,}"
        raise Error(what, path=INDEX, hint=_DAMAGED)
    if not isinstance(found, dict) or set(map(type, found.values())) - {str}:
        raise Error("'weight_map' expects the names of files by tensor", path=INDEX)
    for name in dict.fromkeys(found.values()):
        if "/" in name or "\\" in name or not name.isprintable():
            raise Error(f"'weight_map' names a file outside the folder: '{shown(name)}'", path=INDEX)
    return found


def indexed(index: bytes) -> Sequence[str]:
    """The tensors that an index names, of a block's experts those of one alone. Raises Error."""
    global _indexed
    names = _weight_map(index)
    if _indexed[0] is not names:
        _indexed = names, one_of_each(names)
    return _indexed[1]


_indexed: tuple[Mapping[str, str], Sequence[str]] = ({}, ())
"""What `_remembered` maps, and what `indexed` makes of it."""


def bounded(tables: Iterable[tuple[str, TensorTable]]) -> Iterator[tuple[str, TensorTable]]:
    """Tables of the files of one model, up to where they come to more tensors than any model has. Raises Error there."""
    count = 0
    for file, table in tables:
        count += len(table.tensors)
        if count > TENSORS_LIMIT:
            raise Error(
                f"the weights files up to this one contain {count:,} tensors, expected at most {TENSORS_LIMIT:,}",
                hint=_DAMAGED,
                path=file,
            )
        yield file, table


def tensors(tables: Iterable[tuple[str, TensorTable]], index: bytes | None) -> dict[str, Tensor]:
    """All tensors of the checkpoint, file by file and by name in each (ModelBase.index_tensors)."""
    found: dict[str, Tensor] = {}
    ordered = sorted(tables)
    for at, (file, table) in enumerate(ordered):
        # By code points, which is also the order of the bytes of UTF-8.
        names = sorted(table.tensors)
        if not found.keys().isdisjoint(names):
            name = next(name for name in names if name in found)
            left_over = "all files named model*.safetensors count: remove the ones left over"
            if index is None:
                left_over = f"without {INDEX} " + left_over
            raise Error(
                f"tensor '{shown(name)}' is in two files",
                path=file,
                facts=[("also in", next(other for other, before in ordered[:at] if name in before.tensors))],
                hint=left_over,
            )
        found.update(zip(names, map(table.tensors.__getitem__, names), strict=True))
    if index is not None and (expected := _weight_map(index)).keys() != found.keys():
        home = {name: file for file, table in ordered for name in table.tensors}
        missing = sorted(expected.keys() - found.keys())
        extra = sorted(found.keys() - expected.keys())
        if missing:
            files = sorted({expected[name] for name in missing})
            unread = [name for name in files if name not in set(home.values())]
            raise Error(
                f"names {len(missing)} tensors that no weights file contains",
                path=INDEX,
                facts=[
                    ("tensors", listed(map(shown, missing))),
                    ("not there" if unread else "expected in", listed(unread or files)),
                ],
                hint="the download is incomplete; download the missing files"
                if unread
                else "the download is incomplete, or the index belongs to another checkpoint",
            )
        if extra:
            raise Error(
                f"does not name {len(extra)} tensors that the weights files contain",
                path=INDEX,
                facts=[("tensors", listed(map(shown, extra))), ("in", listed(sorted({home[name] for name in extra})))],
                hint="the index belongs to another checkpoint",
            )
    return found


def unpickling(folder: str) -> str:
    """A command that writes the tensors of a folder's pytorch_model*.bin as safetensors, none of them touched otherwise."""
    script = (
        "import glob, torch; from safetensors.torch import save_file; "
        "[save_file({k: v.clone().contiguous() for k, v in torch.load(f, map_location='cpu', weights_only=True).items()}, "
        "f.replace('pytorch_model', 'model', 1)[:-4] + '.safetensors', {'format': 'pt'}) for f in sorted(glob.glob('pytorch_model*.bin'))]"
    )
    return f'cd {shlex.quote(folder)} && python3 -c "{script}"'
