"""Run by a Python with transformers: the embeddings that a checkpoint's towers make, without the preparation of images.

Reads jobs from standard input, one JSON object a line, and answers each with one line, {"error": null | text}:
    {"do": "see", "folder", "pixels", "out"}    pixels [height, width, 3] of f32 in a .npy -> embeddings [tokens, width] in another
    {"do": "hear", "folder", "pixels", "out"}   a spectrogram [bins, frames] -> the same
"""

import json
import os
import sys
import traceback

os.environ["HF_HUB_OFFLINE"] = "1"


def load(folder):
    import torch
    import transformers

    torch.set_num_threads(1)
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    reader = getattr(transformers, config["architectures"][0])
    model = reader.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    return config["model_type"], model, getattr(model, "model", model)


def square(pixels, patch, merge, times):
    """Patches in the order of the Qwen family: those of a square that is merged lie together."""
    high, wide = pixels.shape[1] // patch, pixels.shape[2] // patch
    parts = pixels.expand(times, *pixels.shape).reshape(
        1, times, 3, high // merge, merge, patch, wide // merge, merge, patch
    )
    parts = parts.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return parts.reshape(high * wide, 3 * times * patch * patch), [[1, high, wide]]


def features(found):
    """What `get_image_features` returns, which differs between releases of transformers."""
    found = getattr(found, "pooler_output", found)
    while isinstance(found, list | tuple) and len(found) == 1:
        found = found[0]
    return found


def see(job):
    import numpy as np
    import torch

    kind, model, inner = load(job["folder"])
    pixels = torch.from_numpy(np.load(job["pixels"])).permute(2, 0, 1)
    vision = model.config.vision_config
    deep = []
    with torch.no_grad():
        if kind.startswith("qwen"):
            parts, grid = square(pixels, vision.patch_size, vision.spatial_merge_size, 2)
            found = inner.get_image_features(parts, torch.tensor(grid))
            if getattr(found, "deepstack_features", None) is not None:
                deep = [features(each) for each in found.deepstack_features]
            elif isinstance(found, tuple) and len(found) == 2 and "qwen3" in kind:
                found, deep = found
            found = features(found)
        elif kind in ("mistral3", "llava"):
            size = torch.tensor([[pixels.shape[1], pixels.shape[2]]])
            found = features(
                inner.get_image_features(
                    pixel_values=pixels[None],
                    image_sizes=size,
                    vision_feature_layer=-1,
                    **({"vision_feature_select_strategy": "full"} if kind == "llava" else {}),
                )
            )
        elif kind in ("idefics3", "smolvlm"):
            found = features(inner.get_image_features(pixels[None, None]))
            if (
                "connector" in dir(inner)
                and found.shape[-1] == vision.hidden_size != inner.config.text_config.hidden_size
            ):
                found = inner.connector(found)
        elif kind.startswith("gemma4"):
            patch = vision.patch_size * (vision.pooling_kernel_size if kind == "gemma4_unified" else 1)
            high, wide = pixels.shape[1] // patch, pixels.shape[2] // patch
            parts = pixels.reshape(3, high, patch, wide, patch).permute(1, 3, 2, 4, 0).reshape(1, high * wide, -1)
            at = torch.stack(torch.meshgrid(torch.arange(wide), torch.arange(high), indexing="xy"), -1).reshape(
                1, -1, 2
            )
            found = features(inner.get_image_features(parts, at))
        else:
            found = features(inner.get_image_features(pixels[None]))
    found = found.reshape(-1, found.shape[-1])
    found = torch.cat([found, *(each.reshape(found.shape[0], -1) for each in deep)], -1)
    np.save(job["out"], found.numpy())


def hear(job):
    import numpy as np
    import torch

    _, model, inner = load(job["folder"])
    sound = torch.from_numpy(np.load(job["pixels"])).T[None]
    with torch.no_grad():
        found = features(inner.get_audio_features(sound, torch.ones(sound.shape[:2], dtype=torch.bool)))
    np.save(job["out"], found.reshape(-1, found.shape[-1]).numpy())


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        job = json.loads(line)
        error = None
        try:
            {"see": see, "hear": hear}[job["do"]](job)
        except BaseException:
            error = traceback.format_exc()
        print(json.dumps({"error": error}), file=answers, flush=True)


if __name__ == "__main__":
    main()
