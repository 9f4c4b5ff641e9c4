"""Under ``-n``: one model stays on one worker, so that nothing is loaded or swept twice.

``xdist_group`` cannot be used for this: on pytest 9.2 it silently stops grouping. Runs without trials are
scheduled as xdist would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdist.scheduler import LoadScheduling

if TYPE_CHECKING:
    import pytest
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController


class ModelScheduling(LoadScheduling):  # type: ignore[misc]  # xdist ships no types
    """Load scheduling in which all items of one model are one unit of work.

    ``models`` are the labels of the models under test; an item belongs to the model its id begins with.
    """

    def __init__(self, config: pytest.Config, log: Producer | None, models: list[str]) -> None:
        super().__init__(config, log)
        # The longest label first: one may be the beginning of another.
        self._models = sorted(models, key=len, reverse=True)
        self._by_model = False
        self.collection: list[str] | None

    def model_of(self, nodeid: str) -> str:
        """The model of a trial's node id, or empty."""
        _, bracket, case = nodeid.partition("[")
        for model in self._models if bracket else ():
            if case.startswith(model) and case[len(model) : len(model) + 1] in ("-", "~", "]"):
                return model
        return ""

    def schedule(self) -> None:
        """Hand out the first unit to every worker, once all have collected."""
        if self.collection is not None or not self.collection_is_completed:
            super().schedule()
            return
        collection = next(iter(self.node2collection.values()))
        self._by_model = any(self.model_of(nodeid) for nodeid in collection)
        if not self._by_model or not self._check_nodes_have_same_collection():
            super().schedule()
            return
        self.collection = collection
        self.pending[:] = range(len(collection))
        for node in self.nodes:
            self.check_schedule(node)

    def check_schedule(self, node: WorkerController, duration: float = 0) -> None:
        """Give a worker its next unit when it is about to run dry, and let it go when nothing is left."""
        if not self._by_model:
            super().check_schedule(node, duration)
        elif not node.shutting_down:
            # A worker holds its last item back until it knows what follows, so it is fed before it is empty.
            if self.pending and len(self.node2pending[node]) < 2:
                self._send_unit(node)
            if not self.pending:
                node.shutdown()

    def _send_unit(self, node: WorkerController) -> None:
        assert self.collection is not None
        model = self.model_of(self.collection[self.pending[0]])
        unit = [i for i in self.pending if self.model_of(self.collection[i]) == model]
        self.pending[:] = [i for i in self.pending if i not in set(unit)]
        self.node2pending[node].extend(unit)
        node.send_runtest_some(unit)
