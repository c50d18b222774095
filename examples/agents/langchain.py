"""The MCP tools of a LangChain or LangGraph agent (pip install langchain-mcp-adapters), without one: type a tool's name and its
arguments as JSON. With a model it is `create_agent("openai:…", tools)`.

    MCP_VALET_URL=http://127.0.0.1:8401/tools/mcp MCP_VALET_KEY=vk_… python langchain.py
"""

import asyncio
import json
import os
import sys

from langchain_mcp_adapters.callbacks import CallbackContext, Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools


async def progress(progress: float, total: float | None, message: str | None, context: CallbackContext) -> None:
    print(f"progress: {progress:g} of {total:g}", flush=True)


callbacks = Callbacks(on_progress=progress)
client = MultiServerMCPClient(
    {
        "tools": {
            "transport": "streamable_http",
            "url": os.environ["MCP_VALET_URL"],
            "headers": {"X-Session-Key": os.environ["MCP_VALET_KEY"]},
        }
    }
)


async def main() -> None:
    async with client.session("tools") as session:
        tools = {tool.name: tool for tool in await load_mcp_tools(session, callbacks=callbacks, server_name="tools")}
        print("tools:", *tools, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, _, arguments = line.strip().partition(" ")
            try:
                result = await tools[name].ainvoke(json.loads(arguments or "{}"))
                print("result:", *(content["text"] for content in result), flush=True)
            except KeyError:
                print("error: there is no tool", name, flush=True)


asyncio.run(main())
