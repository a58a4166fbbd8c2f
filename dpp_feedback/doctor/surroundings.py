"""Where the doctor looks from: a pod or a laptop, AWS itself or a stand-in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dpp_feedback.resources import endpoint_url, names_set

if TYPE_CHECKING:
    from typing import Self

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the environment says about where this process runs.

    Attributes:
        pod: whether it is in a pod: Kubernetes sets KUBERNETES_SERVICE_HOST.
        endpoint: AWS_ENDPOINT_URL; None if it is not set.
        keys: the variables for keys that are set; their names only.
    """

    pod: bool
    endpoint: str | None
    keys: tuple[str, ...]

    @classmethod
    def read(cls) -> Self:
        """Read them from the environment."""
        names = names_set()
        return cls(
            pod="KUBERNETES_SERVICE_HOST" in names,
            endpoint=endpoint_url(),
            keys=tuple(name for name in _KEYS if name in names),
        )

    @property
    def stand_in(self) -> bool:
        """Whether a stand-in answers for AWS, where keys only sign and open nothing."""
        return self.endpoint is not None and not self.host.endswith(_AWS)

    @property
    def host(self) -> str:
        """The host of AWS_ENDPOINT_URL; empty if there is none."""
        try:
            return urlsplit(self.endpoint or "").hostname or ""
        except ValueError:  # "http://["
            return ""
