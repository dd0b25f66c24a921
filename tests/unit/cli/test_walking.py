"""Which files a call means, and which it leaves out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.cli.ingesting.walking import TwoOfOneName, Walk


def walked(*paths: Path, prefix: str = "", exclude: Sequence[str] = ()) -> Walk:
    walk = Walk(prefix=prefix, exclude=exclude)
    walk.add(paths)
    return walk


def reasons(walk: Walk) -> dict[str, str]:
    return {each.path.name: each.reason for each in walk.left_out}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "locks/old").mkdir(parents=True)
    (tmp_path / "gates.md").write_text("gates")
    (tmp_path / "locks/fenn.txt").write_text("fenn")
    (tmp_path / "locks/old/fenn.txt").write_text("old fenn")
    return tmp_path


def test_files_are_named_by_their_paths_below_the_folder(tree: Path) -> None:
    assert sorted(walked(tree).files) == ["gates.md", "locks/fenn.txt", "locks/old/fenn.txt"]
    assert list(walked(tree / "locks/fenn.txt", prefix="canal/").files) == ["canal/fenn.txt"]


def test_what_is_hidden_empty_excluded_or_no_file_is_left_out_and_told(tree: Path) -> None:
    (tree / ".git").mkdir()
    (tree / ".git/config").write_text("no")
    (tree / "nothing.txt").touch()
    os.mkfifo(tree / "pipe")
    walk = walked(tree, exclude=["old", "*.md"])
    assert list(walk.files) == ["locks/fenn.txt"]
    assert reasons(walk) == {
        ".git": "hidden: its name begins with a dot",
        "nothing.txt": "empty",
        "pipe": "neither a file nor a folder",
        "old": "excluded",
        "gates.md": "excluded",
    }


def test_links_are_followed_once_and_never_in_circles(tree: Path) -> None:
    (tree / "a-link.txt").symlink_to(tree / "locks/fenn.txt")
    (tree / "again").symlink_to(tree / "locks")
    (tree / "circle").symlink_to(tree)
    (tree / "itself").symlink_to(tree / "itself")
    walk = walked(tree)
    assert "a-link.txt" in walk.files
    assert reasons(walk) == dict.fromkeys(("again", "circle"), "a link to a folder that is walked anyway")
    assert [each.path.name for each in walk.unreadable] == ["itself"]


def test_links_that_lead_out_of_the_folder_are_left_out_unless_they_are_named(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "weir.txt").write_text("weir")
    (tree / "a-file.txt").symlink_to(elsewhere / "weir.txt")
    (tree / "a-folder").symlink_to(elsewhere)
    walk = walked(tree)
    assert sorted(walk.files) == ["gates.md", "locks/fenn.txt", "locks/old/fenn.txt"]
    assert reasons(walk) == dict.fromkeys(("a-file.txt", "a-folder"), "a link that leads out of the folder")
    assert list(walked(tree / "a-file.txt").files) == ["a-file.txt"]
    assert list(walked(tree / "a-folder").files) == ["weir.txt"]
    changed = Walk()
    changed.add_below(tree, tree / "a-file.txt")
    changed.add_below(tree, tree / "a-folder/weir.txt")
    assert not changed.files


def test_what_is_left_out_is_told_with_its_folder(tree: Path) -> None:
    (tree / "locks/nothing.txt").touch()
    assert [each.name for each in walked(tree).left_out] == ["locks/nothing.txt"]


def test_two_files_that_would_be_one_document_are_refused(tree: Path) -> None:
    with pytest.raises(TwoOfOneName, match=r"would both be the document 'fenn\.txt'"):
        walked(tree / "locks", tree / "locks/old")
    assert len(walked(tree, tree / "gates.md").files) == 3  # The same file twice is no harm.


def test_what_changed_below_a_folder_is_named_as_in_the_whole_walk(tree: Path) -> None:
    walk = Walk(exclude=["*.log", "drafts"])
    changed = ("locks", ".hidden/file", "gone.txt", "gates.md", "a.log", "drafts/new.md")
    (tree / "drafts").mkdir()
    for path in ("a.log", "drafts/new.md"):
        (tree / path).write_text("no")
    for path in changed:
        walk.add_below(tree, tree / path)
    assert sorted(walk.files) == ["gates.md", "locks/fenn.txt", "locks/old/fenn.txt"]
