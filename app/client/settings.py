"""Where the server is, and the key to it: as given, or from the environment, or from a file."""

from __future__ import annotations

import ipaddress
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from app.client.errors import PermanentError

DEFAULT_URL = "http://127.0.0.1:8000"


class BadSettings(PermanentError):
    """The URL, or the file that names it, cannot be used."""

    code = "bad_settings"
    hint = ""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What it takes to reach a server."""

    url: str
    api_key: str | None = field(default=None, repr=False)

    @classmethod
    def load(cls, url: str | None = None, api_key: str | None = None) -> ClientSettings:
        """Each from the first place that names it: the arguments, SLUICE_URL and SLUICE_API_KEY, the file.

        Raises:
            BadSettings: The file is no TOML, or the URL is none.
        """
        stored = {} if url and api_key else read_file(config_path())
        url = url or os.environ.get("SLUICE_URL") or stored.get("url") or DEFAULT_URL
        api_key = api_key or os.environ.get("SLUICE_API_KEY") or stored.get("api_key")
        return cls(checked_url(url), api_key or None)

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, where no proxy of the environment leads."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def config_path() -> Path:
    """`config.toml` in the folder `sluice` of XDG_CONFIG_HOME, which is ~/.config unless set."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "sluice" / "config.toml"


def read_file(path: Path) -> dict[str, str]:
    """`url` and `api_key`, as far as the file has them; empty when there is none.

    Raises:
        BadSettings: It cannot be read, or has something else in it.
    """
    try:
        stored = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # A TOMLDecodeError and a UnicodeDecodeError are ValueErrors.
        raise BadSettings(f"{path} cannot be read: {error}.") from error
    for name, value in stored.items():
        if name not in {"url", "api_key"} or not isinstance(value, str):
            raise BadSettings(f'{path} may have `url = "…"` and `api_key = "…"`, and has `{name}`.')
    return stored


def checked_url(url: str) -> str:
    """The URL without a slash at its end.

    Raises:
        BadSettings: It is none that a server can be at.
    """
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # A port that is no number.
        is_good = False
    if not is_good:
        raise BadSettings(f"{url!r} is no URL of a server: give one like {DEFAULT_URL}.")
    return url.rstrip("/")
