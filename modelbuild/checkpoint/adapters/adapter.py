"""An adapter, whoever wrote it: what it adds to the tensors of a model, and what it puts in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelbuild.tensors.recipe import Expression


@dataclass(frozen=True)
class Pair:
    """Two factors whose product is added to a matrix: W + scale * b a.

    a          [rank, in], of experts [experts, rank, in]
    b          [out, rank], of experts [experts, out, rank]
    magnitude  DoRA: what the length of each row of the sum becomes, [out], of experts [experts, out]
    columns    whether the magnitude is of its columns instead, [in], as PEFT has it of embeddings
    files      the names of its tensors in the file
    rounded    whether PEFT rounds the product to the matrix's type before it adds it: of embeddings and experts
    """

    a: Expression
    b: Expression
    scale: float
    magnitude: Expression | None = None
    files: tuple[str, ...] = ()
    rounded: bool = False
    columns: bool = False

    @property
    def rank(self) -> int:
        return self.b.shape[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the matrix."""
        return (*self.b.shape[:-1], self.a.shape[-1])


@dataclass(frozen=True)
class Fused:
    """A pair for a parameter that holds the matrices of all experts, as PEFT stores it; which parameter, the shapes tell.

    a           [experts * rank, in]
    b           [out, rank * experts]
    module      the module that holds the parameter
    depth       how many other parameters of the module were wrapped after it
    parameters  those that it may be, and the rank and factor of each
    """

    a: Expression
    b: Expression
    module: str
    depth: int
    parameters: Mapping[str, tuple[int, float]]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """New rows for some tokens of an embedding."""

    indices: tuple[int, ...]
    values: Expression


@dataclass(frozen=True)
class Adapter:
    """What an adapter changes, by the names that a checkpoint has for the tensors: 'model.layers.0.self_attn.q_proj.weight'.

    pairs       what is added to matrices
    biases      what is added to biases, and its factor
    whole       what stands in place of a tensor
    copies      the names of those that are no more than copies of the base's, which PEFT saves beside their pairs
    rows        what stands in place of some rows of one
    fused       pairs of parameters that hold all experts
    version     of PEFT, where it says so
    invocation  the tokens after which an activated LoRA is switched on
    phrase      their text, where the adapter has no more
    base        the name of the model that it was trained on, where it says so
    task        what it was trained for, as PEFT calls it, where it says so
    placed      the architecture of a GGUF file, where the names are of one
    metadata    of a GGUF file
    """

    pairs: Mapping[str, Pair]
    biases: Mapping[str, tuple[Expression, float]] = field(default_factory=dict)
    whole: Mapping[str, Expression] = field(default_factory=dict)
    copies: frozenset[str] = frozenset()
    rows: Mapping[str, Rows] = field(default_factory=dict)
    fused: Sequence[Fused] = ()
    version: str = ""
    invocation: Sequence[int] = ()
    phrase: str = ""
    base: str = ""
    task: str = ""
    placed: str = ""
    metadata: Mapping[str, bytes] = field(default_factory=dict)
