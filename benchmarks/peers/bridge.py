"""The work by TransformerLens 4: a TransformerBridge around a model of transformers, without the head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformer_lens.model_bridge import TransformerBridge

from benchmarks.peers import lens
from benchmarks.peers.serve import serve

if TYPE_CHECKING:
    from benchmarks.peers.serve import PeerInputs, Tasks


def build(inputs: PeerInputs) -> tuple[str, Tasks]:
    """The name of the library and its tasks."""
    models = [TransformerBridge.boot_transformers(str(folder), device="cpu").eval() for folder in inputs.folders]
    return lens.tasks("TransformerBridge", models, inputs, stop_at_layer=models[0].cfg.n_layers)


if __name__ == "__main__":
    serve(build)
