import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { type Deployment, deployments } from "../../src/api/generated/apps-v1.ts";
import { leases } from "../../src/api/generated/coordination-v1.ts";
import { configMaps } from "../../src/api/generated/core-v1.ts";
import type { Client } from "../../src/client/client.ts";
import { createHttpsClient } from "../../src/client/https-client.ts";
import { connectDocker } from "../../src/cluster/docker.ts";
import { ioClock } from "../../src/machinery/clock.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { StatusError } from "../../src/machinery/status.ts";
import { run } from "../../tools/run.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { cpuPercent, usageOf } from "./container-usage.ts";
import type { Figure, Measured, Measurement } from "./measurement.ts";
import { type ClientReport, type SteadyClientOptions, startSteadyClient } from "./steady-client.ts";

const starts = 3;
const kills = 3;
const settleMs = 30_000;
const watchMs = 20_000;
const patienceMs = 120_000;
const megabyte = 1e6;
const image = "k3ts/test-web:1.0";
const yardstickImage = "k3ts/test-web";
const namespace = "default";
/** Clients of each sort: some of their connections end at whichever server is killed. */
const clientsEach = 4;

/** Three servers with embedded etcd and two agents: from nothing, idle, and without their leader. */
export const servers: Measurement = {
  name: "servers",
  async run(say) {
    const docker = await connectDocker();
    const took: Starts = { cluster: [], plain: [] };
    for (let round = 1; round < starts; round++) await (await startCluster(round, took, say)).remove();
    await using cluster = await startCluster(starts, took, say);
    const names = cluster.nodes.filter((name) => name.includes("-server-"));
    say(`idle for ${settleMs / 1000} s`);
    await ioClock.sleep(settleMs);
    const before = await Promise.all(names.map((name) => usageOf(docker, name)));
    say(`watching for ${watchMs / 1000} s`);
    await ioClock.sleep(watchMs);
    const after = await Promise.all(names.map((name) => usageOf(docker, name)));
    say("bringing an image into the agents");
    await Promise.all(cluster.nodes.filter((name) => name.includes("-agent-")).map(bringImage));
    const { figures, notes = [] } = await killLeaders(cluster, say);
    return {
      figures: [
        {
          what: "three servers and two agents by `cluster create`",
          unit: "s",
          samples: took.cluster,
          budget: 12,
          yardstick: { what: "`docker run --rm` of busybox", samples: took.plain },
        },
        {
          what: "the largest of three idle servers, with its etcd, memory",
          unit: "MB",
          samples: [Math.max(...after.map(({ memoryBytes }) => memoryBytes)) / megabyte],
          budget: 300,
        },
        {
          what: "an idle server of three with its etcd, processor",
          unit: "%",
          samples: after.map((now, index) => cpuPercent(before[index]!, now)),
        },
        ...figures,
      ],
      notes,
    };
  },
};

async function bringImage(node: string): Promise<void> {
  await run("sh", ["-c", `docker save ${image} | docker exec -i ${node} ctr images import -`]);
}

/** Seconds that each start took. */
interface Starts {
  readonly cluster: number[];
  readonly plain: number[];
}

async function startCluster(round: number, took: Starts, say: (line: string) => void): Promise<TestCluster> {
  say(`docker run ${yardstickImage}, ${round} of ${starts}`);
  const begunAtMs = ioClock.now();
  await run("docker", ["run", "--rm", yardstickImage, "true"]);
  took.plain.push((ioClock.now() - begunAtMs) / 1000);
  say(`three servers and two agents, ${round} of ${starts}`);
  const startedAtMs = ioClock.now();
  const cluster = await createTestCluster({ servers: 3, agents: 2 });
  took.cluster.push((ioClock.now() - startedAtMs) / 1000);
  return cluster;
}

/** Kills the server that leads, while clients go on asking and a Deployment is made that the next leader has to carry out. */
async function killLeaders(cluster: TestCluster, say: (line: string) => void): Promise<Measured> {
  const address = addressIn(cluster.kubeconfig);
  const { url: server, credentials } = address;
  const client = createHttpsClient({ server, ...credentials, userAgent: "bench", logger: silentLogger });
  const ledAgain: number[] = [];
  const carriedOut: number[] = [];
  const retries: number[] = [];
  const notes: string[] = [];
  try {
    for (let round = 1; round <= kills; round++) {
      say(`killing the leader, ${round} of ${kills}`);
      const clients = await startClients(client, address, `steady-${round}`);
      const leader = await leaderOf(client);
      const killedAtMs = ioClock.now();
      await run("docker", ["kill", leader]);
      const passed = () => (ioClock.now() - killedAtMs) / 1000;
      const name = `after-${round}`;
      const made = eventually(
        () => client.create(deployments, deploymentOf(name), { namespace }).catch(unlessThere),
        patienceMs,
      );
      const led = eventually(async () => {
        if ((await leaderOf(client)) === leader) throw new Error(`${leader} still has the Lease`);
        return passed();
      }, patienceMs);
      await made;
      const done = eventually(async () => {
        const { status } = await client.get(deployments, name, { namespace });
        if (status?.availableReplicas !== 1) throw new Error(`${name} is not carried out`);
        return passed();
      }, patienceMs);
      ledAgain.push(await led);
      carriedOut.push(await done);
      const reports = await Promise.all(clients.map((stop) => stop()));
      retries.push(Math.max(...reports.map((report) => report.retries)));
      notes.push(wordsOf(round, leader, reports));
      await run("docker", ["start", leader]);
      await eventually(() => cluster.exec(leader, ["kubectl", "get", "--raw", "/readyz"]), patienceMs);
      await client.delete(deployments, name, { namespace });
    }
  } finally {
    client.close();
  }
  const figures: Figure[] = [
    { what: "a leader is killed: until another server leads", unit: "s", samples: ledAgain },
    {
      what: "a leader is killed: until a Deployment made meanwhile is carried out",
      unit: "s",
      samples: carriedOut,
      budget: 10,
    },
    {
      what: "a server is killed: requests that a client sent once more, at most",
      unit: "",
      samples: [Math.max(...retries)],
      budget: 1,
    },
  ];
  return { figures, notes };
}

/** Clients behind the load balancer, half of which read and half of which write an object of their own. */
async function startClients(
  client: Client,
  address: Pick<SteadyClientOptions, "url" | "credentials">,
  prefix: string,
): Promise<(() => Promise<ClientReport>)[]> {
  const stops: (() => Promise<ClientReport>)[] = [];
  for (let index = 0; index < clientsEach; index++) {
    const name = `${prefix}-${index}`;
    const object = { metadata: { name, namespace }, data: { value: "here" } };
    await eventually(() => client.create(configMaps, object, { namespace }).catch(unlessThere), patienceMs);
    const path = `/api/v1/namespaces/${namespace}/configmaps/${name}`;
    const body = JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", ...object });
    stops.push(
      startSteadyClient({ ...address, method: "GET", path }),
      startSteadyClient({ ...address, method: "PUT", path, body }),
    );
  }
  return stops;
}

function addressIn(kubeconfig: string): Pick<SteadyClientOptions, "url" | "credentials"> {
  const { clusters, users } = parse(readFileSync(kubeconfig, "utf8"));
  const { server: url, "certificate-authority-data": ca } = clusters[0].cluster;
  const { "client-certificate-data": cert, "client-key-data": key } = users[0].user;
  const pem = (data: string) => Buffer.from(data, "base64").toString();
  return { url, credentials: { ca: pem(ca), cert: pem(cert), key: pem(key) } };
}

/** The container of the server whose controllers work. */
async function leaderOf(client: Client): Promise<string> {
  const { spec } = await client.get(leases, "kube-controller-manager", { namespace: "kube-system" });
  return (spec?.holderIdentity ?? "").replace(/_.*$/, "");
}

/** One pod, on an agent: a killed server is taken for a place to run for a while. */
function deploymentOf(name: string): Deployment {
  const labels = { app: name };
  const onAgents = [{ key: "node-role.kubernetes.io/control-plane", operator: "DoesNotExist" }];
  return {
    metadata: { name, namespace },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [{ name: "web", image, imagePullPolicy: "IfNotPresent" }],
          affinity: {
            nodeAffinity: {
              requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: onAgents }] },
            },
          },
        },
      },
    },
  };
}

/** A create that was sent again may have been done the first time. */
function unlessThere(error: unknown): void {
  if (!(error instanceof StatusError && error.code === 409)) throw error;
}

function wordsOf(round: number, leader: string, reports: readonly ClientReport[]): string {
  const total = (count: (report: ClientReport) => number) => reports.reduce((sum, report) => sum + count(report), 0);
  const slowest = Math.max(...reports.map(({ slowestMs }) => slowestMs));
  const failures = [...new Set(reports.flatMap((report) => report.failures))].join("; ");
  return (
    `Kill ${round} (${leader.replace(/^.*-(server-\d+)$/, "$1")}): ${reports.length} clients sent ${total(({ requests }) => requests)} requests, ` +
    `${total(({ retries }) => retries)} of them once more${failures && ` (${failures})`}; the slowest was answered after ${slowest.toFixed(0)} ms.`
  );
}
