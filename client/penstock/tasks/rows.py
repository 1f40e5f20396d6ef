"""The statements on a state file. Each is one transaction."""

from __future__ import annotations

import sqlite3
from typing import Any

from penstock.tasks.processes import is_alive, this_process
from penstock.tasks.task import Task, TaskState
from penstock.v1.generation_pb2 import GenerateRequest


def insert(
    connection: sqlite3.Connection,
    task_id: str,
    request: bytes,
    tier: str | None,
    created: float,
    deadline: float | None,
) -> None:
    """Keep a generation that begins now, read by this process."""
    with connection:
        connection.execute(
            "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, '', 'running', NULL, ?)",
            (task_id, request, tier, created, deadline, this_process()),
        )


def append(
    connection: sqlite3.Connection, task_id: str, first_seq: int, next_seq: int, chunks: bytes, token: str
) -> None:
    """Keep further chunks, unless the task was forgotten. They replace fewer of the same first_seq."""
    with connection:
        changed = connection.execute("UPDATE tasks SET token = ? WHERE id = ?", (token, task_id)).rowcount
        if changed:
            connection.execute(
                "INSERT OR REPLACE INTO pieces VALUES (?, ?, ?, ?)", (task_id, first_seq, next_seq, chunks)
            )


def interrupt(connection: sqlite3.Connection, task_id: str, error: str | None) -> None:
    """Nobody reads it any more."""
    with connection:
        connection.execute("UPDATE tasks SET state = 'interrupted', error = ? WHERE id = ?", (error, task_id))


def delete(connection: sqlite3.Connection, task_id: str) -> bool:
    """Forget it. Whether it was there."""
    with connection:
        return connection.execute("DELETE FROM tasks WHERE id = ?", (task_id,)).rowcount > 0


def delete_older(connection: sqlite3.Connection, created: float) -> None:
    """Forget the interrupted ones that began before that time."""
    for task in everything(connection):
        if task.created < created and task.state == "interrupted":
            delete(connection, task.id)


def claim(connection: sqlite3.Connection, task_id: str) -> Task | None:
    """The task as it is. If it is interrupted, this process becomes its reader."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        task = one(connection, task_id)
        if task is not None and task.state == "interrupted":
            connection.execute(
                "UPDATE tasks SET state = 'running', error = NULL, owner = ? WHERE id = ?", (this_process(), task_id)
            )
    return task


def one(connection: sqlite3.Connection, task_id: str) -> Task | None:
    """The task of that id."""
    row = connection.execute("SELECT * FROM tasks WHERE id = ?", (task_id,)).fetchone()
    return _task(connection, row) if row else None


def everything(connection: sqlite3.Connection) -> list[Task]:
    """All of them, the oldest first."""
    rows = connection.execute("SELECT * FROM tasks ORDER BY created, id").fetchall()
    return [_task(connection, row) for row in rows]


def _task(connection: sqlite3.Connection, row: tuple[Any, ...]) -> Task:
    task_id, request, tier, created, deadline, token, state, error, owner = row
    pieces = connection.execute(
        "SELECT next_seq, chunks FROM pieces WHERE task = ? ORDER BY first_seq", (task_id,)
    ).fetchall()
    alive: TaskState = "running" if state == "running" and is_alive(owner) else "interrupted"
    return Task(
        id=task_id,
        state=alive,
        request=GenerateRequest.FromString(request),
        next_seq=pieces[-1][0] if pieces else 0,
        received=b"".join(chunks for _, chunks in pieces),
        created=created,
        deadline=deadline,
        tier=tier,
        token=token,
        error=error,
    )
