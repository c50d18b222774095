"""The MCP tools of an OpenAI Agents SDK agent (pip install openai-agents), without one: type a tool's name and its arguments as
JSON. With a model it is `Agent(name="…", mcp_servers=[server])`.

    MCP_VALET_URL=http://127.0.0.1:8401/tools/mcp MCP_VALET_KEY=vk_… python openai-agents.py
"""

import asyncio
import json
import os
import sys

from agents.mcp import MCPServerStreamableHttp
from mcp import MCPError

server = MCPServerStreamableHttp(
    params={"url": os.environ["MCP_VALET_URL"], "headers": {"X-Session-Key": os.environ["MCP_VALET_KEY"]}},
    client_session_timeout_seconds=30,
)


async def main() -> None:
    async with server:
        print("tools:", *(tool.name for tool in await server.list_tools()), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, _, arguments = line.strip().partition(" ")
            try:
                result = await server.call_tool(name, json.loads(arguments or "{}"))
                print("error:" if result.is_error else "result:", *(content.text for content in result.content), flush=True)
            except MCPError as error:
                print("error:", error, flush=True)


asyncio.run(main())
