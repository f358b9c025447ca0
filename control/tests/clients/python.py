"""The Python client against a kubeconfig's cluster: `python.py KUBECONFIG [NAMESPACE/POD]`.

Without a pod it does what needs no node; with one it does what needs that running pod, which serves "hello" on port 8080.
Fails with the assertion that did not hold.
"""

import asyncio
import sys
import threading
import time

from kubernetes import aio, client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.informer.informer import ADDED, DELETED, MODIFIED, SharedInformer
from kubernetes.stream import portforward, stream

DEADLINE = 60
SPACE = "python"
MAPS = f"/api/v1/namespaces/{SPACE}/configmaps"


def step(function):
    print("python:", function.__name__.replace("_", " "), flush=True)
    return function


def refused(code, reason, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except ApiException as error:
        assert error.status == code and f'"reason":"{reason}"' in error.body.replace('": "', '":"'), error
        return error
    raise AssertionError(f"{call} should be refused with {code} {reason}")


def eventually(what, holds):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        value = holds()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not in time: {what}")


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"of": "python"}}, "data": data}


def deployment(name, replicas=1):
    labels = {"app": name}
    container = {"name": "c", "image": "busybox", "ports": [{"containerPort": 80}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def without_a_node(api):
    core = client.CoreV1Api(api)
    step(says_what_it_is)(api)
    core.create_namespace({"metadata": {"name": SPACE}})
    eventually("a default account", lambda: core.list_namespaced_service_account(SPACE).items)
    step(creates_reads_replaces_and_refuses_what_is_stale)(core)
    step(patches_in_every_way)(api, core)
    step(applies_on_the_server_and_hears_of_conflicts)(api)
    step(lists_in_pages_and_by_selectors)(core)
    step(watches_and_takes_up_where_it_was)(core)
    step(keeps_a_cache)(core)
    step(hears_the_beginning_from_a_watch)(core)
    step(scales)(api)
    step(binds_and_evicts)(api, core)
    step(defines_kinds)(api)
    step(uses_an_accounts_token)(api, core)
    step(asks_who_may)(api)
    step(makes_what_a_file_says)(api, core)
    asyncio.run(step(works_without_blocking)())
    core.delete_collection_namespaced_config_map(SPACE, label_selector="of=python")
    assert not core.list_namespaced_config_map(SPACE, label_selector="of=python").items
    core.delete_namespace(SPACE)
    eventually("the namespace is gone", lambda: SPACE not in [it.metadata.name for it in core.list_namespace().items])


def says_what_it_is(api):
    version = client.VersionApi(api).get_code()
    assert version.major.isdigit() and version.minor.isdigit(), version
    groups = [group.name for group in client.ApisApi(api).get_api_versions().groups]
    assert {"apps", "batch", "rbac.authorization.k8s.io"} <= set(groups), groups
    pods = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="Pod")
    assert pods.name == "pods" and "po" in pods.short_names


def creates_reads_replaces_and_refuses_what_is_stale(core):
    made = core.create_namespaced_config_map(SPACE, config_map("one", a="1"), dry_run="All")
    refused(404, "NotFound", core.read_namespaced_config_map, "one", SPACE)
    made = core.create_namespaced_config_map(SPACE, config_map("one", a="1"))
    refused(409, "AlreadyExists", core.create_namespaced_config_map, SPACE, config_map("one"))
    fresh = core.read_namespaced_config_map("one", SPACE)
    assert fresh.metadata.uid == made.metadata.uid and fresh.data == {"a": "1"}
    fresh.data["b"] = "2"
    core.replace_namespaced_config_map("one", SPACE, fresh)
    refused(409, "Conflict", core.replace_namespaced_config_map, "one", SPACE, made)
    bad = config_map("Not A Name")
    error = refused(422, "Invalid", core.create_namespaced_config_map, SPACE, bad)
    assert "metadata.name" in error.body
    # The typed client refuses unknown fields by itself.
    maps = dynamic.DynamicClient(core.api_client).resources.get(api_version="v1", kind="ConfigMap")
    unknown = config_map("unknown") | {"dat": {}}
    error = refused(400, "BadRequest", maps.create, namespace=SPACE, body=unknown, query_params=[("fieldValidation", "Strict")])
    assert 'unknown field \\"dat\\"' in error.body, error.body


def patches_in_every_way(api, core):
    apps = client.AppsV1Api(api)
    patched = core.patch_namespaced_config_map("one", SPACE, [{"op": "replace", "path": "/data/a", "value": "json"}])
    assert patched.data["a"] == "json"
    maps = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")
    merge = "application/merge-patch+json"
    patched = maps.patch(name="one", namespace=SPACE, body={"data": {"a": None}}, content_type=merge)
    assert patched.data.to_dict() == {"b": "2"}, patched
    apps.create_namespaced_deployment(SPACE, deployment("patched"))
    container = {"name": "second", "image": "busybox"}
    body = {"spec": {"template": {"spec": {"containers": [container]}}}}
    patched = apps.patch_namespaced_deployment("patched", SPACE, body)
    names = [container.name for container in patched.spec.template.spec.containers]
    assert sorted(names) == ["c", "second"], names


def applies_on_the_server_and_hears_of_conflicts(api):
    maps = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")
    body = config_map("applied", a="1", b="1")
    maps.server_side_apply(namespace=SPACE, body=body, field_manager="first")
    conflicting = config_map("applied", a="2")
    error = refused(409, "Conflict", maps.server_side_apply, namespace=SPACE, body=conflicting, field_manager="second")
    assert '"field":".data.a"' in error.body.replace(": ", ":"), error.body
    forced = maps.server_side_apply(namespace=SPACE, body=conflicting, field_manager="second", force_conflicts=True)
    managers = {entry.manager: entry.operation for entry in forced.metadata.managedFields}
    assert managers == {"first": "Apply", "second": "Apply"}, managers
    del body["data"]["a"], body["data"]["b"]
    less = maps.server_side_apply(namespace=SPACE, body=body, field_manager="first")
    assert less.data.to_dict() == {"a": "2"}, less


def lists_in_pages_and_by_selectors(core):
    for number in range(7):
        core.create_namespaced_config_map(SPACE, config_map(f"page-{number}", n=str(number)))
    names, token, pages = [], None, 0
    while True:
        page = core.list_namespaced_config_map(SPACE, limit=3, _continue=token, label_selector="of=python")
        names += [item.metadata.name for item in page.items]
        pages += 1
        token = page.metadata._continue
        if not token:
            break
    assert pages >= 3 and names == sorted(names) and len(names) == 9, names
    one = core.list_namespaced_config_map(SPACE, field_selector="metadata.name=page-3")
    assert [item.metadata.name for item in one.items] == ["page-3"]
    assert not core.list_namespaced_config_map(SPACE, label_selector="of notin (python),of").items
    refused(400, "BadRequest", core.list_namespaced_config_map, SPACE, label_selector="a b c")


def watches_and_takes_up_where_it_was(core):
    begin = core.list_namespaced_config_map(SPACE).metadata.resource_version
    core.create_namespaced_config_map(SPACE, config_map("watched", a="1"))
    core.patch_namespaced_config_map("watched", SPACE, {"data": {"a": "2"}})
    core.delete_namespaced_config_map("watched", SPACE)
    seen = []
    for event in watch.Watch().stream(
        core.list_namespaced_config_map, SPACE, resource_version=begin, timeout_seconds=1, label_selector="of=python"
    ):
        seen.append((event["type"], event["object"].metadata.name, (event["object"].data or {}).get("a")))
    wanted = [("ADDED", "watched", "1"), ("MODIFIED", "watched", "2"), ("DELETED", "watched", "2")]
    assert seen == wanted, seen


def keeps_a_cache(core):
    informer = SharedInformer(core.list_namespaced_config_map, namespace=SPACE, label_selector="of=python")
    seen, lock = [], threading.Lock()

    def note(kind):
        def handler(it):
            with lock:
                seen.append((kind, it.metadata.name))

        return handler

    for kind in (ADDED, MODIFIED, DELETED):
        informer.add_event_handler(kind, note(kind))
    informer.start()
    eventually("what is there already", lambda: informer.cache.get_by_key(f"{SPACE}/page-0"))
    core.create_namespaced_config_map(SPACE, config_map("cached", a="1"))
    eventually("a new one", lambda: (ADDED, "cached") in seen)
    core.patch_namespaced_config_map("cached", SPACE, {"data": {"a": "2"}})
    eventually("its change", lambda: (informer.cache.get_by_key(f"{SPACE}/cached").data or {}).get("a") == "2")
    core.delete_namespaced_config_map("cached", SPACE)
    eventually("its end", lambda: informer.cache.get_by_key(f"{SPACE}/cached") is None and (DELETED, "cached") in seen)
    # It notices its stop with the next event.
    threading.Timer(0.5, core.patch_namespaced_config_map, ["page-0", SPACE, {"data": {"stop": "1"}}]).start()
    informer.stop()


def hears_the_beginning_from_a_watch(core):
    names = []
    for event in watch.Watch().stream(
        core.list_namespaced_config_map,
        SPACE,
        label_selector="of=python",
        send_initial_events=True,
        resource_version_match="NotOlderThan",
        allow_watch_bookmarks=True,
        timeout_seconds=DEADLINE,
    ):
        if event["type"] == "BOOKMARK":
            annotations = event["raw_object"]["metadata"]["annotations"]
            assert annotations == {"k8s.io/initial-events-end": "true"}, annotations
            break
        names.append(event["object"].metadata.name)
    listed = core.list_namespaced_config_map(SPACE, label_selector="of=python").items
    assert names == [item.metadata.name for item in listed], names


def scales(api):
    apps = client.AppsV1Api(api)
    scale = apps.read_namespaced_deployment_scale("patched", SPACE)
    assert scale.spec.replicas == 1
    scale.spec.replicas = 3
    assert apps.replace_namespaced_deployment_scale("patched", SPACE, scale).spec.replicas == 3
    assert apps.patch_namespaced_deployment_scale("patched", SPACE, {"spec": {"replicas": 2}}).spec.replicas == 2
    changed = apps.read_namespaced_deployment("patched", SPACE)
    assert changed.spec.replicas == 2 and changed.metadata.generation >= 3, changed
    changed = apps.patch_namespaced_deployment_status("patched", SPACE, {"status": {"replicas": 2}})
    assert changed.status.replicas == 2


def binds_and_evicts(api, core):
    pod = {"metadata": {"name": "bound"}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}
    core.create_namespaced_pod(SPACE, pod)
    target = {"metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "nowhere"}}
    core.create_namespaced_binding(SPACE, target, _preload_content=False)
    assert core.read_namespaced_pod("bound", SPACE).spec.node_name == "nowhere"
    policy = client.PolicyV1Api(api)
    budget = {"metadata": {"name": "budget"}, "spec": {"minAvailable": 1, "selector": {}}}
    policy.create_namespaced_pod_disruption_budget(SPACE, budget)
    policy.delete_namespaced_pod_disruption_budget("budget", SPACE)
    eviction = {"metadata": {"name": "bound"}, "deleteOptions": {"gracePeriodSeconds": 0}}
    core.create_namespaced_pod_eviction("bound", SPACE, eviction, _preload_content=False)
    core.delete_namespaced_pod("bound", SPACE, grace_period_seconds=0) if still(core, "bound") else None


def still(core, name):
    return name in [pod.metadata.name for pod in core.list_namespaced_pod(SPACE).items]


def defines_kinds(api):
    definitions, custom = client.ApiextensionsV1Api(api), client.CustomObjectsApi(api)
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {"size": {"type": "integer", "minimum": 1}, "colour": {"type": "string", "default": "red"}},
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
        },
    }
    names = {"plural": "snakes", "singular": "snake", "kind": "Snake", "listKind": "SnakeList"}
    spec = {"group": "python.example", "scope": "Namespaced", "names": names, "versions": [version]}
    definitions.create_custom_resource_definition({"metadata": {"name": "snakes.python.example"}, "spec": spec})

    def established():
        found = definitions.read_custom_resource_definition("snakes.python.example")
        return [it for it in found.status.conditions or [] if it.type == "Established" and it.status == "True"]

    eventually("the definition holds", established)
    at = ("python.example", "v1", SPACE, "snakes")
    snake = {"apiVersion": "python.example/v1", "kind": "Snake", "metadata": {"name": "monty"}, "spec": {"size": 2}}
    made = custom.create_namespaced_custom_object(*at, snake)
    assert made["spec"] == {"size": 2, "colour": "red"}, made
    refused(422, "Invalid", custom.patch_namespaced_custom_object, *at, "monty", {"spec": {"size": 0}})
    custom.patch_namespaced_custom_object_status(*at, "monty", {"status": {"size": 1}})
    scale = custom.get_namespaced_custom_object_scale(*at, "monty")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (2, 1), scale
    snakes = dynamic.DynamicClient(api).resources.get(api_version="python.example/v1", kind="Snake")
    assert [item.metadata.name for item in snakes.get(namespace=SPACE).items] == ["monty"]
    definitions.delete_custom_resource_definition("snakes.python.example")


def uses_an_accounts_token(api, core):
    core.create_namespaced_service_account(SPACE, {"metadata": {"name": "robot"}})
    issued = core.create_namespaced_service_account_token("robot", SPACE, {"spec": {"expirationSeconds": 3600}})
    told = client.Configuration()
    told.host, told.ssl_ca_cert = api.configuration.host, api.configuration.ssl_ca_cert
    told.api_key, told.api_key_prefix = {"authorization": issued.status.token}, {"authorization": "Bearer"}
    with client.ApiClient(told) as robot:
        me = client.AuthenticationV1Api(robot).create_self_subject_review({})
        assert me.status.user_info.username == f"system:serviceaccount:{SPACE}:robot", me
        refused(403, "Forbidden", client.CoreV1Api(robot).list_namespaced_secret, SPACE)
    review = client.AuthenticationV1Api(api).create_token_review({"spec": {"token": issued.status.token}})
    assert review.status.authenticated


def asks_who_may(api):
    asked = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "nodes"}}}
    assert client.AuthorizationV1Api(api).create_self_subject_access_review(asked).status.allowed
    asked["spec"]["user"] = "nobody"
    assert not client.AuthorizationV1Api(api).create_subject_access_review(asked).status.allowed


def makes_what_a_file_says(api, core):
    objects = [config_map("file-1"), {"apiVersion": "v1", "kind": "List", "items": [config_map("file-2")]}]
    utils.create_from_yaml(api, yaml_objects=objects, namespace=SPACE)
    utils.create_from_yaml(api, yaml_objects=[config_map("file-1", a="1")], namespace=SPACE, apply=True)
    assert core.read_namespaced_config_map("file-1", SPACE).data == {"a": "1"}
    assert core.read_namespaced_config_map("file-2", SPACE)


async def works_without_blocking():
    await aio.config.load_kube_config(config_file=sys.argv[1])
    async with aio.client.ApiClient() as api:
        core = aio.client.CoreV1Api(api)
        names = [f"async-{number}" for number in range(20)]
        await asyncio.gather(*(core.create_namespaced_config_map(SPACE, config_map(name)) for name in names))
        found = await core.list_namespaced_config_map(SPACE, label_selector="of=python")
        assert set(names) <= {item.metadata.name for item in found.items}


def with_a_pod(api, space, name):
    core = client.CoreV1Api(api)
    run = ["sh", "-c", "echo out; echo err >&2; cat; exit 3"]
    entered = stream(
        core.connect_get_namespaced_pod_exec, name, space, command=run, stdin=True, stdout=True, stderr=True, tty=False,
        _preload_content=False,
    )
    entered.write_stdin("typed\n")
    entered.run_forever(timeout=2)
    out = entered.read_stdout(timeout=DEADLINE)
    assert "out" in out, out
    entered.close()
    said = stream(core.connect_get_namespaced_pod_exec, name, space, command=["echo", "whole"], stdout=True, stderr=True)
    assert said == "whole\n", said
    log = core.read_namespaced_pod_log(name, space)
    assert "started" in log, log
    followed = core.read_namespaced_pod_log(name, space, follow=True, _preload_content=False)
    assert next(iter(followed.stream())).startswith(b"started")
    followed.close()
    page = core.connect_get_namespaced_pod_proxy_with_path(f"{name}:8080", space, "index.html")
    assert "hello" in page, page
    forward = portforward(core.connect_get_namespaced_pod_portforward, name, space, ports="8080")
    socket = forward.socket(8080)
    socket.setblocking(True)
    socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while piece := socket.recv(4096):
        answer += piece
    assert answer.endswith(b"hello\n"), answer
    assert forward.error(8080) is None


def main():
    config.load_kube_config(config_file=sys.argv[1])
    with client.ApiClient() as api:
        if len(sys.argv) > 2:
            with_a_pod(api, *sys.argv[2].split("/"))
        else:
            without_a_node(api)
    print("python: all of it holds")


main()
