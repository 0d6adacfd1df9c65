"""The floor: a bare pipelined client that does what no operator can do without, and nothing else.

One LIST, one login per namespace, then per object one read, one POST of the Secret and one merge-patch of the status,
64 in flight. Run as a process of its own, so that its CPU and memory are figures of the same kind as the operator's.

usage: python -m bench.floor CONFIG.json
"""

import asyncio
import base64
import json
import ssl
import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson

IN_FLIGHT = 64
GROUP = "/apis/external-secrets.io/v1"


async def run(config: dict[str, Any]) -> None:
    """Do the work that ``config`` describes: addresses, tokens, namespaces, mount."""
    context = ssl.create_default_context(cadata=config["ca_pem"])
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT, ssl=context)
    headers = {"Authorization": f"Bearer {config['token']}"}
    async with (
        aiohttp.ClientSession(config["api"], connector=connector, headers=headers) as api,
        aiohttp.ClientSession(config["vault"], connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as vault,
    ):
        async with api.get(f"{GROUP}/externalsecrets?limit=500000") as answer:
            listed = orjson.loads(await answer.read())["items"]
        wanted = [item for item in listed if item["metadata"]["namespace"] in config["namespaces"]]
        tokens = {name: await _login(api, vault, name, config) for name in config["namespaces"]}
        queue = asyncio.Queue[dict[str, Any]]()
        for item in wanted:
            queue.put_nowait(item)
        await asyncio.gather(*(_work(queue, api, vault, tokens, config) for _ in range(IN_FLIGHT)))


async def _login(api: aiohttp.ClientSession, vault: aiohttp.ClientSession, name: str, config: dict[str, Any]) -> str:
    path = f"/api/v1/namespaces/{name}/serviceaccounts/{config['account']}/token"
    async with api.post(path, json={"spec": {"audiences": ["vault"], "expirationSeconds": 600}}) as answer:
        jwt = orjson.loads(await answer.read())["status"]["token"]
    async with vault.post("/v1/auth/kubernetes/login", json={"role": config["role"], "jwt": jwt}) as answer:
        return str(orjson.loads(await answer.read())["auth"]["client_token"])


async def _work(
    queue: "asyncio.Queue[dict[str, Any]]",
    api: aiohttp.ClientSession,
    vault: aiohttp.ClientSession,
    tokens: dict[str, str],
    config: dict[str, Any],
) -> None:
    while not queue.empty():
        item = queue.get_nowait()
        name, namespace = item["metadata"]["name"], item["metadata"]["namespace"]
        ref = item["spec"]["data"][0]["remoteRef"]
        async with vault.get(
            f"/v1/{config['mount']}/data/{ref['key']}", headers={"X-Vault-Token": tokens[namespace]}
        ) as answer:
            value = orjson.loads(await answer.read())["data"]["data"][ref["property"]]
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {"name": name, "labels": {"reconcile.external-secrets.io/managed": "true"}},
            "data": {item["spec"]["data"][0]["secretKey"]: base64.b64encode(value.encode()).decode()},
        }
        await _send(api, "POST", f"/api/v1/namespaces/{namespace}/secrets", secret, "application/json")
        condition = {"type": "Ready", "status": "True", "reason": "SecretSynced", "message": "secret synced"}
        status = {"status": {"refreshTime": "2026-01-01T00:00:00Z", "conditions": [condition]}}
        path = f"{GROUP}/namespaces/{namespace}/externalsecrets/{name}/status"
        await _send(api, "PATCH", path, status, "application/merge-patch+json")


async def _send(api: aiohttp.ClientSession, method: str, path: str, body: object, content_type: str) -> None:
    async with api.request(method, path, data=orjson.dumps(body), headers={"Content-Type": content_type}) as answer:
        await answer.read()
        answer.raise_for_status()


def main() -> None:
    """Run on the file named by the first argument and print the process's own figures as JSON."""
    import resource

    asyncio.run(run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
