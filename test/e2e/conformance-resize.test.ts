/** The conformance tests of pods whose resources change while they run, down to the kernel's limits. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import { type Container, type Pod, pods } from "../../src/api/generated/core-v1.ts";
import { conformance, type Nodes, testImage, useNodes } from "../conformance/on-nodes.ts";
import { soon } from "../conformance/waiting.ts";

useNodes();

const resize = "[sig-node] Pod InPlace Resize Container";
const three = "[sig-node] Pod InPlace Resize Container guaranteed pods with multiple containers 3 containers -";
const since = "[MinimumKubeletVersion:1.34] [Conformance]";

/** Thousandths of a processor and MiB. */
interface Amounts {
  readonly cpu?: number;
  readonly memory?: number;
}
interface Wanted {
  readonly requests: Amounts;
  readonly limits?: Amounts;
}

const nameOf = (index: number) => `c${index + 1}`;
const listOf = ({ cpu, memory }: Amounts) => ({
  ...(cpu === undefined ? {} : { cpu: `${cpu}m` }),
  ...(memory === undefined ? {} : { memory: `${memory}Mi` }),
});
const resourcesOf = ({ requests, limits }: Wanted) => ({
  requests: listOf(requests),
  ...(limits ? { limits: listOf(limits) } : {}),
});

function containersOf(wanted: readonly Wanted[]): Container[] {
  return wanted.map((one, index) => ({
    name: nameOf(index),
    image: testImage,
    command: ["sleep", "10000"],
    resources: resourcesOf(one),
  }));
}

/** What the kernel has of a container's limits and weight: in files of the second or the first version of its groups. */
const readGroups = `cd /sys/fs/cgroup
if [ -e cpu.max ]; then echo 2; cat memory.max cpu.max cpu.weight
else echo 1; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares; fi`;

/** Weights that runtimes make of shares: the older rule is a straight line, the newer one keeps 1024 at 100. */
function weightsOf(shares: number): number[] {
  const log = Math.log2(shares);
  const straight = 1 + Math.floor(((shares - 2) * 9999) / 262_142);
  return [straight, Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))];
}

async function assertGroups(nodes: Nodes, container: string, { requests, limits }: Wanted): Promise<void> {
  const output = await nodes.exec("p", ["sh", "-c", readGroups], container);
  const [version, memory, cpu, weight] = output.trim().split("\n") as [string, string, string, string];
  if (limits?.memory !== undefined) assert.equal(memory, String(limits.memory * 2 ** 20));
  else assert.ok(memory === "max" || Number(memory) > 2 ** 60, memory);
  // The kernel takes no quota of less than a millisecond.
  const quota = limits?.cpu === undefined ? undefined : Math.max(1000, limits.cpu * 100);
  const unlimited = version === "2" ? "max" : "-1";
  assert.equal(cpu.split(" ")[0], quota === undefined ? unlimited : String(quota));
  const shares = Math.max(2, Math.floor(((requests.cpu ?? limits?.cpu ?? 0) * 1024) / 1000));
  assert.ok(
    (version === "2" ? weightsOf(shares) : [shares]).includes(Number(weight)),
    `${weight} for ${shares} shares`,
  );
}

/** A running pod has these resources: asked for, told of, and in the kernel; its containers were not started again. */
async function has(nodes: Nodes, wanted: readonly Wanted[]): Promise<Pod> {
  const pod = await nodes.becomes("p", ({ metadata, status }) => {
    const types = status?.conditions?.filter((one) => one.status === "True").map(({ type }) => type) ?? [];
    const pending = status?.conditions?.find(({ type }) => type === "PodResizePending");
    assert.notEqual(pending?.reason, "Infeasible", pending?.message);
    const isOver = !status?.conditions?.some(({ type }) => /^PodResize(Pending|InProgress)$/.test(type));
    return status?.observedGeneration === metadata.generation && isOver && types.includes("Ready");
  });
  const expected = wanted.map(resourcesOf);
  assert.deepEqual(
    pod.spec!.containers.map(({ resources }) => resources),
    expected,
  );
  const statuses = [...pod.status!.containerStatuses!].sort((a, b) => (a.name < b.name ? -1 : 1));
  assert.deepEqual(
    statuses.map(({ resources }) => resources),
    expected,
  );
  assert.deepEqual(
    statuses.map(({ restartCount }) => restartCount),
    wanted.map(() => 0),
  );
  for (const [index, one] of wanted.entries()) await soon(() => assertGroups(nodes, nameOf(index), one));
  return pod;
}

const changes =
  (before: readonly Wanted[], after: readonly Wanted[], back = true) =>
  async (nodes: Nodes) => {
    const { client, namespace } = nodes;
    await nodes.create("p", {}, { containers: containersOf(before) });
    const { spec } = await has(nodes, before);
    // Nothing is filled in where a pod says nothing of restarts.
    for (const { resizePolicy } of spec!.containers) assert.equal(resizePolicy, undefined);
    for (const wanted of back ? [after, before] : [after]) {
      const containers = wanted.map((one, index) => ({ name: nameOf(index), resources: resourcesOf(one) }));
      const patch = { type: "strategic", body: { spec: { containers } } } as const;
      await client.patch(pods, "p", patch, { namespace, subresource: "resize" });
      await has(nodes, wanted);
    }
    await nodes.remove("p");
  };

const original = { cpu: 20, memory: 35 };
const less = { cpu: 15, memory: 30 };
const more = { cpu: 25, memory: 40 };
/** Containers whose requests are their limits, each a little larger than the one before. */
const guaranteed = (amounts: readonly Required<Amounts>[]): Wanted[] =>
  amounts.map(({ cpu, memory }, index) => {
    const own = { cpu: cpu + 2 * index, memory: memory + 2 * index };
    return { requests: own, limits: own };
  });
const start = guaranteed([original, original, original]);

describe("resizing", { concurrency: 4 }, () => {
  conformance(
    `${three} increase cpu & mem on c1, c2, decrease cpu & mem on c3 - net increase ${since}`,
    changes(start, guaranteed([more, more, less])),
  );
  conformance(
    `${three} increase cpu & mem on c1, decrease cpu & mem on c2, c3 - net decrease ${since}`,
    changes(start, guaranteed([more, less, less])),
  );
  conformance(
    `${three} increase: CPU (c1,c3), memory (c2, c3) ; decrease: CPU (c2) ${since}`,
    changes(start, guaranteed([{ cpu: 25, memory: 35 }, { cpu: 15, memory: 40 }, more])),
  );
  conformance(
    `${resize} burstable pods - extended resize with equivalents ${since}`,
    changes([{ requests: { cpu: 2 }, limits: { cpu: 10 } }], [{ requests: { cpu: 1 }, limits: { cpu: 5 } }]),
  );
  conformance(
    `${resize} burstable pods - extended 6 containers - various operations performed (including adding limits and requests) ${since}`,
    changes(
      [
        { requests: { cpu: 20 } },
        { requests: { memory: 35 } },
        { requests: original },
        { requests: { cpu: 20 } },
        { requests: { memory: 35 } },
      ],
      [
        { requests: { cpu: 25 }, limits: { cpu: 35 } },
        { requests: { memory: 30 }, limits: { memory: 50 } },
        { requests: { cpu: 20, memory: 30 } },
        { requests: { cpu: 15, memory: 35 } },
        { requests: { cpu: 20, memory: 40 } },
      ],
      false,
    ),
  );
  conformance(`${resize} resize pod via the replace endpoint ${since}`, async (nodes) => {
    const { client, namespace } = nodes;
    await nodes.create("p", {}, { containers: containersOf([{ requests: original }]) });
    const before = await has(nodes, [{ requests: original }]);
    assert.equal(before.metadata.generation, 1);
    const at = { namespace, subresource: "resize" };
    await soon(async () => {
      const pod = structuredClone(await client.get(pods, "p", { namespace }));
      pod.spec!.containers[0]!.resources = resourcesOf({ requests: more });
      await client.update(pods, pod, at);
    });
    assert.equal((await client.get(pods, "p", { namespace })).metadata.generation, 2);
    await has(nodes, [{ requests: more }]);
    await soon(async () =>
      assert.deepEqual(await client.get(pods, "p", at), await client.get(pods, "p", { namespace })),
    );
  });
});
