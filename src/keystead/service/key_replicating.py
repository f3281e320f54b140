"""Replication when it is asked for: the copies that key servers lack, now, as a job. The keeper does so by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.service.key_proving import Task
from keystead.service.key_servers import require_key_manager

if TYPE_CHECKING:
    from keystead.core.jobs import Outcome
    from keystead.service.context import Call
    from keystead.service.jobs import Progress
    from keystead.service.key_keeping import KeyKeeping
    from keystead.service.key_learning import KeyLearner
    from keystead.service.ports import Store


class KeyReplicator:
    """Makes the job."""

    def __init__(self, store: Store, learner: KeyLearner, keeping: KeyKeeping) -> None:
        self._store = store
        self._learner = learner
        self._keeping = keeping

    async def replicate(self, call: Call, key_manager: str) -> Task:
        """The job that writes missing copies, for whoever sees the key manager. Raises 4 (404).

        What new servers can do is learned first, as far as they answer.
        """
        found = await self._store.glance(lambda tx: require_key_manager(tx, call, key_manager))

        async def work(progress: Progress) -> Outcome | None:
            await self._learner.ensure(key_manager)
            return await self._keeping.replication(key_manager)(progress)

        return Task(work, found.svm)
