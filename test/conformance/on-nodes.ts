/** Conformance tests that need containers: cases of a file share a cluster of real nodes. */
import assert from "node:assert/strict";
import { after, before, type TestContext, test } from "node:test";
import { WebSocket } from "ws";
import { type Container, namespaces, type Pod, pods, serviceAccounts } from "../../src/api/generated/core-v1.ts";
import { createHttpsClient, type HttpsClient } from "../../src/client/https-client.ts";
import { readKubeconfig } from "../../src/client/kubeconfig.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { type RawReply, type RawRequest, rawRequest } from "../support/raw-request.ts";
import { holds } from "./conformance.ts";
import { watchUntil } from "./waiting.ts";

/** A small web server with a shell and the usual tools. */
export const testImage = "k3ts/test-web:1.0";
/** The same tools; it says "entry default" and ends. "entry" is of its entry point. */
export const entryImage = "k3ts/test-entry:1.0";

type PodSpec = NonNullable<Pod["spec"]>;
type Server = Parameters<typeof rawRequest>[0];

/** A cluster of nodes, and what is a case's own. */
export interface Nodes {
  readonly cluster: TestCluster;
  /** The administrator's. */
  readonly client: HttpsClient;
  /** A namespace for this case. */
  readonly namespace: string;
  /** One request as it is said. */
  send(path: string, request?: RawRequest): Promise<RawReply>;
  /** A pod of one container, whose name is the pod's unless it says another. */
  create(name: string, container?: Partial<Container>, spec?: Partial<PodSpec>, more?: PodMetadata): Promise<Pod>;
  /** Waits until what the API says of a pod fits. Throws when it does not come to that, or what `fits` throws. */
  becomes(name: string, fits: (pod: Pod) => boolean): Promise<Pod>;
  /** Waits until a pod is Ready. */
  ready(name: string): Promise<Pod>;
  /** Waits until a pod's containers have ended for good, and gives what it then is. */
  ended(name: string): Promise<Pod>;
  logs(name: string, container?: string): Promise<string>;
  /** Runs a command in a container and gives its standard output. Throws with both outputs when it fails. */
  exec(name: string, command: readonly string[], container?: string): Promise<string>;
  /** Deletes a pod and waits until it is gone. */
  remove(name: string, gracePeriodSeconds?: number): Promise<void>;
  /** Speaks a WebSocket protocol until the server ends it, and gives the messages. */
  listen(path: string, protocol: string): Promise<Buffer[]>;
}

export type PodMetadata = Omit<Pod["metadata"], "name" | "namespace">;

export interface NodesOptions {
  /** Nodes beside the server. */
  readonly agents?: number;
  readonly serverArgs?: readonly string[];
}

let cluster: TestCluster | undefined;
let client: HttpsClient | undefined;
let server: Server | undefined;
let cases = 0;

/** Creates the file's cluster before its cases and removes it after them. */
export function useNodes(options: NodesOptions = {}): void {
  before(async () => {
    cluster = await createTestCluster({ ...options, images: [testImage, entryImage] });
    const { server: url, ca, cert, key } = await readKubeconfig(cluster.kubeconfig);
    client = createHttpsClient({ server: url, ca, cert, key, userAgent: "conformance", logger: silentLogger });
    server = { url, credentials: { ca: String(ca), cert: String(cert), key: String(key) } };
  });
  after(async () => {
    client?.close();
    await cluster?.remove();
  });
}

/** A case that holds the conformance test of this name on real nodes. Throws when there is none. */
export function conformance(codename: string, run: (nodes: Nodes, t: TestContext) => Promise<void>): void {
  holds(codename);
  const namespace = `case-${++cases}`;
  test(codename, async (t) => {
    assert.ok(cluster && client && server, "the cluster did not come up");
    const own = { cluster, client, server, namespace };
    await client.create(namespaces, { metadata: { name: namespace } });
    // Pods are not admitted before it is there.
    await watchUntil(client, serviceAccounts, { namespace, fieldSelector: "metadata.name=default" }, () => true);
    try {
      await run(nodesOf(own), t);
    } finally {
      // Its containers would take from what others have meanwhile; the cluster goes with whatever stays.
      await client.delete(namespaces, namespace).catch(() => undefined);
    }
  });
}

function nodesOf(own: { cluster: TestCluster; client: HttpsClient; server: Server; namespace: string }): Nodes {
  const { client, server, namespace } = own;
  const at = `/api/v1/namespaces/${namespace}/pods`;
  const send: Nodes["send"] = (path, request) => rawRequest(server, path, request);
  const becomes: Nodes["becomes"] = async (name, fits) => {
    let last: Pod | undefined;
    const options = { namespace, fieldSelector: `metadata.name=${name}` };
    try {
      await watchUntil(client, pods, options, ({ type, object }) => {
        last = object;
        return type !== "DELETED" && fits(object);
      });
    } catch (error) {
      throw new Error(`pod ${name}: ${(error as Error).message}: ${JSON.stringify(last?.status)}`, { cause: error });
    }
    return last!;
  };
  const listen: Nodes["listen"] = (path, protocol) =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(new URL(path, server.url), protocol, server.credentials);
      const messages: Buffer[] = [];
      socket.on("message", (data: Buffer) => messages.push(data));
      socket.on("error", reject);
      socket.on("close", () => resolve(messages));
    });
  return {
    ...own,
    send,
    becomes,
    listen,
    create: (name, container, spec, metadata) =>
      client.create(pods, podOf(name, container, spec, { ...metadata, namespace }), { namespace }),
    ready: (name) =>
      becomes(name, ({ status }) => !!status?.conditions?.some((one) => one.type === "Ready" && one.status === "True")),
    ended: (name) => becomes(name, ({ status }) => /^(Succeeded|Failed)$/.test(status?.phase ?? "")),
    logs: async (name, container) => {
      const { code, text } = await send(`${at}/${name}/log${container ? `?container=${container}` : ""}`);
      assert.equal(code, 200, text);
      return text;
    },
    exec: async (name, command, container) => {
      const query = new URLSearchParams({ stdout: "1", stderr: "1", ...(container ? { container } : {}) });
      for (const word of command) query.append("command", word);
      const messages = await listen(`${at}/${name}/exec?${query}`, "v4.channel.k8s.io");
      const of = (channel: number) =>
        Buffer.concat(messages.filter(([first]) => first === channel).map((data) => data.subarray(1))).toString();
      assert.equal(JSON.parse(of(3) || "{}").status, "Success", `${command.join(" ")}: ${of(1)}${of(2)}${of(3)}`);
      return of(1);
    },
    remove: async (name, gracePeriodSeconds) => {
      const { metadata } = await client.list(pods, { namespace });
      const from = { namespace, fieldSelector: `metadata.name=${name}`, resourceVersion: metadata.resourceVersion! };
      await client.delete(pods, name, {
        namespace,
        ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
      });
      await watchUntil(client, pods, from, ({ type }) => type === "DELETED");
    },
  };
}

/** A pod of one container that runs the test image. */
export function podOf(
  name: string,
  container: Partial<Container> = {},
  spec: Partial<PodSpec> = {},
  metadata: Omit<Pod["metadata"], "name"> = {},
): Pod {
  const containers = [{ name, image: testImage, ...container }];
  // Nothing here needs long to end, and shells do not hear the signal.
  const { restartPolicy = "Never", terminationGracePeriodSeconds = 1 } = spec;
  return {
    metadata: { ...metadata, name },
    spec: { containers, ...spec, restartPolicy, terminationGracePeriodSeconds },
  };
}

/** A command that runs a script. */
export function shell(script: string): { command: string[] } {
  return { command: ["sh", "-c", script] };
}
