"""What was meant as a setting, and is none: it would be ignored without a word."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

import structlog
from pydantic_settings import DotEnvSettingsSource

from app.core.config import Settings

log = structlog.get_logger(__name__)

#: How alike a name and the one that was meant are: `API_KEY` and `API_KEYS` are; two of Amazon's,
#: `AWS_DEFAULT_REGION` and `AWS_REGION`, are not.
ALIKE = 0.85


def misspelt(names: Iterable[str]) -> Mapping[str, str]:
    """By name, the settings that were probably meant by those that are of none.

    What is like no setting is another program's.
    """
    settings = list(Settings.model_fields)
    meant = {
        name: get_close_matches(name.upper(), settings, n=1, cutoff=ALIKE)
        for name in sorted({*names}.difference(settings))
    }
    return {name: found[0] for name, found in meant.items() if found}


def warn_of_misspelt() -> None:
    """Tell the log of those in the environment and in `.env`; their values may be secrets."""
    for name, setting in misspelt([*os.environ, *DotEnvSettingsSource(Settings).env_vars]).items():
        log.warning("setting_unknown", name=name, did_you_mean=setting)
