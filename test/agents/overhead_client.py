"""Measures calls of FastMCP's own client: direct, and through mcp-valet, one at a time, the two in turn.

    DIRECT_URL=… TOKEN=… VALET_URL=… KEY=… CALLS=2000 WARM_UP=200 \
        TOOL=add ARGUMENTS='{"a": 2, "b": 3}' TEXT=5.0 python test/agents/overhead_client.py

Its one line of output is `{"direct": [milliseconds, …], "through": […]}`.
"""

import asyncio
import json
import os
import time

from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport

token = os.environ["TOKEN"]
tool, arguments, text = os.environ["TOOL"], json.loads(os.environ["ARGUMENTS"]), os.environ["TEXT"]
direct = Client(StreamableHttpTransport(os.environ["DIRECT_URL"], headers={"Authorization": f"Bearer {token}", "X-API-KEY": token}))
through = Client(StreamableHttpTransport(os.environ["VALET_URL"], headers={"X-Session-Key": os.environ["KEY"]}))


async def timed(client: Client) -> float:
    start = time.perf_counter()
    result = await client.call_tool(tool, arguments)
    took = time.perf_counter() - start
    if [getattr(block, "text", None) for block in result.content] != [text]:
        raise ValueError(f"{tool} gave {result.content}")
    return took * 1000


async def main() -> None:
    async with direct, through:
        for _ in range(int(os.environ["WARM_UP"])):
            await timed(direct)
            await timed(through)
        times: dict[str, list[float]] = {"direct": [], "through": []}
        for call in range(int(os.environ["CALLS"])):
            # Each first as often as the other.
            if call % 2 == 0:
                times["direct"].append(await timed(direct))
            times["through"].append(await timed(through))
            if call % 2 == 1:
                times["direct"].append(await timed(direct))
        print(json.dumps(times), flush=True)


asyncio.run(main())
