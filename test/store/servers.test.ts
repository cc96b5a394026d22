import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { deployments } from "../../src/api/generated/apps-v1.ts";
import { type Lease, leases } from "../../src/api/generated/coordination-v1.ts";
import { configMaps, endpoints, namespaces, pods, type Service, services } from "../../src/api/generated/core-v1.ts";
import { endpointSlices } from "../../src/api/generated/discovery-v1.ts";
import type { Client } from "../../src/client/client.ts";
import { createHttpsClient } from "../../src/client/https-client.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { type DatabaseKind, startDatabase, type TestDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { type ServerProcess, type ServerProcessOptions, startServerProcess } from "../support/server-process.ts";

const patienceMs = 60_000;
const namespace = "default";
const token = "the-token-of-this-cluster";

interface Running {
  readonly process: ServerProcess;
  readonly client: Client;
  /** Ends its connections, and the server in order. */
  stop(): Promise<void>;
  /** Kills the server with SIGKILL. */
  kill(): Promise<void>;
}

/** Addresses of servers that nobody dials: all of them listen on this machine. */
const addressOf = (server: string) => `192.0.2.${server.charCodeAt(0)}`;

async function startServer(database: TestDatabase, name: string, more: ServerProcessOptions = {}): Promise<Running> {
  const { args = [], env, ...rest } = more;
  const process = await startServerProcess({
    ...rest,
    // By the environment: a password has no place among the arguments.
    env: { K3S_DATASTORE_ENDPOINT: database.endpoint, K3S_TOKEN: token, ...env },
    args: ["--advertise-address", addressOf(name), "--node-name", name, ...args],
  });
  const { url: server, credentials } = process;
  const client = createHttpsClient({ server, ...credentials, userAgent: "test", logger: silentLogger });
  return {
    process,
    client,
    async stop() {
      client.close();
      await process.stop();
    },
    async kill() {
      client.close();
      await process.kill();
    },
  };
}

/** What a start that must not succeed says. */
async function refusal(starting: Promise<Running>): Promise<string> {
  try {
    await (await starting).stop();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("the server started");
}

const file = (server: Running, path: string) =>
  readFileSync(join(server.process.directory, "data/server", path), "utf8");

async function leaseOf(client: Client, name: string): Promise<Lease["spec"]> {
  return (await client.get(leases, name, { namespace: "kube-system" })).spec;
}

/** "address:port" of what stands behind the Service `kubernetes`. */
async function behind(client: Client): Promise<string[]> {
  const labelSelector = "kubernetes.io/service-name=kubernetes";
  const { items } = await client.list(endpointSlices, { namespace, labelSelector });
  return items.flatMap((slice) => slice.endpoints!.map((one) => `${one.addresses[0]}:${slice.ports![0]!.port}`)).sort();
}

const placeOf = (name: string, { process }: Running) => `${addressOf(name)}:${new URL(process.url).port}`;

/** Controllers work when a Deployment gets its pods. */
async function carriesOut(client: Client, name: string): Promise<void> {
  const labels = { app: name };
  const template = { metadata: { labels }, spec: { containers: [{ name: "c", image: "none" }] } };
  await client.create(deployments, {
    metadata: { name, namespace },
    spec: { replicas: 2, selector: { matchLabels: labels }, template },
  });
  await eventually(async () => {
    const { items } = await client.list(pods, { namespace, labelSelector: `app=${name}` });
    assert.equal(items.length, 2);
  }, patienceMs);
}

for (const kind of ["etcd", "postgres", "mariadb"] satisfies DatabaseKind[]) {
  describe(`servers that share ${kind}`, () => {
    let database: TestDatabase;
    let a: Running;
    let b: Running;
    const running = new Set<Running>();
    const start = async (name: string, more?: ServerProcessOptions) => {
      const server = await startServer(database, name, more);
      running.add(server);
      return server;
    };

    before(async () => {
      database = await startDatabase(kind);
      // At the same moment: one of them brings the authorities, the other takes them.
      [a, b] = await Promise.all([start("a"), start("b")]);
    });
    after(async () => {
      await Promise.allSettled([...running].map((server) => server.stop()));
      await database?.remove();
    });

    test("have one authority, one key of service accounts and one token", () => {
      for (const path of [
        "tls/server-ca.crt",
        "tls/client-ca.key",
        "tls/request-header-ca.key",
        "tls/service.key",
        "token",
      ])
        assert.equal(file(a, path), file(b, path), path);
      assert.notEqual(file(a, "tls/serving-kube-apiserver.crt"), file(b, "tls/serving-kube-apiserver.crt"));
      assert.match(file(a, "token"), new RegExp(`^K10[0-9a-f]{64}::server:${token}\n$`));
    });

    test("refuse a server with another token, and one with another setting", async () => {
      const other = await refusal(start("x", { env: { K3S_TOKEN: "another-token" } }));
      assert.match(other, /ended with code 78/);
      assert.match(other, /bootstrap data already found and encrypted with different token/);
      const different = await refusal(start("y", { args: ["--service-cidr", "10.99.0.0/16"] }));
      assert.match(different, /ended with code 78/);
      assert.match(
        different,
        /failed to validate server configuration: critical configuration value mismatch between servers: .*--service-cidr is \\?"10\.43\.0\.0\/16\\?" there and \\?"10\.99\.0\.0\/16\\?" here/,
      );
      for (const text of [other, different]) {
        assert.ok(!text.includes(token) && !text.includes("another-token"), "no token in any line");
        assert.ok(!text.includes(":test@"), "no password in any line");
      }
    });

    test("read at once what was written on the other", async () => {
      for (let index = 0; index < 30; index++) {
        const [writer, reader] = index % 2 ? [a, b] : [b, a];
        const metadata = { name: `fresh-${index}`, namespace };
        const made = await writer.client.create(configMaps, { metadata, data: { index: String(index) } });
        assert.deepEqual(await reader.client.get(configMaps, metadata.name, { namespace }), made);
        const { items } = await reader.client.list(configMaps, { namespace });
        assert.ok(items.some((item) => item.metadata.uid === made.metadata.uid));
        await reader.client.delete(configMaps, metadata.name, { namespace });
        await assert.rejects(writer.client.get(configMaps, metadata.name, { namespace }), { code: 404 });
      }
    });

    test("continue a watch of the other from where it was", async () => {
      const name = `watched-${kind}`;
      await a.client.create(namespaces, { metadata: { name } });
      const { metadata } = await a.client.list(configMaps, { namespace: name });
      const writing = (async () => {
        for (let index = 0; index < 60; index++) {
          const { client } = index % 3 ? a : b;
          await client.create(configMaps, { metadata: { name: `n${index}`, namespace: name } });
        }
      })();
      const seen: string[] = [];
      let resourceVersion = metadata.resourceVersion!;
      // Twenty changes from each in turn.
      while (seen.length < 60) {
        const { client } = seen.length % 40 < 20 ? a : b;
        const stop = new AbortController();
        const events = client.watch(configMaps, { namespace: name, resourceVersion, signal: stop.signal });
        for await (const { type, object } of events) {
          assert.equal(type, "ADDED");
          if (!object.metadata.name!.startsWith("n")) {
            resourceVersion = object.metadata.resourceVersion!;
            continue;
          }
          seen.push(object.metadata.name!);
          resourceVersion = object.metadata.resourceVersion!;
          if (seen.length % 20 === 0) break;
        }
        stop.abort();
      }
      await writing;
      assert.deepEqual(
        seen,
        Array.from({ length: 60 }, (_, index) => `n${index}`),
      );
    });

    test("never lose an update that another has made meanwhile", async () => {
      const metadata = { name: "counter", namespace };
      await a.client.create(configMaps, { metadata, data: { count: "0" } });
      const countUp = async ({ client }: Running) => {
        for (let done = 0; done < 20; ) {
          const current = structuredClone(await client.get(configMaps, "counter", { namespace }));
          current.data = { count: String(Number(current.data?.["count"]) + 1) };
          try {
            await client.update(configMaps, current);
            done++;
          } catch (error) {
            if ((error as { code?: number }).code !== 409) throw error;
          }
        }
      };
      await Promise.all([countUp(a), countUp(b), countUp(a), countUp(b)]);
      assert.equal((await b.client.get(configMaps, "counter", { namespace })).data?.["count"], "80");
    });

    test("give no address and no node port twice", async () => {
      const service = (name: string): Service => ({
        metadata: { name, namespace },
        spec: { type: "NodePort", ports: [{ port: 80 }] },
      });
      const made = await Promise.all(
        Array.from({ length: 60 }, (_, index) => (index % 2 ? a : b).client.create(services, service(`s${index}`))),
      );
      assert.equal(new Set(made.map(({ spec }) => spec!.clusterIP)).size, 60);
      assert.equal(new Set(made.map(({ spec }) => spec!.ports![0]!.nodePort)).size, 60);
      const clusterIP = "10.43.77.77";
      const wanted = await Promise.allSettled(
        [a, b, a, b].map(({ client }, index) => {
          const one = service(`wants-${index}`);
          return client.create(services, { ...one, spec: { ...one.spec, clusterIP } });
        }),
      );
      assert.equal(wanted.filter(({ status }) => status === "fulfilled").length, 1);
    });

    test("both stand behind the Service kubernetes, and agents are told of both", async () => {
      const both = [placeOf("a", a), placeOf("b", b)];
      for (const { client, process } of [a, b]) {
        await eventually(async () => assert.deepEqual(await behind(client), both), patienceMs);
        const { subsets } = await client.get(endpoints, "kubernetes", { namespace });
        assert.equal(subsets!.flatMap(({ addresses }) => addresses!).length, 2);
        const authorization = `Basic ${Buffer.from(`node:${token}`).toString("base64")}`;
        const { request } = await import("node:https");
        const body = await new Promise<string>((resolve, reject) => {
          const options = { ca: process.credentials.ca, headers: { authorization } };
          request(`${process.url}/v1-k3s/apiservers`, options, (response) => {
            response.setEncoding("utf8").on("data", resolve);
          })
            .on("error", reject)
            .end();
        });
        assert.deepEqual(JSON.parse(body).sort(), both);
      }
    });

    test("leaders that cannot renew stop leading, and go on when the database answers again", async () => {
      const lost = () => [a, b].flatMap(({ process }) => process.log().match(/Lost leadership/g) ?? []).length;
      const lostBefore = lost();
      await database.pause();
      try {
        await eventually(() => assert.ok(lost() > lostBefore), patienceMs);
      } finally {
        await database.unpause();
      }
      await eventually(async () => {
        const { holderIdentity } = (await leaseOf(a.client, "kube-controller-manager"))!;
        assert.ok(holderIdentity);
      }, patienceMs);
      await carriesOut(b.client, "after-the-pause");
    });

    test("a leader that is killed is replaced within ten seconds, and goes from the Service", async () => {
      await carriesOut(a.client, "before");
      const roles = ["kube-controller-manager", "kube-scheduler"];
      const holders = await Promise.all(roles.map(async (role) => (await leaseOf(a.client, role))!.holderIdentity));
      const led = holders[0]!.startsWith("a_") ? a : b;
      const [left, name, gone] = led === a ? [b, "b", "a"] : [a, "a", "b"];
      const transitions = (await leaseOf(left.client, roles[0]!))!.leaseTransitions!;
      const killedMs = Date.now();
      await led.kill();
      running.delete(led);
      await eventually(async () => {
        for (const role of roles) assert.ok((await leaseOf(left.client, role))!.holderIdentity!.startsWith(`${name}_`));
      }, patienceMs);
      const lostMs = Date.now() - killedMs;
      assert.ok(lostMs < 10_000, `${lostMs} ms`);
      assert.ok((await leaseOf(left.client, roles[0]!))!.leaseTransitions! > transitions);
      await carriesOut(left.client, "after");
      await eventually(async () => assert.deepEqual(await behind(left.client), [placeOf(name, left)]), patienceMs);
      // It comes back to its data as one that does not lead.
      const { directory } = led.process;
      const port = Number(new URL(led.process.url).port);
      const back = await start(gone, { directory, port });
      await eventually(
        async () =>
          assert.deepEqual(await behind(left.client), [
            placeOf("a", led === a ? back : left),
            placeOf("b", led === a ? left : back),
          ]),
        patienceMs,
      );
      if (led === a) a = back;
      else b = back;
    });

    test("a server that stops gives up what it leads at once, and takes itself out", async () => {
      const { holderIdentity } = (await leaseOf(a.client, "kube-controller-manager"))!;
      const [leader, other, name] = holderIdentity!.startsWith("a_") ? [a, b, "b"] : [b, a, "a"];
      running.delete(leader);
      await leader.stop();
      const stoppedMs = Date.now();
      assert.deepEqual(await behind(other.client), [placeOf(name, other)]);
      await eventually(async () => {
        const { holderIdentity } = (await leaseOf(other.client, "kube-controller-manager"))!;
        assert.ok(holderIdentity!.startsWith(`${name}_`), holderIdentity);
      }, patienceMs);
      // Sooner than its lease would have run out.
      assert.ok(Date.now() - stoppedMs < 5000, `${Date.now() - stoppedMs} ms`);
      await carriesOut(other.client, "at-last");
      assert.ok(!existsSync(leader.process.directory));
      running.delete(other);
      await other.stop();
    });
  });
}
