"""What tests of the HTTP surface share."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.serve.office import Office, opened


@pytest.fixture
async def office(tmp_path: Path) -> AsyncGenerator[Office]:
    office = Office(await opened(tmp_path))
    yield office
    await office.close()
