import polars as pl
import pytest

from data.fetch import cache_folder, data_folder, problem_of
from data.lists import arrange
from data.sources import ml_100k

RATINGS = [("1", "1", 5, 100), ("1", "2", 3, 101), ("2", "1", 4, 50), ("2", "2", 5, 51)]
PUBLISHED_ITEMS = (
    "1|Toy Story (1995)|01-Jan-1995||http://x|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    "2|Misérables, Les (1995)|01-Jan-1995||http://x|0|0|0|0|0|0|0|0|1|0|0|0|1|0|0|0|0|0|0\n"
    "267|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    "1412|Land Before Time III: The Time of the Great Giving (1995) (V)|01-Jan-1995||http://x"
    "|0|0|0|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
)
RECBOLE_ITEMS = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAnimation Children's Comedy\n"
    "2\tMisérables, Les\t1995\tDrama Musical\n"
    "267\tunkonwn\tunkonwn\tunknown\n"
    "1412\tLand Before Time III: The Time of the Great Giving (1995)\tV\tAnimation Children's\n"
)


@pytest.fixture
def layouts(tmp_path):
    """The same tiny data in the publisher's and in RecBole's layout."""
    published, recbole = tmp_path / "published", tmp_path / "recbole"
    for folder in (published, recbole):
        folder.mkdir()
    rows = "".join("\t".join(map(str, row)) + "\n" for row in RATINGS)
    (published / "u.data").write_text(rows)
    (published / "u.item").write_text(PUBLISHED_ITEMS, encoding="latin-1")
    (published / "u.user").write_text("1|24|M|writer|85711\n2|53|F|other|94043\n")
    head = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    (recbole / "ml-100k.inter").write_text(head + rows)
    (recbole / "ml-100k.item").write_text(RECBOLE_ITEMS, encoding="utf-8")
    (recbole / "ml-100k.user").write_text(
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        "1\t24\tM\twriter\t85711\n2\t53\tF\tother\t94043\n"
    )
    return published, recbole


def test_both_layouts_give_the_same_frames(layouts, monkeypatch):
    monkeypatch.setattr(ml_100k, "CORE", 1)
    published, recbole = (ml_100k.read_folder(folder) for folder in layouts)
    for part in ("impressions", "items", "users"):
        assert getattr(published, part).equals(getattr(recbole, part)), part
    assert published.items["title"].to_list()[1:3] == ["Misérables, Les", "unknown"]
    assert published.items["release_year"].to_list() == [1995.0, 1995.0, None, 1995.0]
    assert published.items["genres"].to_list()[0] == ["Animation", "Children's", "Comedy"]
    assert "zip" not in " ".join(published.users.columns)


def ratings_of(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    return frame.with_columns(rating=pl.lit(5))


def test_the_core_is_reached_only_when_nothing_more_falls():
    # user 3 has two records, of which one falls with item 9, and then falls itself
    rows = [(user, item, 0) for user in (1, 2) for item in (1, 2)] + [(3, 1, 0), (3, 9, 0)]
    assert set(ml_100k.core(ratings_of(rows), 2)["user_id"]) == {1, 2}
    assert len(ml_100k.core(ratings_of(rows), 5)) == 0


def test_a_list_ends_300_seconds_after_its_first_item_at_20_items_and_with_its_user():
    times = [0, 299, 300, 599, 600]  # from the list's first item, not from the last one
    rows = [(1, item, time) for item, time in enumerate(times)]
    rows += [(2, item, 1000) for item in range(45)] + [(3, 1, 1000)]
    cut = ml_100k.cut_lists(ratings_of(rows), 0)
    lengths = cut.group_by("list_id", maintain_order=True).len()["len"]
    assert lengths.to_list() == [2, 2, 1, 20, 20, 5, 1]
    first = cut.group_by("list_id", maintain_order=True).agg(pl.col("timestamp").unique())
    assert first["timestamp"].to_list()[:3] == [[0], [300], [600]]


def test_candidates_are_shuffled_by_the_seed_within_their_list():
    rows = [(user, item, 0) for user in range(40) for item in range(20)]
    one, again, other = (ml_100k.cut_lists(ratings_of(rows), seed) for seed in (0, 0, 1))
    assert one.equals(again)
    assert not one["position"].equals(other["position"])
    for _, part in one.group_by("list_id"):
        assert sorted(part["position"]) == list(range(20))
    assert one["position"].to_list()[:20] != list(range(20))


def test_ties_in_time_keep_the_order_of_the_file():
    rows = [(1, item, 7) for item in (5, 3, 9, *range(10, 40))]
    cut = ml_100k.cut_lists(ratings_of(rows), 0)
    assert cut["item_id"].to_list()[:3] == ["5", "3", "9"]


def test_the_published_counts_of_the_real_log():
    for base in (data_folder(), cache_folder()):
        for name in ("ml_100k", "ml-100k"):
            if base and problem_of(base / name, (ml_100k.PUBLISHED, ml_100k.RECBOLE)) is None:
                log = ml_100k.read_folder(base / name)
                lists = arrange(log, "last-list").lists
                counts = dict(lists["split"].value_counts().iter_rows())
                assert (counts["train"], counts["valid"], counts["test"]) == (3218, 752, 920)
                return
    pytest.skip(
        "ml_100k lies neither in $PSAD_DATA nor in the cache: `psad prepare ml_100k` fetches it"
    )
