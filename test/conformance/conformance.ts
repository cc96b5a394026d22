/**
 * The conformance tests of Kubernetes v1.36, held without a node: a case is named by the conformance test that it holds,
 * and `docs/conformance.md` is made from these names.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, type TestContext, test } from "node:test";
import { namespaces, serviceAccounts } from "../../src/api/generated/core-v1.ts";
import { createHttpsClient, type HttpsClient } from "../../src/client/https-client.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { type HollowNodesOptions, startHollowNodes } from "../support/hollow-nodes.ts";
import { type RawReply, type RawRequest, rawRequest } from "../support/raw-request.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";
import { soon } from "./waiting.ts";

/** One conformance test of the release. */
export interface ConformanceFact {
  /** The whole name, as the suite prints it. */
  readonly codename: string;
  /** Releases that brought it, and changed what it asks. */
  readonly since: string;
  /** What of the API it is about. */
  readonly area: string;
  /** "node": it reads what containers do, or what a kubelet, proxy or DNS makes of them. */
  readonly needs?: "node";
}

const facts: readonly ConformanceFact[] = JSON.parse(
  readFileSync(new URL("./conformance.json", import.meta.url), "utf8"),
);
const known = new Set(facts.map(({ codename }) => codename));

/** Says that the test around it holds all that a conformance test checks. Throws when there is none of this name. */
export function holds(codename: string): void {
  if (!known.has(codename)) throw new Error(`Name a conformance test of v1.36: ${JSON.stringify(codename)} is none.`);
}

/** A cluster that the cases of a file share, and what is a case's own. */
export interface Cluster {
  readonly server: ServerProcess;
  /** The administrator's. */
  readonly client: HttpsClient;
  /** A namespace for this case. */
  readonly namespace: string;
  /** One request as it is said. */
  send(path: string, request?: RawRequest): Promise<RawReply>;
  /** A request that has to succeed, and its reply's body. */
  read<T>(path: string, request?: RawRequest): Promise<T>;
}

let server: ServerProcess | undefined;
let client: HttpsClient | undefined;
let cases = 0;
let nodes: Omit<HollowNodesOptions, "signal"> | undefined;

/** Gives the file's cluster nodes that run pods in name only: for cases that ask no more of a pod. */
export function withHollowNodes(options: Omit<HollowNodesOptions, "signal">): void {
  nodes = options;
}

function useCluster(): void {
  const over = new AbortController();
  before(async () => {
    server = await startServerProcess();
    client = connect(server);
    // The server's own scheduler binds, and its node controller wants to hear of them.
    if (nodes) await startHollowNodes(client, { bind: false, renewEveryMs: 10_000, ...nodes, signal: over.signal });
  });
  after(async () => {
    over.abort(new Error("the tests are over"));
    client?.close();
    await server?.stop();
  });
}

/** A client of a server, as its administrator or as whom a token stands for. */
export function connect({ url, credentials: { ca, cert, key } }: ServerProcess, token?: string): HttpsClient {
  const identity = token === undefined ? { cert, key } : { token };
  return createHttpsClient({ server: url, ca, ...identity, userAgent: "conformance", logger: silentLogger });
}

/** A case that holds the conformance test of this name. Throws when there is none. */
export function conformance(codename: string, run: (t: TestContext, cluster: Cluster) => Promise<void>): void {
  holds(codename);
  if (cases++ === 0) useCluster();
  const namespace = `case-${cases}`;
  test(codename, async (t) => {
    assert.ok(server && client, "the cluster did not come up");
    await client.create(namespaces, { metadata: { name: namespace } });
    // Pods are not admitted before it is there.
    await soon(() => client?.get(serviceAccounts, "default", { namespace }));
    const at = server;
    const send = (path: string, request?: RawRequest) => rawRequest(at, path, request);
    const read = async <T>(path: string, request?: RawRequest) => {
      const reply = await send(path, request);
      assert.ok(reply.code >= 200 && reply.code < 300, `${request?.method ?? "GET"} ${path}: ${reply.text}`);
      return reply.json<T>();
    };
    await run(t, { server, client, namespace, send, read });
  });
}
