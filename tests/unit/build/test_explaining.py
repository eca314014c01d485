"""Why a step was found in the cache or not, by its inputs and those of the build before."""

from __future__ import annotations

from onggi.build.comparing import Differences, described
from onggi.build.explaining import Account, Made

TEXTS = {"FROM x", "COPY a /", "RUN make"}
RUN = {"below": ["sha256:c", None], "argv": ["make"], "env": ["PATH=/bin", "V=1"], "args": ["V"], "time": 0}
COPY = {"below": "sha256:b", "told": "COPY a /", "time": 0}


def before():
    account = Account(None, TEXTS, "")
    assert account.note("FROM x", {"below": "sha256:b"}, "", hit=False).hit is None
    first = account.note("COPY a /", COPY, "sha256:1", hit=False)
    assert first.reasons == ["no build before this one is known"]
    account.note("RUN make", RUN, "sha256:2", hit=False)
    return account.made


def after(text="RUN make", parts=RUN, layer="sha256:3", hit=False, forced="", copied="sha256:1"):
    account = Account(before(), TEXTS, forced)
    account.note("FROM x", {"below": "sha256:b"}, "", hit=False)
    account.note("COPY a /", COPY, copied, hit=copied == "sha256:1")
    return account.note(text, parts, layer, hit=hit)


def test_what_is_the_same_is_found():
    assert after(hit=True, layer="sha256:2") == (True, ["nothing changed"], None, True)
    assert after(hit=True, parts=RUN | {"time": 1}).reasons == ["an earlier build did the same"]


def test_each_input_has_its_words():
    assert after().reasons == ["its layer is no longer in the cache"]
    assert after(forced="--no-cache").reasons == ["--no-cache"]
    assert after(parts=RUN | {"env": ["PATH=/bin", "V=2"]}).reasons == ["build argument V changed"]
    assert after(parts=RUN | {"env": ["PATH=/x", "W=1", "V=1"]}).reasons == [
        "variable PATH changed",
        "variable W is new",
    ]
    assert after(text="RUN make all").reasons == ["the instruction is new, or was not reached before"]
    below = RUN | {"below": ["sha256:d", None]}
    assert after(parts=below, copied="sha256:9").reasons == ["COPY a / made another layer"]
    assert after(parts=below).reasons == ["a step above it is gone"]
    mounted = RUN | {"mounts": [["bind", "/m", "", True, "sha256:f"]]}
    assert after(parts=mounted).reasons == ["its mounts changed"]


def test_an_instruction_that_was_changed_is_shown_as_it_was():
    account = Account(before(), {"FROM x", "COPY b /"}, "")
    account.note("FROM x", {"below": "sha256:b"}, "", hit=False)
    assert account.note("COPY b /", COPY, "sha256:7", hit=False).reasons == ["the instruction was: COPY a /"]


def test_a_copy_is_compared_file_by_file():
    account = Account(before(), TEXTS, "")
    base = account.note("FROM y", {"below": "sha256:z"}, "", hit=False)
    assert base.reasons == ["the instruction was: FROM x"]
    verdict = account.note("COPY a /", COPY | {"below": "sha256:z"}, "sha256:8", hit=False)
    assert verdict.reasons == ["it is on another base"]
    assert verdict.compare == ("sha256:1", "sha256:8")


def test_files_are_named_as_far_as_they_are_known():
    assert described(None) == ["its files changed; the layer before is no longer kept, which would tell how"]
    found = Differences([("a", ["content", "time"]), ("b", ["time"])], 5)
    assert described(found) == ["a (content, time)", "b (time)", "3 more"]


def test_what_is_kept_is_what_json_keeps():
    account = Account([Made("RUN a", {"document": ["n", "c"]}, "sha256:1")], set(), "")
    assert account.note("RUN a", {"document": ("n", "c")}, "sha256:1", hit=True).reasons == [
        "nothing changed"
    ]
