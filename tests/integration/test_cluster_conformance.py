"""One suite for the API server's twin and the real one: what an operator relies on holds on both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from modelyard_operator.cluster.api import (
    AlreadyExistsError,
    Cluster,
    ConflictError,
    GoneError,
    InvalidError,
    NotFoundError,
    WatchEvent,
)
from modelyard_operator.cluster.executing import execute
from modelyard_operator.cluster.memory import MemoryCluster
from modelyard_operator.cluster.observing import observe
from modelyard_operator.cluster.rest import open_rest
from modelyard_operator.kinds.actions import Create, Delete, Emit, Patch, Requeue
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    EVENTS,
    LEASES,
    PODS,
    RAY_JOBS,
    SERVICE_ACCOUNTS,
    Json,
    ObjectKey,
    Resource,
    key_of,
    owner_reference,
    uid_of,
)

PATIENCE_SECONDS = 60.0  # for what a server does in the background, on a busy machine


@dataclass(frozen=True)
class Server:
    """Either of the two, and a namespace that holds nothing of anybody else."""

    namespace: str
    opened: Callable[[], AbstractAsyncContextManager[Cluster]]

    def run(self, case: Callable[[Cluster], Awaitable[None]]) -> None:
        """Run a case against it."""

        async def running() -> None:
            async with self.opened() as cluster:
                await case(cluster)

        asyncio.run(running())

    def key(self, resource: Resource, name: str) -> ObjectKey:
        return ObjectKey(resource, self.namespace, name)

    def config_map(self, name: str, *owners: Json, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": name, "namespace": self.namespace}
        if labels is not None:
            metadata["labels"] = labels
        if owners:
            metadata["ownerReferences"] = [owner_reference(owner) for owner in owners]
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    def ray_job(self, name: str, **spec: Any) -> dict[str, Any]:
        metadata = {"name": name, "namespace": self.namespace}
        spec = {"entrypoint": "true", **spec}
        return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata, "spec": spec}


@pytest.fixture(params=["twin", "server"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "twin":
        twin = MemoryCluster()

        @asynccontextmanager
        async def opened() -> AsyncIterator[Cluster]:
            yield twin

        yield Server("here", opened)
    else:
        api_server = request.getfixturevalue("api_server")
        namespace = request.getfixturevalue("namespace")
        yield Server(namespace.name, lambda: open_rest(api_server.kubeconfig))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.05)


async def gone(cluster: Cluster, key: ObjectKey) -> bool:
    try:
        await cluster.get(key)
    except NotFoundError:
        return True
    return False


def version(item: Json) -> str:
    found: str = item["metadata"]["resourceVersion"]
    return found


def test_a_created_object_has_what_the_server_gives(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        created = await cluster.create(server.ray_job("a"))
        metadata = created["metadata"]
        assert metadata["uid"]
        assert metadata["resourceVersion"]
        assert metadata["generation"] == 1
        assert metadata["creationTimestamp"].endswith("Z")
        assert key_of(created) == server.key(RAY_JOBS, "a")
        assert await cluster.get(key_of(created)) == created
        other = await cluster.create(server.config_map("a", x="1"))
        assert "generation" not in other["metadata"]
        assert uid_of(other) != uid_of(created)

    server.run(case)


def test_a_name_is_taken_once(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        created = await cluster.create(server.config_map("a", x="1"))
        with pytest.raises(AlreadyExistsError):
            await cluster.create(server.config_map("a", x="2"))
        assert await cluster.get(key_of(created)) == created

    server.run(case)


def test_what_is_not_there_is_not_found(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        for key in (
            server.key(CONFIG_MAPS, "a"),
            server.key(Resource("nowhere.example/v1", "Nothing", "nothings"), "a"),
        ):
            with pytest.raises(NotFoundError):
                await cluster.get(key)
            with pytest.raises(NotFoundError):
                await cluster.patch(key, {"data": {"x": "1"}})
            with pytest.raises(NotFoundError):
                await cluster.delete(key)
        with pytest.raises(NotFoundError):
            await cluster.list(key.resource)

    server.run(case)


def test_a_merge_patch_removes_by_null_and_replaces_lists(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        rules = [{"policy": "DeleteCluster", "condition": {"jobStatus": "FAILED", "ttlSeconds": 1}}]
        labels = {"a": "1", "b": "2"}
        item = server.ray_job("a", metadata={"x": "1", "y": "2"}, deletionStrategy={"deletionRules": rules * 2})
        item["metadata"]["labels"] = labels
        created = await cluster.create(item)
        body = {
            "metadata": {"labels": {"a": None, "c": "3"}},
            "spec": {"metadata": {"x": None, "z": "3"}, "deletionStrategy": {"deletionRules": rules}},
        }
        patched = await cluster.patch(key_of(created), body)
        assert patched["metadata"]["labels"] == {"b": "2", "c": "3"}
        assert patched["spec"]["metadata"] == {"y": "2", "z": "3"}
        assert patched["spec"]["deletionStrategy"]["deletionRules"] == rules
        assert patched["spec"]["entrypoint"] == "true"
        assert patched["metadata"]["generation"] == 2
        assert version(patched) != version(created)

    server.run(case)


def test_a_patch_that_changes_nothing_writes_nothing(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        key = key_of(await cluster.create(server.ray_job("a")))
        written = await cluster.patch(key, {"status": {"message": "told"}}, subresource="status")
        for subresource, body in (
            ("", {"spec": {"entrypoint": "true", "ttlSecondsAfterFinished": None}, "status": {"message": "lost"}}),
            ("status", {"status": {"message": "told", "reason": None}}),
        ):
            assert await cluster.patch(key, body, subresource=subresource) == written, subresource

    server.run(case)


def test_a_patch_is_for_the_object_that_was_observed(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        first = await cluster.create(server.config_map("a", x="1"))
        key = key_of(first)
        second = await cluster.patch(key, {"data": {"x": "2"}}, uid=uid_of(first), resource_version=version(first))
        with pytest.raises(ConflictError):
            await cluster.patch(key, {"data": {"x": "3"}}, resource_version=version(first))
        with pytest.raises(ConflictError):
            await cluster.patch(key, {"data": {"x": "3"}}, uid="00000000-0000-0000-0000-000000000000")
        assert await cluster.get(key) == second
        await cluster.delete(key)
        anew = await cluster.create(server.config_map("a", x="1"))
        with pytest.raises(ConflictError):
            await cluster.patch(key, {"data": {"x": "3"}}, uid=uid_of(first), resource_version=version(second))
        with pytest.raises(ConflictError):
            await cluster.delete(key, uid=uid_of(first))
        await cluster.delete(key, uid=uid_of(anew))
        assert await gone(cluster, key)

    server.run(case)


def test_a_status_has_a_door_of_its_own(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        created = await cluster.create({**server.ray_job("a"), "status": {"message": "mine"}})
        key = key_of(created)
        assert "message" not in created.get("status", {})
        body = {"spec": {"entrypoint": "false"}, "status": {"message": "told"}}
        told = await cluster.patch(key, body, subresource="status")
        assert (told["spec"]["entrypoint"], told["status"]["message"]) == ("true", "told")
        assert told["metadata"]["generation"] == 1
        body = {"metadata": {"labels": {"a": "1"}}, "spec": {"entrypoint": "false"}, "status": {"message": "lost"}}
        patched = await cluster.patch(key, body)
        assert (patched["spec"]["entrypoint"], patched["status"]["message"]) == ("false", "told")
        assert patched["metadata"]["generation"] == 2
        with pytest.raises(ConflictError):
            await cluster.patch(key, body, resource_version=version(told), subresource="status")
        patched = await cluster.patch(key, {"metadata": {"labels": {"a": "2"}}}, subresource="status")
        assert patched["metadata"]["labels"] == {"a": "1"}
        emptied = await cluster.patch(key, {"status": {"message": None}}, subresource="status")
        assert "message" not in emptied.get("status", {})

    server.run(case)


def test_pods_have_a_status_and_config_maps_have_none(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        metadata = {"name": "a", "namespace": server.namespace}
        spec = {"containers": [{"name": "one", "image": "nothing"}]}
        pod = await cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        assert pod["status"]["phase"] == "Pending"
        body = {"status": {"phase": "Failed", "reason": "Evicted"}}
        pod = await cluster.patch(key_of(pod), body, subresource="status")
        assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "Evicted")
        created = await cluster.create(server.config_map("a"))
        with pytest.raises(NotFoundError):
            await cluster.patch(key_of(created), {"status": {"a": "b"}}, subresource="status")

    server.run(case)


def test_identity_cannot_be_patched(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        created = await cluster.create(server.config_map("a"))
        for field, value in (("name", "b"), ("namespace", "elsewhere")):
            with pytest.raises(InvalidError):
                await cluster.patch(key_of(created), {"metadata": {field: value}})
        assert await cluster.get(key_of(created)) == created

    server.run(case)


def test_finalizers_hold_a_deletion(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        item = server.ray_job("a")
        item["metadata"]["finalizers"] = ["example.dev/hold"]
        created = await cluster.create(item)
        key = key_of(created)
        await cluster.delete(key, uid=uid_of(created))
        marked = await cluster.get(key)
        assert marked["metadata"]["deletionTimestamp"]
        assert marked["metadata"]["generation"] == 2
        await cluster.delete(key)  # once more is no error and changes nothing
        assert await cluster.get(key) == marked
        with pytest.raises(InvalidError):
            await cluster.patch(key, {"metadata": {"finalizers": ["example.dev/hold", "example.dev/late"]}})
        await cluster.patch(key, {"metadata": {"finalizers": None}})
        assert await gone(cluster, key)

    server.run(case)


@pytest.fixture
def collecting(server: Server, request: pytest.FixtureRequest) -> Server:
    """The server, where something collects garbage."""
    if server.namespace != "here" and not request.getfixturevalue("api_server").controllers:
        pytest.skip("this API server has no garbage collector")
    return server


def test_children_go_with_their_owners(collecting: Server) -> None:
    server = collecting

    async def case(cluster: Cluster) -> None:
        parents = [await cluster.create(server.ray_job(name)) for name in ("a", "b")]
        child = await cluster.create(server.config_map("child", parents[0]))
        grandchild = await cluster.create(server.config_map("grandchild", child))
        shared = server.config_map("shared", parents[0])
        second = {**owner_reference(parents[1]), "controller": False}
        shared["metadata"]["ownerReferences"].append(second)
        await cluster.create(shared)
        await cluster.create(server.config_map("foreign"))
        await cluster.delete(key_of(parents[0]), uid=uid_of(parents[0]))
        await until(lambda: gone(cluster, key_of(grandchild)))
        assert await gone(cluster, key_of(child))
        for name in ("shared", "foreign"):
            assert not await gone(cluster, server.key(CONFIG_MAPS, name)), name
        late = await cluster.create(server.config_map("late", parents[0]))  # as a stale cache would
        await until(lambda: gone(cluster, key_of(late)))

    server.run(case)


def test_a_list_in_pages_shows_one_moment(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        for number in range(5):
            await cluster.create(server.ray_job(f"a{number}"))
        page = await cluster.list(RAY_JOBS, namespace=server.namespace, limit=2)
        versions, names = {page.resource_version}, [item["metadata"]["name"] for item in page.items]
        await cluster.create(server.ray_job("a9"))
        while page.more:
            page = await cluster.list(RAY_JOBS, namespace=server.namespace, limit=2, more=page.more)
            versions.add(page.resource_version)
            names += [item["metadata"]["name"] for item in page.items]
        assert names == [f"a{number}" for number in range(5)]
        assert len(versions) == 1
        assert all(item["kind"] == "RayJob" for item in page.items)
        everywhere = await cluster.list(RAY_JOBS)
        assert {item["metadata"]["name"] for item in everywhere.items} >= {*names, "a9"}

    server.run(case)


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("a=1", ["one"]),
        ("a==1,b!=x", ["one"]),
        ("a!=1", ["none", "two"]),
        ("a", ["one", "two"]),
        ("!a", ["none"]),
        ("a,!b", ["one"]),
        ("", ["none", "one", "two"]),
    ],
)
def test_labels_select(server: Server, selector: str, names: list[str]) -> None:
    async def case(cluster: Cluster) -> None:
        await cluster.create(server.config_map("one", labels={"a": "1"}))
        await cluster.create(server.config_map("two", labels={"a": "2", "b": "x"}))
        await cluster.create(server.config_map("none"))
        page = await cluster.list(CONFIG_MAPS, namespace=server.namespace, labels=selector)
        found = [item["metadata"]["name"] for item in page.items]
        assert [name for name in found if name != "kube-root-ca.crt"] == names
        assert all((item["apiVersion"], item["kind"]) == ("v1", "ConfigMap") for item in page.items)

    server.run(case)


async def watched(
    cluster: Cluster, server: Server, version: str, count: int, labels: str = "", resource: Resource = CONFIG_MAPS
) -> list[WatchEvent]:
    """The first so many changes of a kind."""
    found: list[WatchEvent] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for event in cluster.watch(
            resource, namespace=server.namespace, labels=labels, resource_version=version, timeout_seconds=30
        ):
            found.append(event)
            if len(found) == count:
                break
    return found


def told(events: list[WatchEvent]) -> list[tuple[str, str, Any]]:
    return [(event.type, event.item["metadata"]["name"], event.item.get("data")) for event in events]


def test_a_watch_tells_every_change_after_a_version_in_order(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        await cluster.create(server.config_map("before", x="0"))
        start = (await cluster.list(CONFIG_MAPS, namespace=server.namespace)).resource_version
        watching = asyncio.create_task(watched(cluster, server, start, 4))
        one = await cluster.create(server.config_map("one", x="1"))
        await cluster.patch(key_of(one), {"data": {"x": "1"}})  # nothing
        await cluster.patch(key_of(one), {"data": {"x": "2"}})
        await cluster.delete(key_of(one))
        await cluster.create(server.config_map("two"))
        events = [("ADDED", "one", {"x": "1"}), ("MODIFIED", "one", {"x": "2"}), ("DELETED", "one", {"x": "2"})]
        assert told(await watching)[:3] == events
        replayed = await watched(cluster, server, start, 4)
        assert told(replayed)[:3] == events
        assert told(await watched(cluster, server, version(replayed[2].item), 1)) == told(replayed[3:])

    server.run(case)


def test_a_watch_by_labels_tells_of_coming_and_going(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        start = (await cluster.list(CONFIG_MAPS, namespace=server.namespace)).resource_version
        created = await cluster.create(server.config_map("one", x="1"))
        for value in ("1", "2", None):
            await cluster.patch(key_of(created), {"metadata": {"labels": {"a": value}}})
        events = await watched(cluster, server, start, 3, labels="a")
        assert [event.type for event in events] == ["ADDED", "MODIFIED", "DELETED"]

    server.run(case)


def test_a_watch_ends_by_itself_and_bookmarks_where_it_was(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        start = (await cluster.list(CONFIG_MAPS, namespace=server.namespace)).resource_version
        created = await cluster.create(server.config_map("one"))
        events = [
            event
            async for event in cluster.watch(
                CONFIG_MAPS, namespace=server.namespace, resource_version=start, timeout_seconds=4
            )
        ]
        assert events[0].type == "ADDED"
        bookmark = events[-1]
        assert bookmark.type == "BOOKMARK"
        assert int(version(bookmark.item)) >= int(version(created))
        later = await cluster.patch(key_of(created), {"data": {"x": "1"}})
        after = await watched(cluster, server, version(bookmark.item), 1)
        assert after == [WatchEvent("MODIFIED", later)]

    server.run(case)


def test_a_watch_from_too_long_ago_is_gone(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        for name in ("one", "two"):
            await cluster.create(server.ray_job(name))
        if isinstance(cluster, MemoryCluster):
            cluster.store.compact()
        with pytest.raises(GoneError):  # 1 is from before the kind was installed
            await watched(cluster, server, "1", 1, resource=RAY_JOBS)

    server.run(case)


def test_a_lease_is_taken_by_one(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        lease = await cluster.create(
            {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {"name": "leader", "namespace": server.namespace},
                "spec": {"holderIdentity": ""},
            }
        )

        async def take(name: str) -> bool:
            try:
                body = {"spec": {"holderIdentity": name}}
                await cluster.patch(key_of(lease), body, uid=uid_of(lease), resource_version=version(lease))
            except ConflictError:
                return False
            return True

        assert sum(await asyncio.gather(*(take(f"me-{number}") for number in range(5)))) == 1

    server.run(case)


def test_a_plan_is_done_in_order_and_its_events_once(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        parent = await cluster.create(server.ray_job("a"))
        emit = Emit("Warning", "Told", "once")
        child = server.config_map("child", parent)
        status = Patch(key_of(parent), {"status": {"message": "m"}}, uid_of(parent), version(parent), "status")
        assert await execute(cluster, parent, [Requeue(9), emit, Create(child), status, Requeue(7)]) == 7
        assert await execute(cluster, parent, [emit]) is None
        with pytest.raises(AlreadyExistsError):
            await execute(cluster, parent, [Create(child), Emit("Normal", "Never", "told")])
        with pytest.raises(ConflictError):
            await execute(cluster, parent, [status])
        events = (await cluster.list(EVENTS, namespace=server.namespace)).items
        assert [(event["type"], event["reason"], event["message"]) for event in events] == [("Warning", "Told", "once")]
        assert events[0]["involvedObject"]["uid"] == uid_of(parent)
        made = await cluster.get(server.key(CONFIG_MAPS, "child"))
        delete = Delete(key_of(made), uid_of(made))
        await execute(cluster, parent, [delete, delete])
        assert await gone(cluster, key_of(made))

    server.run(case)


def test_an_observation_holds_what_is_owned_at_any_depth_and_what_is_of_interest(server: Server) -> None:
    async def case(cluster: Cluster) -> None:
        parent = await cluster.create(server.ray_job("a"))
        child = await cluster.create(server.config_map("child", parent))
        grandchild = await cluster.create(server.config_map("grandchild", child))
        foreign = await cluster.create(server.config_map("foreign"))
        await cluster.create(server.config_map("of-no-interest"))
        interest = (key_of(foreign), server.key(SERVICE_ACCOUNTS, "absent"))
        observation = await observe(cluster, key_of(parent), lambda _: interest)
        assert observation is not None
        assert observation.parent == parent
        assert observation.objects == {key_of(item): item for item in (child, grandchild, foreign)}
        assert observation.served >= {RAY_JOBS, CONFIG_MAPS, PODS, LEASES, EVENTS}
        assert [key for key, _ in observation.owned(CONFIG_MAPS)] == [key_of(child)]
        assert await observe(cluster, server.key(RAY_JOBS, "absent"), lambda _: ()) is None

    server.run(case)
