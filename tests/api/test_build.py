"""Builds by docker's command, with its classic builder: what they print, and what images they make."""

import pytest

from builds import Builds


@pytest.fixture
def builds(engine, tmp_path):
    return Builds(engine, tmp_path)


def test_a_first_image(builds):
    builds.write("greeting", "hello\n")
    done = builds.build(
        """
        FROM busybox
        ENV NAME=world
        RUN echo made > /made && cat /made
        COPY greeting /etc/greeting
        WORKDIR /work
        CMD cat /etc/greeting /made; echo $NAME; pwd
        """
    )
    assert "Step 1/6 : FROM busybox\n" in done.output
    assert "\nmade\n" in done.output
    assert f"Successfully built {done.id[7:19]}\nSuccessfully tagged {done.tag}\n" in done.output
    assert builds.run(done.tag) == "hello\nmade\nworld\n/work\n"
