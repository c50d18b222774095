/** What runs a program: this Node, or the Python of a virtual environment with the packages of that file in test/agents. */
export type Runtime = 'node' | 'requirements.txt' | 'requirements-sdk1.txt'

/** A client that users have. */
export interface AgentClient {
  readonly id: string
  readonly name: string
  /** In examples/agents: what a user copies, and what is run. */
  readonly file: string
  readonly runtime: Runtime
  /** The package that it stands for, as npm or PyPI calls it. */
  readonly package: string
  /** Whether it has a way to hear of a tool's progress. */
  readonly progress: boolean
  /** Whether it can be made to call a tool that it was not offered. */
  readonly unlisted: boolean
  /** Whether the sentence by which mcp-valet refuses a call reaches whoever reads the client's error, or its HTTP status alone. */
  readonly sentence: boolean
}

const usual = { progress: true, unlisted: true, sentence: true } as const

export const CLIENTS: readonly AgentClient[] = [
  { id: 'ts1', name: 'TypeScript SDK v1', file: 'typescript-sdk-v1.mjs', runtime: 'node', package: '@modelcontextprotocol/sdk', ...usual },
  { id: 'ts2', name: 'TypeScript SDK v2', file: 'typescript-sdk-v2.mjs', runtime: 'node', package: '@modelcontextprotocol/client', ...usual },
  { id: 'py1', name: 'Python SDK v1', file: 'python-sdk-v1.py', runtime: 'requirements-sdk1.txt', package: 'mcp', ...usual, sentence: false },
  { id: 'py2', name: 'Python SDK v2', file: 'python-sdk-v2.py', runtime: 'requirements.txt', package: 'mcp', ...usual },
  { id: 'fastmcp', name: 'FastMCP client', file: 'fastmcp-client.py', runtime: 'requirements.txt', package: 'fastmcp', ...usual },
  { id: 'pydantic', name: 'Pydantic AI, MCPToolset', file: 'pydantic-ai.py', runtime: 'requirements.txt', package: 'pydantic-ai-slim', ...usual },
  { id: 'openai', name: 'OpenAI Agents SDK, MCPServerStreamableHttp', file: 'openai-agents.py', runtime: 'requirements.txt', package: 'openai-agents', ...usual, progress: false },
  { id: 'langchain', name: 'LangChain MCP adapters', file: 'langchain.py', runtime: 'requirements-sdk1.txt', package: 'langchain-mcp-adapters', ...usual, unlisted: false, sentence: false },
]
