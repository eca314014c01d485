"""aiodocker, unchanged: containers, events, logs, exec, attach, networks, volumes, images."""

import asyncio
import secrets
import time

import aiodocker
import pytest

from engines import DEADLINE_S

NONE = {"NetworkMode": "none"}


def run(engine, scenario):
    """Run a scenario with a client of the engine."""

    async def whole():
        async with aiodocker.Docker(engine.url) as docker:
            return await asyncio.wait_for(scenario(docker, f"a{secrets.token_hex(4)}"), DEADLINE_S)

    return asyncio.run(whole())


def config(*command, **more):
    return {"Image": "busybox", "Cmd": list(command), "HostConfig": NONE, **more}


def test_a_life_with_its_events(engine):
    async def scenario(docker, name):
        events = docker.events.subscribe(since=str(int(time.time())))  # it asks in the background
        container = await docker.containers.create_or_replace(name, config("sh", "-c", "echo out; exit 3"))
        await container.start()
        # To its end: what aiodocker has not read to the end it never closes.
        assert [line async for line in container.log(stdout=True, follow=True)] == ["out\n"]
        assert await container.wait() == {"StatusCode": 3}
        assert await container.log(stdout=True) == ["out\n"]
        assert (await container.show())["State"]["ExitCode"] == 3
        await container.delete()
        seen = []
        while "destroy" not in seen:
            event = await events.get()
            if event["Actor"]["ID"] == container.id:
                seen.append(event["Action"])
        assert seen == ["create", "start", "die", "destroy"]

    run(engine, scenario)


def test_exec_attach_logs_and_files(engine):
    async def scenario(docker, name):
        made = config("sh", "-c", "read line; echo got $line; exec sleep 1000", OpenStdin=True)
        container = await docker.containers.create(made, name=name)
        try:
            async with container.attach(stdin=True, stdout=True, stderr=True) as stream:
                await container.start()
                await stream.write_in(b"hello\n")
                message = await stream.read_out()
                assert (message.stream, message.data) == (1, b"got hello\n")
            execution = await container.exec(["sh", "-c", "cat; exit 4"], stdin=True)
            async with execution.start() as stream:
                await stream.write_in(b"in")
                assert (await stream.read_out()).data == b"in"
            top = await docker.containers.container(name).stats(stream=False)
            assert top[0]["pids_stats"]["current"] >= 1
            archive = await container.get_archive("/etc/passwd")
            assert archive.getnames() == ["passwd"]
        finally:
            await container.delete(force=True)

    run(engine, scenario)


def test_networks_volumes_and_images(engine):
    async def scenario(docker, name):
        network = await docker.networks.create({"Name": name})
        volume = await docker.volumes.create({"Name": name})
        try:
            host = {"NetworkMode": name, "Binds": [f"{name}:/data"], "AutoRemove": True}
            made = {**config("sh", "-c", "echo kept > /data/it"), "HostConfig": host}
            container = await docker.containers.run(made)
            await container.wait(condition="removed")
            facts = await volume.show()
            assert facts["Name"] == name
            assert (await network.show())["Name"] == name
        finally:
            await network.delete()
            await volume.delete()
        await docker.images.tag("busybox", f"{name}:1")
        assert f"{name}:1" in (await docker.images.inspect(name + ":1"))["RepoTags"]
        assert await docker.images.delete(f"{name}:1") == [{"Untagged": f"{name}:1"}]
        with pytest.raises(aiodocker.DockerError, match="No such image"):
            await docker.images.inspect(name)

    run(engine, scenario)


def test_system(engine):
    async def scenario(docker, name):
        assert (await docker.version())["Version"]
        assert (await docker.system.info())["OSType"] == "linux"

    run(engine, scenario)
