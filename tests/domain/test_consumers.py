import pytest

from leasehold.domain.consumers import ALL, NONE, NOT_CONSUMED, KeySet, consumption, consumptions

DB = "db"


def keys(*names):
    return KeySet(frozenset(names))


def variable(key, secret=DB, **more):
    return {"name": "A", "valueFrom": {"secretKeyRef": {"name": secret, "key": key, **more}}}


def pod(container=(), volume=None, **spec):
    made = {"containers": [{"name": "app", **dict(container)}], **spec}
    if volume is not None:
        made["volumes"] = [{"name": "v", **volume}]
    return made


def mount(**more):
    return {"volumeMounts": [{"name": "v", "mountPath": "/v", **more}]}


SECRET = {"secret": {"secretName": DB}}
ITEMS = {"secret": {"secretName": DB, "items": [{"key": "a", "path": "conf/a.txt"}, {"key": "b", "path": "b"}]}}
PROJECTED = {
    "projected": {
        "sources": [
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": DB}},
            {"secret": {"name": DB, "items": [{"key": "a", "path": "x"}]}},
            {"secret": {"name": "other"}},
        ]
    }
}

FORMS = {
    "env": (pod({"env": [variable("a")]}), NONE, keys("a")),
    "two env of two keys": (pod({"env": [variable("a"), variable("b")]}), NONE, keys("a", "b")),
    "envFrom": (pod({"envFrom": [{"prefix": "P_", "secretRef": {"name": DB}}]}), NONE, ALL),
    "volume": (pod(mount(), SECRET), ALL, NONE),
    "volume with items": (pod(mount(), ITEMS), keys("a", "b"), NONE),
    "projected": (pod(mount(), PROJECTED), keys("a"), NONE),
    "csi": (pod(mount(), {"csi": {"driver": "d", "nodePublishSecretRef": {"name": DB}}}), ALL, NONE),
    "csi by subPath": (
        pod(mount(subPath="x"), {"csi": {"driver": "d", "nodePublishSecretRef": {"name": DB}}}),
        ALL,
        NONE,
    ),
    "csi of a SecretProviderClass": (
        pod(mount(), {"csi": {"driver": "d", "volumeAttributes": {"secretProviderClass": DB}}}),
        NONE,
        NONE,
    ),
    "azureFile": (pod(mount(), {"azureFile": {"secretName": DB, "shareName": "s"}}), ALL, NONE),
    "rbd": (pod(mount(), {"rbd": {"image": "i", "secretRef": {"name": DB}}}), ALL, NONE),
    "subPath": (pod(mount(subPath="a"), SECRET), NONE, keys("a")),
    "subPath of a dotted key": (pod(mount(subPath=".dockerconfigjson"), SECRET), NONE, keys(".dockerconfigjson")),
    "subPath of an item": (pod(mount(subPath="conf/a.txt"), ITEMS), NONE, keys("a")),
    "subPath of a folder": (pod(mount(subPath="conf/"), ITEMS), NONE, keys("a")),
    "subPath into the kubelet's own folder": (pod(mount(subPath="..data/a"), SECRET), NONE, ALL),
    "subPath of another source": (pod(mount(subPath="token"), PROJECTED), NONE, NONE),
    "subPathExpr": (pod(mount(subPathExpr="$(POD)"), ITEMS), NONE, keys("a", "b")),
    "subPathExpr without items": (pod(mount(subPathExpr="x/$(POD)"), SECRET), NONE, ALL),
    "subPathExpr without a variable": (pod(mount(subPathExpr="a"), SECRET), NONE, keys("a")),
    "init container, env": (pod(initContainers=[{"env": [variable("a")]}]), NONE, keys("a")),
    "init container, volume": (pod(volume=SECRET, initContainers=[mount()]), NONE, ALL),
    "init container and program, same volume": (pod(mount(), ITEMS, initContainers=[mount()]), keys("a", "b"), NONE),
    "sidecar, volume": (pod(volume=SECRET, initContainers=[{"restartPolicy": "Always", **mount()}]), ALL, NONE),
    "ephemeral container": (pod(ephemeralContainers=[{"env": [variable("a")]}]), NONE, NONE),
    "imagePullSecrets": (pod(imagePullSecrets=[{"name": DB}]), NONE, NONE),
    "volume that nobody mounts": (pod(volume=SECRET), NONE, NONE),
    "both ways": (pod({"env": [variable("a")], **mount()}, SECRET), ALL, keys("a")),
    "another Secret": (pod({"env": [variable("a", secret="other")]}), NONE, NONE),
    "a ConfigMap": (pod({"envFrom": [{"configMapRef": {"name": DB}}]}), NONE, NONE),
    "nulls": ({"containers": [{"env": None, "envFrom": None, "volumeMounts": None}], "volumes": None}, NONE, NONE),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    spec, visible, frozen = FORMS[form]
    found = consumption(spec, DB)
    assert (found.visible, found.frozen) == (visible, frozen)
    assert bool(found) == bool(visible or frozen)


def test_one_file_that_only_an_init_container_has_is_frozen():
    other = {"name": "w", "secret": {"secretName": DB, "items": [{"key": "c", "path": "c"}]}}
    init = {"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}]}
    spec = pod(mount(), initContainers=[init], volumes=[{"name": "v", **ITEMS}, other])
    found = consumption(spec, DB)
    assert (found.visible, found.frozen) == (keys("a", "b"), keys("c"))


@pytest.mark.parametrize(
    ("spec", "required"),
    [
        (pod({"env": [variable("a")]}), {"a"}),
        (pod({"env": [variable("a", optional=True)]}), set()),
        (pod({"envFrom": [{"secretRef": {"name": DB}}]}), set()),
        (pod(mount(), SECRET), set()),
        (pod(mount(), ITEMS), {"a", "b"}),
        (pod(mount(), {"secret": {**ITEMS["secret"], "optional": True}}), set()),
        (pod(mount(subPath="b"), ITEMS), {"a", "b"}),
        (pod(mount(), PROJECTED), {"a"}),
    ],
)
def test_keys_without_which_pods_do_not_start(spec, required):
    assert consumption(spec, DB).required == required


def test_an_optional_reference_is_consumption_like_any_other():
    assert consumption(pod({"env": [variable("a", optional=True)]}), DB).frozen == keys("a")


def test_all_secrets_in_one_walk():
    spec = pod({"env": [variable("a"), variable("z", secret="other")], **mount()}, PROJECTED)
    found = consumptions(spec)
    assert found["db"].frozen == keys("a")
    assert found["other"].visible == ALL
    assert consumption(spec, "third") is NOT_CONSUMED
    assert set(found) == {"db", "other"}


def test_sets_of_keys():
    assert keys("a") | keys("b") == keys("a", "b")
    assert keys("a") | ALL == ALL
    assert keys("a", "b") - keys("a") == keys("b")
    assert ALL - keys("a") == ALL, "errs towards a restart"
    assert keys("a") - ALL == NONE
    assert ALL.among(["a"]) == {"a"}
    assert keys("a", "b").among(["a", "c"]) == {"a"}
    assert not NONE
    assert ALL
