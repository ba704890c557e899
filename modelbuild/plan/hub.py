"""Checkpoints of Hugging Face as bases, in the cache that huggingface_hub keeps."""

from __future__ import annotations

from modelbuild.checkpoint import hf_cache
from modelbuild.checkpoint.hf_repository import Repository
from modelbuild.observed import Observed
from modelbuild.plan.pulled import NotPulled
from modelbuild.plan.weights import CheckpointFolder, WeightsReader
from modelbuild.project.lock import Outside, Pins
from modelbuild.project.variant import From
from modelbuild.tuples import NamedTuple


class Downloaded(NamedTuple):
    """A checkpoint of the cache, and the repository and commit that it is."""

    checkpoint: CheckpointFolder
    outside: Outside


class Hub:
    """Finds repositories in the cache, each as the lock pins it, else as its revision was when it was last downloaded."""

    def __init__(self, observed: Observed, weights: WeightsReader, pins: Pins) -> None:
        self._observed = observed
        self._weights = weights
        self._pins = pins

    def is_pinned(self, repository: Repository) -> bool:
        return repository.key in self._pins

    def find(self, line: From, repository: Repository) -> Downloaded | None:
        """The checkpoint of a repository; None where nobody knows of which commit. Raises NotPulled for one that is not whole."""
        home = hf_cache.home(self._observed.env)
        commit = self._pins.get(repository.key) or hf_cache.last_commit(home, repository, self._observed)
        if commit is None:
            return None
        outside = Outside(repository.key, commit)
        snapshot = hf_cache.snapshot_of(home, repository, commit)
        if missing := hf_cache.lacking(snapshot, self._observed):
            if not repository.explicit and not self.is_pinned(repository) and missing == "model.safetensors":
                # What is in the cache may be some other file of a repository of GGUF files.
                return None
            raise NotPulled(line, outside, [("not in the cache", missing), ("commit", commit)])
        return Downloaded(self._weights.checkpoint(line, snapshot.folder, repository.name), outside)
