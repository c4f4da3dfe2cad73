"""What Ray itself thinks of the files that we ship for clusters; nothing is started."""

from __future__ import annotations

import copy
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve.schema import ServeDeploySchema

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cluster() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return loaded


def test_rays_launcher_takes_cluster_yaml(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(copy.deepcopy(cluster)))


def test_a_typo_would_be_caught(cluster: dict[str, Any]) -> None:
    cluster["setup_comands"] = cluster.pop("setup_commands")
    with pytest.raises(jsonschema.ValidationError, match="setup_comands"):
        validate_config(prepare_config(cluster))


def test_ray_starts_with_a_token_and_haproxy(cluster: dict[str, Any]) -> None:
    for when in ("head_start_ray_commands", "worker_start_ray_commands"):
        start = cluster[when][-1]
        assert "RAY_AUTH_MODE=token" in start
        assert "RAY_SERVE_ENABLE_HA_PROXY=1" in start


def test_the_application_can_be_named_in_a_serve_config() -> None:
    config = {
        "proxy_location": "EveryNode",
        "http_options": {"host": "127.0.0.1", "port": 8000},
        "applications": [
            {
                "name": "raygate",
                "route_prefix": "/",
                "import_path": "serve.deploy:app",
                "deployments": [{"name": "Gateway", "num_replicas": 2}],
            }
        ],
    }
    parsed = ServeDeploySchema.model_validate(config)
    from serve.deploy import app

    assert app._bound_deployment.name == parsed.applications[0].deployments[0].name


def test_this_distribution_alone_owns_its_import_names() -> None:
    # An editable install lists no packages of its own, so none but ours may be named, and ours must be found.
    owners = packages_distributions()
    for name in ("runtime", "actors", "serve"):
        assert set(owners.get(name, ["raygate"])) == {"raygate"}
        spec = find_spec(name)
        assert spec is not None
        assert Path(str(spec.origin)).parent == ROOT / name
