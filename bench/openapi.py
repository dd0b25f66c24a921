"""Schemathesis against the whole OpenAPI document: no 5xx, and every answer as the document says."""

from __future__ import annotations

import argparse
import subprocess
import sys

import httpx

from bench.peers import environment
from bench.support import conditions, service

#: Not those by which each request that fits the schema has to succeed: an id that is not there, a cursor that
#: is not ours and two fields that exclude each other are refused, and no schema can say so.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"

SOME = [
    {"text": "The upper gate opens at six.", "title": "Gates", "metadata": {"season": "summer"}},
    {"text": "The swan has five cygnets.", "collection": "birds", "external_id": "swan"},
]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--examples", type=int, default=100, help="of each operation")
    arguments.add_argument("--seed", type=int, default=7)
    asked = arguments.parse_args()
    program = environment("schemathesis").with_name("st")
    print(conditions(), flush=True)
    with service(workers=1) as stack:
        with httpx.Client(base_url=stack.options.url, timeout=60, trust_env=False) as client:
            for document in SOME:
                location = client.post("/ingest", json=document).headers["location"]
                client.get(location, params={"wait": 60})
        done = subprocess.run(
            [
                program,
                "run",
                f"{stack.options.url}/openapi.json",
                f"--checks={CHECKS}",
                f"--max-examples={asked.examples}",
                f"--seed={asked.seed}",
                "--request-timeout=60",
                # Its answer has no end; that of one document has, with the document's.
                "--exclude-path=/events",
                "--continue-on-failure",
                "--suppress-health-check=all",
            ],
            check=False,
        )
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
