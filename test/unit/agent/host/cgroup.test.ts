import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { after, test } from "node:test";
import { cgroupControllers, cgroupVersion, evacuate } from "../../../../src/agent/host/cgroup.ts";
import { listMounts } from "../../../../src/agent/host/mount.ts";
import { eventually } from "../../../support/eventually.ts";

const cgroup2 = (await listMounts()).find((entry) => entry.type === "cgroup2")?.target;
assert.ok(cgroup2, "this machine has cgroup2 mounted somewhere");
const group = `${cgroup2}/k3ts-test-${process.pid}`;
const child = spawn("sleep", ["1000"], { stdio: "ignore" });

after(async () => {
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
  // The kernel empties the group a moment after the process has been reaped.
  for (const folder of [`${group}/init`, group]) await eventually(() => rmdir(folder));
});

test("the mounted layout is recognised and names its controllers", async () => {
  const version = await cgroupVersion();
  assert.ok(version);
  assert.ok((await cgroupControllers(version)).includes("memory"));
  assert.equal(await cgroupVersion("/nonexistent"), undefined);
  assert.equal(await cgroupVersion(cgroup2), "v2");
});

test("evacuate moves the processes of a group into its child init, and again without harm", async () => {
  await mkdir(group);
  await writeFile(`${group}/cgroup.procs`, `${child.pid}`);
  await evacuate(group);
  assert.equal(await readFile(`${group}/cgroup.procs`, "utf8"), "");
  assert.equal(await readFile(`${group}/init/cgroup.procs`, "utf8"), `${child.pid}\n`);
  await evacuate(group);
});
