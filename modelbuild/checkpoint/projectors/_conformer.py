"""The conformer of Gemma 4, its tower for sound: what its tensors are called, and which of them the runtime loads."""

from __future__ import annotations

from collections.abc import Mapping

from modelbuild.checkpoint.projectors._section import Section, Writer
from modelbuild.errors import Error
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.softplus import softplus
from modelbuild.tensors.recipe import Expression

_BLOCK = {
    "feed_forward1.pre_layer_norm": "ffn_norm",
    "feed_forward1.ffw_layer_1": "ffn_up",
    "feed_forward1.ffw_layer_2": "ffn_down",
    "feed_forward1.post_layer_norm": "ffn_post_norm",
    "feed_forward2.pre_layer_norm": "ffn_norm_1",
    "feed_forward2.ffw_layer_1": "ffn_up_1",
    "feed_forward2.ffw_layer_2": "ffn_down_1",
    "feed_forward2.post_layer_norm": "ffn_post_norm_1",
    "norm_pre_attn": "attn_pre_norm",
    "norm_post_attn": "attn_post_norm",
    "norm_out": "ln2",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.post": "attn_out",
    "self_attn.relative_k_proj": "attn_k_rel",
    "self_attn.per_dim_scale": "per_dim_scale",
    "self_attn.per_dim_key_scale": "per_dim_k_scale",
    "lconv1d.pre_layer_norm": "conv_norm",
    "lconv1d.conv_norm": "norm_conv",
    "lconv1d.depthwise_conv1d": "conv_dw",
    "lconv1d.linear_start": "conv_pw1",
    "lconv1d.linear_end": "conv_pw2",
}
NAMES = {
    **{f"audio_tower.layers.N.{stem}": f"a.blk.N.{name}" for stem, name in _BLOCK.items()},
    "audio_tower.subsample_conv_projection.layer0.conv": "a.conv1d.0",
    "audio_tower.subsample_conv_projection.layer0.norm": "a.conv1d.0.norm",
    "audio_tower.subsample_conv_projection.layer1.conv": "a.conv1d.1",
    "audio_tower.subsample_conv_projection.layer1.norm": "a.conv1d.1.norm",
    "audio_tower.subsample_conv_projection.input_proj_linear": "a.input_projection",
    "audio_tower.output_proj": "a.pre_encode.out",
    "embed_audio.embedding_projection": "mm.a.input_projection",
}

LOADS = """
    a.conv1d.0                 3 3 1 first
    a.conv1d.0.norm            first
    a.conv1d.1                 3 3 first second
    a.conv1d.1.norm            second
    a.input_projection         sampled heard
    a.pre_encode.out           heard out
    a.pre_encode.out.bias?     out
    mm.a.input_projection      out text
    a.blk.N.ffn_norm           heard
    a.blk.N.ffn_up             heard 4*heard
    a.blk.N.ffn_down           4*heard heard
    a.blk.N.ffn_post_norm      heard
    a.blk.N.ffn_norm_1         heard
    a.blk.N.ffn_up_1           heard 4*heard
    a.blk.N.ffn_down_1         4*heard heard
    a.blk.N.ffn_post_norm_1    heard
    a.blk.N.attn_pre_norm      heard
    a.blk.N.attn_post_norm     heard
    a.blk.N.ln2                heard
    a.blk.N.attn_q             heard heard
    a.blk.N.attn_k             heard heard
    a.blk.N.attn_v             heard heard
    a.blk.N.attn_out           heard heard
    a.blk.N.attn_k_rel         heard heard
    a.blk.N.per_dim_scale      each
    a.blk.N.per_dim_k_scale?   each
    a.blk.N.conv_norm          heard
    a.blk.N.norm_conv          heard
    a.blk.N.conv_dw            kernel heard
    a.blk.N.conv_pw1           heard 2*heard
    a.blk.N.conv_pw2           heard heard
"""

DEFAULTS = {
    "hidden_size": 1024,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "subsampling_conv_channels": [128, 32],
    "conv_kernel_size": 5,
    "output_proj_dims": 1536,
}
"""(transformers, Gemma4AudioConfig)"""


def of(name: str, x: Expression) -> tuple[str, Expression]:
    """A tensor as it is named by NAMES, and what is made of it (Gemma4VisionAudioModel.modify_tensors)."""
    name = name.replace(".linear.", ".")
    if name.endswith(("per_dim_key_scale", "per_dim_scale")):
        return f"{name}.weight", softplus(x)
    if "lconv1d.depthwise_conv1d" in name and name.endswith(".weight"):
        if len(x.shape) != 3 or x.shape[1] != 1:
            raise Error(f"tensor '{name}' expects one channel for each output, got {list(x.shape)}")
        return name, reshape(x, (x.shape[0], x.shape[2]))
    return name, x


def is_f32(name: str) -> bool:
    """Whether a tensor is f32 in every file (Gemma4VisionAudioModel.tensor_force_quant)."""
    return ".conv" in name or ("_conv" in name and ".weight" in name)


def parameters(out: Writer, audio: Section, text: int) -> None:
    out.put("has_audio_encoder", "bool", True)
    out.put("audio.projection_dim", "u32", text)
    out.put("audio.embedding_length", "u32", audio.count("hidden_size"))
    out.put("audio.feed_forward_length", "u32", 4 * audio.count("hidden_size"))
    out.put("audio.block_count", "u32", audio.blocks("num_hidden_layers"))
    out.put("audio.attention.head_count", "u32", _heads(audio))


def named(out: Writer, audio: Section) -> None:
    """What stands behind the metadata of images."""
    out.put("audio.projector_type", "str", "gemma4a")
    out.put("audio.num_mel_bins", "u32", audio.count("input_feat_size") if "input_feat_size" in audio.values else 128)
    out.put("audio.attention.layer_norm_epsilon", "f32", audio.number("layer_norm_eps", 1e-6))


def sizes(audio: Section) -> Mapping[str, int]:
    """The words of LOADS."""
    channels = audio.get("subsampling_conv_channels")
    if not isinstance(channels, list | tuple) or len(channels) != 2:
        raise audio.error("subsampling_conv_channels", "two whole numbers", channels)
    first, second = (
        Section(audio.name, {"subsampling_conv_channels": n}).count("subsampling_conv_channels") for n in channels
    )
    heard = audio.count("hidden_size")
    return {
        "heard": heard,
        "each": heard // _heads(audio),
        "first": first,
        "second": second,
        "sampled": first // 4 * second,
        "out": audio.count("output_proj_dims"),
        "kernel": audio.count("conv_kernel_size"),
    }


def _heads(audio: Section) -> int:
    heads = audio.count("num_attention_heads")
    if audio.count("hidden_size") % heads:
        raise audio.error("num_attention_heads", f"a divisor of the width, {audio.count('hidden_size')}", heads)
    return heads
