"""Faults on purpose: the real API, real workers, real servers, and SQL that says whether the promise held.

`./sluice chaos` runs it; `./sluice chaos --list` names the faults. A fault is a class in `faults/`: what it
breaks while documents are posted, and the figures that it must meet. What holds whatever breaks is in
`invariants.py`.
"""
