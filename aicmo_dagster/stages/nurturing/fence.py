"""A restored backup, or a copy of a database, does not send again what was sent since.

The database counts its claims, and a file in AICMO_HOME keeps the highest count this installation
has seen: a database that has counted less is older than what was sent from here. One that was
stamped elsewhere is somebody else's, unless secret key and public URL are the same, as they are on
the machines of one installation. Not here: the database's half (`store.environments`).
"""

import json
import os
import secrets
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from aicmo_dagster.domain.tokens import environment_key
from aicmo_dagster.errors import AicmoError, Transient
from aicmo_dagster.stages.workspace import Workspace
from aicmo_dagster.store.environments import Stamp, read_stamp, renew_stamp, set_stamp

NAME = "sending.json"

_SUCCEEDED = 2**62
"""More claims than any database counts: another one has taken this one's place."""


class Fence:
    """What stands between this installation and a database that it must not send from."""

    def __init__(self, workspace: Workspace) -> None:
        settings = workspace.settings
        self._database = workspace.database
        self._path = settings.home / NAME
        self._environment = environment_key(settings.secret_key(), settings.public_url)
        self._id = ""

    def check(self, now: datetime) -> None:
        """Nothing; this installation may send from the database.

        Raises:
            AicmoError: If the database is older than what was sent from here, or another
                environment's; says how to go on all the same.
        """
        with self._database.read() as connection:
            stamp = read_stamp(connection)
        known = self._read()
        ours = stamp is not None and stamp.id in known
        if stamp is not None and ours and known[stamp.id] >= _SUCCEEDED:
            raise AicmoError(
                "another database has taken the place of this one: all was moved there, or a "
                "backup of it was restored. Point AICMO_DATABASE_URL at that one"
            )
        if stamp is not None and ours and known[stamp.id] > stamp.claims:
            raise AicmoError(
                f"the database is older than what was sent from here: it counts {stamp.claims} "
                f"claims, {self._path} {known[stamp.id]}. A backup was restored? What it holds "
                "as planned may have been sent since. 'aicmo restored' sees to it that it is not "
                f"sent again. To send all the same, remove {self._path}"
            )
        if stamp is not None and not ours and stamp.environment != self._environment:
            raise AicmoError(
                "the database was made to send from another environment, with another "
                "AICMO_SECRET_KEY or AICMO_PUBLIC_URL; a copy of it would write to the same "
                f'people again. To send from here all the same, write {{"{stamp.id}": 0}} '
                f"into {self._path}"
            )
        if stamp is None or stamp.environment != self._environment:
            with self._database.write(durable=True) as connection:
                stamp = set_stamp(connection, secrets.token_hex(8), self._environment, now)
        self._id = stamp.id
        self._keep(stamp)

    def note(self, claims: int) -> None:
        """The database counts `claims`, which this installation remembers outside of it."""
        self._keep(Stamp(self._id, self._environment, claims))

    def succeed(self, now: datetime) -> None:
        """The database has taken the place of the one it came from, which is not sent from here."""
        new_id = secrets.token_hex(8)
        with self._database.write(durable=True) as connection:
            before = renew_stamp(connection, new_id, self._environment)
        if before is not None:
            self._keep(Stamp(before.id, before.environment, _SUCCEEDED))
            self.check(now)

    def _keep(self, stamp: Stamp) -> None:
        known = self._read()
        if known.get(stamp.id, -1) >= stamp.claims:
            return
        text = json.dumps(known | {stamp.id: stamp.claims})
        try:
            self._replace(text)
        except OSError as error:
            raise Transient(
                f"{self._path} cannot be written ({error.strerror}); without it nothing is sent"
            ) from error

    def _replace(self, text: str) -> None:
        """The file holds `text`, or what it held."""
        descriptor, draft = tempfile.mkstemp(prefix=f".{NAME}.", dir=self._path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(draft).replace(self._path)
        except OSError:
            with suppress(OSError):
                Path(draft).unlink()
            raise

    def _read(self) -> dict[str, int]:
        """Claims by database, as this installation has seen them."""
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            known = None
        if not isinstance(known, dict) or not all(isinstance(n, int) for n in known.values()):
            raise AicmoError(
                f"{self._path} cannot be read; it says how far databases have sent from here. "
                "Restore it from a backup, or remove it to send all the same"
            )
        return known
