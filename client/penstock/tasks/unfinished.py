"""What may be done with a task. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.arguments import ArgumentValueError
from penstock.resilience.resume_token import read_token
from penstock.v1.generation_pb2 import CancelRequest

if TYPE_CHECKING:
    from penstock.call_options import CallOptions
    from penstock.tasks.task import Task


def found(task: Task | None, task_id: str) -> Task:
    """The task, if the file has it. ValueError otherwise."""
    if task is None:
        raise ArgumentValueError("id", f"is {task_id!r}; the state file has no such task")
    return task


def interrupted(task: Task) -> Task:
    """The task, if nobody reads it. ValueError otherwise."""
    if task.state == "running":
        raise ArgumentValueError("id", f"is {task.id!r}, which is read by a stream of a process that runs")
    return task


def resume_options(task: Task, options: CallOptions) -> CallOptions:
    """Those of the call that goes on with the task."""
    return {"tier": task.tier, **options, "resume": True}


def cancellation(task: Task) -> tuple[CancelRequest, str | None]:
    """What ends the task's generation, and the endpoint that has it, if that is known."""
    if not task.token:
        return CancelRequest(idempotency_key=task.request.idempotency_key), None
    point = read_token(task.token)
    return CancelRequest(id=point.id), point.endpoint
