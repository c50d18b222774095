"""An agent on the Python SDK 1.x (pip install "mcp<2"). You are its model: type a tool's name and its arguments as JSON.

    MCP_VALET_URL=http://127.0.0.1:8401/tools/mcp MCP_VALET_KEY=vk_… python python-sdk-v1.py
"""

import asyncio
import json
import os
import sys

from mcp import ClientSession, McpError
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

http = create_mcp_http_client(headers={"X-Session-Key": os.environ["MCP_VALET_KEY"]})
transport = streamable_http_client(os.environ["MCP_VALET_URL"], http_client=http)


async def progress(progress: float, total: float | None, message: str | None) -> None:
    print(f"progress: {progress:g} of {total:g}", flush=True)


async def main() -> None:
    async with http, transport as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        print("tools:", *(tool.name for tool in (await session.list_tools()).tools), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, _, arguments = line.strip().partition(" ")
            try:
                result = await session.call_tool(name, json.loads(arguments or "{}"), progress_callback=progress)
                print("error:" if result.isError else "result:", *(content.text for content in result.content), flush=True)
            except McpError as error:
                print("error:", error, flush=True)


asyncio.run(main())
