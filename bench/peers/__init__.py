"""What a user would pick instead, each run by the Python of an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from hashlib import sha256
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ENVIRONMENTS = Path(".data/bench")


def ask_peer(name: str, question: Any) -> Any:
    """What `bench/peers/<name>.py` answers: JSON in, JSON in its last line out.

    What `bench/requirements-<name>.txt` names is installed first.
    """
    done = subprocess.run(
        [environment(name), HERE / f"{name}.py"],
        input=json.dumps(question),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def environment(name: str) -> Path:
    """The Python that has what `bench/requirements-<name>.txt` names."""
    requirements = HERE.parent / f"requirements-{name}.txt"
    folder = ENVIRONMENTS / name
    made_of = folder / "made_of"
    wanted = sha256(requirements.read_bytes()).hexdigest()
    if not made_of.exists() or made_of.read_text() != wanted:
        print(f"Installing {requirements} into {folder} …", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", requirements], check=True)
        made_of.write_text(wanted)
    return folder / "bin/python"
