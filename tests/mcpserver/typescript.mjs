// Speaks to the server with the TypeScript SDK, which holds every structured answer to its schema, and prints what came.
import path from "node:path";
import { pathToFileURL } from "node:url";

const [sdk, command, ...args] = process.argv.slice(2);
const part = (name) => import(pathToFileURL(path.join(sdk, "dist", "esm", "client", name)).href);
const { Client } = await part("index.js");
const { StdioClientTransport } = await part("stdio.js");

const client = new Client({ name: "typescript", version: "1" }, { capabilities: {} });
await client.connect(new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" }));
const call = (name, given, options) => client.callTool({ name, arguments: given }, undefined, options);
const said = { server: client.getServerVersion().name, progress: 0 };
said.tools = (await client.listTools()).tools.map((tool) => tool.name).sort();
const question = "why does the storefront not start?";
const report = await call("diagnose", { question }, { onprogress: () => said.progress++ });
said.verdict = report.structuredContent.verdict;
const session = report.structuredContent.session;
said.finding = (await call("explain_finding", { session, finding: "F1" })).structuredContent.finding.id;
said.page = (await call("get_evidence", { session, evidence: "E1", limit: 50 })).structuredContent.text.length;
said.sessions = (await call("list_sessions", {})).structuredContent.sessions.length;
said.change = (await call("propose_change", { session, remedy: "A1" })).structuredContent.state;
said.failed = (await call("propose_change", {})).isError;
said.resource = (await client.readResource({ uri: `pilothouse://sessions/${session}` })).contents[0].mimeType;
said.prompt = (await client.getPrompt({ name: "what_is_wrong", arguments: {} })).messages.length;
console.log(JSON.stringify(said));
await client.close();
