"""A kind of units of one's own: the features of a sparse autoencoder of the middle residual stream."""

import torch
from torch import nn

from pytest_unineuron import extend
from pytest_unineuron.corpora.find import find_corpus

FEATURES, ACTIVE = 192, 8
DOCUMENTS, CONTEXT, STEPS, BATCH = 48, 96, 200, 512


class TopK(nn.Module):
    """The encoder of an autoencoder: the largest features of every token, the others zero."""

    def __init__(self, stream):
        super().__init__()
        self.register_buffer("mean", stream.mean(dim=0))
        self.register_buffer("scale", stream.std())
        self.directions = nn.Linear(stream.shape[1], FEATURES)

    def forward(self, stream):
        """Return the features, [token, feature], of the residual stream, [token, dimension]."""
        raw = self.directions((stream - self.mean) / self.scale)
        top = raw.topk(ACTIVE, dim=1)
        return torch.zeros_like(raw).scatter(1, top.indices, top.values.relu())


@extend.units("sae features", site="residual")
def sae_features(view):
    """Return an autoencoder that is trained on the model itself, in a second: real ones are read from a file.

    A model of a control arm has one of its own, trained in the same way: what an autoencoder finds in any network is
    no finding about this one (Heap et al. 2025).
    """
    stream = middle_stream(view.loaded)
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        encoder = TopK(stream)
        decoder = nn.Linear(FEATURES, stream.shape[1], bias=False)
        encoder.directions.weight.data = decoder.weight.data.T.clone()
        optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=3e-3)
        for _ in range(STEPS):
            batch = stream[torch.randint(len(stream), (BATCH,), generator=generator)]
            loss = (decoder(encoder(batch)) - (batch - encoder.mean) / encoder.scale).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    encoder.writes = decoder.weight.detach().T
    return [encoder]


def middle_stream(loaded):
    """Return the residual stream after half of the blocks on some prose, [token, dimension]."""
    found = []
    with torch.no_grad():
        for document in find_corpus("prose").documents[:DOCUMENTS]:
            ids = loaded.tokenizer(document.text, return_tensors="pt").input_ids[:, :CONTEXT]
            states = loaded.model(ids, output_hidden_states=True).hidden_states
            found.append(states[(len(states) - 1) // 2][0, 1:].float())  # the first token is an attention sink
    return torch.cat(found)
