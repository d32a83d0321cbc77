"""Statistics of a whole log, for a catalogue that is not its dataset's own: for `psad refresh`.

`psad prepare` counts train's side of the split, because a model is judged on the rest. Where
nothing is learned or judged the newest lists are the most worth knowing, so here all count, ranked
or not. They are counted and smoothed by the same code (data/statistics.py), so a rate means what it
meant in training. (Do not judge a model on lists that its statistics have counted.)

R catalogue rows, Rd those of the dataset, n impressions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from data.coded import whole_users
from data.dataset import Dataset, Int64, ragged
from data.statistics import Impressions, fit_statistics
from features.catalogue import Catalogue
from features.derived import Statistics
from features.schema import FeatureSchema


def recount(
    dataset: Dataset, rows: Int64, catalogue: Catalogue, schema: FeatureSchema
) -> Statistics:
    """(R,) statistics of all lists; rows (Rd,) says where the dataset's items stand."""
    return fit_statistics(
        every_impression(dataset, rows), len(catalogue) + 1, catalogue.bag, schema
    )


def every_impression(dataset: Dataset, rows: Int64) -> Iterator[Impressions]:
    """All that was shown, in pieces, each person's in one; rows (Rd,) as above."""
    user, first, length = dataset.every_list()
    for start, end in whole_users(user, length):
        places, _ = ragged(first[start:end], length[start:end])
        row, positive = dataset.every_row(places)
        people = np.repeat(user[start:end], length[start:end])
        yield Impressions(people, rows[row], positive, end - start)
