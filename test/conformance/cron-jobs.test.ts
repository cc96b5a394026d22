/** CronJobs, as their conformance tests ask of the API and the controller. */
import assert from "node:assert/strict";
import { type CronJob, cronJobs, type Job, jobs } from "../../src/api/generated/batch-v1.ts";
import { events } from "../../src/api/generated/core-v1.ts";
import { eventually } from "../support/eventually.ts";
import { exerciseApi } from "./api-operations.ts";
import { type Cluster, conformance, withHollowNodes } from "./conformance.ts";

withHollowNodes({ names: ["one", "two"] });

const area = "[sig-apps] CronJob should";

/** What the next minute brings: a minute may pass before it comes, and a busy machine needs more. */
const soon = <T>(check: () => Promise<T>): Promise<T> => eventually(check, 180_000);

/** Every minute a job that does not end. */
const specOf = (more: Partial<NonNullable<CronJob["spec"]>>): NonNullable<CronJob["spec"]> => ({
  schedule: "* * * * *",
  jobTemplate: {
    spec: { template: { spec: { restartPolicy: "OnFailure", containers: [{ name: "c", image: "i" }] } } },
  },
  ...more,
});

/** What is there when a first job of each has begun, and the next minute has come: the cases of this file wait once. */
interface Minute {
  cluster: Cluster;
  /** The first job of each. */
  first: Record<string, string>;
}

async function waitForMinute(cluster: Cluster): Promise<Minute> {
  const { client, namespace } = cluster;
  const scope = { namespace };
  const minuteAgo = new Date(Date.now() - 70_000).toISOString().replace(/\.\d+Z/, "Z");
  const policies = { allow: "Allow", forbid: "Forbid", replace: "Replace" };
  await client.create(cronJobs, { metadata: { name: "suspended", namespace }, spec: specOf({ suspend: true }) }, scope);
  for (const [name, concurrencyPolicy] of Object.entries(policies)) {
    await client.create(cronJobs, { metadata: { name, namespace }, spec: specOf({ concurrencyPolicy }) }, scope);
  }
  // Told that they ran a minute ago, they have missed one since and catch up at once.
  for (const name of [...Object.keys(policies), "suspended"]) {
    const body = { status: { lastScheduleTime: minuteAgo } };
    await client.patch(cronJobs, name, { type: "merge", body }, { ...scope, subresource: "status" });
  }
  const first: Record<string, string> = {};
  for (const name of Object.keys(policies)) {
    await soon(async () => {
      const [job] = await activeJobs(cluster, name);
      assert.ok(job);
      first[name] = job.metadata.name ?? "";
    });
  }
  await soon(async () => assert.ok((await activeJobs(cluster, "allow")).length >= 2));
  return { cluster, first };
}

let minute: Promise<Minute> | undefined;
const nextMinute = (cluster: Cluster): Promise<Minute> => {
  minute ??= waitForMinute(cluster);
  return minute;
};

async function activeJobs({ client, namespace }: Cluster, of: string): Promise<Job[]> {
  const { items } = await client.list(jobs, { namespace });
  return items.filter(
    ({ metadata }) => !metadata.deletionTimestamp && metadata.ownerReferences?.some(({ name }) => name === of),
  );
}

conformance(`${area} schedule multiple jobs concurrently [Conformance]`, async (_, cluster) => {
  const { cluster: at } = await nextMinute(cluster);
  assert.ok((await activeJobs(at, "allow")).length >= 2);
  await soon(async () => {
    const { status } = await at.client.get(cronJobs, "allow", { namespace: at.namespace });
    assert.ok((status?.active ?? []).length >= 2);
  });
});

conformance(`${area} not schedule new jobs when ForbidConcurrent [Slow] [Conformance]`, async (_, cluster) => {
  const { cluster: at, first } = await nextMinute(cluster);
  const { client, namespace } = at;
  await soon(async () => {
    const { items } = await client.list(events, {
      namespace,
      fieldSelector: "involvedObject.name=forbid,reason=JobAlreadyActive",
    });
    assert.ok(items.length > 0);
  });
  assert.deepEqual(
    (await activeJobs(at, "forbid")).map(({ metadata }) => metadata.name),
    [first["forbid"]],
  );
  const { status } = await client.get(cronJobs, "forbid", { namespace });
  assert.deepEqual(
    status?.active?.map(({ name }) => name),
    [first["forbid"]],
  );
});

conformance(`${area} replace jobs when ReplaceConcurrent [Conformance]`, async (_, cluster) => {
  const { cluster: at, first } = await nextMinute(cluster);
  await soon(async () => {
    const names = (await activeJobs(at, "replace")).map(({ metadata }) => metadata.name);
    assert.equal(names.length, 1);
    assert.notEqual(names[0], first["replace"]);
    const { status } = await at.client.get(cronJobs, "replace", { namespace: at.namespace });
    assert.deepEqual(
      status?.active?.map(({ name }) => name),
      names,
    );
  });
});

conformance(`${area} not schedule jobs when suspended [Slow] [Conformance]`, async (_, cluster) => {
  const { cluster: at } = await nextMinute(cluster);
  assert.deepEqual(await activeJobs(at, "suspended"), []);
  const { status } = await at.client.get(cronJobs, "suspended", { namespace: at.namespace });
  assert.deepEqual(status?.active ?? [], []);
});

conformance(`${area} support CronJob API operations [Conformance]`, (_, cluster) => {
  const lastScheduleTime = "2026-01-02T03:04:05Z";
  return exerciseApi(cluster, {
    type: cronJobs,
    make: () => ({ metadata: {}, spec: specOf({ suspend: true, concurrencyPolicy: "Allow" }) }),
    status: {
      patch: { lastScheduleTime },
      check: ({ status }) => assert.equal(status?.lastScheduleTime, lastScheduleTime),
    },
  });
});
