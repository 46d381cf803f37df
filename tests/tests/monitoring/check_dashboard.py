"""Parses a dashboard with Grafana's own model, and fails if the model drops any part of it."""

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard


def dropped(given, kept, path):
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            yield from dropped(value, kept.get(key), f"{path}.{key}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, pair in enumerate(zip(given, kept)):
            yield from dropped(*pair, f"{path}[{index}]")
    elif given != kept:
        yield f"{path}: {given!r} became {kept!r}"


with open(sys.argv[1], encoding="utf-8") as file:
    given = json.load(file)
kept = json.loads(json.dumps(Dashboard.from_json(given), cls=JSONEncoder))
sys.exit("\n".join(dropped(given, kept, "dashboard")) or None)
