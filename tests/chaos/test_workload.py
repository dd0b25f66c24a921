"""The documents that the faults are tried on."""

from __future__ import annotations

from tests.chaos.workload import STORED_BYTES, workload


def test_the_same_seed_makes_the_same_documents_and_another_seed_others() -> None:
    assert workload(50) == workload(50)
    assert workload(50) != workload(50, seed=1)


def test_a_small_workload_has_the_first_documents_of_a_large_one() -> None:
    assert set(workload(20)) < set(workload(50))


def test_documents_are_distinct_but_for_those_that_are_sent_twice() -> None:
    items = workload(300)
    contents = {post.content: item.key for item in items for post in item.posts}
    assert len({item.key for item in items}) == 300
    assert len(items) == 330
    assert len(contents) == sum(len(item.posts) for item in dict.fromkeys(items))


def test_all_kinds_are_there() -> None:
    posts = [post for item in workload(300) for post in item.posts]
    names = {post.name for post in posts}
    assert {None, "notes.txt", "notes.md", "page.html", "records.json", "readings.csv"} <= names
    assert {"rules.docx", "guide.pdf"} <= names
    assert any(len(post.content) > STORED_BYTES for post in posts)
    assert any(len(item.posts) == 3 for item in workload(300))
