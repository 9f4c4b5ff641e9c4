"""The work by TransformerLens 4: a TransformerBridge around the model of transformers, without the head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformer_lens.model_bridge import TransformerBridge

from benchmarks.peers import lens
from benchmarks.peers.serve import serve

if TYPE_CHECKING:
    from benchmarks.peers.serve import Tasks, Work


def build(work: Work) -> tuple[str, Tasks]:
    """The models, and what is done with them."""
    models = [TransformerBridge.boot_transformers(str(folder), device="cpu").eval() for folder in work.folders]
    return lens.tasks("TransformerBridge", models, work, stop_at_layer=models[0].cfg.n_layers)


if __name__ == "__main__":
    serve(build)
