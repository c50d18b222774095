"""An agent on FastMCP's client (pip install fastmcp). You are its model: type a tool's name and its arguments as JSON.

    MCP_VALET_URL=http://127.0.0.1:8401/tools/mcp MCP_VALET_KEY=vk_… python fastmcp-client.py
"""

import asyncio
import json
import os
import sys

from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.exceptions import ToolError
from mcp import MCPError

headers = {"X-Session-Key": os.environ["MCP_VALET_KEY"]}
client = Client(StreamableHttpTransport(os.environ["MCP_VALET_URL"], headers=headers))


async def progress(progress: float, total: float | None, message: str | None) -> None:
    print(f"progress: {progress:g} of {total:g}", flush=True)


async def main() -> None:
    async with client:
        print("tools:", *(tool.name for tool in await client.list_tools()), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, _, arguments = line.strip().partition(" ")
            try:
                result = await client.call_tool(name, json.loads(arguments or "{}"), progress_handler=progress)
                print("result:", *(content.text for content in result.content), flush=True)
            except (ToolError, MCPError) as error:
                print("error:", error, flush=True)


asyncio.run(main())
