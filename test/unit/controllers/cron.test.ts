import assert from "node:assert/strict";
import { test } from "node:test";
import { type CronJob, cronJobs, jobs } from "../../../src/api/generated/batch-v1.ts";
import { events } from "../../../src/api/generated/core-v1.ts";
import { cronJobController } from "../../../src/controllers/cron-job.ts";
import { dueTimes, jobName, jobOf, scheduleOf } from "../../../src/controllers/cron-job-plan.ts";
import { localTimeText, nextTime, parseCron } from "../../../src/controllers/cron-schedule.ts";
import { startControlPlane } from "../../support/control-plane.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const ms = Date.parse;
const next = (schedule: string, after: string, zone?: string) => {
  const time = nextTime(parseCron(schedule), ms(after), zone);
  return time === undefined ? undefined : new Date(time).toISOString().slice(0, 16);
};

for (const [schedule, after, expected, zone] of [
  ["*/15 * * * *", "2026-01-01T00:07:30Z", "2026-01-01T00:15"],
  ["0 9 * * mon-fri", "2026-01-02T10:00:00Z", "2026-01-05T09:00"],
  ["0 0 1 * 0", "2026-01-01T00:00:00Z", "2026-01-04T00:00"],
  ["30 4 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T04:30"],
  ["0 0 30 2 *", "2026-01-01T00:00:00Z", undefined],
  ["5/20 1 * * *", "2026-01-01T01:06:00Z", "2026-01-01T01:25"],
  ["@daily", "2026-01-01T00:00:00Z", "2026-01-02T00:00"],
  ["0 12 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T12:00"],
  ["@every 1h30m", "2026-01-01T00:00:00Z", "2026-01-01T01:30"],
  ["0 9 * * *", "2026-07-01T00:00:00Z", "2026-07-01T07:00", "Europe/Vienna"],
  ["0 9 * * *", "2026-01-01T00:00:00Z", "2026-01-01T03:15", "Asia/Kathmandu"],
  ["30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:30", "Europe/Vienna"],
] as const) {
  test(`cron: ${schedule}${zone ? ` in ${zone}` : ""} after ${after} is ${expected ?? "never"}`, () =>
    assert.equal(next(schedule, after, zone), expected));
}

for (const bad of ["", "* * * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "5-1 * * * *", "* * * foo *", "@every x"]) {
  test(`cron: ${JSON.stringify(bad)} is refused`, () => assert.throws(() => parseCron(bad)));
}

function cron(spec: Partial<NonNullable<CronJob["spec"]>> = {}, lastScheduleTime?: string): CronJob {
  return {
    metadata: { name: "c", namespace: "a", creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: { schedule: "*/10 * * * *", jobTemplate: {}, ...spec },
    status: { ...(lastScheduleTime ? { lastScheduleTime } : {}) },
  };
}
const due = (object: CronJob, now: string) => {
  const { dueMs, nextMs, tooMany } = dueTimes(object, parseCron(object.spec!.schedule), ms(now));
  const text = (time: number | undefined) =>
    time === undefined ? undefined : new Date(time).toISOString().slice(11, 16);
  return [text(dueMs), text(nextMs), tooMany];
};

test("only the latest missed time is due, and none twice", () => {
  assert.deepEqual(due(cron(), "2026-01-01T00:05:00Z"), [undefined, "00:10", false]);
  assert.deepEqual(due(cron(), "2026-01-01T00:35:00Z"), ["00:30", "00:40", false]);
  assert.deepEqual(due(cron({}, "2026-01-01T00:30:00Z"), "2026-01-01T00:35:00Z"), [undefined, "00:40", false]);
});

test("times beyond the starting deadline are let go", () => {
  assert.deepEqual(due(cron({ startingDeadlineSeconds: 60 }), "2026-01-01T00:35:00Z"), [undefined, "00:40", false]);
});

test("after a year's pause the latest time is found at once, with a warning", () => {
  assert.deepEqual(due(cron(), "2027-01-01T00:35:00Z"), ["00:30", "00:40", true]);
});

test("a time has one job name", () => {
  assert.equal(jobName(cron(), ms("2026-01-01T00:30:00Z")), jobName(cron(), ms("2026-01-01T00:30:59Z")));
});

test("a job says when it was due in the zone of its schedule", () => {
  const atMs = ms("2026-07-01T07:00:05Z");
  assert.equal(localTimeText(atMs), "2026-07-01T07:00:05Z");
  assert.equal(localTimeText(atMs, "Europe/Vienna"), "2026-07-01T09:00:05+02:00");
  assert.equal(localTimeText(atMs, "America/St_Johns"), "2026-07-01T04:30:05-02:30");
  const annotations = jobOf(cron({ timeZone: "Europe/Vienna" }), atMs).metadata.annotations;
  assert.deepEqual(annotations, { "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-07-01T09:00:05+02:00" });
  assert.equal(scheduleOf(cron({ schedule: "TZ=Asia/Tokyo 0 9 * * *" })).timeZone, "Asia/Tokyo");
});

test("[sig-apps] CronJob: Forbid waits, Replace replaces, history is kept short, and events tell what happened", async (t) => {
  const clock = new FakeClock(Math.floor(Date.now() / 60_000) * 60_000);
  const { client } = await startControlPlane(t, { controllers: [cronJobController], clock });
  const namespace = "default";
  const template = { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i" }] } };
  const create = (name: string, spec: object) =>
    client.create(cronJobs, {
      metadata: { name, namespace },
      spec: { schedule: "*/1 * * * *", jobTemplate: { spec: { template } }, ...spec },
    });
  await create("forbid", { concurrencyPolicy: "Forbid", successfulJobsHistoryLimit: 0 });
  await create("replace", { concurrencyPolicy: "Replace" });
  await create("asleep", { suspend: true });
  const activeOf = async (name: string) => (await client.get(cronJobs, name, { namespace })).status?.active ?? [];
  const told = async (name: string, wanted: string) => {
    const { items } = await client.list(events, { namespace, fieldSelector: `involvedObject.name=${name}` });
    assert.ok(
      items.some(({ reason }) => reason === wanted),
      `${wanted} is not among ${items.map(({ reason }) => reason)}`,
    );
  };
  /** Moves time until `check` holds: what was written has to be seen before the next minute counts. */
  const minutes = (check: () => Promise<void>) =>
    eventually(async () => {
      await clock.advance(60_000);
      await eventually(check, 500);
    });
  await minutes(async () => {
    assert.equal((await activeOf("forbid")).length, 1);
    assert.equal((await activeOf("replace")).length, 1);
  });
  const [first] = await activeOf("replace");
  const [only] = await activeOf("forbid");
  await minutes(async () => assert.notEqual((await activeOf("replace"))[0]?.uid, first?.uid));
  await minutes(() => told("forbid", "JobAlreadyActive"));
  assert.deepEqual(await activeOf("forbid"), [only]);
  assert.equal((await activeOf("replace")).length, 1);

  const at = new Date(clock.now()).toISOString().replace(/\.\d+Z$/, "Z");
  const condition = (type: string) => ({ type, status: "True", reason: "r", message: "", lastTransitionTime: at });
  const complete = {
    status: { startTime: at, completionTime: at, conditions: ["SuccessCriteriaMet", "Complete"].map(condition) },
  };
  const done = only?.name ?? "";
  await client.patch(jobs, done, { type: "merge", body: complete }, { namespace, subresource: "status" });
  await eventually(async () => {
    // A write that lost a race is tried again by the controllers' clock.
    await clock.advance(100);
    await told("forbid", "SawCompletedJob");
    assert.equal((await client.get(cronJobs, "forbid", { namespace })).status?.lastSuccessfulTime, at);
    await assert.rejects(client.get(jobs, done, { namespace }), { code: 404 });
  });
  await minutes(async () => assert.equal((await activeOf("forbid")).length, 1));
  const [next] = await activeOf("forbid");
  await client.delete(jobs, next?.name ?? "", { namespace, propagationPolicy: "Background" });
  await eventually(() => told("forbid", "MissingJob"));
  assert.deepEqual(await activeOf("asleep"), []);
});
