"""What several folders of tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.e2e.conftest import Live

# How long an example takes says how busy the machine is.
settings.register_profile("raygate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("raygate")


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One real Raygate for the whole run of all who ask for it: each test leaves it as it was."""
    from tests.e2e.conftest import running  # most tests do without Ray

    with running(tmp_path_factory.mktemp("state")) as live:
        yield live
