"""An MCP server as people write one with FastMCP: it checks the signature, issuer, audience and expiry of each JWT itself.

It has the tools of the demo's server (src/demo/mcp-tools.ts), so that agents are put through the same with both. Its first line on
standard output is the URL of its MCP endpoint. POST /reject/FINGERPRINT makes it refuse a token that is still good.

    ISSUER=http://127.0.0.1:9000 python test/agents/fastmcp_server.py
"""

import asyncio
import hashlib
import json
import os
import socket
import time

import uvicorn
from fastmcp import Context, FastMCP
from fastmcp.server.auth import AccessToken, RemoteAuthProvider
from fastmcp.server.auth.providers.jwt import JWTVerifier
from fastmcp.server.dependencies import get_access_token, get_http_headers
from pydantic import AnyHttpUrl
from starlette.requests import Request
from starlette.responses import Response

issuer = os.environ["ISSUER"]
# With its protocol named, as asyncio turns Nagle's algorithm off on no other; without that an answer may be 40 ms late.
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
base = f"http://127.0.0.1:{listener.getsockname()[1]}"
url = f"{base}/mcp"
rejected: set[str] = set()


def fingerprint(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:8]


class Verifier(JWTVerifier):
    """Refuses tokens that were taken back before their time, as an issuer's introspection would."""

    async def verify_token(self, token: str) -> AccessToken | None:
        return None if fingerprint(token) in rejected else await super().verify_token(token)


verifier = Verifier(jwks_uri=f"{issuer}/jwks", issuer=issuer, audience=url, algorithm="ES256")
# A 401 of this server says where to log in (RFC 9728), which must not reach an agent behind mcp-valet.
auth = RemoteAuthProvider(token_verifier=verifier, authorization_servers=[AnyHttpUrl(issuer)], base_url=base)
server = FastMCP("interop", auth=auth)


@server.tool
def whoami() -> dict:
    """Tells as whom, and with which token, this call reached the server."""
    token = get_access_token()
    if token is None or get_http_headers(include_all=True).get("x-api-key") != token.token:
        raise ValueError("the call did not carry the same token in both headers")
    return {
        "subject": token.claims["sub"],
        "remaining_seconds": round(token.claims["exp"] - time.time()),
        "fingerprint": fingerprint(token.token),
    }


@server.tool
def add(a: float, b: float) -> float:
    """Adds two numbers."""
    return a + b


@server.tool
def search_notes(query: str) -> str:
    """Finds the built-in notes that contain a text."""
    return json.dumps([note for note in ("session keys", "refresh", "replay") if query in note])


@server.tool
async def slow_count(n: int, interval_ms: int, ctx: Context) -> str:
    """Counts to n, one step each interval_ms, and reports its progress."""
    for progress in range(1, n + 1):
        await asyncio.sleep(interval_ms / 1000)
        await ctx.report_progress(progress, n)
    return f"counted to {n}"


@server.custom_route("/reject/{token}", methods=["POST"])
async def reject(request: Request) -> Response:
    rejected.add(request.path_params["token"])
    return Response(status_code=204)


if __name__ == "__main__":
    print(url, flush=True)
    config = uvicorn.Config(server.http_app(path="/mcp"), log_level="info", access_log=False, timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])
