"""The store as a worker uses it: begin, claim, start, finish, beat."""

from __future__ import annotations

from collections.abc import Sequence

import msgpack

from distflow.core.claim import Advance, BatchOpening, ClaimReply, ClaimRequest, Code, Finish
from distflow.store.base import StoreBase


class WorkerStore(StoreBase):
    """The transitions that workers make."""

    def begin_batch(self, epoch: int, batch: str, worker: str, job: str) -> BatchOpening:
        """Say that a batch was taken off its queue; the answer has what its tasks need."""
        keys = (self.keys.meta, self.keys.beats)
        code, *fields = self._run("begin_batch", keys, epoch, batch, worker, job)
        if code != Code.OK:
            return BatchOpening(Code(code))
        params, origin, context, max_result_bytes = fields
        return BatchOpening(
            Code.OK, params, origin.decode(), context.decode(), int(max_result_bytes)
        )

    def advance(
        self,
        epoch: int,
        batch: str,
        finishes: Sequence[Finish] = (),
        claims: Sequence[ClaimRequest] = (),
        *,
        ending: bool = False,
        unstarted: Sequence[str] = (),
    ) -> Advance:
        """Record outcomes, claim what is next, end the batch: one round trip.

        ``unstarted`` names what a batch that is ``ending`` leaves to others.
        """
        request = {
            "epoch": str(epoch),
            "batch": batch,
            "finishes": [finish_fields(finish) for finish in finishes],
            "claims": [claim._asdict() for claim in claims],
            "ending": ending,
            "unstarted": unstarted,
        }
        keys = self.keys
        codes, replies = self._run(
            "advance",
            (
                keys.meta,
                keys.results,
                keys.claims,
                keys.progress,
                keys.beats,
                keys.events,
                keys.history,
            ),
            msgpack.packb(request),
            *(finish.packed for finish in finishes),
        )
        return Advance(
            tuple(Code(code) for code in codes),
            tuple(ClaimReply(Code(code), *numbers) for code, *numbers in replies),
        )

    def start_task(self, task: str, token: str) -> Code:
        """Mark that a claimed ``at_most_once`` task may have effects from here on."""
        return Code(self._run("start_task", (self.keys.meta, self.keys.claims), task, token))

    def beat(self, batch: str, worker: str, job: str, task: str) -> tuple[Code, str]:
        """Say that a batch lives; the answer has the run's status."""
        keys = (self.keys.meta, self.keys.beats)
        code, status = self._run("beat", keys, batch, worker, job, task)
        return Code(code), status.decode()

    def fetch_results(self, names: Sequence[str]) -> list[bytes | None]:
        """The encoded TaskResults of tasks, None where there is no outcome."""
        if not names:
            return []
        return self._patiently(lambda: self.client.hmget(self.keys.results, list(names)))

    def list_results(self) -> list[str]:
        """The names of the tasks that have an outcome."""
        names = self._patiently(lambda: self.client.hkeys(self.keys.results))
        return [name.decode() for name in names]


def finish_fields(finish: Finish) -> dict[str, object]:
    """A Finish as the scripts read it; the packed result travels beside it."""
    fields = finish._asdict()
    del fields["packed"]
    fields["progress"] = finish.progress._asdict()
    return fields
