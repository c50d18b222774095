"""The MCP tools of a Pydantic AI agent (pip install "pydantic-ai-slim[mcp]"), without one: type a tool's name and its arguments
as JSON. With a model it is `Agent("openai:…", toolsets=[toolset])`.

    MCP_VALET_URL=http://127.0.0.1:8401/tools/mcp MCP_VALET_KEY=vk_… python pydantic-ai.py
"""

import asyncio
import json
import os
import sys

from pydantic_ai import ModelRetry
from pydantic_ai.mcp import MCPToolset


async def progress(progress: float, total: float | None, message: str | None) -> None:
    print(f"progress: {progress:g} of {total:g}", flush=True)


headers = {"X-Session-Key": os.environ["MCP_VALET_KEY"]}
toolset = MCPToolset(os.environ["MCP_VALET_URL"], headers=headers, progress_handler=progress)


async def main() -> None:
    async with toolset:
        print("tools:", *(tool.name for tool in await toolset.list_tools()), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, _, arguments = line.strip().partition(" ")
            try:
                result = await toolset.direct_call_tool(name, json.loads(arguments or "{}"))
                print("result:", result if isinstance(result, str) else json.dumps(result), flush=True)
            except ModelRetry as error:
                print("error:", error, flush=True)


asyncio.run(main())
