"""People at a service: each goes through the lists of one person's journey, thinking in between.

    locust -f loadtest/locustfile.py --headless --host http://127.0.0.1:8000 \\
        --dataset datasets/mine --users 50 --spawn-rate 10 --run-time 60s

Without --headless it waits for a start on locust's page, http://localhost:8089. Each answer is
held against its request; one that a fallback gave is shown in a line of its own, by its reason, and
is a failure where --fallbacks-fail says so. This is a closed loop: people who wait send nothing, so
latencies look better than they are when a service stalls; for those, see open_loop.py.

Options of this file stand in README.md here: locust prints its --help before it has read this.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner

from data.dataset import Dataset
from features.errors import PsadError
from loadtest.answers import Payload, judge
from loadtest.errors import LoadError
from loadtest.payloads import Requests, parse_shapes

PATH = "/rerank"
FAILED_START = 2  # exit code, as of a psad command that says itself what is wrong


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """What locust's command line and page ask for."""
    add = parser.add_argument  # not of a group: only the parser's own can hide a secret
    add("--dataset", default="", env_var="PSAD_DATASET", help="what `psad prepare` wrote")
    add(
        "--shapes", default="ids=1,rows=1,columns=1", help="ids, rows, columns, each with its share"
    )
    add(
        "--mode",
        choices=["scorer", "generator"],
        default="scorer",
        help="which ranking is asked for",
    )
    add("--deadline-ms", type=float, default=0.0, help="of each request; 0: the service's own")
    add("--api-key", default="", is_secret=True, env_var="RERANK_API_KEY",
        help="bearer key of the service")  # fmt: skip
    add("--think", type=float, default=1.0, help="mean seconds between two lists of a person")
    add("--journeys", type=int, default=200, help="how many people's journeys are drawn")
    add("--fallbacks-fail", action="store_true", help="count fallbacks as failures")
    add("--draw-seed", type=int, default=0, help="seed of the journeys")


@events.init.add_listener
def draw_first(environment: Environment, **_: Any) -> None:
    """Draw journeys before locust's clock runs, where the command line says of what."""
    if environment.parsed_options.dataset:
        draw_journeys(environment)
    gevent.sleep(0)  # gevent's clock stood still meanwhile: --run-time would count it


@events.test_start.add_listener
def draw_journeys(environment: Environment, **_: Any) -> None:
    """Draw everything before the first request, again where locust's page asks for other things.

    Drawing takes milliseconds a request, which must not be taken from the sending.
    """
    if isinstance(environment.runner, MasterRunner):
        return  # its workers draw their own
    asked = environment.parsed_options
    wanted = [asked.dataset, asked.shapes, asked.mode, asked.deadline_ms, asked.journeys]
    if getattr(environment, "drawn", None) == wanted:
        return
    try:
        environment.journeys, environment.drawn = Journeys(asked), wanted
    except PsadError as error:
        print(f"locustfile: {error}", flush=True)
        environment.process_exit_code = FAILED_START
        environment.runner.quit()


class Journeys:
    """A fixed set of journeys, given out in turn."""

    def __init__(self, asked: Any) -> None:
        if not asked.dataset:
            raise LoadError("name a dataset that `psad prepare` wrote: --dataset datasets/mine")
        fields = {"mode": asked.mode, "deadline_ms": asked.deadline_ms or None}
        requests = Requests(
            Dataset.load(Path(asked.dataset)), parse_shapes(asked.shapes), seed=asked.draw_seed,
            **fields,
        )  # fmt: skip
        self._drawn = list(islice(requests.journeys(), asked.journeys))
        self._given = 0

    def next(self) -> Iterator[Payload]:
        """Another person's lists, oldest first."""
        self._given += 1
        return iter(self._drawn[(self._given - 1) % len(self._drawn)])


class Person(FastHttpUser):
    """Somebody who looks at one list after another, and is followed by somebody else."""

    def on_start(self) -> None:
        """Begin a journey somewhere in its first pause, so that not all send at once."""
        asked = self.environment.parsed_options
        journeys = getattr(self.environment, "journeys", None)
        if journeys is None:
            raise StopUser
        self._journeys, self._journey = journeys, journeys.next()
        self._fallbacks_fail = asked.fallbacks_fail
        self._headers = {"Content-Type": "application/json"}
        if asked.api_key:
            self._headers["Authorization"] = f"Bearer {asked.api_key}"
        gevent.sleep(random.random() * asked.think)

    def wait_time(self) -> float:
        """Thinking: seconds that vary as people do, --think in the mean."""
        mean = self.environment.parsed_options.think
        return random.expovariate(1.0 / mean) if mean > 0 else 0.0

    @task
    def look_at_a_list(self) -> None:
        """The next list of the journey, or the first of another's."""
        payload = next(self._journey, None)
        while payload is None:
            self._journey = self._journeys.next()
            payload = next(self._journey, None)
        self._rerank(payload)

    def _rerank(self, payload: Payload) -> None:
        post = self.client.post(PATH, data=payload.body, headers=self._headers, catch_response=True)
        with post as response:
            if not response.status_code:
                return  # no answer at all: locust counts it as the failure that it is
            outcome = judge(response.status_code, response.content or b"", payload)
            if outcome.kind == "fallback":
                response.request_meta["name"] = f"{PATH} ({outcome.label})"
            if outcome.kind == "failed" or (outcome.kind == "fallback" and self._fallbacks_fail):
                response.failure(outcome.label)
            else:
                response.success()
