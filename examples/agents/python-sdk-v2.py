"""An agent on the Python SDK 2.x (pip install mcp). You are its model: type a tool's name and its arguments as JSON.

    MCP_VALET_URL=http://127.0.0.1:8401/tools/mcp MCP_VALET_KEY=vk_… python python-sdk-v2.py
"""

import asyncio
import json
import os
import sys

from mcp import Client, MCPError
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

http = create_mcp_http_client(headers={"X-Session-Key": os.environ["MCP_VALET_KEY"]})
client = Client(streamable_http_client(os.environ["MCP_VALET_URL"], http_client=http))


async def progress(progress: float, total: float | None, message: str | None) -> None:
    print(f"progress: {progress:g} of {total:g}", flush=True)


async def main() -> None:
    async with http, client:
        print("tools:", *(tool.name for tool in (await client.list_tools()).tools), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, _, arguments = line.strip().partition(" ")
            try:
                result = await client.call_tool(name, json.loads(arguments or "{}"), progress_callback=progress)
                print("error:" if result.is_error else "result:", *(content.text for content in result.content), flush=True)
            except MCPError as error:
                print("error:", error, flush=True)


asyncio.run(main())
