"""A reference API as Grid'5000's, read whole and cached until its version changes."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import urllib.error
import urllib.request
from typing import Any

from gshell import config
from gshell.errors import UsageError
from gshell.sweep.batch import in_order
from gshell.sweep.frontends import g5k_configuration
from gshell.sweep.log import logger
from gshell.sweep.platform import by_name

AT_ONCE = 8  # requests
LARGEST = 64 * 1024 * 1024  # of an answer


class Api:
    """Of the API at ``uri``."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        name = hashlib.sha256(self.uri.encode()).hexdigest()[:16]
        folder = g5k_configuration["cache"] or os.path.join(config.cache_dir(), "testbeds")
        self.cache = os.path.join(os.path.expanduser(folder), name + ".json")

    def sites(self) -> dict[str, Any]:
        """As `testbed.Testbed` wants them: from the cache, if it is of the API's version, or the
        API does not answer.

        Raises:
            UsageError: no answer, or one that makes no sense, and nothing is in the cache.
        """
        kept = self._kept()
        try:
            version = self._get("/").get("version")
            if kept is not None and version is not None and kept["version"] == version:
                return dict(kept["sites"])
            sites = self._read()
        except UsageError as error:
            if kept is None:
                raise
            logger.warning("%s; what was read before is used", error)
            return dict(kept["sites"])
        self._keep({"uri": self.uri, "version": version, "sites": sites})
        return sites

    def _read(self) -> dict[str, Any]:
        sites = {one["uid"]: one for one in self._items("/sites")}
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            of_site = dict(
                zip(sites, pool.map(lambda s: self._items(f"/sites/{s}/clusters"), sites))
            )
            pairs = [(site, one["uid"]) for site, some in of_site.items() for one in some]
            nodes = dict(
                zip(
                    pairs,
                    pool.map(lambda p: self._items(f"/sites/{p[0]}/clusters/{p[1]}/nodes"), pairs),
                )
            )
        found: dict[str, Any] = {}
        for site in in_order(sites):
            clusters: dict[str, Any] = {}
            for about in of_site[site]:
                cluster = about["uid"]
                hosts = by_name(nodes[site, cluster], site, f"{self.uri}: {cluster}")
                clusters[cluster] = {**about, "hosts": hosts}
            found[site] = {**sites[site], "clusters": clusters}
        return found

    def _items(self, path: str) -> list[dict[str, Any]]:
        items = self._get(path).get("items")
        if not isinstance(items, list) or not all(
            isinstance(one, dict) and isinstance(one.get("uid"), str) for one in items
        ):
            raise UsageError(f"{self.uri}{path}: no list of items with a uid each")
        return items

    def _get(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - `testbed` takes http and https only
            self.uri + path, headers={"Accept": "application/json", "User-Agent": "gshell"}
        )
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, timeout=g5k_configuration["api_timeout"]
            ) as answer:
                found = json.loads(answer.read(LARGEST))
        except urllib.error.HTTPError as error:
            raise UsageError(f"{self.uri}{path}: {error.code} {error.reason}") from None
        except (OSError, ValueError) as error:
            words = getattr(error, "reason", "") or error
            raise UsageError(f"{self.uri}{path}: {words}") from None
        if not isinstance(found, dict):
            raise UsageError(f"{self.uri}{path}: no object")
        return found

    def _kept(self) -> dict[str, Any] | None:
        try:
            with open(self.cache, encoding="utf-8") as file:
                kept = json.load(file)
            return kept if kept["uri"] == self.uri and isinstance(kept["sites"], dict) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _keep(self, all_of_it: dict[str, Any]) -> None:
        try:
            os.makedirs(os.path.dirname(self.cache), exist_ok=True)
            with open(f"{self.cache}.{os.getpid()}", "w", encoding="utf-8") as file:
                json.dump(all_of_it, file)
            os.replace(file.name, self.cache)
        except OSError as error:
            logger.warning("%s: %s", self.cache, error.strerror)
