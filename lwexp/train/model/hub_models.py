"""Published models that are known without their files, so that ``dry_run=true`` plans and checks them."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lwexp.extend import Licence

_TABLE = Path(__file__).with_name("hub_models.yaml")


class HubModel(NamedTuple):
    """What a config.json on the hub says."""

    config: dict[str, Any]
    licence: Licence


def hub_model(path: str | None) -> HubModel | None:
    """The published model of a hub id; None if it is not in the table."""
    return _table().get(path or "")


@cache
def _table() -> dict[str, HubModel]:
    read = yaml.safe_load(_TABLE.read_text(encoding="utf-8"))
    return {path: HubModel(entry["config"], Licence(entry["licence"])) for path, entry in read.items()}
