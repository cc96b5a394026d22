import assert from "node:assert/strict";
import { test } from "node:test";
import type { CronJob } from "../../../src/api/generated/batch-v1.ts";
import { dueTimes, jobName } from "../../../src/controllers/cron-job-plan.ts";
import { nextTime, parseCron } from "../../../src/controllers/cron-schedule.ts";

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
