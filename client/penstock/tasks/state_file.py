"""The SQLite file that keeps tasks."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from penstock.tasks import StateFileError

# In the file's header, by which a file of another program is told apart ("PNST").
APPLICATION_ID = 0x504E5354
SCHEMA_VERSION = 1

# How long another process may hold the file; writes take about a millisecond.
BUSY_SECONDS = 10.0

_SCHEMA = (
    """CREATE TABLE tasks (
        id TEXT PRIMARY KEY,
        request BLOB NOT NULL,  -- a GenerateRequest
        tier TEXT,
        created REAL NOT NULL,  -- seconds since 1970, as is the deadline
        deadline REAL,
        token TEXT NOT NULL,  -- where to read on; empty before the first chunk
        state TEXT NOT NULL,
        error TEXT,
        owner TEXT NOT NULL  -- the process that reads it, or read it last
    ) WITHOUT ROWID""",
    """CREATE TABLE pieces (
        task TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
        first_seq INTEGER NOT NULL,
        next_seq INTEGER NOT NULL,
        chunks BLOB NOT NULL,  -- GenerateChunks, one after the other
        PRIMARY KEY (task, first_seq)
    ) WITHOUT ROWID""",
)


def open_state_file(path: Path) -> sqlite3.Connection:
    """Open the file, made with mode 0600 if there is none. Raises StateFileError."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level="IMMEDIATE")
    except (OSError, sqlite3.Error) as error:
        raise StateFileError(f"the state file {path} cannot be opened: {error}") from error
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise StateFileError(f"the state file {path} is damaged, or no SQLite file: {error}") from error
    except StateFileError:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA auto_vacuum = FULL")  # means something for a new file only
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            for statement in _SCHEMA:
                connection.execute(statement)
    _check(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    # Outlives the process, whatever becomes of it; a loss of power may take the last writes.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StateFileError(f"the state file {path} belongs to another program")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise StateFileError(f"the state file {path} has version {version}; this penstock reads {SCHEMA_VERSION}")
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise StateFileError(f"the state file {path} is damaged: {verdict}")
